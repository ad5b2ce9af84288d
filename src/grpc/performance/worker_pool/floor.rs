//! The share of the cores that long work keeps when short work never ends.
//!
//! The lowest scheduling class gets what others leave, and a little more: too little to rely on. So a worker of the front
//! that has had no pause for a while steps aside, for a moment that short messages hardly notice, if there is anything
//! long to be done. Its core goes to the background's thread there. With a share of 5% that is 200 µs after each 3.8 ms.
//!
//! A long message on the front's own threads, which lets shorter ones run in its checkpoints (`interlude`), is *owed* the
//! same share of what it lends, before it lends again.
//!
//! A worker that runs out of work in between has left its core already, and begins to count anew.

use std::time::{Duration, Instant};

use crate::platform::stage;

/// How long a worker steps aside: so short that a message which comes meanwhile is late by less than a wake or two, so
/// long that the two switches of the core are a small part of it.
const MOMENT: Duration = Duration::from_micros(200);

/// How often workers step aside.
pub(super) struct Floor {
    /// At work without a pause, until it is time.
    after: Duration,
}

/// Since when one worker has had no pause.
#[derive(Debug, Default)]
pub(super) struct Stretch(Option<Instant>);

impl Floor {
    /// `None` for no share at all.
    pub(super) fn of(share: f64) -> Option<Self> {
        (share > 0.0).then(|| Self { after: MOMENT.mul_f64(1.0 / share - 1.0) })
    }

    /// What long work is owed for this much time that it has lent to shorter work.
    pub(super) fn owed(&self, lent: Duration) -> Duration {
        lent.mul_f64(MOMENT.div_duration_f64(self.after))
    }

    /// Steps aside if it is time, and anything would gain by it.
    pub(super) fn step_aside(
        &self,
        stretch: &mut Stretch,
        now: Instant,
        is_wanted: impl FnOnce() -> bool,
    ) -> bool {
        let start = *stretch.0.get_or_insert(now);
        if now.saturating_duration_since(start) < self.after || !is_wanted() {
            return false;
        }
        stretch.0 = None;
        stage::pause(MOMENT);
        true
    }
}

impl Stretch {
    /// The worker has had a pause.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::clock;

    #[test]
    fn a_worker_steps_aside_once_in_a_while_if_it_is_wanted_and_had_no_pause() {
        let floor = Floor::of(0.05).unwrap();
        let start = clock::now();
        let at = |micros| start + Duration::from_micros(micros);
        let mut stretch = Stretch::default();
        let mut steps = |micros, wanted| floor.step_aside(&mut stretch, at(micros), || wanted);
        assert!(!steps(0, true));
        assert!(!steps(3799, true));
        assert!(!steps(3801, false));
        assert!(steps(3802, true));
        assert!(!steps(3803, true), "it counts anew");
        stretch.end();
        assert!(!floor.step_aside(&mut stretch, at(10_000), || true), "after a pause as well");
        assert_eq!(floor.owed(Duration::from_micros(3800)).as_micros(), 200);
        assert!(Floor::of(0.0).is_none());
    }
}
