use std::{
    convert::Infallible,
    future::pending,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use tokio::{sync::Barrier, sync::Notify, task::JoinSet};

use super::*;
use crate::grpc::performance::{cache::StreamCache, config::OptimizationConfig};

fn cache() -> StreamCache {
    StreamCache::new(&OptimizationConfig::default()).unwrap()
}

fn key() -> CacheKey {
    CacheKey::of(&[b"the one"])
}

/// Lets every other task run until it waits; on the current-thread runtime that is a matter of its queue.
async fn others_wait() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_concurrent_equals_are_one_computation() {
    let (cache, computations) = (cache(), Arc::new(AtomicUsize::new(0)));
    let barrier = Arc::new(Barrier::new(1000));
    let mut tasks = JoinSet::new();
    for _ in 0..1000 {
        let (cache, computations, barrier) = (cache.clone(), Arc::clone(&computations), Arc::clone(&barrier));
        tasks.spawn(async move {
            barrier.wait().await;
            let compute = || async {
                computations.fetch_add(1, SeqCst);
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(Bytes::from_static(b"once"))
            };
            cache.get_or_compute(key(), compute).await
        });
    }
    for answer in tasks.join_all().await {
        assert_eq!(answer.unwrap(), "once");
    }
    assert_eq!(computations.load(SeqCst), 1);
}

#[tokio::test]
async fn an_error_is_its_own_and_not_cached() {
    let cache = cache();
    let (begun, fail) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let leader = tokio::spawn({
        let (cache, begun, fail) = (cache.clone(), Arc::clone(&begun), Arc::clone(&fail));
        async move {
            let compute = || async {
                begun.notify_one();
                fail.notified().await;
                Err("broken")
            };
            cache.get_or_compute(key(), compute).await
        }
    });
    begun.notified().await;
    let mut followers = JoinSet::new();
    for n in 0..3_u8 {
        let cache = cache.clone();
        followers.spawn(async move {
            let compute = || async move { Ok::<_, &str>(vec![n].into()) };
            cache.get_or_compute(key(), compute).await
        });
    }
    others_wait().await;
    fail.notify_one();
    assert_eq!(leader.await.unwrap(), Err("broken"));
    let answers = followers.join_all().await;
    assert_eq!(answers, vec![Ok(Bytes::from_static(&[0])); 3], "the first that waited has computed for all");
    assert_eq!(cache.get(&key()).unwrap(), [0][..]);
}

#[tokio::test]
async fn a_future_that_is_dropped_passes_the_turn_on_and_a_follower_that_is_dropped_is_skipped() {
    let cache = cache();
    let spawn = |value: Option<&'static [u8]>| {
        let cache = cache.clone();
        tokio::spawn(async move {
            let compute = || async {
                match value {
                    Some(value) => Ok::<_, Infallible>(Bytes::from_static(value)),
                    None => pending().await,
                }
            };
            cache.get_or_compute(key(), compute).await
        })
    };
    let leader = spawn(None);
    others_wait().await;
    let gone = spawn(Some(b"never"));
    let next = spawn(None);
    let last = spawn(Some(b"at last"));
    others_wait().await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    others_wait().await;
    assert_eq!(cache.get(&key()), None, "the next one computes for ever");
    next.abort();
    assert_eq!(last.await.unwrap().unwrap(), "at last");
}

#[tokio::test]
async fn a_lead_that_arrives_at_a_future_that_is_being_dropped_is_not_lost() {
    let cache = cache();
    let compute = || async { Ok::<_, Infallible>(Bytes::from_static(b"mine")) };
    let Lookup::Lead(lead) = cache.join(key(), || panic!("nobody to follow")) else {
        panic!("somebody leads");
    };
    let mut follower = Box::pin(cache.get_or_compute(key(), compute));
    assert!(poll_once(follower.as_mut()).await.is_none());
    drop(lead);
    // The lead lies in its channel, and the future goes without having looked.
    drop(follower);
    assert_eq!(cache.get_or_compute(key(), compute).await.unwrap(), "mine");
}

/// Polls once.
async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn a_panic_passes_the_turn_on() {
    let cache = cache();
    let compute = || async { panic!("as the test wants it") };
    let panicked = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_compute::<Infallible, _>(key(), compute).await }
    });
    assert!(panicked.await.unwrap_err().is_panic());
    let answer = cache.get_or_compute(key(), || async { Ok::<_, Infallible>(Bytes::new()) }).await;
    assert_eq!(answer.unwrap(), "");
}
