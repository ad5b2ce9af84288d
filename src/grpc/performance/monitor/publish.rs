//! The figures under their names in the `metrics` facade.
//!
//! Everything is published as what it is since the start: counters by their absolute value, so that a figure that is
//! published twice, or late, is not counted twice. Times go out as Prometheus writes a summary: a gauge for each
//! quantile, and sum and count beside it.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use super::{
    counters::{Counter, Outcome},
    snapshot::{Snapshot, Stage, StageHistogram},
};
use crate::platform::memory::resident_bytes;

/// The quantiles of each histogram that are published; 1 is the longest time.
const QUANTILES: [(f64, &str); 5] =
    [(0.5, "0.5"), (0.95, "0.95"), (0.99, "0.99"), (0.999, "0.999"), (1.0, "1")];

/// What the parts of the data plane hold at this moment, for [`publish`](super::StreamPerformanceMonitor::publish).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PoolGauges {
    /// Worker threads.
    pub workers: usize,
    /// Messages in the lanes.
    pub queued: usize,
    /// Payload bytes accepted and not yet answered.
    pub bytes_in_flight: usize,
    /// Streams that are open.
    pub open_streams: usize,
    /// Entries in the cache.
    pub cache_entries: usize,
    /// Bytes of keys and values in the cache.
    pub cache_bytes: usize,
    /// Messages that were answered with a stale answer, while one computed it anew.
    pub cache_stale_hits: u64,
    /// Answers that were not stored, since those of their class are never asked for again.
    pub cache_not_admitted: u64,
    /// How much more comes than can be done: 0 is normal, 3 an emergency.
    pub overload_level: u8,
    /// The least wait of the last interval, over the wait that is too long.
    pub overload: f64,
    /// The wait that is all right.
    pub queue_target: Duration,
    /// The pool of handler instances.
    pub handlers: Reuse,
    /// The pool of validators.
    pub validators: Reuse,
    /// The pool of byte buffers.
    pub buffers: Reuse,
}

/// How well a pool of instances does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reuse {
    /// Checkouts that found an idle instance.
    pub hits: u64,
    /// Checkouts that made a fresh one.
    pub misses: u64,
    /// Instances that are idle.
    pub idle: usize,
}

/// The names of one stage's figures.
struct Names {
    quantiles: &'static str,
    sum: &'static str,
    count: &'static str,
    description: &'static str,
}

const fn names(stage: Stage) -> Names {
    match stage {
        Stage::QueueWait => Names {
            quantiles: "millstream_queue_wait_seconds",
            sum: "millstream_queue_wait_seconds_sum",
            count: "millstream_queue_wait_seconds_count",
            description: "Time from accepted to started",
        },
        Stage::ServiceTime => Names {
            quantiles: "millstream_service_time_seconds",
            sum: "millstream_service_time_seconds_sum",
            count: "millstream_service_time_seconds_count",
            description: "Time from started to finished",
        },
        Stage::SojournTime => Names {
            quantiles: "millstream_sojourn_time_seconds",
            sum: "millstream_sojourn_time_seconds_sum",
            count: "millstream_sojourn_time_seconds_count",
            description: "Time from accepted to answered",
        },
    }
}

