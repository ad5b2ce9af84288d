//! What became of every message, and what must not become of any: the invariants, as far as one message shows them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::plan::Act;
use crate::{
    grpc::performance::{
        config::OptimizationConfig,
        error::{FailureKind, Interruption, OptimizationError, Refusal},
    },
    platform::clock,
};

/// The timers of tokio count in milliseconds, and round up.
pub(super) const PUNCTUAL: Duration = Duration::from_millis(2);

#[derive(Debug)]
struct Record {
    act: Act,
    key: Option<u64>,
    /// The stream had read it, or the pool was given it, at this moment.
    accepted: Instant,
    deadline: Option<Instant>,
    begun: Option<Instant>,
    /// What others have taken in its checkpoints.
    lent: Duration,
    answered: bool,
}

/// How somebody waits for answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// For each by itself, at any moment: it has to come in time.
    Promptly,
    /// Behind others, or not always.
    InTurn,
}

/// One schedule's books.
pub(super) struct Ledger {
    pub(super) config: OptimizationConfig,
    records: Mutex<Vec<Record>>,
    faults: Mutex<Vec<String>>,
    /// A digest of all that happened, in order.
    trace: Mutex<u64>,
    running: AtomicUsize,
    /// From now on who is stuck comes back.
    pub(super) released: Arc<AtomicBool>,
    draining: Mutex<Option<Instant>>,
    /// The last time that the clock was stepped: whoever waited then may have waited for longer.
    stepped: Mutex<Option<Instant>>,
}

/// A message in its handler.
pub(super) struct Running<'a>(&'a Ledger);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

impl Ledger {
    pub(super) fn new(config: OptimizationConfig) -> Self {
        Self {
            config,
            records: Mutex::default(),
            faults: Mutex::default(),
            trace: Mutex::new(0xcbf2_9ce4_8422_2325),
            running: AtomicUsize::new(0),
            released: Arc::default(),
            draining: Mutex::default(),
            stepped: Mutex::default(),
        }
    }

    /// Messages that may run at a time, those included that nobody waits for any more.
    pub(super) fn most_running(&self) -> usize {
        let OptimizationConfig { worker_count, worker_substitutes, .. } = self.config;
        let front = worker_count + worker_substitutes;
        // All streams and calls are polled by one thread.
        let in_place = usize::from(!self.config.in_place_budget.is_zero());
        // One more may run within the checkpoints of each on a thread of the front, and sink with it, or be stuck; for one
        // that is stuck beyond the substitutes a seat of the background stays empty, while that of the front is taken.
        let on_workers =
            if self.may_lend() { 2 * (front + self.config.worker_demotions + worker_count) } else { front };
        on_workers + in_place
    }

    /// Whether messages may run within the checkpoints of others.
    fn may_lend(&self) -> bool {
        self.config.enable_length_scheduling
    }

    /// Whether no other may run within the checkpoints of this message.
    pub(super) fn is_undivided(number: usize) -> bool {
        number.is_multiple_of(4)
    }

    /// So much was run so far in the checkpoints of a message.
    pub(super) fn lends(&self, number: usize, lent: Duration) {
        if lent > Duration::ZERO && (Self::is_undivided(number) || !self.may_lend()) {
            self.fault(format!("others run for {lent:?} within message {number}, where none may"));
        }
        self.records.lock()[number].lent = lent;
    }

    /// Something must not be.
    pub(super) fn fault(&self, what: impl Into<String>) {
        self.faults.lock().push(what.into());
    }

    pub(super) fn faults(&self) -> Vec<String> {
        self.faults.lock().clone()
    }

    /// Two runs of one seed have the same traces.
    pub(super) fn trace(&self) -> u64 {
        *self.trace.lock()
    }

    pub(super) fn note(&self, what: u64) {
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let mut trace = self.trace.lock();
        *trace = (*trace ^ what).wrapping_mul(PRIME);
    }

    pub(super) fn accepted(&self, act: Act, key: Option<u64>, deadline: Option<Instant>) -> usize {
        let mut records = self.records.lock();
        records.push(Record {
            act,
            key,
            accepted: clock::now(),
            deadline,
            begun: None,
            lent: Duration::ZERO,
            answered: false,
        });
        records.len() - 1
    }

