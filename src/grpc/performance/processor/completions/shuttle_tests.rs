//! A stream's task and the slots of its mailbox, against more workers than loom can hold, and a supervisor that raises the
//! alarm. A wake that is lost is a deadlock, which shuttle reports.

use std::{
    collections::BTreeSet,
    future::poll_fn,
    sync::{Arc, atomic::Ordering::SeqCst},
    task::Poll,
};

use shuttle::{future::block_on, thread};

use super::*;
use crate::{
    grpc::performance::processor::slot::stand_ins::{Idle, arena, outcome},
    platform::atomic::{AtomicU32, random_runs},
};

const WORKERS: u32 = 4;
const SLOTS: u32 = 8;

struct Stream {
    arena: Arena<Idle>,
    completions: Completions,
    filled: AtomicU32,
}

impl Stream {
    /// Until all slots have come back, each with its outcome; `awaited` says what to wait for, given what came.
    fn collect(&self, awaited: impl Fn(&BTreeSet<u32>) -> u32) {
        let (mut came, mut back) = (BTreeSet::new(), Vec::new());
        block_on(poll_fn(|cx| {
            loop {
                self.completions.take(&self.arena, &mut back);
                for slot in back.drain(..) {
                    assert!(self.arena.get(slot).outcome.take().is_some(), "slot {slot} without its outcome");
                    assert!(came.insert(slot), "slot {slot} came twice");
                }
                if came.len() == SLOTS as usize {
                    return Poll::Ready(());
                }
                if self.completions.wait_for(awaited(&came), cx.waker()) {
                    return Poll::Pending;
                }
            }
        }));
        assert_eq!(self.filled.load(SeqCst), SLOTS);
    }
}

fn in_any_run(awaited: fn(&BTreeSet<u32>) -> u32) {
    random_runs(move || {
        let stream = Arc::new(Stream {
            arena: arena(SLOTS),
            completions: Completions::new(),
            filled: AtomicU32::new(0),
        });
        let spawn = |work: fn(&Stream, u32), which| {
            let stream = Arc::clone(&stream);
            thread::spawn(move || work(&stream, which))
        };
        let bring: fn(&Stream, u32) = |stream, worker| {
            for slot in (worker..SLOTS).step_by(WORKERS as usize) {
                stream.arena.get(slot).outcome.put(outcome());
                stream.filled.fetch_add(1, SeqCst);
                stream.completions.bring(&stream.arena, slot);
            }
        };
        let alarm: fn(&Stream, u32) = |stream, _| stream.completions.raise_alarm();
        let mut threads: Vec<_> = (0..WORKERS).map(|worker| spawn(bring, worker)).collect();
        threads.push(spawn(alarm, 0));
        stream.collect(awaited);
        threads.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
    });
}

#[test]
fn a_task_that_waits_for_any_slot_gets_each_once_with_its_outcome() {
    in_any_run(|_| ANY);
}

#[test]
fn a_task_that_waits_in_order_gets_each_once_with_its_outcome() {
    in_any_run(|came| (0..SLOTS).find(|slot| !came.contains(slot)).expect("not all have come"));
}
