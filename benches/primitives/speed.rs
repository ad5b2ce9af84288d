//! How much of a core an operation costs, with one thread and with several.

use std::{
    num::NonZero,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use crate::room::{Better, Contender, Effort, Measure, Standing};

/// Operations between two looks at the clock's verdict.
const BATCH: usize = 256;
/// One who does the operation: so often as it is told.
pub(crate) type Repeat<'a> = &'a (dyn Fn(usize) + Sync);

/// What an operation costs each contender, with so many threads and so many.
pub(crate) fn with_threads(
    what: &str,
    threads: &[usize],
    effort: &Effort,
    contenders: &[(&'static str, Standing, Repeat<'_>)],
) -> Vec<Measure> {
    let at = |&threads: &usize| {
        let contenders = contenders.iter().map(|&(name, standing, repeat)| {
            Contender::new(name, standing, move || once(repeat, threads, effort.time))
        });
        Measure::take(
            format!("{what}, {threads} threads"),
            "ns of a core",
            Better::Less,
            effort,
            contenders.collect(),
        )
    };
    threads.iter().map(at).collect()
}

/// Nanoseconds of one core that an operation costs, with `threads` threads at it.
///
/// Several are spread over the cores, each pinned: two that the system leaves on one core for a while, which it does,
/// would each seem to take twice the time. One goes where the system finds it best.
fn once(repeat: Repeat<'_>, threads: usize, round: Duration) -> f64 {
    let (stop, operations) = (&AtomicBool::new(false), &AtomicU64::new(0));
    let begin = &Barrier::new(threads + 1);
    let mut taken = Duration::ZERO;
    let places = if threads > 1 { core_affinity::get_core_ids() } else { None }.unwrap_or_default();
    let mut places = places.into_iter().cycle();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let place = places.next();
                scope.spawn(move || {
                    // Where pinning is refused the figures are what they are without it.
                    place.map(core_affinity::set_for_current);
                    // What a thread needs to make once.
                    repeat(BATCH);
                    begin.wait();
                    let mut done = 0;
                    // Relaxed, both: nothing is handed over but the figures themselves.
                    while !stop.load(Relaxed) {
                        repeat(BATCH);
                        done += BATCH as u64;
                    }
                    operations.fetch_add(done, Relaxed);
                })
            })
            .collect();
        begin.wait();
        let started = Instant::now();
        while started.elapsed() < round {
            thread::park_timeout(round.saturating_sub(started.elapsed()));
        }
        stop.store(true, Relaxed);
        workers.into_iter().for_each(|worker| worker.join().expect("an operation does not panic"));
        taken = started.elapsed();
    });
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    taken.as_nanos() as f64 * threads.min(cores) as f64 / operations.load(Relaxed) as f64
}
