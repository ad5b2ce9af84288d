//! What the handler says of its answers: how long they are good, what makes them worthless, and which failures are kept.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{Gate, Keeper, LONG, config, eventually, gate, number, passed};
use millstream::{
    CacheKey, FailureKind, Freshness, HandlerError, JobScope, MessageHandler, OptimizationConfig,
    OptimizedStreamProcessor,
    processor::{Answer, Message},
};

/// Where all answers come from.
#[derive(Default)]
struct World {
    version: AtomicU64,
    computed: AtomicUsize,
}

/// Reads the version of the world.
#[derive(Clone)]
struct Request {
    key: u64,
    world: Arc<World>,
    freshness: Freshness,
    /// Waits there once it has read.
    gate: Option<Gate>,
    fails: bool,
}

struct Reader;

impl MessageHandler for Reader {
    type Request = Request;
    type Response = u64;

    fn handle(&mut self, request: Request, scope: &mut JobScope<'_>) -> Result<u64, HandlerError> {
        let version = request.world.version.load(SeqCst);
        request.world.computed.fetch_add(1, SeqCst);
        if let Some(gate) = request.gate {
            gate.pass(version);
        }
        scope.checkpoint()?;
        if request.fails {
            Err(HandlerError::invalid_argument(format!("wrong in {version}")))
        } else {
            Ok(version)
        }
    }

    fn cache_key(request: &Request) -> Option<CacheKey> {
        Some(CacheKey::of(&[&request.key.to_le_bytes()]))
    }

    fn to_cache(response: &u64) -> Option<Bytes> {
        number::to_cache(response)
    }

    fn from_cache(stored: Bytes) -> Option<u64> {
        number::from_cache(stored)
    }

    fn freshness(request: &Request) -> Freshness {
        request.freshness
    }

    /// Odd versions have a tag of their own.
    fn freshness_of(version: &u64, asked: Freshness) -> Freshness {
        if version.is_multiple_of(2) { asked } else { asked.tag("odd") }
    }

    /// Whatever the failure.
    fn cache_error(_: &HandlerError) -> Option<Duration> {
        Some(LONG)
    }
}

type Processor = OptimizedStreamProcessor<Reader>;

fn processor(config: OptimizationConfig) -> Processor {
    OptimizedStreamProcessor::new(config, || Reader).unwrap()
}

fn request(world: &Arc<World>) -> Request {
    Request { key: 1, world: Arc::clone(world), freshness: Freshness::new(), gate: None, fails: false }
}

async fn ask(processor: &Processor, request: &Request) -> Answer<u64> {
    let answer = processor.answer(Message::new(request.clone()), None);
    tokio::time::timeout(LONG, answer).await.expect("an answer comes")
}

async fn read(processor: &Processor, request: &Request) -> (u64, bool) {
    let answer = ask(processor, request).await;
    (answer.result.unwrap(), answer.cache_hit)
}

/// Has a message begin, and wait.
async fn begin(processor: &Processor, request: &Request) -> (tokio::task::JoinHandle<Answer<u64>>, Keeper) {
    let (gate, keeper) = gate();
    let (processor, request) = (processor.clone(), Request { gate: Some(gate), ..request.clone() });
    let answer = tokio::spawn(async move { ask(&processor, &request).await });
    eventually("it begins", || !keeper.began.is_empty()).await;
    (answer, keeper)
}

#[tokio::test]
async fn each_answer_is_served_for_the_time_that_its_handler_gives_it() {
    let (processor, world) = (processor(config()), Arc::default());
    let brief = Duration::from_millis(5);
    let short = Request { freshness: Freshness::new().ttl(brief), ..request(&world) };
    let long = Request { key: 2, ..request(&world) };
    assert_eq!((read(&processor, &short).await.1, read(&processor, &long).await.1), (false, false));
    passed(Instant::now() + brief).await;
    assert_eq!((read(&processor, &short).await.1, read(&processor, &long).await.1), (false, true));
}

#[tokio::test]
async fn who_asks_after_an_invalidation_gets_nothing_from_before_it() {
    let (processor, world) = (processor(config()), Arc::default());
    let request = Request { freshness: Freshness::new().path("tenant/42/pictures"), ..request(&world) };
    let (first, keeper) = begin(&processor, &request).await;
    world.version.store(2, SeqCst);
    processor.cache().invalidate_prefix("tenant/42");
    let late = {
        let (processor, request) = (processor.clone(), request.clone());
        tokio::spawn(async move { ask(&processor, &request).await })
    };
    eventually("it joins", || {
        // It is polled on this very thread, and so has joined when it was accepted.
        processor.monitor().counts().of(millstream::monitor::Counter::Accepted) == 2
    })
    .await;
    drop(keeper);
    assert_eq!(first.await.unwrap().result.unwrap(), 0, "it asked before");
    assert_eq!(late.await.unwrap().result.unwrap(), 2);
    assert_eq!(read(&processor, &request).await, (2, true));
    processor.cache().invalidate_prefix("tenant/7");
    assert_eq!(read(&processor, &request).await, (2, true));
    assert_eq!(world.computed.load(SeqCst), 2);
}

#[tokio::test]
async fn a_tag_that_the_answer_brings_counts_from_before_its_computation() {
    let (processor, world) = (processor(config()), Arc::new(World::default()));
    world.version.store(1, SeqCst);
    let (first, keeper) = begin(&processor, &request(&world)).await;
    processor.cache().invalidate_tag("odd");
    drop(keeper);
    assert_eq!(first.await.unwrap().result.unwrap(), 1);
    world.version.store(2, SeqCst);
    assert_eq!(read(&processor, &request(&world)).await, (2, false));
    processor.cache().invalidate_tag("odd");
    assert_eq!(read(&processor, &request(&world)).await, (2, true), "an even one has no tag");
}

