//! Single flight over the real store, with more threads than loom can hold, and with leaders that panic, run out of time,
//! and come back late.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::Ordering::SeqCst,
};

use parking_lot::Mutex;
use shuttle::thread;

use super::*;
use crate::platform::atomic::{AtomicU32, random_runs};

fn flights() -> Arc<Flights> {
    let config = OptimizationConfig { cache_capacity: 4, ..OptimizationConfig::default() };
    Arc::new(Flights::new(&config).expect("these settings work"))
}

fn key() -> CacheKey {
    CacheKey::of(&[b"the key"])
}

/// What becomes of those who ask, and how each leader ends.
struct Crowd {
    flights: Arc<Flights>,
    /// Leaders that compute and have not been given up.
    computing: AtomicU32,
    told: Box<[AtomicU32]>,
    /// Of leaders that computed for too long: somebody is to abandon them.
    watches: Mutex<Vec<FlightWatch>>,
    /// Threads that ask or compute.
    at_work: AtomicU32,
}

impl Crowd {
    fn ask(self: &Arc<Self>, token: u32) {
        let sink = Arc::new(Seat(Arc::clone(self)));
        match self.flights.join(key(), Wanted::Verdict, || Follower { sink, token }, clock::now()).into() {
            Lookup::Hit(_) | Lookup::Failure(_) => self.tell(token),
            Lookup::Lead(lead) => {
                self.tell(token);
                self.compute(token, lead);
            }
            Lookup::Follow => {}
        }
    }

    /// Runs in a thread of its own.
    fn begin(self: &Arc<Self>, work: impl FnOnce(&Arc<Self>) + Send + 'static) {
        self.at_work.fetch_add(1, SeqCst);
        let crowd = Arc::clone(self);
        thread::spawn(move || {
            work(&crowd);
            crowd.at_work.fetch_sub(1, SeqCst);
        });
    }

    fn tell(&self, token: u32) {
        self.told[token as usize].fetch_add(1, SeqCst);
    }

    /// Ends in the way that the token says.
    fn compute(&self, token: u32, lead: Lead) {
        assert_eq!(self.computing.fetch_add(1, SeqCst), 0, "two compute at a time");
        thread::yield_now();
        match token % 4 {
            0 => {
                let panicked = catch_unwind(AssertUnwindSafe(|| {
                    let _lead = lead;
                    self.computing.fetch_sub(1, SeqCst);
                    resume_unwind(Box::new("as the test wants it"));
                }));
                assert!(panicked.is_err());
            }
            1 => {
                self.computing.fetch_sub(1, SeqCst);
                lead.resolve_without_storing(Bytes::from_static(b"done"));
            }
            2 => {
                // It has run out of time: somebody gives it up, and it comes back only then.
                let watch = lead.watch();
                self.computing.fetch_sub(1, SeqCst);
                self.watches.lock().push(watch.clone());
                while !watch.is_over() {
                    thread::yield_now();
                }
                lead.complete(Bytes::from_static(b"too late"));
            }
            _ => {
                self.computing.fetch_sub(1, SeqCst);
                lead.complete(Bytes::from_static(b"done"));
            }
        }
    }
}

/// Who follows.
struct Seat(Arc<Crowd>);

impl FlightSink for Seat {
    fn resolved(&self, token: u32, value: Bytes) {
        assert_eq!(value, "done");
        self.0.tell(token);
    }

    fn failed(&self, _: u32, _: Bytes) {
        panic!("nobody fails");
    }

    fn your_turn(&self, token: u32, lead: Lead) {
        self.0.tell(token);
        self.0.begin(move |crowd| crowd.compute(token, lead));
    }
}

#[test]
fn one_computes_at_a_time_and_nobody_waits_for_ever_whatever_becomes_of_leaders() {
    const THREADS: u32 = 5;
    const ASKS: u32 = 2;
    random_runs(|| {
        let crowd = Arc::new(Crowd {
            flights: flights(),
            computing: AtomicU32::new(0),
            told: (0..THREADS * ASKS).map(|_| AtomicU32::new(0)).collect(),
            watches: Mutex::default(),
            at_work: AtomicU32::new(0),
        });
        for first in 0..THREADS {
            crowd.begin(move |crowd| (0..ASKS).for_each(|n| crowd.ask(first + n * THREADS)));
        }
        // The supervisor: whoever runs out of time is given up.
        while crowd.at_work.load(SeqCst) > 0 {
            let overdue = std::mem::take(&mut *crowd.watches.lock());
            overdue.iter().for_each(FlightWatch::abandon);
            thread::yield_now();
        }
        assert!(
            crowd.told.iter().all(|told| told.load(SeqCst) == 1),
            "each is told once: {:?}; {} flights",
            crowd.told,
            crowd.flights.table.len()
        );
        assert!(crowd.flights.table.is_empty());
    });
}

/// Computes the version that there is; who knows of one is not content with an older one.
struct Source {
    flights: Arc<Flights>,
    version: AtomicU32,
    announced: AtomicU32,
    open: AtomicU32,
}

impl Source {
    fn change(&self) {
        let version = self.version.fetch_add(1, SeqCst) + 1;
        self.flights.invalidate(&key());
        self.announced.store(version, SeqCst);
    }

    fn compute(&self, known: u32, lead: Lead) {
        let version = self.version.load(SeqCst);
        assert!(version >= known);
        lead.complete(Bytes::copy_from_slice(&version.to_le_bytes()));
        self.open.fetch_sub(1, SeqCst);
    }

    fn ask(self: &Arc<Self>) {
        self.open.fetch_add(1, SeqCst);
        let known = self.announced.load(SeqCst);
        let sink: Arc<dyn FlightSink> = self.clone();
        match self
            .flights
            .join(key(), Wanted::Verdict, || Follower { sink, token: known }, clock::now())
            .into()
        {
            Lookup::Hit(value) => self.resolved(known, value),
            Lookup::Failure(_) => panic!("nobody fails"),
            Lookup::Lead(lead) => self.compute(known, lead),
            Lookup::Follow => {}
        }
    }
}

impl FlightSink for Source {
    fn resolved(&self, known: u32, value: Bytes) {
        let version = u32::from_le_bytes(value.as_ref().try_into().expect("four bytes"));
        assert!(version >= known, "{version} was told to one who knew of {known}");
        self.open.fetch_sub(1, SeqCst);
    }

    fn failed(&self, _: u32, _: Bytes) {
        panic!("nobody fails");
    }

    fn your_turn(&self, known: u32, lead: Lead) {
        self.compute(known, lead);
    }
}

#[test]
fn nobody_who_knows_that_a_key_was_invalidated_is_given_what_was_computed_before() {
    random_runs(|| {
        let source = Arc::new(Source {
            flights: flights(),
            version: AtomicU32::new(0),
            announced: AtomicU32::new(0),
            open: AtomicU32::new(0),
        });
        let spawn = |work: fn(&Arc<Source>)| {
            let source = Arc::clone(&source);
            thread::spawn(move || work(&source))
        };
        let ask: fn(&Arc<Source>) = |source| (0..3).for_each(|_| source.ask());
        let change: fn(&Arc<Source>) = |source| {
            source.change();
            source.ask();
            source.change();
        };
        let threads = [spawn(ask), spawn(ask), spawn(ask), spawn(change)];
        threads.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
        source.ask();
        assert_eq!(
            source.open.load(SeqCst),
            0,
            "somebody was never told; {} flights",
            source.flights.table.len()
        );
        assert!(source.flights.table.is_empty());
    });
}
