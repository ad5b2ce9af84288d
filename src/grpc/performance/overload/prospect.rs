//! Whether a message would be answered in time, judged while all of its budget remains.

use std::time::Duration;

/// What is known of a message with a deadline before it is queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prospect {
    /// How long it would wait for a worker, by the forecast.
    pub(crate) wait: Duration,
    /// How long its class is expected to run.
    pub(crate) service: Duration,
    /// What is left until its deadline.
    pub(crate) budget: Duration,
}

impl Prospect {
    /// Whether it would be late, or could be: the wait may take its share of the budget and no more, since the rest is
    /// for what the forecast misses. (Scylla refuses what has 30% of its budget left once its turn has come; here the
    /// budget has not been spent yet.) Who need not wait is never refused: the forecast of its service may be wrong.
    pub(crate) fn is_late(&self, wait_share: f64) -> bool {
        !self.wait.is_zero()
            && (self.wait > self.budget.mul_f64(wait_share)
                || self.wait.saturating_add(self.service) > self.budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn late(wait: u32, service: u32, budget: u32) -> bool {
        Prospect { wait: wait * MS, service: service * MS, budget: budget * MS }.is_late(0.5)
    }

    #[test]
    fn the_wait_has_its_share_and_the_service_has_the_rest() {
        assert!(!late(25, 25, 50));
        assert!(late(26, 1, 50), "more than half of the budget");
        assert!(late(20, 31, 50), "no time for the work itself");
    }

    #[test]
    fn who_need_not_wait_is_never_refused() {
        assert!(!late(0, 100, 50));
    }
}
