//! Stacks as Linux gives them: asking, walking, naming.

mod binaries;
mod names;
mod signal;
mod walk;

use parking_lot::Mutex;

use self::binaries::Binary;
use super::inquiry;
use crate::platform::whereabouts::ThreadNumber;

pub(super) const AVAILABLE: bool = true;

/// Who looks for a stack, one at a time.
static TURN: Mutex<()> = Mutex::new(());

pub(super) fn of(thread: ThreadNumber, base: usize) -> Option<String> {
    let _turn = TURN.lock();
    let snapshot = signal::ask(thread, base)?;
    let binaries = Binary::all();
    Some(names::of(&walk::addresses(&snapshot, &binaries), &binaries))
}

#[cfg(test)]
mod tests {
    use std::{
        hint::black_box,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering::SeqCst},
            mpsc,
        },
        thread,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::platform::stack::{self, Base};

    #[inline(never)]
    fn goes_round_and_round(stop: &AtomicBool) {
        while !stop.load(SeqCst) {
            black_box(stop);
        }
    }

    #[inline(never)]
    fn waits_for_a_message(open: &mpsc::Receiver<()>) {
        black_box(open.recv().is_err());
    }

    /// A thread that does something, once it is found in that function: with its stack.
    fn found_in(function: &str, life: impl FnOnce() + Send + 'static) -> (String, thread::JoinHandle<()>) {
        let (sender, begun) = mpsc::channel();
        let thread = thread::spawn(move || {
            sender.send((ThreadNumber::of_this_thread().unwrap(), Base::here())).unwrap();
            life();
        });
        let (number, base) = begun.recv().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let stack = stack::of(number, base).unwrap_or_default();
            if stack.contains(function) {
                return (stack, thread);
            }
            assert!(Instant::now() < deadline, "it is not in {function}: {stack}");
        }
    }

    #[test]
    fn a_thread_that_computes_and_one_that_waits_are_found_in_their_functions() {
        let stop = Arc::new(AtomicBool::new(false));
        let (open, closed) = mpsc::channel();
        let inner = Arc::clone(&stop);
        let (computing, one) = found_in("goes_round_and_round", move || goes_round_and_round(&inner));
        let (waiting, other) = found_in("waits_for_a_message", move || waits_for_a_message(&closed));
        let outer = "found_in::{{closure}}";
        assert!(computing.contains(outer) && waiting.contains(outer), "{computing}\n{waiting}");
        stop.store(true, SeqCst);
        drop(open);
        one.join().unwrap();
        other.join().unwrap();
    }
}
