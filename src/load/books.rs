//! The books of one stream: what it was to send, what it sent, what came back.
//!
//! Every message that the pacer hands over ends in exactly one of: answered with a result, answered with an error,
//! lost. It is entered when the transport takes it ([`Books::take`]), struck off by its answer ([`Books::answer`]), and
//! what is left when the books are closed ([`Books::close`]) got its stream's status when that failed, and is lost when
//! it ended well or was cut off at the end of the drain. An answer that strikes nothing off is a duplicate or unknown.
//!
//! The id of a message is its stream in the upper 24 bits and its number on the stream below. The books keep a window
//! from the oldest unanswered number to the latest; below it all is answered.
//!
//! # Lateness, and whose it is
//! A send can be late because the generator was (the pacer woke late, or the task that writes did), or because the
//! server was (its flow control holds the stream back). The transport asks for the next message when it can take one,
//! and waits where there is none. So when it was waiting, its waking up is the generator's work, and the time to it
//! counts as the generator's lateness, for all that had fallen due by then. When it was not waiting, the time from the
//! hand-over until it asks is the server's, and shows as latency.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use tonic::{Code, Status};

use super::tally::Tally;

/// Bits of an id that number the messages of a stream.
const NUMBER_BITS: u32 = 40;

/// A message that is due: what the pacer hands over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    /// Which message of the mix.
    pub(super) message: usize,
    /// Which random payload.
    pub(super) payload: u64,
    /// Whether it counts, or is part of the warm-up.
    pub(super) measured: bool,
    /// When it should be sent.
    pub(super) intended: Instant,
    /// When the pacer handed it over.
    pub(super) handed_over: Instant,
}

/// How the answer to a message is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome<'a> {
    Result { cache_hit: bool },
    Error(Code, &'a str),
}

/// How a stream ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// With the status OK.
    Finished,
    /// With another status.
    Failed(Status),
    /// It had not ended when the drain was over.
    Cut,
}

#[derive(Debug)]
pub(super) struct Books {
    stream: u64,
    /// The number of the window's first message.
    first: u64,
    /// Unanswered messages, with gaps where later ones are answered already; begins with an unanswered one.
    window: VecDeque<Option<Sent>>,
    /// When the transport last woke from waiting.
    woken: Option<Instant>,
    /// By the message of the mix: within which time an answer is of use.
    timeouts: Vec<Option<Duration>>,
    tally: Tally,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    due: Due,
    taken: Instant,
}

impl Books {
    /// Empty books for a stream whose messages are of use within these times.
    pub(super) fn new(stream: usize, timeouts: Vec<Option<Duration>>) -> Self {
        Self {
            stream: stream as u64,
            first: 0,
            window: VecDeque::new(),
            woken: None,
            tally: Tally::new(timeouts.len()),
            timeouts,
        }
    }

    /// The transport was waiting, and now finds a message.
    pub(super) fn woke(&mut self, now: Instant) {
        self.woken = Some(now);
    }

    /// The transport takes the message; its id is returned.
    pub(super) fn take(&mut self, due: Due, taken: Instant) -> u64 {
        if due.measured {
            self.tally.sent(due.message, self.lateness(&due));
        }
        let number = self.first + self.window.len() as u64;
        self.window.push_back(Some(Sent { due, taken }));
        self.stream << NUMBER_BITS | number
    }

    /// The message with this id is answered.
    pub(super) fn answer(&mut self, id: u64, now: Instant, outcome: Outcome<'_>) {
        let number = id & ((1 << NUMBER_BITS) - 1);
        if id >> NUMBER_BITS != self.stream || number >= self.first + self.window.len() as u64 {
            self.tally.unknown += 1;
            return;
        }
        let open = number.checked_sub(self.first).and_then(|index| self.window[index as usize].take());
        let Some(sent) = open else {
            self.tally.duplicates += 1;
            return;
        };
        while let Some(None) = self.window.front() {
            self.window.pop_front();
            self.first += 1;
        }
        if sent.due.measured {
            self.count(&sent, now, outcome);
        }
    }

    fn count(&mut self, sent: &Sent, now: Instant, outcome: Outcome<'_>) {
        let message = sent.due.message;
        match outcome {
            Outcome::Result { cache_hit } => {
                let latency = now.saturating_duration_since(sent.due.intended);
                let tally = &mut self.tally.messages[message];
                tally.ok += 1;
                tally.in_time += u64::from(self.timeouts[message].is_none_or(|timeout| latency <= timeout));
                tally.corrected.record(latency);
                tally.uncorrected.record(now.saturating_duration_since(sent.taken));
                self.tally.cache_hits += u64::from(cache_hit);
            }
            Outcome::Error(code, why) => self.tally.failed(message, code, why),
        }
    }

    /// Accounts for all that has no answer, `untaken` being what the transport left, and gives the counts away.
    pub(super) fn close(&mut self, untaken: impl Iterator<Item = Due>, ending: &Ending) -> Tally {
        for sent in std::mem::take(&mut self.window).into_iter().flatten() {
            self.leave(&sent.due, ending);
        }
        for due in untaken {
            if due.measured {
                self.tally.sent(due.message, self.lateness(&due));
            }
            self.tally.unsent += u64::from(!matches!(ending, Ending::Failed(_)));
            self.leave(&due, ending);
        }
        std::mem::take(&mut self.tally)
    }

    fn leave(&mut self, due: &Due, ending: &Ending) {
        match (ending, due.measured) {
            (Ending::Failed(status), true) => self.tally.failed(due.message, status.code(), status.message()),
            (Ending::Failed(_), false) => {}
            (Ending::Finished | Ending::Cut, true) => self.tally.lost += 1,
            (Ending::Finished | Ending::Cut, false) => self.tally.lost_in_warm_up += 1,
        }
    }

    fn lateness(&self, due: &Due) -> Duration {
        let ready = match self.woken {
            Some(woken) if woken > due.intended => woken.max(due.handed_over),
            _ => due.handed_over,
        };
        ready.saturating_duration_since(due.intended)
    }
}

#[cfg(test)]
mod tests;
