//! The figures on the wire.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use hdrhistogram::{
    Histogram,
    serialization::{Serializer, V2DeflateSerializer},
};
use tokio::time::{Interval, MissedTickBehavior};
use tonic::Status;

use super::{DataPlaneHandler, readings::Readings, wire};
use crate::{
    grpc::{
        performance::{
            Fault, OptimizationError, OptimizedStreamProcessor,
            monitor::{Counter, Outcome, StageHistogram},
        },
        proto::{self, GetStatsResponse},
    },
    platform::memory::resident_bytes,
};

/// The shortest time between two looks of one watch: each is sent all histograms.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// How often a watch that reports more seldom looks whether it is over.
const LOOK: Duration = Duration::from_millis(100);

/// The interval that a client asks for.
pub(super) fn interval(interval: prost_types::Duration) -> Result<Duration, Status> {
    Duration::try_from(interval).ok().filter(|interval| *interval >= SHORTEST_INTERVAL).ok_or_else(|| {
        Status::invalid_argument(format!("interval = {interval}: it must be at least {SHORTEST_INTERVAL:?}"))
    })
}

/// When the figures were last looked at, so that utilization is that of the time since.
#[derive(Debug, Clone, Copy, Default)]
struct LastLook {
    uptime: Duration,
    busy: Duration,
}

/// All figures at one moment, but for the utilization, which is since somebody's last look.
#[derive(Debug)]
struct Figures {
    stats: GetStatsResponse,
    uptime: Duration,
    busy: Duration,
}

/// What a reading gives: there may be several who asked for it.
type Reading = Result<Arc<Figures>, Status>;

/// The figures of a processor, for all who ask for them.
pub(super) struct Stats<H: DataPlaneHandler> {
    processor: OptimizedStreamProcessor<H>,
    readings: Readings<Reading>,
}

impl<H: DataPlaneHandler> Stats<H> {
    pub(super) fn new(processor: OptimizedStreamProcessor<H>) -> Self {
        Self { processor, readings: Readings::new() }
    }

    /// The figures once; utilization is since the start.
    pub(super) async fn once(&self) -> Result<GetStatsResponse, Status> {
        Ok(self.current().await?.since(&mut LastLook::default()))
    }

    async fn current(&self) -> Reading {
        let processor = self.processor.clone();
        let reading = self.readings.current(move || read(&processor).map(Arc::new)).await;
        reading.unwrap_or_else(|error| Err(Status::internal(format!("the figures cannot be read: {error}"))))
    }
}

impl Figures {
    fn since(&self, last: &mut LastLook) -> GetStatsResponse {
        let Self { stats, uptime, busy } = self;
        let worked = busy.saturating_sub(last.busy).as_secs_f64();
        let available = uptime.saturating_sub(last.uptime).as_secs_f64() * f64::from(stats.workers);
        *last = LastLook { uptime: *uptime, busy: *busy };
        let worker_utilization = if available > 0.0 { (worked / available).min(1.0) } else { 0.0 };
        GetStatsResponse { worker_utilization, ..stats.clone() }
    }
}

fn read<H: DataPlaneHandler>(processor: &OptimizedStreamProcessor<H>) -> Result<Figures, Status> {
    let snapshot = processor.monitor().snapshot();
    let cached = processor.cache().stats();
    let pool = processor.pool();
    let counts = &snapshot.counts;
    let overload = processor.overload();
    let errors = Outcome::ALL
        .into_iter()
        .filter(|&outcome| outcome != Outcome::Ok && counts.answered(outcome) > 0)
        .map(|outcome| (outcome.as_grpc_name().to_string(), counts.answered(outcome)))
        .collect();
    let stats = GetStatsResponse {
        uptime: wire::duration(snapshot.uptime),
        accepted: counts.of(Counter::Accepted),
        answered_ok: counts.answered(Outcome::Ok),
        errors,
        cache_hits: counts.of(Counter::CacheHits) + counts.of(Counter::CacheJoins),
        cache_misses: counts.of(Counter::CacheMisses),
        cache_entries: cached.entries as u64,
        cache_bytes: cached.bytes as u64,
        open_streams: processor.open_streams() as u64,
        queued: pool.queued() as u64,
        bytes_in_flight: pool.bytes_in_flight() as u64,
        workers: pool.workers() as u32,
        worker_utilization: 0.0,
        resident_bytes: resident_bytes() as u64,
        histograms: snapshot.histograms.iter().map(stage).collect::<Result<_, _>>()?,
        overload_level: proto::OverloadLevel::from(overload.level).into(),
        overload: overload.load,
        queue_target: wire::duration(overload.queue_target),
        would_be_late: counts.of(Counter::WouldBeLate),
        waited_too_long: counts.of(Counter::WaitedTooLong),
        displaced: counts.of(Counter::Displaced),
        not_urgent: counts.of(Counter::NotUrgent),
    };
    Ok(Figures { stats, uptime: snapshot.uptime, busy: snapshot.busy })
}

fn stage(times: &StageHistogram) -> Result<proto::StageHistogram, OptimizationError> {
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let quantile = |quantile| nanoseconds(times.quantile(quantile));
    Ok(proto::StageHistogram {
        stage: times.stage.name().to_string(),
        class: times.class.name().to_string(),
        count: times.count(),
        p50_ns: quantile(0.5),
        p90_ns: quantile(0.9),
        p95_ns: quantile(0.95),
        p99_ns: quantile(0.99),
        p999_ns: quantile(0.999),
        max_ns: nanoseconds(times.longest),
        hdr_v2_compressed: serialized(&times.histogram)?,
    })
}

fn serialized(histogram: &Histogram<u64>) -> Result<Vec<u8>, OptimizationError> {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut bytes).map_err(|error| {
        OptimizationError::MonitoringError(Fault::caused_by(
            format!("a histogram cannot be written: {error}"),
            error,
        ))
    })?;
    Ok(bytes)
}

/// The figures again and again, until the data plane drains. A client that reads slowly gets fewer, not later ones.
pub(super) struct StatsStream<H: DataPlaneHandler> {
    stats: Arc<Stats<H>>,
    ticks: Interval,
    /// Whoever watches is not to hold up the drain, however seldom he is told something.
    looks: Interval,
    /// What was asked for at the last tick.
    asked: Option<Pin<Box<dyn Future<Output = Reading> + Send>>>,
    last: LastLook,
}

impl<H: DataPlaneHandler> StatsStream<H> {
    pub(super) fn new(stats: Arc<Stats<H>>, interval: Duration) -> Self {
        let [ticks, looks] = [interval, LOOK].map(|interval| {
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            ticks
        });
        Self { stats, ticks, looks, asked: None, last: LastLook::default() }
    }
}

impl<H: DataPlaneHandler> Stream for StatsStream<H> {
    type Item = Result<GetStatsResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while this.looks.poll_tick(cx).is_ready() {}
        if this.stats.processor.pool().is_draining() {
            return Poll::Ready(None);
        }
        let asked = match &mut this.asked {
            Some(asked) => asked,
            none => {
                ready!(this.ticks.poll_tick(cx));
                let stats = Arc::clone(&this.stats);
                none.insert(Box::pin(async move { stats.current().await }))
            }
        };
        let reading = ready!(asked.as_mut().poll(cx));
        this.asked = None;
        Poll::Ready(Some(reading.map(|figures| figures.since(&mut this.last))))
    }
}
