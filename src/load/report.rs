//! What a run found out, for programs. People read its [`Display`](std::fmt::Display).

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    Arrivals, Invalidity, LoadOptions, Order, Percentiles,
    books::Ending,
    pacer::Paced,
    tally::{MessageTally, Tally},
    verdict::Evidence,
};

/// The report of a run. As JSON its names are a contract; more may be added.
///
/// All counts are of the measured part, but where they say otherwise. There, `sent` is the sum of `answered_ok`, all
/// `errors`, and `lost` without `lost_in_warm_up`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LoadReport {
    /// Whether the generator kept its promise. If not, believe none of the percentiles.
    pub valid: bool,
    /// Why not.
    pub invalid_because: Vec<Invalidity>,
    /// Messages that fell due, per second.
    pub offered_per_s: f64,
    /// Messages that fell due and were handed to their streams.
    pub sent: u64,
    /// Messages answered with a result.
    pub answered_ok: u64,
    /// Messages answered with an error, by the name of its code; those that a failed stream left have its status.
    /// RESOURCE_EXHAUSTED is always there, since refusal under load is what one looks for.
    pub errors: BTreeMap<&'static str, u64>,
    /// Messages never answered, the warm-up included.
    pub lost: u64,
    /// Answers per second that were good, and in time where the message has a timeout.
    pub goodput_per_s: f64,
    /// How late the generator was, by its own fault, with the send that was later than 99% of the others.
    pub generator_late_p99_us: u64,
    /// From the intended send to the good answer.
    pub latency: Percentiles,

    /// From the actual send to the good answer: what a generator that omits its waiting would report.
    pub uncorrected_latency: Percentiles,
    /// The same figures for each message of the mix.
    pub labels: Vec<LabelReport>,
    /// What the first error of each code said.
    pub error_examples: BTreeMap<&'static str, String>,
    /// Good answers that came from the server's cache.
    pub cache_hits: u64,
    /// Those of `lost` that were part of the warm-up.
    pub lost_in_warm_up: u64,
    /// Those of `lost` that never left, since the server did not take them.
    pub unsent: u64,
    /// Answers, in the whole run, to messages that were answered already.
    pub duplicates: u64,
    /// Answers, in the whole run, to messages that were never sent.
    pub unknown: u64,
    /// The share of the sends that were more than 1 ms late by the generator's fault, from 0 to 1.
    pub generator_late_share: f64,
    /// The generator's latest send.
    pub generator_late_max_us: u64,
    /// The share of its cores that the generator's process used, from 0 to 1; none where the platform does not tell.
    pub generator_cpu_share: Option<f64>,
    /// Streams that were asked for.
    pub streams: usize,
    /// Streams that ended with a status other than OK.
    pub streams_failed: usize,
    /// Streams that the server had not ended when the drain was over.
    pub streams_cut: usize,
    /// Connections that they shared.
    pub connections: usize,
    /// Messages per second that were asked for.
    pub rate_per_s: f64,
    /// How long the measured part was.
    pub duration_s: f64,
    /// How long the warm-up was.
    pub warm_up_s: f64,
    /// How messages were spaced.
    pub arrivals: Arrivals,
    /// In which order answers were asked for.
    pub order: Order,
    /// Gives the same arrivals, messages and payloads again.
    pub seed: u64,
}

/// The figures of one message of the mix.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LabelReport {
    /// What the mix calls it.
    pub label: String,
    /// Messages that fell due and were handed to their streams.
    pub sent: u64,
    /// Messages answered with a result.
    pub answered_ok: u64,
    /// Messages answered with an error.
    pub failed: u64,
    /// Answers per second that were good and in time.
    pub goodput_per_s: f64,
    /// From the intended send to the good answer.
    pub latency: Percentiles,
    /// From the actual send to the good answer.
    pub uncorrected_latency: Percentiles,
}

impl LoadReport {
    pub(super) fn new(options: &LoadOptions, tally: &Tally, endings: &[Ending], paced: Paced) -> Self {
        let total = tally.total();
        let seconds = options.duration.as_secs_f64();
        let judged_cpu = paced.cpu_share.filter(|_| options.judge_cpu);
        let evidence = Evidence { sent: total.sent, late: tally.late, cpu_share: judged_cpu };
        let invalid_because = evidence.judge();
        let lateness = tally.lateness.percentiles();
        let mut errors = BTreeMap::from([("RESOURCE_EXHAUSTED", 0)]);
        errors.extend(tally.failures.iter().map(|(&code, failures)| (code, failures.count)));
        let ended = |how: fn(&Ending) -> bool| endings.iter().filter(|ending| how(ending)).count();
        Self {
            valid: invalid_because.is_empty(),
            invalid_because,
            offered_per_s: total.sent as f64 / seconds,
            sent: total.sent,
            answered_ok: total.ok,
            errors,
            lost: tally.lost + tally.lost_in_warm_up,
            goodput_per_s: total.in_time as f64 / seconds,
            generator_late_p99_us: lateness.p99_us,
            latency: total.corrected.percentiles(),
            uncorrected_latency: total.uncorrected.percentiles(),
            labels: options
                .mix
                .iter()
                .zip(&tally.messages)
                .map(|(message, tally)| LabelReport::new(&message.label, tally, seconds))
                .collect(),
            error_examples: tally.failures.iter().map(|(&code, f)| (code, f.example.clone())).collect(),
            cache_hits: tally.cache_hits,
            lost_in_warm_up: tally.lost_in_warm_up,
            unsent: tally.unsent,
            duplicates: tally.duplicates,
            unknown: tally.unknown,
            generator_late_share: tally.late as f64 / total.sent.max(1) as f64,
            generator_late_max_us: lateness.max_us,
            generator_cpu_share: paced.cpu_share,
            streams: options.streams,
            streams_failed: ended(|ending| matches!(ending, Ending::Failed(_))),
            streams_cut: ended(|ending| matches!(ending, Ending::Cut)),
            connections: options.connections(),
            rate_per_s: options.rate_per_s,
            duration_s: seconds,
            warm_up_s: options.warm_up.as_secs_f64(),
            arrivals: options.arrivals,
            order: options.order,
            seed: options.seed,
        }
    }

    /// Whether the generator kept its promise, so that the figures are about the server.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.valid
    }

    /// Messages answered with an error, whatever the code.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl LabelReport {
    fn new(label: &str, tally: &MessageTally, seconds: f64) -> Self {
        Self {
            label: label.to_owned(),
            sent: tally.sent,
            answered_ok: tally.ok,
            failed: tally.failed,
            goodput_per_s: tally.in_time as f64 / seconds,
            latency: tally.corrected.percentiles(),
            uncorrected_latency: tally.uncorrected.percentiles(),
        }
    }
}

#[cfg(test)]
mod tests;
