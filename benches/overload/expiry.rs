//! Deadlines that come while all workers are busy with something else.
//!
//! A p99 of 1,500 answers hangs on fifteen, which one process that starts meanwhile delays: so there are three rounds, those
//! that others disturbed are done again, and the median counts.

use std::{fmt, time::Duration};

use millstream::{DeadlineAdmission, processor::Message};
use serde::Serialize;
use tokio::{runtime::Runtime, task::JoinSet};

use crate::{
    clock::process_cpu,
    figures::{median, quantile},
    offer::{Phase, offer},
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
    /// Places that were held once all had expired, at the most.
    pub(crate) held: usize,
    pub(crate) validity: Validity,
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { messages, late_p50_ms, late_p99_ms, late_max_ms, held, validity } = self;
        write!(
            f,
            "{messages} messages expired while all workers were busy: answered {} after their deadlines (p50), {} (p99), \
             {} (max) in {} rounds ({} that others disturbed aside); {held} places were held then.",
            time(late_p50_ms * 1e3),
            time(late_p99_ms * 1e3),
            time(late_max_ms * 1e3),
            validity.runs,
            validity.discarded_noise,
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

/// How late the answers of one round were, in order, and the places that were held then.
struct Round {
    late: Vec<Duration>,
    held: usize,
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
    let samples = offer(&plane, &[Phase { rate_per_s: 500.0, length: LENGTH }], Some(DEADLINE), SEED);
    let held = plane.pool().queued();
    drop(occupied);
    let mut late: Vec<_> = samples.iter().map(|sample| sample.sojourn.saturating_sub(DEADLINE)).collect();
    assert!(samples.iter().all(|sample| !sample.served), "a worker was free");
    late.sort_unstable();
    Round { late, held }
}

pub(crate) fn measure() -> Expiry {
    let mut referee = Referee::new(process_cpu, WASTE);
    let rounds: Vec<_> = (0..ROUNDS).map(|_| referee.judge(|_| false, round)).collect();
    let at = |share| {
        let late = rounds.iter().filter_map(|round| quantile(&round.late, share));
        median(late.map(|late| late.as_secs_f64() * 1e3)).unwrap_or(f64::NAN)
    };
    Expiry {
        messages: rounds.iter().map(|round| round.late.len()).sum(),
        late_p50_ms: at(0.5),
        late_p99_ms: at(0.99),
        late_max_ms: at(1.0),
        held: rounds.iter().map(|round| round.held).max().unwrap_or(0),
        validity: referee.validity,
    }
}