#[tokio::test]
async fn a_failure_that_the_handler_wants_kept_is_the_answer_to_all_equal_messages() {
    let (processor, world) = (processor(config()), Arc::default());
    let wrong = Request { fails: true, ..request(&world) };
    let (first, keeper) = begin(&processor, &wrong).await;
    let joined = {
        let (processor, wrong) = (processor.clone(), wrong.clone());
        tokio::spawn(async move { ask(&processor, &wrong).await })
    };
    eventually("it joins", || {
        // It is polled on this very thread, and so has joined when it was accepted.
        processor.monitor().counts().of(millstream::monitor::Counter::Accepted) == 2
    })
    .await;
    drop(keeper);
    let answers = [first.await.unwrap(), joined.await.unwrap(), ask(&processor, &wrong).await];
    assert_eq!(answers.each_ref().map(|answer| answer.cache_hit), [false, true, true]);
    for answer in answers {
        let error = answer.result.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (FailureKind::InvalidArgument, "wrong in 0"));
    }
    assert_eq!(world.computed.load(SeqCst), 1);
    assert!(processor.cache().invalidate(&Reader::cache_key(&wrong).unwrap()));
    assert_eq!(read(&processor, &request(&world)).await, (0, false));
}

#[tokio::test]
async fn a_message_that_was_too_late_is_no_failure_for_others() {
    let (processor, world) = (processor(config()), Arc::default());
    let (gate, keeper) = gate();
    let slow = Request { gate: Some(gate), ..request(&world) };
    let late = processor.answer(Message::new(slow).timeout(Some(Duration::from_millis(5))), None).await;
    assert_eq!(late.result.unwrap_err().kind(), FailureKind::DeadlineExceeded);
    drop(keeper);
    assert_eq!(read(&processor, &request(&world)).await.0, 0);
}

#[tokio::test]
async fn a_stale_answer_is_given_at_once_while_one_message_computes_it_anew() {
    let (processor, world) = (processor(config()), Arc::default());
    let brief = Duration::from_millis(5);
    let freshness = Freshness::new().ttl(brief).stale_while_revalidate(LONG);
    let stale = Request { freshness, ..request(&world) };
    assert_eq!(read(&processor, &stale).await, (0, false));
    passed(Instant::now() + brief).await;
    world.version.store(2, SeqCst);
    let fresh = Request { freshness: Freshness::new(), ..stale.clone() };
    let (first, keeper) = begin(&processor, &fresh).await;
    let first = first.await.unwrap();
    assert_eq!((first.result.unwrap(), first.cache_hit), (0, true), "answered while it computes");
    for _ in 0..10 {
        assert_eq!(read(&processor, &stale).await, (0, true));
    }
    assert_eq!(world.computed.load(SeqCst), 2, "one computes");
    drop(keeper);
    let deadline = Instant::now() + LONG;
    loop {
        let (version, hit) = read(&processor, &stale).await;
        assert!(hit && Instant::now() < deadline, "{version}");
        if version == 2 {
            break;
        }
    }
    assert_eq!(world.computed.load(SeqCst), 2);
}

#[tokio::test]
async fn a_stale_answer_is_not_computed_anew_while_there_is_no_room() {
    // On a busy machine messages wait for so long that it might count as an overload, in which nothing is computed ahead.
    let never = 1e6;
    let one = OptimizationConfig {
        worker_count: 1,
        worker_queue_capacity: 1,
        overload_warning: never,
        overload_critical: never,
        overload_emergency: never,
        ..config()
    };
    let (processor, world) = (processor(one), Arc::default());
    let brief = Duration::from_millis(5);
    let freshness = Freshness::new().ttl(brief).stale_while_revalidate(LONG);
    let stale = Request { freshness, ..request(&world) };
    assert_eq!(read(&processor, &stale).await, (0, false));
    passed(Instant::now() + brief).await;
    let (busy, keeper) = begin(&processor, &Request { key: 2, ..stale.clone() }).await;
    let waiting = {
        let (processor, request) = (processor.clone(), Request { key: 3, ..stale.clone() });
        tokio::spawn(async move { ask(&processor, &request).await })
    };
    eventually("the lanes are full", || processor.pool().queued() == 1).await;
    assert_eq!(read(&processor, &stale).await, (0, true));
    drop(keeper);
    busy.await.unwrap();
    waiting.await.unwrap();
    assert_eq!(world.computed.load(SeqCst), 3);
    assert_eq!(read(&processor, &stale).await, (0, true), "left to this one");
    eventually("it is computed anew", || world.computed.load(SeqCst) == 4).await;
}

/// Cannot read back what it has stored.
struct Forgetful(u64);

impl MessageHandler for Forgetful {
    type Request = ();
    type Response = u64;

    fn handle(&mut self, (): (), _: &mut JobScope<'_>) -> Result<u64, HandlerError> {
        self.0 += 1;
        Ok(self.0)
    }

    fn cache_key((): &()) -> Option<CacheKey> {
        Some(CacheKey::of(&[b"the only one"]))
    }

    fn to_cache(_: &u64) -> Option<Bytes> {
        Some(Bytes::from_static(b"?"))
    }

    fn from_cache(_: Bytes) -> Option<u64> {
        None
    }
}

#[tokio::test]
async fn a_stored_answer_that_cannot_be_read_is_computed_anew() {
    let config = OptimizationConfig { worker_count: 1, ..config() };
    let processor = OptimizedStreamProcessor::new(config, || Forgetful(0)).unwrap();
    for time in 1..=3 {
        let answer = processor.answer(Message::new(()), None).await;
        assert_eq!((answer.result.unwrap(), answer.cache_hit), (time, false));
        assert_eq!(processor.cache().stats().insertions, time);
    }
}