/// Tells the recorder what the figures mean.
pub(super) fn describe() {
    for counter in Counter::ALL {
        describe_counter!(counter.metric(), Unit::Count, counter.description());
    }
    describe_counter!(
        "millstream_messages_answered_total",
        Unit::Count,
        "Messages that were answered, by code"
    );
    describe_counter!("millstream_times_clamped_total", Unit::Count, "Times too long for the histograms");
    describe_counter!("millstream_times_crowded_out_total", Unit::Count, "Times filed under the class other");
    describe_counter!("millstream_pool_hits_total", Unit::Count, "Checkouts that found an idle instance");
    describe_counter!("millstream_pool_misses_total", Unit::Count, "Checkouts that made a fresh instance");
    describe_gauge!("millstream_pool_idle", Unit::Count, "Instances that are idle");
    for stage in Stage::ALL {
        let names = names(stage);
        describe_gauge!(names.quantiles, Unit::Seconds, names.description);
        describe_gauge!(names.sum, Unit::Seconds, names.description);
        describe_counter!(names.count, Unit::Count, names.description);
    }
    describe_gauge!(
        "millstream_worker_busy_seconds",
        Unit::Seconds,
        "Time spent in handlers, all workers together"
    );
    describe_gauge!("millstream_uptime_seconds", Unit::Seconds, "Time since the start");
    describe_gauge!("millstream_resident_bytes", Unit::Bytes, "Resident memory of the process");
    describe_gauge!("millstream_workers", Unit::Count, "Worker threads");
    describe_gauge!("millstream_queued_messages", Unit::Count, "Messages in the lanes");
    describe_gauge!("millstream_in_flight_bytes", Unit::Bytes, "Payload bytes accepted and not yet answered");
    describe_gauge!("millstream_open_streams", Unit::Count, "Streams that are open");
    describe_gauge!("millstream_overload_level", Unit::Count, "0 normal, 1 warning, 2 critical, 3 emergency");
    describe_gauge!(
        "millstream_overload",
        Unit::Count,
        "The least wait of the last interval over the wait that is too long"
    );
    describe_gauge!("millstream_queue_target_seconds", Unit::Seconds, "The wait that is all right");
    describe_gauge!("millstream_cache_entries", Unit::Count, "Entries in the cache");
    describe_gauge!("millstream_cache_bytes", Unit::Bytes, "Bytes of keys and values in the cache");
    describe_counter!(
        "millstream_cache_stale_hits_total",
        Unit::Count,
        "Messages that were answered with a stale answer, while one computed it anew"
    );
    describe_counter!(
        "millstream_cache_not_admitted_total",
        Unit::Count,
        "Answers that were not stored, since those of their class are never asked for again"
    );
}

/// Sends everything to the recorder that is installed.
pub(super) fn publish(snapshot: &Snapshot, gauges: &PoolGauges) {
    for counter in Counter::ALL {
        counter!(counter.metric()).absolute(snapshot.counts.of(counter));
    }
    for outcome in Outcome::ALL {
        counter!("millstream_messages_answered_total", "code" => outcome.as_grpc_name())
            .absolute(snapshot.counts.answered(outcome));
    }
    counter!("millstream_times_clamped_total").absolute(snapshot.clamped);
    counter!("millstream_times_crowded_out_total").absolute(snapshot.crowded_out);
    snapshot.histograms.iter().for_each(publish_times);
    gauge!("millstream_worker_busy_seconds").set(snapshot.busy);
    gauge!("millstream_uptime_seconds").set(snapshot.uptime);
    gauge!("millstream_resident_bytes").set(resident_bytes() as f64);

    // Taken apart so that a new figure does not compile until it is published here.
    let PoolGauges {
        workers,
        queued,
        bytes_in_flight,
        open_streams,
        cache_entries,
        cache_bytes,
        cache_stale_hits,
        cache_not_admitted,
        overload_level,
        overload,
        queue_target,
        handlers,
        validators,
        buffers,
    } = *gauges;
    gauge!("millstream_workers").set(workers as f64);
    gauge!("millstream_queued_messages").set(queued as f64);
    gauge!("millstream_in_flight_bytes").set(bytes_in_flight as f64);
    gauge!("millstream_open_streams").set(open_streams as f64);
    gauge!("millstream_cache_entries").set(cache_entries as f64);
    gauge!("millstream_cache_bytes").set(cache_bytes as f64);
    counter!("millstream_cache_stale_hits_total").absolute(cache_stale_hits);
    counter!("millstream_cache_not_admitted_total").absolute(cache_not_admitted);
    gauge!("millstream_overload_level").set(f64::from(overload_level));
    gauge!("millstream_overload").set(overload);
    gauge!("millstream_queue_target_seconds").set(queue_target);
    for (pool, reuse) in [("handlers", handlers), ("validators", validators), ("buffers", buffers)] {
        counter!("millstream_pool_hits_total", "pool" => pool).absolute(reuse.hits);
        counter!("millstream_pool_misses_total", "pool" => pool).absolute(reuse.misses);
        gauge!("millstream_pool_idle", "pool" => pool).set(reuse.idle as f64);
    }
}

fn publish_times(times: &StageHistogram) {
    let names = names(times.stage);
    let class = times.class.name();
    for (quantile, label) in QUANTILES {
        gauge!(names.quantiles, "class" => class, "quantile" => label).set(times.quantile(quantile));
    }
    gauge!(names.sum, "class" => class).set(times.total);
    counter!(names.count, "class" => class).absolute(times.count());
}
