//! What is counted: by each stream for itself, then merged.

use std::{collections::BTreeMap, time::Duration};

use tonic::Code;

use super::times::Times;

/// A send that is later than this is a late one.
pub(super) const LATE: Duration = Duration::from_millis(1);

/// The counts of one stream, or of all. What says nothing else counts the measured part of the run only.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// By the message of the mix.
    pub(super) messages: Vec<MessageTally>,
    /// Errors by the name of their code.
    pub(super) failures: BTreeMap<&'static str, Failures>,
    /// How late the generator was with each send.
    pub(super) lateness: Times,
    /// Sends that were later than [`LATE`].
    pub(super) late: u64,
    /// Good answers from the cache.
    pub(super) cache_hits: u64,
    /// Never answered, in the warm-up.
    pub(super) lost_in_warm_up: u64,
    /// Never answered, after it.
    pub(super) lost: u64,
    /// Of those two: what the transport never took.
    pub(super) unsent: u64,
    /// Answers to what was answered already, whole run.
    pub(super) duplicates: u64,
    /// Answers to what was never asked, whole run.
    pub(super) unknown: u64,
}

/// The counts of one message of the mix.
#[derive(Debug, Clone, Default)]
pub(super) struct MessageTally {
    /// Handed over by the pacer.
    pub(super) sent: u64,
    /// Answered with a result.
    pub(super) ok: u64,
    /// Of those: within the message's timeout.
    pub(super) in_time: u64,
    /// Answered with an error.
    pub(super) failed: u64,
    /// Good answers, from the intended send.
    pub(super) corrected: Times,
    /// Good answers, from the actual send.
    pub(super) uncorrected: Times,
}

/// Errors of one code.
#[derive(Debug, Clone, Default)]
pub(super) struct Failures {
    pub(super) count: u64,
    /// The message of the first of them.
    pub(super) example: String,
}

impl Tally {
    pub(super) fn new(messages: usize) -> Self {
        Self { messages: vec![MessageTally::default(); messages], ..Self::default() }
    }

    pub(super) fn sent(&mut self, message: usize, lateness: Duration) {
        self.messages[message].sent += 1;
        self.lateness.record(lateness);
        self.late += u64::from(lateness > LATE);
    }

    pub(super) fn failed(&mut self, message: usize, code: Code, why: &str) {
        self.messages[message].failed += 1;
        let failures = self.failures.entry(code_name(code)).or_default();
        if failures.count == 0 {
            why.clone_into(&mut failures.example);
        }
        failures.count += 1;
    }

    /// Adds the counts of another stream with the same mix.
    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.messages.iter_mut().zip(&other.messages) {
            mine.merge(theirs);
        }
        for (&code, theirs) in &other.failures {
            let mine = self.failures.entry(code).or_default();
            if mine.count == 0 {
                mine.example.clone_from(&theirs.example);
            }
            mine.count += theirs.count;
        }
        self.lateness.merge(&other.lateness);
        self.late += other.late;
        self.cache_hits += other.cache_hits;
        self.lost_in_warm_up += other.lost_in_warm_up;
        self.lost += other.lost;
        self.unsent += other.unsent;
        self.duplicates += other.duplicates;
        self.unknown += other.unknown;
    }

    /// All messages of the mix as one.
    pub(super) fn total(&self) -> MessageTally {
        let mut total = MessageTally::default();
        self.messages.iter().for_each(|message| total.merge(message));
        total
    }
}

impl MessageTally {
    fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.ok += other.ok;
        self.in_time += other.in_time;
        self.failed += other.failed;
        self.corrected.merge(&other.corrected);
        self.uncorrected.merge(&other.uncorrected);
    }
}

/// The name of a code as gRPC's documents write it.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
