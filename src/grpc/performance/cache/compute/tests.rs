use std::{
    convert::Infallible,
    future::pending,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use tokio::{sync::Barrier, sync::Notify, task::JoinSet};

use super::*;
use crate::grpc::performance::{
    cache::{CacheStats, Lookup, StreamCache},
    config::OptimizationConfig,
};

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

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_stuck_is_overtaken_after_the_timeout_and_by_one_at_a_time() {
    let cache = cache();
    let timeout = OptimizationConfig::default().worker_timeout;
    let (at_work, begun) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let spawn = |stuck: bool| {
        let (cache, at_work, begun) = (cache.clone(), Arc::clone(&at_work), Arc::clone(&begun));
        tokio::spawn(async move {
            let compute = || async {
                begun.fetch_add(1, SeqCst);
                if stuck {
                    return pending().await;
                }
                assert_eq!(at_work.fetch_add(1, SeqCst), 0, "one at a time");
                tokio::task::yield_now().await;
                at_work.fetch_sub(1, SeqCst);
                Ok::<_, Infallible>(Bytes::from_static(b"at last"))
            };
            cache.get_or_compute(key(), compute).await
        })
    };
    let start = tokio::time::Instant::now();
    let leader = spawn(true);
    others_wait().await;
    let second = spawn(true);
    others_wait().await;
    let followers: Vec<_> = (0..10).map(|_| spawn(false)).collect();
    for follower in followers {
        assert_eq!(follower.await.unwrap().unwrap(), "at last");
    }
    // One timeout for each of the two that are stuck, and what the clock of the timer rounds.
    let took = start.elapsed();
    assert!((2 * timeout..2 * timeout + timeout / 2).contains(&took), "{took:?}");
    assert_eq!(begun.load(SeqCst), 3);
    leader.abort();
    second.abort();
    assert_eq!(cache.get(&key()).unwrap(), "at last");
}

/// A follower on whose thread everything stops while it is told.
struct Frozen(crossbeam::channel::Receiver<()>);

impl FlightSink for Frozen {
    fn resolved(&self, _: u32, _: Bytes) {
        // Until the test lets go of the other end.
        assert!(self.0.recv().is_err());
    }

    fn failed(&self, _: u32, _: Bytes) {
        panic!("nobody fails");
    }

    fn your_turn(&self, _: u32, _: Lead) {
        panic!("the leader has completed");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_leader_has_found_reaches_those_whom_it_was_stopped_from_telling() {
    let cache = cache();
    let (thaw, frozen) = crossbeam::channel::bounded(0);
    let lead = lead(&cache);
    let sink: Arc<Frozen> = Arc::new(Frozen(frozen));
    let follower = || Follower { sink: Arc::clone(&sink) as _, token: 0 };
    assert!(matches!(cache.join(key(), follower), Lookup::Follow));
    let compute = || async { panic!("the leader has completed") };
    let mut follower = Box::pin(cache.get_or_compute::<Infallible, _>(key(), compute));
    assert!(poll_once(follower.as_mut()).await.is_none());
    let watch = lead.watch();
    let leader = std::thread::spawn(move || lead.complete("found".into()));
    // Only once it is settled: the paused clock would run ahead of the thread.
    while !watch.is_over() {
        std::thread::yield_now();
    }
    assert_eq!(follower.await.unwrap(), "found");
    drop(thaw);
    leader.join().unwrap();
    let CacheStats { hits, misses, joins, .. } = cache.stats();
    assert_eq!((hits, misses, joins), (0, 1, 2), "three have asked, and one has computed");
    assert_eq!(cache.get(&key()).unwrap(), "found");
}

/// Leads, where nobody does.
fn lead(cache: &StreamCache) -> Lead {
    match cache.join(key(), || panic!("nobody to follow")) {
        Lookup::Lead(lead) => lead,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_failure_that_others_are_content_with_makes_a_follower_compute() {
    let cache = cache();
    let lead = lead(&cache);
    let compute = || async { Ok::<_, Infallible>(Bytes::from_static(b"mine")) };
    let mut follower = Box::pin(cache.get_or_compute(key(), compute));
    assert!(poll_once(follower.as_mut()).await.is_none());
    lead.fail("broken".into(), Duration::from_secs(60));
    assert_eq!(follower.await.unwrap(), "mine");
    let CacheStats { hits, misses, joins, .. } = cache.stats();
    assert_eq!((hits, misses, joins), (0, 2, 0), "two have asked, and both have computed");
    assert_eq!(cache.get(&key()).unwrap(), "mine");
}

#[tokio::test]
async fn while_an_answer_is_stale_one_computes_and_the_others_get_it_at_once() {
    let cache = cache();
    let stale = Freshness::new().ttl(Duration::from_nanos(1)).stale_while_revalidate(Duration::from_secs(60));
    cache.insert_with(key(), b"old", stale);
    let compute = || async { Ok::<_, Infallible>(Bytes::from_static(b"new")) };
    let slow = || pending::<Result<Bytes, Infallible>>();
    let mut one = Box::pin(cache.get_or_compute(key(), slow));
    assert!(poll_once(one.as_mut()).await.is_none());
    for _ in 0..10 {
        assert_eq!(cache.get_or_compute(key(), compute).await.unwrap(), "old");
    }
    drop(one);
    assert_eq!(cache.get_or_compute(key(), compute).await.unwrap(), "new");
    assert_eq!(cache.get_or_compute(key(), slow).await.unwrap(), "new");
}
