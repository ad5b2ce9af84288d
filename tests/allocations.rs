//! What a message costs the heap once a stream has found its stride: nothing.
//!
//! This binary counts what every thread allocates, so its promises are kept by one test, one after the other: what the
//! test harness does between two tests would be counted with them. Taken out of the count, since they do not come with
//! each message, are
//! - the kilobyte that a histogram takes for the first time in an octave: all octaves are entered beforehand;
//! - what publishing to `metrics` takes, once in a `metrics_interval`: it is an hour here;
//! - what a thread takes as it starts: all have gone to sleep before counting begins;
//! - what is needed for the first time since a machine has stopped a thread where it never was stopped before (another
//!   instance of the handler, another job): then it is there, and the next round is counted.
//!
//! Whether a thread sleeps is asked the way Linux tells it.
#![cfg(target_os = "linux")]
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

#[path = "common/number.rs"]
mod number;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    backtrace::Backtrace,
    cell::Cell,
    fs,
    future::poll_fn,
    pin::Pin,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_core::Stream;
use millstream::{
    CacheKey, Class, HandlerError, JobOptions, JobScope, MessageHandler, OptimizationConfig,
    OptimizationError, OptimizedStreamProcessor, StreamPerformanceMonitor, WorkerPool,
    monitor::{Counter, Counts, Outcome},
    processor::{AnswerStream, Message, Order, StreamOptions},
};
use parking_lot::Mutex;

/// Messages before counting begins.
const WARM_UP: u64 = 2_000;
/// Messages of a round, which is counted.
const COUNTED: u64 = 10_000;
const ROUNDS: usize = 5;
const HOUR: Duration = Duration::from_secs(3600);

/// The system's allocator, and how often it was asked while [`COUNTING`].
struct Counting;

static COUNTING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
/// Where the first allocation came from.
static FIRST: Mutex<Option<Backtrace>> = Mutex::new(None);

thread_local! {
    /// This thread is writing down where it is, which allocates.
    static TRACING: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    if !COUNTING.load(SeqCst) || TRACING.replace(true) {
        return;
    }
    if ALLOCATIONS.fetch_add(1, SeqCst) == 0 {
        *FIRST.lock() = Some(Backtrace::force_capture());
    }
    TRACING.set(false);
}

// SAFETY: every call goes to `System` as it came, so what `System` guarantees holds; `count` touches none of the memory,
// and the allocations that it makes itself pass without being counted again.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`, which is the same one.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as in `alloc`; `block` came from `System`, as all blocks do.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as in `realloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counts from now on.
fn begin_count() {
    ALLOCATIONS.store(0, SeqCst);
    COUNTING.store(true, SeqCst);
}

/// Allocations since [`begin_count`], by all threads, if they are more than `allowed`: said with the first of them.
fn end_count(allowed: usize) -> Result<(), String> {
    COUNTING.store(false, SeqCst);
    let allocations = ALLOCATIONS.load(SeqCst);
    let first = FIRST.lock().take().map(|trace| trace.to_string()).unwrap_or_default();
    let said = || format!("{allocations} allocations, {allowed} allowed; the first one:\n{first}");
    if allocations <= allowed { Ok(()) } else { Err(said()) }
}

/// One round has to go by with as many allocations as are allowed.
async fn counted(what: &str, allowed: usize, mut round: impl AsyncFnMut()) {
    let mut said = Ok(());
    for _ in 0..ROUNDS {
        begin_count();
        round().await;
        said = end_count(allowed);
        if said.is_ok() {
            return;
        }
    }
    panic!("{what}, in each round: {}", said.expect_err("the last round"));
}

/// A request as small as they come.
#[derive(Clone, Copy)]
struct Number {
    value: u64,
    cached: bool,
    /// May run in place.
    vouched: bool,
}

struct Double;

impl MessageHandler for Double {
    type Request = Number;
    type Response = u64;

    fn handle(&mut self, request: Number, _: &mut JobScope<'_>) -> Result<u64, HandlerError> {
        Ok(2 * request.value)
    }

    fn may_run_in_place(request: &Number) -> bool {
        request.vouched
    }

    fn cache_key(request: &Number) -> Option<CacheKey> {
        request.cached.then(|| CacheKey::of(&[&request.value.to_le_bytes()]))
    }

    fn to_cache(response: &u64) -> Option<Bytes> {
        number::to_cache(response)
    }

    fn from_cache(stored: Bytes) -> Option<u64> {
        number::from_cache(stored)
    }
}

/// Endless, always ready, and made of nothing.
struct Numbers {
    next: u64,
    /// Where the numbers begin anew, and whether answers may come from the cache.
    period: Option<u64>,
    timeout: Option<Duration>,
    vouched: bool,
}

impl Stream for Numbers {
    type Item = Result<Message<Number>, OptimizationError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let value = self.next % self.period.unwrap_or(u64::MAX);
        self.next += 1;
        let message = Message::new(Number { value, cached: self.period.is_some(), vouched: self.vouched });
        Poll::Ready(Some(Ok(message.timeout(self.timeout))))
    }
}

fn numbers() -> Numbers {
    Numbers { next: 0, period: None, timeout: None, vouched: false }
}

/// One worker, so that its recorder can be prepared; and streams that are as deep as they may be after one poll.
fn config() -> OptimizationConfig {
    OptimizationConfig {
        worker_count: 1,
        backpressure_threshold: 1.0,
        stream_channel_capacity: 64,
        metrics_interval: HOUR,
        ..OptimizationConfig::default()
    }
}

