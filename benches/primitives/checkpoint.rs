//! What a handler pays for calling `checkpoint()`, in a job that a worker runs, while nothing else waits.

use std::{
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use millstream::{JobContext, JobOptions, OptimizationConfig, WorkerPool};
use tokio::{runtime::Builder, sync::oneshot};

use crate::room::{Better, Contender, Effort, Measure, Room, nanoseconds_each};

pub(crate) const ROOM: Room = Room {
    name: "checkpoint",
    question: "What does it take a handler to ask whether it is still wanted, and whether something shorter waits?",
    measure,
};

/// Steps of a dependent computation: some 10 µs, the distance between two checkpoints that handlers are asked to keep.
const STEPS: u64 = 3328;

fn measure(effort: &Effort) -> Vec<Measure> {
    let config = OptimizationConfig { worker_count: 1, ..OptimizationConfig::default() };
    let pool = WorkerPool::new(&config).expect("the settings work, and the system gives a thread");
    let time = effort.time;
    // All are measured on the worker, ours with the context of its job.
    let on_worker = |each: fn(Duration, &mut JobContext<'_>) -> f64| {
        let runtime = Builder::new_current_thread().build().expect("a runtime without threads of its own");
        let job = pool.spawn_with(JobOptions::default(), move |context| each(time, context));
        runtime.block_on(job).expect("nobody cancels, and nothing panics")
    };
    let call = Measure::take(
        "one call",
        "ns",
        Better::Less,
        effort,
        vec![
            Contender::ours(|| on_worker(checkpoint)),
            Contender::limit("a load of an AtomicBool", || on_worker(flag)),
            Contender::peer("oneshot::Sender::is_closed", || on_worker(is_closed)),
            Contender::peer("Instant::now, and a deadline", || on_worker(clock)),
            Contender::peer("std::thread::yield_now", || on_worker(yields)),
        ],
    );
    let slice = Measure::take(
        "10 µs of work, and a call after it",
        "ns",
        Better::Less,
        effort,
        vec![
            Contender::ours(|| on_worker(slices)),
            Contender::limit("no call", || on_worker(slices_without)),
        ],
    );
    vec![call, slice]
}

fn checkpoint(time: Duration, context: &mut JobContext<'_>) -> f64 {
    nanoseconds_each(time, || black_box(&mut *context).checkpoint().expect("nobody cancels"))
}

fn flag(time: Duration, _: &mut JobContext<'_>) -> f64 {
    let cancelled = AtomicBool::new(false);
    // Relaxed: nobody writes it.
    nanoseconds_each(time, || assert!(!black_box(&cancelled).load(Relaxed)))
}

fn is_closed(time: Duration, _: &mut JobContext<'_>) -> f64 {
    let (sender, _receiver) = oneshot::channel::<()>();
    nanoseconds_each(time, || assert!(!black_box(&sender).is_closed()))
}

fn clock(time: Duration, _: &mut JobContext<'_>) -> f64 {
    let deadline = Instant::now() + 1000 * time;
    nanoseconds_each(time, || assert!(Instant::now() < deadline))
}

fn yields(time: Duration, _: &mut JobContext<'_>) -> f64 {
    nanoseconds_each(time, thread::yield_now)
}

fn slices(time: Duration, context: &mut JobContext<'_>) -> f64 {
    let mut state = 1;
    nanoseconds_each(time, || {
        state = work(state);
        context.checkpoint().expect("nobody cancels");
    })
}

fn slices_without(time: Duration, _: &mut JobContext<'_>) -> f64 {
    let mut state = 1;
    nanoseconds_each(time, || state = work(state))
}

fn work(seed: u64) -> u64 {
    (0..STEPS).fold(seed, |state, _| black_box(state.rotate_left(5).wrapping_mul(0xD134_2543_DE82_EF95)))
}
