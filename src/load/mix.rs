//! Which stream sends which message with which payload: the dealing, and the making of a request.

use bytes::{Bytes, BytesMut};
use rand::{
    Rng, RngExt,
    distr::{Distribution, weighted::WeightedIndex},
    rngs::Xoshiro256PlusPlus,
};

use super::{Arrivals, LoadOptions, Payload, WeightedMessage};
use crate::{
    Priority,
    grpc::proto::{self, StreamRequest},
    simulation::{Purpose, rng},
};

/// Bytes at the start of a random payload that make it another one.
const KEY: usize = 16;

/// What is dealt to one arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hand {
    /// Which stream sends it.
    pub(super) stream: usize,
    /// Which message of the mix it is.
    pub(super) message: usize,
    /// Which random payload it carries.
    pub(super) payload: u64,
}

/// Deals the arrivals of one global process to the streams.
///
/// Poisson arrivals go to a stream drawn at random, since a Poisson process that is split so is a Poisson process on
/// each stream: clients that know nothing of each other. Evenly paced arrivals go round, so that each stream is evenly
/// paced too.
pub(super) struct Dealer {
    arrivals: Arrivals,
    streams: usize,
    weights: WeightedIndex<f64>,
    distinct_payloads: Option<u64>,
    rng: Xoshiro256PlusPlus,
    dealt: u64,
}

impl Dealer {
    pub(super) fn new(options: &LoadOptions) -> Self {
        let weights = options.mix.iter().map(|message| message.weight);
        Self {
            arrivals: options.arrivals,
            streams: options.streams,
            weights: WeightedIndex::new(weights).expect("validated: weights above 0, one at least"),
            distinct_payloads: options.distinct_payloads,
            rng: rng(options.seed, Purpose::Dealing),
            dealt: 0,
        }
    }

    pub(super) fn deal(&mut self) -> Hand {
        let number = self.dealt;
        self.dealt += 1;
        let stream = match self.arrivals {
            Arrivals::Poisson => self.rng.random_range(0..self.streams),
            Arrivals::Constant => (number % self.streams as u64) as usize,
        };
        let message = self.weights.sample(&mut self.rng);
        let payload = self.distinct_payloads.map_or(number, |distinct| self.rng.random_range(0..distinct));
        Hand { stream, message, payload }
    }
}

/// Makes requests: the messages of the mix, and the random bytes that payloads are cut from.
#[derive(Debug)]
pub(super) struct Mix {
    messages: Vec<WeightedMessage>,
    /// As long as the longest random payload.
    noise: Bytes,
    /// Tells the payloads of one seed from those of another, beyond the noise.
    salt: u64,
}

impl Mix {
    pub(super) fn new(options: &LoadOptions) -> Self {
        let len = |message: &WeightedMessage| match message.payload {
            Payload::Random(len) => len,
            Payload::Fixed(_) => 0,
        };
        let mut rng = rng(options.seed, Purpose::Payload);
        let salt = rng.next_u64();
        let mut noise = vec![0; options.mix.iter().map(len).max().unwrap_or(0)];
        rng.fill_bytes(&mut noise);
        Self { messages: options.mix.clone(), noise: noise.into(), salt }
    }

    /// The request with this id: message `message` of the mix with random payload `payload`.
    pub(super) fn request(&self, id: u64, message: usize, payload: u64) -> StreamRequest {
        let message = &self.messages[message];
        let priority = match message.priority {
            Priority::Low => proto::Priority::Low,
            Priority::Normal => proto::Priority::Normal,
            Priority::High => proto::Priority::High,
        };
        let timeout = message.timeout.map(|timeout| {
            prost_types::Duration::try_from(timeout).expect("validated: a day at most, and protobuf has more")
        });
        StreamRequest {
            id,
            operation: message.operation.clone(),
            payload: match &message.payload {
                Payload::Random(len) => self.random_payload(*len, payload),
                Payload::Fixed(bytes) => bytes.clone(),
            },
            parameters: message.parameters.clone(),
            priority: priority.into(),
            timeout,
            no_cache: message.no_cache,
        }
    }

