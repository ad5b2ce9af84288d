//! Which work is offered, at which loads, for how long.

use std::time::Duration;

use millstream::simulation::ServiceTimes;

use crate::contenders::{Entry, Role, entries};

/// One kind of work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// For who reads the report.
    pub(crate) what: &'static str,
    pub(crate) service: ServiceTimes,
    /// How long one run offers it: long enough for some hundreds of messages at the least.
    length: Duration,
    /// Shares of the capacity that was measured inline.
    loads: &'static [f64],
    /// The same where minutes count: what the goals ask for.
    quick_loads: &'static [f64],
}

const LOADS: &[f64] = &[0.3, 0.5, 0.7, 0.8, 0.9];

pub(crate) const EXPONENTIAL: &str = "exponential_1ms";
pub(crate) const MIXED: &str = "mixed_200us_10ms";
pub(crate) const SMALL: &str = "small_100us";

const fn us(microseconds: u64) -> Duration {
    Duration::from_micros(microseconds)
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// All of them.
pub(crate) const KINDS: &[Kind] = &[
    Kind {
        name: "fixed_1ms",
        what: "every message takes 1 ms",
        service: ServiceTimes::Fixed(ms(1)),
        length: ms(550),
        loads: LOADS,
        quick_loads: &[0.7],
    },
    Kind {
        name: EXPONENTIAL,
        what: "exponential times, 1 ms in the mean",
        service: ServiceTimes::Exponential(ms(1)),
        length: ms(550),
        loads: LOADS,
        quick_loads: &[0.7],
    },
    Kind {
        name: MIXED,
        what: "95% of the messages take 0.2 ms, 5% take 10 ms",
        service: ServiceTimes::Mixed { short: us(200), long: ms(10), long_share: 0.05 },
        length: ms(800),
        loads: &[0.3, 0.5, 0.7, 0.75, 0.8, 0.9],
        quick_loads: &[0.75, 0.8],
    },
    Kind {
        name: "mixed_50us_5ms",
        what: "99.5% of the messages take 0.05 ms, 0.5% take 5 ms",
        service: ServiceTimes::Mixed { short: us(50), long: ms(5), long_share: 0.005 },
        length: ms(500),
        loads: LOADS,
        quick_loads: &[0.5],
    },
    Kind {
        name: "small_20us",
        what: "every message takes 20 µs",
        service: ServiceTimes::Fixed(us(20)),
        length: ms(200),
        loads: LOADS,
        quick_loads: &[0.3],
    },
    Kind {
        name: SMALL,
        what: "every message takes 100 µs",
        service: ServiceTimes::Fixed(us(100)),
        length: ms(250),
        loads: LOADS,
        quick_loads: &[0.5],
    },
];

/// One kind of work at one load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) kind: &'static Kind,
    pub(crate) load: f64,
}

/// A contender, and whether the handlers are of the sort that calls `checkpoint()`.
#[derive(Clone, Copy)]
pub(crate) struct Participant {
    pub(crate) entry: &'static Entry,
    pub(crate) checkpoints: bool,
}

impl Kind {
    /// Whether long messages are among short ones.
    pub(crate) fn is_mixed(&self) -> bool {
        self.long().is_some()
    }

    /// The service time of the long messages.
    pub(crate) fn long(&self) -> Option<Duration> {
        match self.service {
            ServiceTimes::Mixed { long, .. } => Some(long),
            ServiceTimes::Fixed(_) | ServiceTimes::Exponential(_) => None,
        }
    }

    /// The load at which the tricks are turned off one at a time: one that is among the few where minutes count, too.
    fn variants_at(&self) -> f64 {
        if self.is_mixed() { 0.8 } else { 0.7 }
    }

    pub(crate) fn length(&self) -> Duration {
        self.length
    }

    pub(crate) fn cells(&'static self, quick: bool) -> impl Iterator<Item = Cell> {
        let loads = if quick { self.quick_loads } else { self.loads };
        loads.iter().map(move |&load| Cell { kind: self, load })
    }
}

impl Cell {
    /// Who takes part. Variants show what a trick earns, and need not do so at every load; checkpoints mean nothing to
    /// peers, which therefore run once for both.
    pub(crate) fn participants(self, quick: bool) -> Vec<Participant> {
        let variants = self.load == self.kind.variants_at();
        let mut participants: Vec<_> = entries()
            .filter(|entry| variants || !entry.is_variant())
            .filter(|entry| entry.takes_part(self.kind.name, quick))
            .map(|entry| Participant { entry, checkpoints: false })
            .collect();
        if self.kind.is_mixed() {
            let ours = entries().filter(|entry| entry.role == Role::Millstream);
            participants.extend(ours.map(|entry| Participant { entry, checkpoints: true }));
        }
        participants
    }
}
