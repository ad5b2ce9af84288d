//! Submitters against workers that go to sleep. A wake that is lost is a deadlock, which loom reports.

use loom::{sync::Arc, thread};

use super::*;
use crate::platform::atomic::AtomicUsize;

/// Two workers over one lane: a count of tasks, whose accesses are as weak as the protocol allows.
struct Pool {
    sleepers: Sleepers,
    pushed: AtomicUsize,
    taken: AtomicUsize,
    /// Tasks that were ever to come: the pool is over when all were taken.
    all: usize,
}

impl Pool {
    fn new(seats: usize, all: usize) -> Arc<Self> {
        let count = || AtomicUsize::new(0);
        Arc::new(Self { sleepers: Sleepers::new(seats, &[]), pushed: count(), taken: count(), all })
    }

    fn submit(&self) {
        self.pushed.fetch_add(1, Relaxed);
        self.sleepers.notify(Side::Elsewhere, |_| self.waiting());
    }

    fn waiting(&self) -> usize {
        let taken = self.taken.load(SeqCst);
        self.pushed.load(SeqCst).saturating_sub(taken)
    }

    fn take(&self) -> Option<()> {
        let mut taken = self.taken.load(Relaxed);
        while taken < self.pushed.load(Relaxed) {
            match self.taken.compare_exchange(taken, taken + 1, Relaxed, Relaxed) {
                Ok(_) => return Some(()),
                Err(now) => taken = now,
            }
        }
        None
    }

    fn is_over(&self) -> bool {
        self.taken.load(SeqCst) == self.all
    }

    /// As a worker's search, without the spinning.
    fn search(&self, seat: usize) -> Option<()> {
        self.sleepers.begin_search();
        let found = self.take();
        let found =
            found.or_else(|| self.sleepers.sleep_until_found(seat, || self.take(), || self.is_over()));
        self.sleepers.end_search(|| self.waiting() > 0, |_| self.waiting());
        found
    }

    /// A worker's life.
    fn work(&self, seat: usize) {
        while self.take().or_else(|| self.search(seat)).is_some() {
            if self.is_over() {
                self.sleepers.wake_all();
            }
        }
    }
}

fn spawn(pool: &Arc<Pool>, run: impl FnOnce(&Pool) + 'static) -> thread::JoinHandle<()> {
    let pool = Arc::clone(pool);
    thread::spawn(move || run(&pool))
}

#[test]
fn nobody_sleeps_while_something_waits() {
    loom::model(|| {
        let pool = Pool::new(1, 2);
        let worker = spawn(&pool, |pool| pool.work(0));
        let submitter = spawn(&pool, Pool::submit);
        pool.submit();
        submitter.join().unwrap();
        worker.join().unwrap();
        assert_eq!(pool.waiting(), 0);
    });
}

#[test]
fn workers_end_when_it_is_over() {
    loom::model(|| {
        let pool = Pool::new(2, 1);
        let workers = [0, 1].map(|seat| spawn(&pool, move |pool| pool.work(seat)));
        pool.submit();
        for worker in workers {
            worker.join().unwrap();
        }
        assert_eq!(pool.waiting(), 0);
    });
}

#[test]
fn a_worker_that_is_stuck_in_its_task_keeps_nobody_else_asleep() {
    loom::model(|| {
        let pool = Pool::new(2, 2);
        pool.sleepers.begin_search();
        pool.sleepers.announce_sleep(1);
        // It takes one task, and is at it for ever.
        let stuck = spawn(&pool, |pool| {
            pool.search(0).expect("it is not over before both were taken");
        });
        let submitters = [Pool::submit, Pool::submit].map(|submit| spawn(&pool, submit));
        // This thread only waits, so that no preemption is spent on it.
        stuck.join().unwrap();
        for submitter in submitters {
            submitter.join().unwrap();
        }
        assert_eq!(pool.waiting(), 1);
        assert!(!pool.sleepers.take_bit(1), "nobody woke the other one");
    });
}