/// Enters every octave of the calling thread's histograms.
fn enter_octaves(monitor: &StreamPerformanceMonitor) {
    for octave in 0..47 {
        let time = Duration::from_nanos(1 << octave);
        monitor.record_run(Class::DEFAULT, time, time);
        monitor.record_sojourn(Class::DEFAULT, time);
    }
}

/// The states of the threads that pools have started.
fn states() -> Vec<String> {
    let threads = fs::read_dir("/proc/self/task").expect("Linux lists the threads");
    let stats = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    let ours = stats.filter(|stat| stat.contains("(millstream-"));
    ours.filter_map(|stat| Some(stat.rsplit_once(") ")?.1.to_owned())).collect()
}

/// Waits until the one pool that there is has all its threads (a worker of each crew, and their supervisor), and they
/// sleep: those of the background may start late, since they give way to everybody.
async fn pool_has_started() {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !matches!(&states()[..], all @ [_, _, _] if all.iter().all(|state| state.starts_with('S'))) {
        assert!(Instant::now() < deadline, "the threads never slept: {:?}", states());
        tokio::task::yield_now().await;
    }
}

async fn processor(config: OptimizationConfig) -> OptimizedStreamProcessor<Double> {
    let processor = OptimizedStreamProcessor::new(config, || Double).unwrap();
    let monitor = processor.monitor().clone();
    enter_octaves(&monitor);
    processor.pool().spawn(move || enter_octaves(&monitor)).await.unwrap();
    processor
}

async fn take(answers: &mut AnswerStream<Double, Numbers, (), OptimizationError>, messages: u64) {
    for _ in 0..messages {
        let answer = poll_fn(|cx| Pin::new(&mut *answers).poll_next(cx)).await;
        answer.expect("the input is endless").expect("the stream is well").result.unwrap();
    }
}

/// Streams so many messages as a warm-up, and then those that count.
async fn stream(what: &str, config: OptimizationConfig, input: Numbers, order: Order, allowed: usize) {
    let Numbers { period, vouched, .. } = input;
    let processor = processor(config).await;
    let mut answers = processor.stream(input, StreamOptions { order, ..StreamOptions::default() }).unwrap();
    take(&mut answers, WARM_UP).await;
    let in_place = |counts: &Counts| counts.of(Counter::RunInPlace);
    while vouched && in_place(&processor.monitor().counts()) == 0 {
        take(&mut answers, 1).await;
    }
    pool_has_started().await;
    let before = processor.monitor().snapshot().counts;
    counted(what, allowed, async || take(&mut answers, COUNTED).await).await;
    let after = processor.monitor().snapshot().counts;
    let answered = after.answered(Outcome::Ok) - before.answered(Outcome::Ok);
    assert!(answered > 0 && answered.is_multiple_of(COUNTED), "{what}: {answered} answers");
    let hits = after.of(Counter::CacheHits) - before.of(Counter::CacheHits);
    assert_eq!(hits > 0, period.is_some(), "{what}: {hits} cache hits");
    let in_place = in_place(&after) - in_place(&before);
    assert_eq!(in_place > 0, vouched, "{what}: {in_place} in place");
    drop(answers);
    processor.drain(Instant::now() + HOUR).await;
}

async fn spawn(what: &str) {
    let pool = WorkerPool::new(&config()).unwrap();
    let run = async |jobs| {
        for number in 0..jobs {
            assert_eq!(pool.spawn(move || number + 1).await.unwrap(), number + 1);
        }
    };
    run(WARM_UP).await;
    pool_has_started().await;
    counted(what, 0, async || run(COUNTED).await).await;
    pool.drain(Instant::now() + HOUR).await;
}

async fn spawn_in_place(what: &str, config: &OptimizationConfig) {
    let pool = WorkerPool::new(config).unwrap();
    let run = async |jobs| {
        for number in 0..jobs {
            let options = JobOptions { may_run_in_place: true, ..JobOptions::default() };
            assert_eq!(pool.spawn_with(options, move |_| number + 1).await.unwrap(), number + 1);
        }
    };
    run(WARM_UP).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    while pool.ran_in_place() == 0 {
        assert!(Instant::now() < deadline, "{what}: nothing ever runs in place");
        run(1).await;
    }
    pool_has_started().await;
    let before = pool.ran_in_place();
    counted(what, 0, async || run(COUNTED).await).await;
    assert!(pool.ran_in_place() > before, "{what}: none");
}

#[tokio::test]
async fn between_admission_and_answer_nothing_is_allocated() {
    for order in [Order::Request, Order::Completion] {
        stream(&format!("messages in {order:?} order"), config(), numbers(), order, 0).await;
    }
    let timeouts = Numbers { timeout: Some(HOUR), ..numbers() };
    stream("messages with deadlines", config(), timeouts, Order::Request, 0).await;
    let hits = Numbers { period: Some(100), ..numbers() };
    stream("cache hits", config(), hits, Order::Request, 0).await;
    // What a busy machine takes from a thread counts, too; so the budget is generous.
    let generous = OptimizationConfig { in_place_budget: Duration::from_millis(1), ..config() };
    let vouched = Numbers { vouched: true, ..numbers() };
    stream("messages that run in place", generous.clone(), vouched, Order::Request, 0).await;
    // Where the lanes are full each message queues for room: its place in the queue, and a block for each 31 of them.
    let tight = OptimizationConfig { worker_queue_capacity: 4, ..config() };
    let places = (COUNTED + COUNTED.div_ceil(31) + 1) as usize;
    stream("messages that wait for room", tight, numbers(), Order::Request, places).await;
    spawn("jobs of a pool").await;
    spawn_in_place("jobs that run in place", &generous).await;
}
