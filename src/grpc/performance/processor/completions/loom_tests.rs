//! A stream's task against workers that bring slots back. A wake that is lost is a deadlock, which loom reports.

use std::{future::poll_fn, sync::Arc, task::Poll};

use loom::{future::block_on, thread};

use super::*;
use crate::grpc::performance::processor::slot::stand_ins::{Idle, arena, outcome};

struct Stream {
    arena: Arena<Idle>,
    completions: Completions,
}

impl Stream {
    fn new(slots: u32) -> Arc<Self> {
        Arc::new(Self { arena: arena(slots), completions: Completions::new() })
    }

    /// The stream's circle, until all of `slots` came back; `awaited` says what to wait for, given what came.
    fn collect(&self, slots: usize, awaited: impl Fn(&[u32]) -> u32) -> Vec<u32> {
        self.collect_looking_out(slots, awaited, false)
    }

    /// The same; `looks_out` for what comes before it sleeps, for as long as a look takes.
    fn collect_looking_out(
        &self,
        slots: usize,
        awaited: impl Fn(&[u32]) -> u32,
        looks_out: bool,
    ) -> Vec<u32> {
        let mut back = Vec::new();
        block_on(poll_fn(|cx| {
            loop {
                let before = back.len();
                self.completions.take(&self.arena, &mut back);
                for &slot in &back[before..] {
                    assert!(
                        self.arena.get(slot).outcome.take().is_some(),
                        "slot {slot} came without its outcome"
                    );
                }
                if back.len() == slots {
                    return Poll::Ready(());
                }
                if looks_out {
                    self.completions.ignore();
                    if self.completions.is_ready() {
                        continue;
                    }
                }
                if self.completions.wait_for(awaited(&back), cx.waker()) {
                    return Poll::Pending;
                }
            }
        }));
        back
    }
}

fn bring(stream: &Arc<Stream>, slot: u32) -> thread::JoinHandle<()> {
    let stream = Arc::clone(stream);
    thread::spawn(move || {
        stream.arena.get(slot).outcome.put(outcome());
        stream.completions.bring(&stream.arena, slot);
    })
}

#[test]
fn a_task_that_waits_for_any_slot_gets_all_of_them() {
    loom::model(|| {
        let stream = Stream::new(2);
        let workers = [0, 1].map(|slot| bring(&stream, slot));
        let mut back = stream.collect(2, |_| ANY);
        back.sort_unstable();
        assert_eq!(back, [0, 1]);
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

#[test]
fn a_task_that_looks_out_before_it_waits_misses_nothing() {
    loom::model(|| {
        let stream = Stream::new(2);
        let workers = [0, 1].map(|slot| bring(&stream, slot));
        assert_eq!(stream.collect_looking_out(2, |_| ANY, true).len(), 2);
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

#[test]
fn a_task_that_waits_in_order_gets_each_slot_in_its_turn() {
    loom::model(|| {
        let stream = Stream::new(2);
        let workers = [0, 1].map(|slot| bring(&stream, slot));
        // The first that has not come: what came early is already there when its turn comes.
        let back = stream.collect(2, |back| if back.contains(&0) { 1 } else { 0 });
        assert_eq!(back.len(), 2);
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

#[test]
fn an_alarm_is_heard_whatever_the_task_waits_for() {
    loom::model(|| {
        let stream = Stream::new(1);
        let supervisor = {
            let stream = Arc::clone(&stream);
            thread::spawn(move || stream.completions.raise_alarm())
        };
        block_on(poll_fn(|cx| {
            loop {
                if stream.completions.take(&stream.arena, &mut Vec::new()) {
                    return Poll::Ready(());
                }
                if stream.completions.wait_for(NOTHING, cx.waker()) {
                    return Poll::Pending;
                }
            }
        }));
        supervisor.join().unwrap();
    });
}
