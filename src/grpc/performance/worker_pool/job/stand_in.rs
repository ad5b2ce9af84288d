//! A job for tests, which does nothing but what the test wants of it.

use std::time::Instant;

use super::{Description, Forecast, Interlude, Interruption, Job, Life, Share};

/// What a test says of its job; the rest is as of one that nobody withdraws.
pub(crate) trait StandIn: Send + Sync {
    fn share(&self, unit: u32) -> &Share;

    fn split(&self, _unit: u32) -> Option<u32> {
        None
    }

    fn run(&self, _unit: u32) {}

    fn refuse(&self, _unit: u32, _why: Interruption) {}

    fn is_withdrawn(&self, _unit: u32) -> bool {
        false
    }
}

impl<T: StandIn> Job for T {
    fn split(&self, unit: u32) -> Option<u32> {
        StandIn::split(self, unit)
    }

    fn share(&self, unit: u32) -> &Share {
        StandIn::share(self, unit)
    }

    fn run(&self, unit: u32, _: Instant, _: &Forecast, _: &Interlude<'_>) {
        StandIn::run(self, unit);
    }

    fn refuse(&self, unit: u32, why: Interruption) {
        StandIn::refuse(self, unit, why);
    }

    fn is_withdrawn(&self, unit: u32) -> bool {
        StandIn::is_withdrawn(self, unit)
    }

    fn displace(&self, _: u32, _: Life) -> bool {
        false
    }

    fn life(&self, _: u32) -> Life {
        Life::ONLY
    }

    fn describe(&self, _: u32, _: Life) -> Option<Description> {
        None
    }

    fn abandon(&self, _: u32, _: Life, _: Interruption) -> bool {
        false
    }
}
