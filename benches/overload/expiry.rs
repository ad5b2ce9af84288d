//! Deadlines that come while all workers are busy with something else.
//!
//! A p99 of 1,500 answers hangs on fifteen, which one process that starts meanwhile delays, or the hypervisor by a few
//! pauses of some milliseconds: so the messages are left out that came, or were due to be answered, while somebody else
//! had a core ([`foreign`](crate::foreign)). There are three rounds, and the median counts; a round that was disturbed as
//! a whole is done again.

use std::{fmt, time::Duration};

use millstream::{DeadlineAdmission, processor::Message};
use serde::Serialize;
use tokio::{runtime::Runtime, task::JoinSet};

use crate::{
    clock::process_cpu,
    figures::{median, quantile},
    foreign::MOSTLY,
    offer::{Phase, Sample, offer_to_busy},
    plant::{Plane, Work, plane},
    referee::{Referee, Validity},
    words::time,
};

const DEADLINE: Duration = Duration::from_millis(50);
const LENGTH: Duration = Duration::from_secs(3);
const SEED: u64 = 5;
const ROUNDS: usize = 3;
/// What may go into runs that others disturbed, and that are done again.
const WASTE: Duration = Duration::from_secs(12);

/// How late the answers were: medians over the rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Expiry {
    pub(crate) messages: usize,
    pub(crate) late_p50_ms: f64,
    pub(crate) late_p99_ms: f64,
    pub(crate) late_max_ms: f64,
    /// The p99 of all messages, whoever disturbed them.
    pub(crate) late_p99_of_all_ms: f64,
    /// The share of the messages that others disturbed: they are not in the figures.
    pub(crate) disturbed: f64,
    /// Places that were held once all had expired, at the most.
    pub(crate) held: usize,
    pub(crate) validity: Validity,
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            messages,
            late_p50_ms,
            late_p99_ms,
            late_max_ms,
            late_p99_of_all_ms,
            disturbed,
            held,
            validity,
        } = self;
        write!(
            f,
            "{messages} messages expired while all workers were busy: answered {} after their deadlines (p50), {} (p99), \
             {} (max) in {} rounds ({} that others disturbed aside, and {:.0}% of the messages: with them {} at p99); \
             {held} places were held then.",
            time(late_p50_ms * 1e3),
            time(late_p99_ms * 1e3),
            time(late_max_ms * 1e3),
            validity.runs,
            validity.discarded_noise + validity.discarded_late,
            disturbed * 1e2,
            time(late_p99_of_all_ms * 1e3),
        )
    }
}

/// Occupies both workers for so long, or until this is dropped; nothing else is in the plane yet.
pub(crate) fn occupy(plane: &Plane, runtime: &Runtime, time: Duration) -> JoinSet<()> {
    let mut occupied = JoinSet::new();
    for _ in 0..plane.pool().workers() {
        let work = Work { time, plane: plane.clone(), predicted: Default::default() };
        let plane = plane.clone();
        let busy = async move {
            // Whether it comes to an end is of no interest.
            plane.answer(Message::new(work), None).await.result.ok();
        };
        occupied.spawn_on(busy, runtime.handle());
    }
    runtime.block_on(async {
        while plane.pool().queued() > 0 || plane.pool().bytes_in_flight() == 0 {
            tokio::task::yield_now().await;
        }
    });
    occupied
}

/// How late the answers of one round were, in order.
struct Round {
    /// Those that nobody disturbed.
    ours: Vec<Duration>,
    all: Vec<Duration>,
    /// Places that were held then.
    held: usize,
}

impl Round {
    fn disturbed(&self) -> f64 {
        1.0 - self.ours.len() as f64 / self.all.len().max(1) as f64
    }
}

/// Two messages occupy both workers for longer than all the others have.
fn round() -> Round {
    let plane = plane(|config| {
        config.deadline_admission = DeadlineAdmission::Off;
        // What occupies the workers is not to sink: fresh ones would take their seats, and be free.
        config.enable_length_scheduling = false;
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime of this thread needs no other");
    let occupied = occupy(&plane, &runtime, 2 * LENGTH);
    let phase = Phase { rate_per_s: 500.0, length: LENGTH };
    let (start, samples, foreign) = offer_to_busy(&plane, phase, DEADLINE, SEED);
    let held = plane.pool().queued();
    drop(occupied);
    assert!(samples.iter().all(|sample| !sample.served), "a worker was free");
    let is_ours = |sample: &&Sample| {
        let due = start + sample.due;
        !foreign.touches(due, due) && !foreign.touches(due + DEADLINE, due + sample.sojourn)
    };
    let late = |sample: &Sample| sample.sojourn.saturating_sub(DEADLINE);
    let mut ours: Vec<_> = samples.iter().filter(is_ours).map(late).collect();
    let mut all: Vec<_> = samples.iter().map(late).collect();
    ours.sort_unstable();
    all.sort_unstable();
    Round { ours, all, held }
}

pub(crate) fn measure() -> Expiry {
    let mut referee = Referee::new(process_cpu, WASTE);
    let rounds: Vec<_> =
        (0..ROUNDS).map(|_| referee.judge(|round| round.disturbed() > MOSTLY, round)).collect();
    let at = |of: fn(&Round) -> &[Duration], share| {
        let late = rounds.iter().filter_map(|round| quantile(of(round), share));
        median(late.map(|late| late.as_secs_f64() * 1e3)).unwrap_or(f64::NAN)
    };
    Expiry {
        messages: rounds.iter().map(|round| round.ours.len()).sum(),
        late_p50_ms: at(|round| &round.ours, 0.5),
        late_p99_ms: at(|round| &round.ours, 0.99),
        late_max_ms: at(|round| &round.ours, 1.0),
        late_p99_of_all_ms: at(|round| &round.all, 0.99),
        disturbed: rounds.iter().map(Round::disturbed).sum::<f64>() / ROUNDS as f64,
        held: rounds.iter().map(|round| round.held).max().unwrap_or(0),
        validity: referee.validity,
    }
}
