use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicPtr, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use super::*;

/// Counts those that are there.
struct Counted(Arc<AtomicUsize>, u64);

impl Counted {
    fn new(there: &Arc<AtomicUsize>, n: u64) -> Self {
        there.fetch_add(1, SeqCst);
        Self(Arc::clone(there), n)
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &[]
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
        self.1 = u64::MAX;
    }
}

fn unlinked<T: AsRef<[u8]> + Send + 'static>(value: T) -> (NonNull<Node<T>>, Unlinked<T>) {
    let node = NonNull::new(node(value)).unwrap();
    // SAFETY: nobody has found it, nor will.
    (node, unsafe { Unlinked::new(node) })
}

fn node<T: AsRef<[u8]> + Send + 'static>(value: T) -> *mut Node<T> {
    Sole::new(value).into_owned().as_raw().as_ptr()
}

#[test]
fn what_is_looked_at_waits_and_is_freed_once_it_is_not() {
    let there = Arc::<AtomicUsize>::default();
    let hazards = Hazards::new();
    let (node, looked_at) = unlinked(Counted::new(&there, 1));
    let hazard = hazards.hazard();
    hazard.point_at(node.as_ptr());
    assert!(!hazards.retire(looked_at, 1));
    assert!(!hazards.retire(unlinked(Counted::new(&there, 2)).1, 1));
    hazards.reclaim_all(drop);
    assert_eq!(there.load(SeqCst), 1);
    drop(hazard);
    hazards.reclaim_all(|freed| assert_eq!(freed.1, 1));
    assert_eq!(there.load(SeqCst), 0);
}

#[test]
fn what_is_spare_is_freed_one_by_one_or_with_the_next() {
    let there = Arc::<AtomicUsize>::default();
    let hazards = Hazards::new();
    for n in [1, 2] {
        assert!(!hazards.retire(unlinked(Counted::new(&there, n)).1, 1));
    }
    hazards.reclaim(drop);
    assert_eq!(there.load(SeqCst), 2, "spare, and not yet freed");
    let freed = hazards.spare(|_| ()).unwrap().1;
    assert!([1, 2].contains(&freed));
    assert_eq!(there.load(SeqCst), 1);
    hazards.reclaim(|old| assert_eq!(old.1, 3 - freed));
    assert_eq!(there.load(SeqCst), 0);
    assert!(hazards.spare(|_| ()).is_none());
}

#[test]
fn enough_waits_by_weight_and_from_the_last_time_on() {
    let hazards = Hazards::new();
    assert!(!hazards.retire(unlinked([1]).1, ENOUGH - 1));
    assert!(hazards.retire(unlinked([2]).1, 1));
    hazards.reclaim(drop);
    assert!(!hazards.retire(unlinked([3]).1, ENOUGH - 1));
    assert!(hazards.retire(unlinked([4]).1, u32::MAX));
}

#[test]
fn what_a_thread_leaves_when_it_ends_is_freed_by_others_or_with_all() {
    let there = Arc::<AtomicUsize>::default();
    let hazards = Hazards::new();
    let leave = || {
        thread::scope(|scope| {
            let leaves = || assert!(!hazards.retire(unlinked(Counted::new(&there, 1)).1, 1));
            scope.spawn(leaves);
            scope.spawn(leaves);
        });
    };
    leave();
    assert_eq!(there.load(SeqCst), 2);
    hazards.reclaim_all(drop);
    assert_eq!(there.load(SeqCst), 0);
    leave();
    drop(hazards);
    assert_eq!(there.load(SeqCst), 0);
}

#[test]
fn records_are_as_many_as_threads_at_a_time() {
    let (hazards, threads) = (Hazards::<[u8; 1]>::new(), if cfg!(miri) { 20 } else { 2000 });
    for _ in 0..threads {
        thread::scope(|scope| {
            scope.spawn(|| drop(hazards.hazard()));
        });
    }
    // As many threads as other tests have at a time make it more than one.
    let records = hazards.records.iter().count();
    assert!(records < threads / 2, "{records} records");
}

/// One is looked at by some all the time, and replaced by others.
#[test]
fn nothing_is_freed_under_a_look() {
    const READERS: usize = 2;
    const WRITERS: usize = 2;
    let rounds = if cfg!(miri) { 50 } else { 50_000 };
    let there = Arc::<AtomicUsize>::default();
    let hazards = Hazards::new();
    let here = AtomicPtr::new(node(Counted::new(&there, 0)));
    let begin = Barrier::new(READERS + WRITERS);
    let running = AtomicUsize::new(WRITERS);
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                begin.wait();
                while running.load(SeqCst) > 0 {
                    let hazard = hazards.hazard();
                    let node = loop {
                        let node = here.load(SeqCst);
                        hazard.point_at(node);
                        if here.load(SeqCst) == node {
                            break NonNull::new(node).unwrap();
                        }
                    };
                    // SAFETY: the hazard points at it, and has since it was to be found.
                    assert_ne!(unsafe { Node::value(node) }.1, u64::MAX);
                }
            });
        }
        for _ in 0..WRITERS {
            scope.spawn(|| {
                begin.wait();
                for n in 0..rounds {
                    let old = here.swap(node(Counted::new(&there, n)), SeqCst);
                    // SAFETY: the exchange has taken it out.
                    let old = unsafe { Unlinked::new(NonNull::new(old).unwrap()) };
                    if hazards.retire(old, 1) {
                        hazards.reclaim(drop);
                    }
                }
                running.fetch_sub(1, SeqCst);
            });
        }
    });
    hazards.reclaim_all(drop);
    assert_eq!(there.load(SeqCst), 1);
    // SAFETY: nobody looks for it any more.
    drop(unsafe { Owned::from_raw(NonNull::new(here.into_inner()).unwrap()).into_sole() });
}

#[test]
fn more_places_than_there_are_is_a_fault_that_is_told() {
    let hazards = Hazards::<[u8; 1]>::new();
    let _all: [_; PLACES] = std::array::from_fn(|_| hazards.hazard());
    let more = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(hazards.hazard())));
    assert!(more.is_err());
}
