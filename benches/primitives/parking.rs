//! Sleeping and being woken: what it takes the sleeper, what it takes the waker, and what it takes when nobody sleeps.
//!
//! One thread serves: it waits at its spot, notes when it is awake, and answers by a flag that the other one spins on,
//! so that only one of the two ways is a wake. Between two wakes the waker gives it time to fall asleep. `spinning`
//! never sleeps: what a hand-off costs when it needs no wake.

use std::{
    hint,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam::sync::{Parker, Unparker};
use millstream::proof::ParkingSpot;
use parking_lot::{Condvar, Mutex};

use crate::room::{Better, Contender, Effort, Measure, Room, nanoseconds_each};

pub(crate) const ROOM: Room =
    Room { name: "parking", question: "What does it take to wake a thread that sleeps?", measure };

/// Until a thread that has nothing to do is asleep, with what the machine may be late by.
const FALLS_ASLEEP: Duration = Duration::from_micros(300);
/// Wakes for one figure, of which it is the median.
const WAKES: usize = 60;

/// A place to sleep at for one thread at a time, where a wake that comes first is kept.
trait Spot: Send + Sync + 'static {
    /// Called by the thread that is going to sleep here, first.
    fn settle(&self) {}
    fn park(&self);
    fn unpark(&self);
}

impl Spot for ParkingSpot {
    fn park(&self) {
        self.park();
    }
    fn unpark(&self) {
        self.unpark();
    }
}

/// The standard library's, of the thread that settled.
#[derive(Default)]
struct OfThread(Mutex<Option<thread::Thread>>);

impl Spot for OfThread {
    fn settle(&self) {
        *self.0.lock() = Some(thread::current());
    }
    fn park(&self) {
        thread::park();
    }
    fn unpark(&self) {
        // A lock that nobody else takes: some 20 ns beside the wake.
        self.0.lock().as_ref().expect("a thread has settled").unpark();
    }
}

struct Crossbeam(Mutex<Parker>, Unparker);

impl Spot for Crossbeam {
    fn park(&self) {
        self.0.lock().park();
    }
    fn unpark(&self) {
        self.1.unpark();
    }
}

#[derive(Default)]
struct Condition(Mutex<bool>, Condvar);

impl Spot for Condition {
    fn park(&self) {
        let mut notified = self.0.lock();
        while !*notified {
            self.1.wait(&mut notified);
        }
        *notified = false;
    }
    fn unpark(&self) {
        *self.0.lock() = true;
        self.1.notify_one();
    }
}

#[derive(Default)]
struct Spinning(AtomicBool);

impl Spot for Spinning {
    fn park(&self) {
        // Acquire pairs with the Release of `unpark`.
        while !self.0.swap(false, Acquire) {
            hint::spin_loop();
        }
    }
    fn unpark(&self) {
        self.0.store(true, Release);
    }
}

/// A thread that sleeps at the spot, and what it saw.
struct Bed<S> {
    spot: S,
    epoch: Instant,
    /// Nanoseconds from the epoch to the moment at which the sleeper was awake; 0: it has not been since.
    awake: AtomicU64,
    over: AtomicBool,
}

/// One wake.
struct Wake {
    /// From before the wake until the sleeper runs.
    latency: Duration,
    /// What the call took.
    cost: Duration,
}

fn sleep_and_wake<S: Spot>(spot: S, wakes: usize) -> Vec<Wake> {
    let bed =
        Arc::new(Bed { spot, epoch: Instant::now(), awake: AtomicU64::new(0), over: AtomicBool::new(false) });
    let sleeper = {
        let bed = Arc::clone(&bed);
        thread::spawn(move || {
            bed.spot.settle();
            loop {
                // Release, Acquire: the waker sees the sleeper settled once it has seen it awake.
                bed.awake.store(bed.epoch.elapsed().as_nanos() as u64, Release);
                bed.spot.park();
                // Relaxed: the wake orders it.
                if bed.over.load(Relaxed) {
                    return;
                }
            }
        })
    };
    let is_awake = || loop {
        match bed.awake.swap(0, Acquire) {
            0 => hint::spin_loop(),
            nanoseconds => return bed.epoch + Duration::from_nanos(nanoseconds),
        }
    };
    is_awake();
    let wake = || {
        thread::park_timeout(FALLS_ASLEEP);
        let start = Instant::now();
        bed.spot.unpark();
        let cost = start.elapsed();
        Wake { latency: is_awake().saturating_duration_since(start), cost }
    };
    let seen = (0..wakes).map(|_| wake()).collect();
    bed.over.store(true, Relaxed);
    bed.spot.unpark();
    sleeper.join().expect("the sleeper does not panic");
    seen
}

fn measure(effort: &Effort) -> Vec<Measure> {
    let crossbeam: fn() -> Crossbeam = || {
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        Crossbeam(Mutex::new(parker), unparker)
    };
    let latency = |wakes: Vec<Wake>| median(wakes.iter().map(|wake| wake.latency));
    let cost = |wakes: Vec<Wake>| median(wakes.iter().map(|wake| wake.cost));
    let everybody = |figure: fn(Vec<Wake>) -> f64| -> Vec<Contender<'_>> {
        vec![
            Contender::ours(move || figure(sleep_and_wake(ParkingSpot::new(), WAKES))),
            Contender::peer("std::thread::park", move || figure(sleep_and_wake(OfThread::default(), WAKES))),
            Contender::peer("crossbeam Parker", move || figure(sleep_and_wake(crossbeam(), WAKES))),
            Contender::peer("parking_lot Condvar", move || {
                figure(sleep_and_wake(Condition::default(), WAKES))
            }),
            Contender::limit("spinning", move || figure(sleep_and_wake(Spinning::default(), WAKES))),
        ]
    };
    vec![
        Measure::take("from the wake until the sleeper runs", "µs", Better::Less, effort, everybody(latency)),
        Measure::take("what the wake takes the waker", "µs", Better::Less, effort, everybody(cost)),
        Measure::take(
            "a wake that comes before the sleep, and the sleep that it spares",
            "ns",
            Better::Less,
            effort,
            kept_wakes(effort.time, crossbeam),
        ),
    ]
}

fn kept_wakes(time: Duration, crossbeam: fn() -> Crossbeam) -> Vec<Contender<'static>> {
    fn each(time: Duration, spot: impl Spot) -> f64 {
        spot.settle();
        nanoseconds_each(time, || {
            spot.unpark();
            spot.park();
        })
    }
    vec![
        Contender::ours(move || each(time, ParkingSpot::new())),
        Contender::peer("std::thread::park", move || each(time, OfThread::default())),
        Contender::peer("crossbeam Parker", move || each(time, crossbeam())),
        Contender::peer("parking_lot Condvar", move || each(time, Condition::default())),
    ]
}

fn median(times: impl Iterator<Item = Duration>) -> f64 {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    times.get(times.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
}
