//! Deadlines that come while all workers are busy with something else.

use std::{fmt, time::Duration};

use millstream::{DeadlineAdmission, processor::Message};
use serde::Serialize;
use tokio::{runtime::Runtime, task::JoinSet};

use crate::{
    figures::quantile,
    offer::{Phase, offer},
    plant::{Plane, Work, plane},
    words::time,
};

const DEADLINE: Duration = Duration::from_millis(50);
const LENGTH: Duration = Duration::from_secs(3);
const SEED: u64 = 5;

/// How late the answers were.
#[derive(Debug, Serialize)]
pub(crate) struct Expiry {
    pub(crate) messages: usize,
    pub(crate) late_p50_ms: f64,
    pub(crate) late_p99_ms: f64,
    pub(crate) late_max_ms: f64,
    /// Places that were held once all had expired.
    pub(crate) held: usize,
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { messages, late_p50_ms, late_p99_ms, late_max_ms, held } = self;
        write!(
            f,
            "{messages} messages expired while all workers were busy: answered {} after their deadlines (p50), {} (p99), \
             {} (max); {held} places were held then.",
            time(late_p50_ms * 1e3),
            time(late_p99_ms * 1e3),
            time(late_max_ms * 1e3),
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

/// Two messages occupy both workers for longer than all the others have.
pub(crate) fn measure() -> Expiry {
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
    let at = |share| quantile(&late, share).map_or(f64::NAN, |late| late.as_secs_f64() * 1e3);
    Expiry {
        messages: samples.len(),
        late_p50_ms: at(0.5),
        late_p99_ms: at(0.99),
        late_max_ms: at(1.0),
        held,
    }
}
