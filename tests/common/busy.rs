//! A plane whose one worker is busy, so that whatever else comes has to wait.

use millstream::{
    OptimizationConfig, OptimizedStreamProcessor,
    processor::{Answer, Message, StreamOptions},
};
use tokio::sync::mpsc::UnboundedSender;

use super::{Act, Actor, Answers, Keeper, Request, all, feed, gate, processor, request, stir};

/// The plane, and the stream of the message that keeps its worker until the keeper is dropped.
pub struct Busy {
    pub processor: OptimizedStreamProcessor<Actor>,
    pub answers: Answers,
    pub sender: UnboundedSender<Message<Request>>,
    pub keeper: Keeper,
}

impl Busy {
    pub async fn new(config: OptimizationConfig) -> Self {
        Self::on(processor(OptimizationConfig { worker_count: 1, ..config }), 1).await
    }

    /// On a plane of one worker that has nothing to do; with a message of that weight.
    pub async fn on(processor: OptimizedStreamProcessor<Actor>, weight: usize) -> Self {
        let (busy, keeper) = gate();
        let (sender, feed) = feed();
        let answers = processor.stream(feed, StreamOptions::default()).expect("a stream may open");
        let mut plane = Self { processor, answers, sender, keeper };
        plane.send([Message::new(Request { weight, ..request(0, Act::Wait(busy)) })]).await;
        plane.keeper.await_begin();
        plane
    }

    /// Has the stream read more messages.
    pub async fn send(&mut self, messages: impl IntoIterator<Item = Message<Request>>) {
        for message in messages {
            self.sender.send(message).expect("the stream is there");
        }
        stir(&mut self.answers).await;
    }

    /// Lets the worker go on: all answers, that of its message first.
    pub async fn finish(self) -> Vec<Answer<u64>> {
        let Self { answers, sender, keeper, .. } = self;
        drop((sender, keeper));
        all(answers).await
    }
}
