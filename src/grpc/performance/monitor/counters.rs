//! What is counted, and the counters of one thread.

use super::tally::Tally;
use crate::grpc::performance::error::FailureKind;

/// Something that happens to messages, streams or jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Counter {
    /// Messages that were accepted.
    Accepted,
    /// Messages that were answered from the cache.
    CacheHits,
    /// Messages that were answered by joining an equal one in work.
    CacheJoins,
    /// Messages that were looked up in the cache in vain.
    CacheMisses,
    /// Messages that would have been answered too late, by the wait predicted for them.
    WouldBeLate,
    /// Messages without a deadline that waited for too long, by `queue_control`.
    WaitedTooLong,
    /// Messages that made room for better ones.
    Displaced,
    /// Messages of low priority that were refused in an emergency.
    NotUrgent,
    /// Batches that went to a worker.
    Batches,
    /// Messages in those batches.
    BatchedMessages,
    /// Messages that ran on the thread that reads their stream, and went to no worker.
    RunInPlace,
    /// Messages that ran for longer than `worker_timeout`.
    Overstays,
    /// Handlers that panicked.
    Panics,
    /// Streams that were opened.
    StreamsOpened,
    /// Streams that were refused, since too many were open.
    StreamsRefused,
}

impl Counter {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Accepted,
        Self::CacheHits,
        Self::CacheJoins,
        Self::CacheMisses,
        Self::WouldBeLate,
        Self::WaitedTooLong,
        Self::Displaced,
        Self::NotUrgent,
        Self::Batches,
        Self::BatchedMessages,
        Self::RunInPlace,
        Self::Overstays,
        Self::Panics,
        Self::StreamsOpened,
        Self::StreamsRefused,
    ];

    /// The name under which it is published.
    #[must_use]
    pub const fn metric(self) -> &'static str {
        match self {
            Self::Accepted => "millstream_messages_accepted_total",
            Self::CacheHits => "millstream_cache_hits_total",
            Self::CacheJoins => "millstream_cache_joins_total",
            Self::CacheMisses => "millstream_cache_misses_total",
            Self::WouldBeLate => "millstream_messages_would_be_late_total",
            Self::WaitedTooLong => "millstream_messages_waited_too_long_total",
            Self::Displaced => "millstream_messages_displaced_total",
            Self::NotUrgent => "millstream_messages_not_urgent_total",
            Self::Batches => "millstream_batches_total",
            Self::BatchedMessages => "millstream_batched_messages_total",
            Self::RunInPlace => "millstream_messages_run_in_place_total",
            Self::Overstays => "millstream_overstays_total",
            Self::Panics => "millstream_panics_total",
            Self::StreamsOpened => "millstream_streams_opened_total",
            Self::StreamsRefused => "millstream_streams_refused_total",
        }
    }

    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::Accepted => "Messages that were accepted",
            Self::CacheHits => "Messages that were answered from the cache",
            Self::CacheJoins => "Messages that were answered by joining an equal one in work",
            Self::CacheMisses => "Messages that were looked up in the cache in vain",
            Self::WouldBeLate => {
                "Messages that would have been answered too late, by the wait predicted for them"
            }
            Self::WaitedTooLong => "Messages without a deadline that waited for too long, by queue_control",
            Self::Displaced => "Messages that made room for better ones",
            Self::NotUrgent => "Messages of low priority that were refused in an emergency",
            Self::Batches => "Batches that went to a worker",
            Self::BatchedMessages => "Messages in the batches that went to a worker",
            Self::RunInPlace => {
                "Messages that ran on the thread that reads their stream, and went to no worker"
            }
            Self::Overstays => "Messages that ran for longer than worker_timeout",
            Self::Panics => "Handlers that panicked",
            Self::StreamsOpened => "Streams that were opened",
            Self::StreamsRefused => "Streams that were refused, since too many were open",
        }
    }
}

/// How a message was answered, by gRPC code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// With a result.
    Ok,
    /// It could never be right.
    InvalidArgument,
    /// What it named does not exist.
    NotFound,
    /// It may be right at another time or in another state.
    FailedPrecondition,
    /// The caller may not do this.
    PermissionDenied,
    /// There is no such operation.
    Unimplemented,
    /// A limit was hit.
    ResourceExhausted,
    /// It took too long.
    DeadlineExceeded,
    /// Nobody waited for the answer any more.
    Cancelled,
    /// The data plane was shutting down, or the handler said to try again.
    Unavailable,
    /// A fault of the handler, a panic among them.
    Internal,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Ok,
        Self::InvalidArgument,
        Self::NotFound,
        Self::FailedPrecondition,
        Self::PermissionDenied,
        Self::Unimplemented,
        Self::ResourceExhausted,
        Self::DeadlineExceeded,
        Self::Cancelled,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The code's name, as gRPC writes it.
    #[must_use]
    pub const fn as_grpc_name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::NotFound => "NOT_FOUND",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::Cancelled => "CANCELLED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }
}

