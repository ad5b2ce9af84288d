//! What one stream may do.

use std::time::{Duration, Instant};

use millstream::{
    OptimizationConfig, OptimizationError,
    processor::{Message, StreamOptions},
};

use crate::common::*;

#[tokio::test]
async fn a_stream_has_no_more_messages_under_way_than_it_may() {
    for (stream_channel_capacity, accepted) in [(3, 3), (1000, 10)] {
        let processor = processor(OptimizationConfig { stream_channel_capacity, ..config() });
        let (busy, keeper) = gate();
        let requests = (0..10).map(|n| request(n, Act::Wait(busy.clone())));
        let mut answers = processor.stream(ready(requests), StreamOptions::default()).unwrap();
        stir(&mut answers).await;
        assert_eq!(answers.context().message_count, accepted);
        drop(keeper);
        assert_eq!(all(answers).await.len(), 10);
    }
}

#[tokio::test]
async fn a_stream_is_ended_when_it_was_idle_for_so_long_and_not_while_it_is_busy() {
    let stream_timeout = Duration::from_millis(50);
    let processor = processor(OptimizationConfig { stream_timeout, ..config() });
    let (busy, keeper) = gate();
    let (sender, feed) = feed();
    let mut answers = processor.stream(feed, StreamOptions::default()).unwrap();
    sender.send(Message::new(request(7, Act::Wait(busy)))).unwrap();
    stir(&mut answers).await;
    keeper.await_begin();
    passed(Instant::now() + 2 * stream_timeout).await;
    stir(&mut answers).await;
    drop(keeper);
    assert_eq!(answer(&mut answers).await.result.unwrap(), 7);

    let idle = Instant::now();
    let end = next(&mut answers).await.unwrap().unwrap_err();
    assert!(matches!(end, OptimizationError::StreamIdle(silent) if silent == stream_timeout), "{end}");
    let waited = idle.elapsed();
    assert!(waited < OptimizationConfig::default().stream_timeout / 2, "{waited:?}");
    assert!(next(&mut answers).await.is_none());
}
