//! What becomes of a stream that uses far more than the others.

use std::time::{Duration, Instant};

use millstream::{
    OptimizationConfig,
    processor::{Message, Peer, StreamOptions},
};
use tokio::sync::mpsc::UnboundedSender;

use crate::common::{self, *};

const WORK: Duration = Duration::from_millis(1);
const HEAVY: u64 = 1;
const LIGHT: u64 = 2;

struct Client {
    sender: UnboundedSender<Message<common::Request>>,
    answers: Answers,
}

impl Client {
    fn new(processor: &millstream::OptimizedStreamProcessor<Actor>, peer: Option<Peer>) -> Self {
        let (sender, feed) = feed();
        let options = StreamOptions { peer, ..StreamOptions::default() };
        Self { sender, answers: processor.stream(feed, options).unwrap() }
    }

    async fn send(&mut self, number: u64, act: Act) {
        self.sender.send(Message::new(request(number, act))).unwrap();
        stir(&mut self.answers).await;
    }

    async fn work(&mut self, messages: u64) {
        for number in 0..messages {
            self.sender.send(Message::new(request(number, Act::Busy(WORK)))).unwrap();
            answer(&mut self.answers).await.result.unwrap();
        }
    }
}

/// Which of two streams is served first, when the one that has used far more has queued first.
async fn first_served(enable_stream_fairness: bool, peers: [Option<Peer>; 2]) -> u64 {
    let config = OptimizationConfig { worker_count: 1, enable_stream_fairness, ..config() };
    let processor = processor(config);
    let [mut heavy, mut light] = peers.map(|peer| Client::new(&processor, peer));
    light.work(5).await;
    heavy.work(200).await;
    let (busy, keeper) = gate();
    light.send(0, Act::Wait(busy)).await;
    keeper.await_begin();
    let (next, next_keeper) = gate();
    heavy.send(HEAVY, Act::Wait(next.clone())).await;
    light.send(LIGHT, Act::Wait(next)).await;
    drop(keeper);
    next_keeper.await_begin()
}

#[tokio::test]
async fn a_stream_that_has_used_far_more_than_the_others_waits_behind_them() {
    let (one, other) = (Some(Peer::named("one")), Some(Peer::named("another")));
    for peers in [[None, None], [one, one], [one, other]] {
        assert_eq!(first_served(false, peers).await, HEAVY, "{peers:?}");
        // What a busy machine takes from the light one while it works counts as its use.
        let deadline = Instant::now() + LONG;
        while first_served(true, peers).await != LIGHT {
            assert!(Instant::now() < deadline, "{peers:?}");
        }
    }
}
