//! Several threads at once, and what each saw when.

use std::{
    hint,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
};

use super::checker::Seen;

/// More than this machine may have cores: a thread that loses its core in the middle of an operation is of interest.
pub(crate) const THREADS: usize = 3;

/// Does an operation, and notes it with its times.
pub(crate) type Note<'a, D> = &'a mut dyn FnMut(&mut dyn FnMut() -> D);

/// Runs `work` on all threads at once, each with its number, and gives what they noted.
pub(crate) fn record<D: Send>(work: impl Fn(usize, Note<'_, D>) + Sync) -> Vec<Seen<D>> {
    let (clock, ready) = (&AtomicUsize::new(0), &AtomicUsize::new(0));
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let mut seen = Vec::new();
                    // All begin in the same moment, as far as they have a core: a barrier would wake them in turn.
                    ready.fetch_add(1, SeqCst);
                    while ready.load(SeqCst) < THREADS {
                        hint::spin_loop();
                        thread::yield_now();
                    }
                    work(thread, &mut |operation| {
                        let began = clock.fetch_add(1, SeqCst);
                        let done = operation();
                        seen.push(Seen { began, ended: clock.fetch_add(1, SeqCst), done });
                    });
                    seen
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no operation panics")).collect()
    })
}