impl From<FailureKind> for Outcome {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::InvalidArgument => Self::InvalidArgument,
            FailureKind::NotFound => Self::NotFound,
            FailureKind::FailedPrecondition => Self::FailedPrecondition,
            FailureKind::PermissionDenied => Self::PermissionDenied,
            FailureKind::Unimplemented => Self::Unimplemented,
            FailureKind::ResourceExhausted => Self::ResourceExhausted,
            FailureKind::DeadlineExceeded => Self::DeadlineExceeded,
            FailureKind::Cancelled => Self::Cancelled,
            FailureKind::Unavailable => Self::Unavailable,
            FailureKind::Internal => Self::Internal,
        }
    }
}

/// What one thread counted.
#[derive(Debug)]
pub(super) struct Tallies {
    counters: [Tally; Counter::ALL.len()],
    answers: [Tally; Outcome::ALL.len()],
}

impl Tallies {
    pub(super) const fn new() -> Self {
        Self {
            counters: [const { Tally::new() }; Counter::ALL.len()],
            answers: [const { Tally::new() }; Outcome::ALL.len()],
        }
    }

    #[inline]
    pub(super) fn add(&self, counter: Counter, more: u64) {
        self.counters[counter as usize].add(more);
    }

    #[inline]
    pub(super) fn answered(&self, outcome: Outcome) {
        self.answers[outcome as usize].add(1);
    }

    pub(super) fn add_to(&self, counts: &mut Counts) {
        for (sum, tally) in counts.counters.iter_mut().zip(&self.counters) {
            *sum += tally.read();
        }
        for (sum, tally) in counts.answers.iter_mut().zip(&self.answers) {
            *sum += tally.read();
        }
    }
}

/// What all threads counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    counters: [u64; Counter::ALL.len()],
    answers: [u64; Outcome::ALL.len()],
}

impl Counts {
    /// How often that happened.
    #[must_use]
    pub fn of(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    /// Messages that were answered so.
    #[must_use]
    pub fn answered(&self, outcome: Outcome) -> u64 {
        self.answers[outcome as usize]
    }

    /// Messages that were answered, with a result or without.
    #[must_use]
    pub fn all_answered(&self) -> u64 {
        self.answers.iter().sum()
    }

    /// Share of cache look-ups that spared the work, from 0 to 1: joins count as hits, as they do on the wire.
    #[must_use]
    pub fn cache_hit_ratio(&self) -> f64 {
        let spared = self.of(Counter::CacheHits) + self.of(Counter::CacheJoins);
        match spared + self.of(Counter::CacheMisses) {
            0 => 0.0,
            lookups => spared as f64 / lookups as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_a_place_of_its_own() {
        for (place, counter) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(counter as usize, place);
        }
        for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, place);
        }
    }

    #[test]
    fn a_failure_is_counted_under_the_code_of_its_name() {
        for (kind, name) in [
            (FailureKind::InvalidArgument, "INVALID_ARGUMENT"),
            (FailureKind::NotFound, "NOT_FOUND"),
            (FailureKind::FailedPrecondition, "FAILED_PRECONDITION"),
            (FailureKind::PermissionDenied, "PERMISSION_DENIED"),
            (FailureKind::Unimplemented, "UNIMPLEMENTED"),
            (FailureKind::ResourceExhausted, "RESOURCE_EXHAUSTED"),
            (FailureKind::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            (FailureKind::Cancelled, "CANCELLED"),
            (FailureKind::Unavailable, "UNAVAILABLE"),
            (FailureKind::Internal, "INTERNAL"),
        ] {
            assert_eq!(Outcome::from(kind).as_grpc_name(), name);
        }
    }

    #[test]
    fn the_hit_ratio_counts_joins_and_is_zero_without_look_ups() {
        assert_eq!(Counts::default().cache_hit_ratio(), 0.0);
        let tallies = Tallies::new();
        tallies.add(Counter::CacheHits, 5);
        tallies.add(Counter::CacheJoins, 1);
        tallies.add(Counter::CacheMisses, 2);
        let mut counts = Counts::default();
        tallies.add_to(&mut counts);
        assert_eq!(counts.cache_hit_ratio(), 0.75);
    }
}