    pub(super) fn begun(&self, number: usize) -> Running<'_> {
        self.note(number as u64);
        let now = clock::now();
        let most = self.most_running();
        let running = self.running.fetch_add(1, SeqCst) + 1;
        if running > most {
            self.fault(format!("{running} messages run, on at most {most} threads"));
        }
        let mut records = self.records.lock();
        let record = &mut records[number];
        if record.begun.replace(now).is_some() {
            self.fault(format!("message {number} is run twice: {record:?}"));
        }
        if record.deadline.is_some_and(|deadline| deadline <= now) && !self.has_stepped() {
            self.fault(format!("message {number} is begun after its deadline: {record:?}"));
        }
        if self.draining.lock().is_some_and(|since| since < record.accepted) {
            self.fault(format!("message {number} came when the pool drained, and is run: {record:?}"));
        }
        drop(records);
        Running(self)
    }

    /// What a message that is served says.
    pub(super) fn expected(number: usize, key: Option<u64>) -> u64 {
        key.unwrap_or(1000 + number as u64)
    }

    pub(super) fn answered(&self, number: usize, waits: Waits, result: &Result<u64, OptimizationError>) {
        let now = clock::now();
        let mut records = self.records.lock();
        let record = &mut records[number];
        self.note(number as u64 ^ now.saturating_duration_since(record.accepted).as_nanos() as u64);
        if std::mem::replace(&mut record.answered, true) {
            self.fault(format!("message {number} is answered twice: {record:?}"));
        }
        if let Err(why) = self.judge(number, record, result, now) {
            self.fault(format!("message {number} is answered {result:?}, {why}: {record:?}"));
        }
        let latest = match waits {
            Waits::Promptly => self.latest(record),
            Waits::InTurn => None,
        };
        if let Some(latest) = latest
            && now > latest + PUNCTUAL
        {
            self.fault(format!("message {number} is answered {:?} late: {record:?}", now - latest));
        }
    }

    /// When a message must have its answer.
    fn latest(&self, record: &Record) -> Option<Instant> {
        if self.stepped.lock().is_some_and(|stepped| stepped >= record.accepted) {
            return None;
        }
        // What it lends is not its own time, and whoever runs in its checkpoints may overstay as well.
        let loans = if self.may_lend() { record.lent + self.config.worker_timeout } else { Duration::ZERO };
        let overstays = record.begun.map(|begun| begun + self.config.worker_timeout + loans);
        [record.deadline, overstays].into_iter().flatten().min().map(|latest| latest.max(record.accepted))
    }

    /// Whether the answer is one that the message can have.
    fn judge(
        &self,
        number: usize,
        record: &Record,
        result: &Result<u64, OptimizationError>,
        now: Instant,
    ) -> Result<(), &'static str> {
        let holds = |held: bool, otherwise: &'static str| if held { Ok(()) } else { Err(otherwise) };
        let served = matches!(record.act, Act::Work { .. } | Act::Deaf(_) | Act::Heavy(..) | Act::Stuck);
        match result {
            Ok(value) => {
                holds(*value == Self::expected(number, record.key), "which is another's")?;
                holds(served || record.key.is_some(), "which it cannot say")?;
                holds(record.begun.is_some() || record.key.is_some(), "and was never begun")
            }
            // Seen at a checkpoint, before whoever waits was told of it.
            Err(OptimizationError::Handler(error)) if error.kind() == FailureKind::DeadlineExceeded => {
                holds(record.deadline.is_some_and(|deadline| deadline <= now), "too soon")
            }
            Err(OptimizationError::Handler(error)) => {
                holds(error.kind() == FailureKind::InvalidArgument, "which nobody waits for any more")?;
                holds(matches!(record.act, Act::Fail | Act::Bomb), "which it does not do")
            }
            Err(OptimizationError::Panicked(_)) => {
                holds(matches!(record.act, Act::Panic(_) | Act::Bomb), "which it does not do")
            }
            Err(OptimizationError::Interrupted(why)) => match why {
                Interruption::DeadlineExceeded => {
                    holds(record.deadline.is_some_and(|deadline| deadline <= now), "too soon")
                }
                Interruption::Overstayed => {
                    // Its thread may have been stopped just before it began, where the clock is stepped.
                    let begun = if self.has_stepped() { Some(record.accepted) } else { record.begun };
                    let begun = begun.ok_or("and was never begun")?;
                    holds(now >= begun + self.config.worker_timeout, "too soon")
                }
                Interruption::ShutDown => {
                    holds(self.draining.lock().is_some(), "and nobody has asked for that")
                }
                Interruption::Displaced => holds(record.begun.is_none(), "and was begun"),
                Interruption::Cancelled | Interruption::WorkerLost => Err("which nobody did"),
            },
            Err(OptimizationError::Refused(Refusal::Draining)) => {
                holds(self.draining.lock().is_some(), "and nobody has asked for that")
            }
            Err(OptimizationError::Refused(_)) => holds(record.begun.is_none(), "and was begun"),
            Err(_) => Err("which has nothing to do with it"),
        }
    }

    pub(super) fn drains(&self) {
        *self.draining.lock() = Some(clock::now());
    }

    /// The clock is about to be stepped.
    pub(super) fn steps(&self, step: Duration) {
        *self.stepped.lock() = Some(clock::now() + step);
    }

    pub(super) fn has_stepped(&self) -> bool {
        self.stepped.lock().is_some()
    }

    /// All that lack an answer, for people.
    pub(super) fn open(&self) -> String {
        let records = self.records.lock();
        let open = records.iter().enumerate().filter(|(_, record)| !record.answered);
        format!("{:#?}", open.collect::<Vec<_>>())
    }

    /// Numbers of those that lack an answer, of the messages that `wanted` names.
    pub(super) fn unanswered(&self, wanted: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let records = self.records.lock();
        wanted.into_iter().filter(|&number| !records[number].answered).collect()
    }
}