    /// The number comes first, low byte first, so that payloads shorter than the key differ as long as they can.
    fn random_payload(&self, len: usize, number: u64) -> Bytes {
        let mut key = [0; KEY];
        key[..8].copy_from_slice(&number.to_le_bytes());
        key[8..].copy_from_slice(&(self.salt ^ number).to_le_bytes());
        let keyed = len.min(KEY);
        let mut payload = BytesMut::with_capacity(len);
        payload.extend_from_slice(&key[..keyed]);
        payload.extend_from_slice(&self.noise[keyed..len]);
        payload.freeze()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use super::*;

    fn options() -> LoadOptions {
        LoadOptions { seed: 5, ..LoadOptions::new("http://unused", WeightedMessage::new("echo")) }
    }

    #[test]
    fn weights_decide_how_often_a_message_is_sent() {
        let mut options = options();
        options.mix.push(WeightedMessage { weight: 3.0, ..WeightedMessage::new("digest") });
        let mut dealer = Dealer::new(&options);
        let second = (0..10_000).filter(|_| dealer.deal().message == 1).count();
        // Three quarters, give or take five standard deviations of 43.
        assert!((7_285..=7_715).contains(&second), "{second} of 10000");
    }

    #[test]
    fn poisson_arrivals_are_spread_evenly_at_random_and_constant_ones_in_turn() {
        let mut dealer = Dealer::new(&options());
        let mut per_stream = [0_u32; 10];
        (0..10_000).for_each(|_| per_stream[dealer.deal().stream] += 1);
        assert!(per_stream.iter().all(|&count| (850..=1_150).contains(&count)), "{per_stream:?}");

        let mut dealer = Dealer::new(&LoadOptions { arrivals: Arrivals::Constant, ..options() });
        let streams: Vec<_> = (0..12).map(|_| dealer.deal().stream).collect();
        assert_eq!(streams, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    }

    #[test]
    fn the_same_seed_deals_the_same_hands() {
        let hands = |seed| {
            let mut dealer = Dealer::new(&LoadOptions { seed, distinct_payloads: Some(100), ..options() });
            (0..100).map(|_| dealer.deal()).collect::<Vec<_>>()
        };
        assert_eq!(hands(1), hands(1));
        assert_ne!(hands(1), hands(2));
    }

    #[test]
    fn no_two_random_payloads_are_the_same_unless_so_wanted() {
        let payloads = |options: &LoadOptions| {
            let (mix, mut dealer) = (Mix::new(options), Dealer::new(options));
            let payload = |hand: Hand| mix.request(0, hand.message, hand.payload).payload;
            (0..1_000).map(|_| payload(dealer.deal())).collect::<HashSet<_>>()
        };
        let all = payloads(&options());
        assert_eq!(all.len(), 1_000);
        assert!(all.iter().all(|payload| payload.len() == 4096));
        assert!(payloads(&options()).is_subset(&all), "the same seed sends the same bytes");
        assert!(payloads(&LoadOptions { seed: 6, ..options() }).is_disjoint(&all));
        assert_eq!(payloads(&LoadOptions { distinct_payloads: Some(7), ..options() }).len(), 7);

        let mut short = options();
        short.mix[0].payload = Payload::Random(2);
        assert_eq!(payloads(&short).len(), 1_000, "two bytes tell 65536 payloads apart");
    }

    #[test]
    fn a_request_carries_what_its_message_says() {
        let mut options = options();
        options.mix[0] = WeightedMessage {
            parameters: [("busy".to_owned(), "5ms".to_owned())].into(),
            payload: Payload::Fixed(Bytes::from_static(b"{}")),
            priority: Priority::High,
            timeout: Some(Duration::from_millis(50)),
            no_cache: true,
            ..WeightedMessage::new("validate")
        };
        assert_eq!(
            Mix::new(&options).request(9, 0, 1),
            StreamRequest {
                id: 9,
                operation: "validate".to_owned(),
                payload: Bytes::from_static(b"{}"),
                parameters: [("busy".to_owned(), "5ms".to_owned())].into(),
                priority: proto::Priority::High.into(),
                timeout: Some(prost_types::Duration { seconds: 0, nanos: 50_000_000 }),
                no_cache: true,
            }
        );
    }
}
