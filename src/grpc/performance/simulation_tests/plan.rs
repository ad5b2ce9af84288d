//! What a seed decides: the configuration, who sends what and when, and what goes wrong.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

use crate::grpc::performance::{
    config::{DeadlineAdmission, MakeRoom, OptimizationConfig, Pinning, WhenFull, WhenFullFor},
    monitor::Class,
    processor::Order,
    worker_pool::Priority,
};

/// Answers weigh at most this much more than their messages.
pub(super) const HEAVIEST: usize = 2000;
/// Handed to the pool, not to a stream.
pub(super) const BYTES: usize = 4096;

/// The class of what takes no time.
pub(super) const BRIEF: Class = Class::new("brief");

/// What a message does to its handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Takes time, with a checkpoint after each step.
    Work { steps: u32, step: Duration },
    /// Takes time, blind to cancellation.
    Deaf(Duration),
    /// Takes time, and answers with something heavy.
    Heavy(Duration, usize),
    /// Says no.
    Fail,
    /// Panics after a time.
    Panic(Duration),
    /// Says no, and panics when what is left of it is dropped.
    Bomb,
    /// Does not come back before the schedule is over.
    Stuck,
}

impl Act {
    /// Takes no time, whatever comes of it.
    pub(super) fn is_brief(self) -> bool {
        match self {
            Self::Work { steps, step } => steps == 0 || step.is_zero(),
            Self::Panic(time) => time.is_zero(),
            Self::Fail | Self::Bomb => true,
            Self::Deaf(_) | Self::Heavy(..) | Self::Stuck => false,
        }
    }

    /// What its author would call it: most of what takes long has a class of its own, some comes unannounced.
    pub(super) fn class(self) -> Class {
        match self {
            _ if self.is_brief() => BRIEF,
            Self::Work { steps: 10.., .. } => Class::new("long"),
            _ => Class::DEFAULT,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    /// After the one before it.
    pub(super) gap: Duration,
    pub(super) act: Act,
    pub(super) key: Option<u64>,
    pub(super) weight: usize,
    pub(super) priority: Priority,
    pub(super) timeout: Option<Duration>,
}

/// One client's stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) opens: Duration,
    pub(super) order: Order,
    pub(super) deadline: Option<Duration>,
    pub(super) arrivals: Vec<Arrival>,
    /// It reads an answer at most this often.
    pub(super) pause: Duration,
    /// It is gone after that long.
    pub(super) leaves: Option<Duration>,
    /// Its input ends with a failure.
    pub(super) breaks: bool,
}

/// One call with one message, or one closure for the pool.
#[derive(Debug)]
pub(super) struct Single {
    pub(super) at: Duration,
    pub(super) arrival: Arrival,
    pub(super) gives_up: Option<Duration>,
    pub(super) closure: bool,
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) config: OptimizationConfig,
    pub(super) streams: Vec<Stream>,
    pub(super) singles: Vec<Single>,
    /// When it begins, and how long it may take.
    pub(super) drain: Option<(Duration, Duration)>,
    /// Steps of the clock: when, and how far.
    pub(super) jumps: Vec<(Duration, Duration)>,
    /// Keys whose cached answers are thrown away, and when.
    pub(super) invalidations: Vec<(Duration, u64)>,
    /// Of 256 threads, those that the system does not give once the pool has begun.
    pub(super) refusals: u8,
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

struct Dice(Xoshiro256PlusPlus);

impl Dice {
    fn one_in(&mut self, count: u32) -> bool {
        self.0.random_ratio(1, count)
    }

    fn of<T: Copy>(&mut self, faces: &[T]) -> T {
        faces[self.0.random_range(0..faces.len())]
    }

    fn up_to(&mut self, most: u64) -> Duration {
        ms(self.0.random_range(0..=most))
    }

    fn some<T>(&mut self, one_in: u32, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.one_in(one_in).then(|| make(self))
    }
}

/// How much goes wrong in one schedule.
struct Mood {
    faults: u32,
    stuck: u32,
    keys: u64,
    rate: u64,
    deadlines: u32,
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let mut dice = Dice(Xoshiro256PlusPlus::seed_from_u64(seed));
        let mood = Mood {
            faults: dice.of(&[3, 10, 1000]),
            stuck: dice.of(&[20, 200, 100_000]),
            keys: dice.of(&[0, 0, 1, 3]),
            rate: dice.of(&[0, 1, 3, 10]),
            deadlines: dice.of(&[2, 6, 100_000]),
        };
        let config = config(&mut dice);
        let streams = (0..dice.of(&[1, 1, 2, 3, 5])).map(|_| stream(&mut dice, &mood)).collect();
        let singles = (0..dice.of(&[0, 0, 2, 6])).map(|_| single(&mut dice, &mood)).collect();
        let drain = dice.some(3, |dice| (dice.up_to(60), dice.of(&[ms(0), ms(3), ms(40), ms(5000)])));
        let jumps = match dice.one_in(6) {
            true => (0..2).map(|_| (dice.up_to(50), dice.of(&[ms(1), ms(70), ms(90_000)]))).collect(),
            false => Vec::new(),
        };
        let invalidations = match mood.keys > 0 && dice.one_in(3) {
            true => (0..3).map(|_| (dice.up_to(40), dice.0.random_range(0..mood.keys))).collect(),
            false => Vec::new(),
        };
        let refusals = dice.of(&[0, 0, 0, 128]);
        Self { config, streams, singles, drain, jumps, invalidations, refusals }
    }
}

