//! What is offered.

use std::time::Duration;

use millstream::load::{Payload, WeightedMessage};

pub(crate) const SHORT: &str = "short";
pub(crate) const LONG: &str = "long";

const fn us(microseconds: u64) -> Duration {
    Duration::from_micros(microseconds)
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// How many messages are offered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rate {
    PerSecond(f64),
    /// Times what the cores can do inline, as measured in the same run.
    OfCapacity(f64),
}

/// One kind of message.
#[derive(Debug, Clone, Copy)]
struct Message {
    label: &'static str,
    weight: f64,
    /// `None`: it is a digest of the payload.
    busy: Option<Duration>,
    payload: usize,
    timeout: Option<Duration>,
}

/// One scenario.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) rate: Rate,
    pub(crate) streams: usize,
    messages: &'static [Message],
    pub(crate) warm_up: Duration,
    /// How long it is offered in one run, and where minutes count.
    pub(crate) duration: (Duration, Duration),
    /// How long answers are awaited afterwards.
    pub(crate) drain: Duration,
    /// Rounds, and where minutes count.
    pub(crate) rounds: (usize, usize),
}

/// What the overload is made of: long enough that a core spends its time on it, and not on refusing the rest.
const OVERLOADING: &[Message] =
    &[Message { label: "echo", weight: 1.0, busy: Some(ms(5)), payload: 64, timeout: Some(ms(50)) }];

pub(crate) const DIGEST: &str = "digest_4kib";
pub(crate) const MIXED: &str = "mixed_200us_50ms";
pub(crate) const TWICE: &str = "overload_2x";
pub(crate) const FOUR_TIMES: &str = "overload_4x";

/// All of them.
pub(crate) static SCENARIOS: [Scenario; 4] = [
    Scenario {
        name: DIGEST,
        what: "digest of 4 KiB, 100 streams",
        rate: Rate::PerSecond(2000.0),
        streams: 100,
        messages: &[Message { label: "digest", weight: 1.0, busy: None, payload: 4096, timeout: None }],
        warm_up: ms(1000),
        duration: (ms(5000), ms(2000)),
        drain: ms(2000),
        rounds: (7, 3),
    },
    Scenario {
        name: MIXED,
        what: "90% of 0.2 ms, 10% of 50 ms, 20 streams",
        rate: Rate::PerSecond(120.0),
        streams: 20,
        messages: &[
            Message { label: SHORT, weight: 9.0, busy: Some(us(200)), payload: 64, timeout: None },
            Message { label: LONG, weight: 1.0, busy: Some(ms(50)), payload: 64, timeout: None },
        ],
        warm_up: ms(1000),
        duration: (ms(10_000), ms(4000)),
        drain: ms(2000),
        rounds: (7, 3),
    },
    Scenario {
        name: TWICE,
        what: "5 ms of work with a deadline of 50 ms, 20 streams, at twice the capacity",
        rate: Rate::OfCapacity(2.0),
        streams: 20,
        messages: OVERLOADING,
        warm_up: ms(1000),
        duration: (ms(3000), ms(1500)),
        // What comes later than this is in time for nobody.
        drain: ms(500),
        rounds: (5, 2),
    },
    Scenario {
        name: FOUR_TIMES,
        what: "5 ms of work with a deadline of 50 ms, 20 streams, at four times the capacity",
        rate: Rate::OfCapacity(4.0),
        streams: 20,
        messages: OVERLOADING,
        warm_up: ms(1000),
        duration: (ms(3000), ms(1500)),
        drain: ms(500),
        rounds: (5, 2),
    },
];

/// The scenario of that name.
pub(crate) fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

impl Scenario {
    pub(crate) fn mix(&self) -> Vec<WeightedMessage> {
        self.messages.iter().map(Message::weighted).collect()
    }

    /// CPU time that a message takes, where all take the same.
    pub(crate) fn busy(&self) -> Option<Duration> {
        self.messages[0].busy
    }

    pub(crate) fn is_mixed(&self) -> bool {
        self.messages.len() > 1
    }
}

impl Message {
    fn weighted(&self) -> WeightedMessage {
        let (operation, parameters) = match self.busy {
            None => ("digest", None),
            Some(busy) => ("echo", Some(("busy".to_owned(), format!("{}us", busy.as_micros())))),
        };
        WeightedMessage {
            weight: self.weight,
            label: self.label.to_owned(),
            parameters: parameters.into_iter().collect(),
            payload: Payload::Random(self.payload),
            timeout: self.timeout,
            ..WeightedMessage::new(operation)
        }
    }
}
