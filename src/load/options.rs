//! What to offer to whom: plain data, checked once before anything is sent.

use std::{collections::HashMap, fmt, time::Duration};

use bytes::Bytes;
use serde::Serialize;

use super::{Arrivals, LoadError};
use crate::Priority;

/// Streams on one connection, unless [`LoadOptions::connections`] says otherwise. Servers allow 100 or more.
const STREAMS_PER_CONNECTION: usize = 50;
/// Streams of one run: ids keep 24 bits for the stream, and a process has file handles for fewer.
const MAX_STREAMS: usize = 65_536;
/// Bytes of one payload.
const MAX_PAYLOAD: usize = 64 * 1024 * 1024;
/// The longest run: schedules and histograms stay far from their ends.
const MAX_LENGTH: Duration = Duration::from_secs(24 * 60 * 60);
/// Messages of one run. Each costs some 50 bytes while it is unanswered, and a server that stops reading may leave all
/// of them so.
const MAX_MESSAGES: f64 = 100_000_000.0;
/// How long answers are awaited after the last send when no message has a timeout.
const DRAIN: Duration = Duration::from_secs(10);
/// The same when messages have one: this long after the last can still be in time.
const DRAIN_AFTER_TIMEOUT: Duration = Duration::from_secs(5);

/// The order in which a stream wants its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As they were asked for.
    #[default]
    Request,
    /// As they are finished.
    Completion,
}

impl Order {
    /// The value of the metadata `millstream-order`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Completion => "completion",
        }
    }
}

/// The input of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// So many random bytes, different in each message (see [`LoadOptions::distinct_payloads`]), so that a cache
    /// does not answer for the workers.
    Random(usize),
    /// The same bytes in each message: for operations that want a picture, or JSON.
    Fixed(Bytes),
}

impl Payload {
    fn len(&self) -> usize {
        match self {
            Self::Random(len) => *len,
            Self::Fixed(bytes) => bytes.len(),
        }
    }
}

/// One kind of message of a mix.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedMessage {
    /// How often it is sent, compared with the others of the mix.
    pub weight: f64,
    /// What the report calls it.
    pub label: String,
    /// The operation to ask for.
    pub operation: String,
    /// Its parameters.
    pub parameters: HashMap<String, String>,
    /// Its input.
    pub payload: Payload,
    /// Served before or after others.
    pub priority: Priority,
    /// How long an answer is of use. The server is told, and goodput counts the answers within it.
    pub timeout: Option<Duration>,
    /// Whether the server is asked to leave its cache out of it.
    pub no_cache: bool,
}

impl WeightedMessage {
    /// A message for `operation`, labelled like it: weight 1, no parameters, 4 KiB, normal priority, no timeout.
    #[must_use]
    pub fn new(operation: impl Into<String>) -> Self {
        let operation = operation.into();
        Self {
            weight: 1.0,
            label: operation.clone(),
            operation,
            parameters: HashMap::new(),
            payload: Payload::Random(4096),
            priority: Priority::Normal,
            timeout: None,
            no_cache: false,
        }
    }

    fn validate(&self) -> Result<(), LoadError> {
        check("weight", self.weight, above_zero(self.weight), "a weight is a number above 0")?;
        check("operation", &self.operation, !self.operation.is_empty(), "an operation has a name")?;
        let bytes = self.payload.len();
        check("payload", bytes, bytes <= MAX_PAYLOAD, "a payload has 64 MiB (67108864 bytes) at most")?;
        check(
            "timeout",
            self.timeout,
            self.timeout.is_none_or(in_a_day),
            "a timeout is above 0, and 24 h at most",
        )
    }
}

/// A run of load. [`LoadOptions::new`] gives the defaults; set what differs.
///
/// ```
/// use millstream::load::{LoadOptions, WeightedMessage};
///
/// let options = LoadOptions {
///     rate_per_s: 2000.0,
///     streams: 100,
///     ..LoadOptions::new("http://127.0.0.1:50051", WeightedMessage::new("digest"))
/// };
/// assert!(options.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LoadOptions {
    /// Where to, like `http://127.0.0.1:50051`.
    pub server: String,
    /// Messages offered per second, all streams together. Default: 1000.
    pub rate_per_s: f64,
    /// How long messages are sent that count. Default: 10 s.
    pub duration: Duration,
    /// How long messages are sent before that, which do not count. Default: 2 s.
    pub warm_up: Duration,
    /// Streams at a time. Default: 10.
    pub streams: usize,
    /// HTTP/2 connections that they share. Default: one for 50 streams.
    pub connections: Option<usize>,
    /// How messages are spaced. Default: Poisson.
    pub arrivals: Arrivals,
    /// The order that the streams ask for. Default: that of the requests.
    pub order: Order,
    /// What is sent.
    pub mix: Vec<WeightedMessage>,
    /// How many different random payloads there are: each message draws one of so many. Default: no two are the same.
    pub distinct_payloads: Option<u64>,
    /// How long answers are awaited after the last send. Default: the longest timeout of the mix plus 5 s, or 10 s
    /// without one.
    pub drain: Option<Duration>,
    /// Decides arrivals, streams, messages and payloads. Default: another one each time; the report names it. A server
    /// that was run with the same seed before may have the answers in its cache.
    pub seed: u64,
    /// Whether a process that fills its cores makes the run invalid. It says nothing when the server runs in the same
    /// process. Default: true.
    pub judge_cpu: bool,
}