fn config(dice: &mut Dice) -> OptimizationConfig {
    let batch_timeout = dice.up_to(5);
    OptimizationConfig {
        worker_count: dice.of(&[1, 1, 2, 2, 3, 4]),
        worker_queue_capacity: dice.of(&[1, 2, 3, 5, 16]),
        worker_timeout: dice.of(&[ms(15), ms(50), ms(60_000)]),
        worker_pinning: Pinning::Off,
        worker_niceness: 0,
        worker_spin: dice.of(&[ms(0), ms(0), ms(1)]),
        // It looks at the platform's clock, which no seed decides.
        await_spin: ms(0),
        in_place_budget: dice.of(&[ms(0), ms(1)]),
        worker_substitutes: dice.of(&[0, 1, 3]),
        enable_length_scheduling: dice.of(&[true, true, false]),
        long_work_share: dice.of(&[0.0, 0.05, 0.5]),
        worker_demotions: dice.of(&[0, 1, 3]),
        enable_stream_fairness: dice.of(&[true, true, false]),
        batch_size: dice.of(&[1, 2, 4, 10]),
        batch_timeout,
        max_batch_wait: batch_timeout + dice.up_to(10),
        cache_capacity: 100,
        cache_ttl: dice.of(&[ms(1), ms(20), ms(100_000)]),
        service_pool_size: dice.of(&[1, 2, 4]),
        validator_pool_size: 1,
        buffer_pool_size: 1,
        buffer_initial_capacity: 64,
        backpressure_threshold: dice.of(&[0.3, 0.8, 1.0]),
        backpressure_window: dice.of(&[ms(1), ms(20)]),
        when_full: dice.of(&[WhenFull::Wait, WhenFull::Wait, WhenFull::Shed]),
        deadline_admission: dice.of(&[
            DeadlineAdmission::Off,
            DeadlineAdmission::DryRun,
            DeadlineAdmission::Enforce,
        ]),
        make_room: dice.of(&[MakeRoom::Off, MakeRoom::High, MakeRoom::Normal, MakeRoom::All]),
        when_full_low: dice.of(&[WhenFullFor::AsUsual, WhenFullFor::Shed]),
        queue_target_min: dice.of(&[ms(1), ms(10)]),
        queue_target_max: dice.of(&[ms(10), ms(1000)]),
        queue_interval: dice.of(&[ms(5), ms(100)]),
        max_bytes_in_flight: dice.of(&[1024, BYTES, 1 << 20]),
        max_concurrent_connections: dice.of(&[1, 3, 100]),
        metrics_interval: dice.of(&[ms(10), ms(10_000)]),
        stream_channel_capacity: dice.of(&[1, 2, 5, 20]),
        stream_timeout: dice.of(&[ms(30), ms(100_000), ms(100_000)]),
        ..OptimizationConfig::default()
    }
}

fn act(dice: &mut Dice, mood: &Mood) -> Act {
    if dice.one_in(mood.stuck) {
        return Act::Stuck;
    }
    if dice.one_in(mood.faults) {
        return match dice.0.random_range(0..4) {
            0 => Act::Fail,
            1 => Act::Bomb,
            2 => Act::Deaf(dice.up_to(100)),
            _ => Act::Panic(dice.up_to(3)),
        };
    }
    match dice.0.random_range(0..8) {
        0 => Act::Heavy(dice.up_to(2), dice.0.random_range(0..HEAVIEST)),
        1 => Act::Work { steps: dice.0.random_range(1..40), step: ms(1) },
        2 => Act::Deaf(dice.up_to(8)),
        _ => Act::Work { steps: dice.0.random_range(0..4), step: dice.of(&[ms(0), ms(1), ms(2)]) },
    }
}

fn arrival(dice: &mut Dice, mood: &Mood) -> Arrival {
    Arrival {
        gap: dice.up_to(mood.rate),
        act: act(dice, mood),
        key: (mood.keys > 0 && dice.one_in(2)).then(|| dice.0.random_range(0..mood.keys)),
        weight: dice.of(&[0, 1, 100, 300, 900, BYTES + 1]),
        priority: dice.of(&[Priority::Low, Priority::Normal, Priority::Normal, Priority::High]),
        timeout: dice.some(mood.deadlines, |dice| dice.up_to(30)),
    }
}

fn stream(dice: &mut Dice, mood: &Mood) -> Stream {
    let length = dice.of(&[0, 1, 5, 12, 30]);
    Stream {
        opens: dice.up_to(5),
        order: dice.of(&[Order::Request, Order::Completion]),
        deadline: dice.some(mood.deadlines, |dice| dice.up_to(60)),
        arrivals: (0..length).map(|_| arrival(dice, mood)).collect(),
        pause: dice.of(&[ms(0), ms(0), ms(0), ms(1), ms(15)]),
        leaves: dice.some(4, |dice| dice.up_to(60)),
        breaks: dice.one_in(8),
    }
}

fn single(dice: &mut Dice, mood: &Mood) -> Single {
    Single {
        at: dice.up_to(40),
        arrival: arrival(dice, mood),
        gives_up: dice.some(4, |dice| dice.up_to(20)),
        closure: dice.one_in(2),
    }
}
