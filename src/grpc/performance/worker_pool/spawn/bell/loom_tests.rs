//! Whoever rings, beside a task that waits, has another waker, or leaves. A wake that is lost is a deadlock, which loom
//! reports; two threads at the waker it reports as well.

use std::{
    future::poll_fn,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Poll, Wake},
};

use loom::{future::block_on, thread};

use super::*;

struct Told {
    what: AtomicU8,
    bell: Bell,
}

/// Somebody tells, and rings; meanwhile there is `task`.
fn beside_a_ring(task: impl FnOnce(&Told)) {
    let told = Arc::new(Told { what: AtomicU8::new(0), bell: Bell::new() });
    let teller = {
        let told = Arc::clone(&told);
        thread::spawn(move || {
            told.what.store(1, Relaxed);
            told.bell.ring();
        })
    };
    task(&told);
    teller.join().unwrap();
}

/// Registers, says whether it has to wait.
fn register(told: &Told, waker: &Waker) -> bool {
    // SAFETY: each model has one task, which registers in turn.
    let waits = unsafe { told.bell.register(waker) };
    assert!(waits || told.what.load(Relaxed) == 1, "what was told is seen");
    waits
}

struct Another;

impl Wake for Another {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn who_waits_is_woken_or_finds_that_it_has_rung() {
    loom::model(|| {
        beside_a_ring(|told| {
            block_on(poll_fn(|cx| if register(told, cx.waker()) { Poll::Pending } else { Poll::Ready(()) }));
        });
    });
}

#[test]
fn who_has_another_waker_is_woken_by_that() {
    loom::model(|| {
        beside_a_ring(|told| {
            register(told, &Arc::new(Another).into());
            block_on(poll_fn(|cx| if register(told, cx.waker()) { Poll::Pending } else { Poll::Ready(()) }));
        });
    });
}

#[test]
fn who_leaves_takes_its_waker_along_or_leaves_it_to_the_ring() {
    loom::model(|| {
        let another = Arc::new(Another);
        beside_a_ring(|told| {
            register(told, &Arc::clone(&another).into());
            // SAFETY: as in `register`.
            unsafe { told.bell.leave() };
        });
        assert_eq!(Arc::strong_count(&another), 1);
    });
}