impl LoadOptions {
    /// The defaults, for one kind of message.
    #[must_use]
    pub fn new(server: impl Into<String>, message: WeightedMessage) -> Self {
        Self {
            server: server.into(),
            rate_per_s: 1000.0,
            duration: Duration::from_secs(10),
            warm_up: Duration::from_secs(2),
            streams: 10,
            connections: None,
            arrivals: Arrivals::Poisson,
            order: Order::Request,
            mix: vec![message],
            distinct_payloads: None,
            drain: None,
            // Short enough for a person to type, and for any reader of JSON to keep.
            seed: rand::random::<u32>().into(),
            judge_cpu: true,
        }
    }

    /// Refuses what cannot be offered, naming the field, its value, and what would be right.
    ///
    /// # Errors
    /// [`LoadError::Option`].
    pub fn validate(&self) -> Result<(), LoadError> {
        let length = self.warm_up.saturating_add(self.duration);
        check("rate_per_s", self.rate_per_s, above_zero(self.rate_per_s), "a rate is a number above 0")?;
        check("duration", self.duration, !self.duration.is_zero(), "a run takes some time")?;
        check("duration", length, length <= MAX_LENGTH, "a run takes 24 h at most, warm_up included")?;
        let messages = self.rate_per_s * length.as_secs_f64();
        check(
            "rate_per_s",
            self.rate_per_s,
            messages <= MAX_MESSAGES,
            "a run is 100 million messages at most",
        )?;
        check(
            "streams",
            self.streams,
            (1..=MAX_STREAMS).contains(&self.streams),
            "1 to 65536 streams are possible",
        )?;
        let connections = self.connections();
        let possible = (1..=self.streams).contains(&connections);
        check("connections", connections, possible, "each connection carries at least one of the streams")?;
        check("distinct_payloads", 0, self.distinct_payloads != Some(0), "there is one payload at least")?;
        check(
            "drain",
            self.drain(),
            in_a_day(self.drain()),
            "answers are awaited for some time, 24 h at most",
        )?;
        check("mix", &self.mix, !self.mix.is_empty(), "there is something to send")?;
        self.mix.iter().try_for_each(WeightedMessage::validate)
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.unwrap_or_else(|| self.streams.div_ceil(STREAMS_PER_CONNECTION))
    }

    pub(super) fn drain(&self) -> Duration {
        let timeout = self.mix.iter().filter_map(|message| message.timeout).max();
        self.drain
            .unwrap_or_else(|| timeout.map_or(DRAIN, |longest| longest.saturating_add(DRAIN_AFTER_TIMEOUT)))
    }
}

fn check(
    name: &'static str,
    value: impl fmt::Debug,
    right: bool,
    expected: &'static str,
) -> Result<(), LoadError> {
    if right { Ok(()) } else { Err(LoadError::Option { name, value: format!("{value:?}"), expected }) }
}

fn above_zero(number: f64) -> bool {
    number.is_finite() && number > 0.0
}

fn in_a_day(time: Duration) -> bool {
    !time.is_zero() && time <= MAX_LENGTH
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> LoadOptions {
        LoadOptions::new("http://127.0.0.1:50051", WeightedMessage::new("echo"))
    }

    fn refused(options: LoadOptions) -> String {
        options.validate().expect_err("it cannot be offered").to_string()
    }

    #[test]
    fn the_defaults_can_be_offered() {
        options().validate().unwrap();
    }

    #[test]
    fn what_cannot_be_offered_is_named_with_its_value() {
        for rate_per_s in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            let said = refused(LoadOptions { rate_per_s, ..options() });
            assert!(said.starts_with(&format!("rate_per_s = {rate_per_s:?}: ")), "{said}");
        }
        let message = |change: fn(&mut WeightedMessage)| {
            let mut message = WeightedMessage::new("echo");
            change(&mut message);
            LoadOptions { mix: vec![message], ..options() }
        };
        let cases = [
            (LoadOptions { duration: Duration::ZERO, ..options() }, "duration = 0ns: "),
            (LoadOptions { warm_up: Duration::MAX, ..options() }, "duration = "),
            (LoadOptions { streams: 0, ..options() }, "streams = 0: "),
            (LoadOptions { streams: 65_537, ..options() }, "streams = 65537: "),
            (LoadOptions { connections: Some(0), ..options() }, "connections = 0: "),
            (LoadOptions { connections: Some(11), ..options() }, "connections = 11: "),
            (LoadOptions { distinct_payloads: Some(0), ..options() }, "distinct_payloads = 0: "),
            (LoadOptions { drain: Some(Duration::ZERO), ..options() }, "drain = 0ns: "),
            (LoadOptions { mix: Vec::new(), ..options() }, "mix = []: "),
            (message(|message| message.weight = -1.0), "weight = -1.0: "),
            (message(|message| message.operation.clear()), "operation = \"\": "),
            (message(|message| message.payload = Payload::Random(MAX_PAYLOAD + 1)), "payload = 67108865: "),
            (message(|message| message.timeout = Some(Duration::ZERO)), "timeout = Some(0ns): "),
        ];
        for (options, start) in cases {
            let said = refused(options);
            assert!(said.starts_with(start), "{said}");
        }
    }

    #[test]
    fn fifty_streams_share_a_connection_by_default() {
        for (streams, connections) in [(1, 1), (50, 1), (51, 2), (100, 2)] {
            assert_eq!(LoadOptions { streams, ..options() }.connections(), connections, "{streams} streams");
        }
    }

    #[test]
    fn the_drain_outlasts_the_longest_timeout() {
        assert_eq!(options().drain(), DRAIN);
        let mut options = options();
        options.mix[0].timeout = Some(Duration::from_secs(60));
        assert_eq!(options.drain(), Duration::from_secs(65));
    }
}
