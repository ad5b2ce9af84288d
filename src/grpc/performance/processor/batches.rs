//! Which queued batch a message may still join.
//!
//! A batch is a chain of slots with one place in a lane. It is queued with its first message at once: nobody waits for
//! company. While no worker has come for it, further messages of the stream join it, up to `batch_size`, for
//! `batch_timeout` after the latest and `max_batch_wait` after the first. So messages that are ready together travel
//! together, and the two times bound how far a message can move ahead of other streams by joining an older batch. It
//! joins one of its own line only: a stream that has used too much meanwhile does not go on in the place that it had.

use std::time::Instant;

use crate::grpc::performance::{config::OptimizationConfig, worker_pool::Line};

struct OpenBatch {
    line: Line,
    last: u32,
    messages: usize,
    opened: Instant,
    latest: Instant,
}

/// The batch that was queued last, for each priority.
#[derive(Default)]
pub(crate) struct Batches([Option<OpenBatch>; 3]);

impl Batches {
    /// The slot behind which a message may be chained, if no worker has come for it, in batches of `size` at present.
    pub(crate) fn joinable(
        &self,
        line: Line,
        now: Instant,
        size: usize,
        config: &OptimizationConfig,
    ) -> Option<u32> {
        let batch = self.0[line.priority as usize].as_ref()?;
        let open = batch.line == line
            && batch.messages < size
            && now - batch.latest <= config.batch_timeout
            && now - batch.opened <= config.max_batch_wait;
        open.then_some(batch.last)
    }

    /// A message was chained behind the last.
    pub(crate) fn joined(&mut self, line: Line, slot: u32, now: Instant) {
        let batch = self.0[line.priority as usize].as_mut().expect("it was joinable");
        batch.last = slot;
        batch.latest = now;
        batch.messages += 1;
    }

    /// A message was queued by itself.
    pub(crate) fn opened(&mut self, line: Line, slot: u32, now: Instant) {
        self.0[line.priority as usize] =
            Some(OpenBatch { line, last: slot, messages: 1, opened: now, latest: now });
    }

    /// A slot is about to be filled anew: nothing is to be chained behind what it was.
    pub(crate) fn forget(&mut self, slot: u32) {
        for batch in &mut self.0 {
            if batch.as_ref().is_some_and(|batch| batch.last == slot) {
                *batch = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::grpc::performance::{overload::Appetite, worker_pool::Priority};

    #[test]
    fn a_batch_takes_company_within_its_size_and_its_two_times() {
        let config = OptimizationConfig::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let joinable = |batches: &Batches, ms| batches.joinable(Priority::Normal.into(), at(ms), 3, &config);
        let mut batches = Batches::default();
        assert_eq!(joinable(&batches, 0), None);
        batches.opened(Priority::Normal.into(), 1, start);
        assert_eq!(joinable(&batches, 10), Some(1), "batch_timeout is 10 ms");
        assert_eq!(joinable(&batches, 11), None);
        batches.joined(Priority::Normal.into(), 2, at(10));
        assert_eq!(joinable(&batches, 20), Some(2));
        assert_eq!(batches.joinable(Priority::High.into(), at(20), 3, &config), None);
        batches.joined(Priority::Normal.into(), 3, at(20));
        assert_eq!(joinable(&batches, 20), None, "the size is 3");
        batches.opened(Priority::Normal.into(), 4, start);
        let keen = Line { appetite: Appetite::Keen, ..Priority::Normal.into() };
        assert_eq!(batches.joinable(keen, at(10), 3, &config), None, "another line");
        batches.joined(Priority::Normal.into(), 5, at(49));
        assert_eq!(joinable(&batches, 50), Some(5));
        assert_eq!(joinable(&batches, 51), None, "max_batch_wait is 50 ms");
    }

    #[test]
    fn nothing_is_chained_behind_a_slot_that_is_filled_anew() {
        let config = OptimizationConfig::default();
        let now = Instant::now();
        let mut batches = Batches::default();
        batches.opened(Priority::Low.into(), 7, now);
        batches.forget(7);
        assert_eq!(batches.joinable(Priority::Low.into(), now, 10, &config), None);
    }
}
