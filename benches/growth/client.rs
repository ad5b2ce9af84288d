//! A client with many streams that stay open: silent, or with an open loop over them.
//!
//! A stream counts as open once a message has gone its whole way: what a server makes for a stream with its first message
//! is there then.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use millstream::{
    grpc::proto::{StreamRequest, data_plane_client::DataPlaneClient, stream_response::Outcome},
    load::{Arrivals, Schedule},
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc::{UnboundedSender, unbounded_channel},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{
    Request,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

/// Streams that share a connection, as those of the load generator do.
const STREAMS_PER_CONNECTION: usize = 50;
/// Streams that are opened at a time.
const OPENED_TOGETHER: usize = 100;
/// Bytes of a payload, the first of which are a number of its own: no answer comes from a cache.
const PAYLOAD: usize = 4096;
/// Between two looks whether all answers have come.
const LOOK: Duration = Duration::from_millis(1);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Client {
    runtime: Runtime,
    endpoint: Endpoint,
    channel: Option<Channel>,
    streams: Vec<UnboundedSender<StreamRequest>>,
    sent: u64,
    answered: Arc<AtomicU64>,
    /// Streams that have ended, and answers that were errors.
    failed: Arc<AtomicU64>,
}

impl Client {
    pub(crate) fn new(url: String) -> Result<Self, String> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Ok(Self {
            runtime: runtime.map_err(|error| error.to_string())?,
            endpoint: Endpoint::from_shared(url).map_err(|error| error.to_string())?.tcp_nodelay(true),
            channel: None,
            streams: Vec::new(),
            sent: 0,
            answered: Arc::default(),
            failed: Arc::default(),
        })
    }

    /// Opens streams until there are so many.
    pub(crate) fn open(&mut self, streams: usize) -> Result<(), String> {
        while self.streams.len() < streams {
            let more = OPENED_TOGETHER.min(streams - self.streams.len());
            for _ in 0..more {
                self.open_one()?;
                self.send(self.streams.len() - 1)?;
            }
            self.await_answers()?;
        }
        Ok(())
    }

    fn open_one(&mut self) -> Result<(), String> {
        if self.streams.len().is_multiple_of(STREAMS_PER_CONNECTION) {
            let connected = self.runtime.block_on(self.endpoint.connect());
            self.channel = Some(connected.map_err(|error| format!("no connection: {error}"))?);
        }
        let channel = self.channel.clone().expect("the first stream makes a connection");
        let (sender, requests) = unbounded_channel();
        self.streams.push(sender);
        let (answered, failed) = (Arc::clone(&self.answered), Arc::clone(&self.failed));
        self.runtime.spawn(async move {
            let mut request = Request::new(UnboundedReceiverStream::new(requests));
            request.metadata_mut().insert("millstream-order", MetadataValue::from_static("completion"));
            if let Ok(response) = DataPlaneClient::new(channel).stream(request).await {
                let mut answers = response.into_inner();
                while let Ok(Some(answer)) = answers.message().await {
                    let counter = match answer.outcome {
                        Some(Outcome::Result(_)) => &answered,
                        _ => &failed,
                    };
                    counter.fetch_add(1, Relaxed);
                }
            }
            failed.fetch_add(1, Relaxed);
        });
        Ok(())
    }

    fn send(&mut self, stream: usize) -> Result<(), String> {
        let mut payload = vec![0; PAYLOAD];
        payload[..8].copy_from_slice(&self.sent.to_le_bytes());
        let request = StreamRequest {
            id: self.sent,
            operation: "digest".to_owned(),
            payload: Bytes::from(payload),
            ..StreamRequest::default()
        };
        self.sent += 1;
        self.streams[stream].send(request).map_err(|_| format!("stream {stream} has ended"))
    }

    fn await_answers(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Relaxed, here and above: nothing is read but the counts.
            let (answered, failed) = (self.answered.load(Relaxed), self.failed.load(Relaxed));
            if failed > 0 {
                return Err(format!("{failed} streams or messages failed"));
            }
            if answered == self.sent {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{answered} answers to {} messages", self.sent));
            }
            thread::park_timeout(LOOK);
        }
    }

    /// Sends messages over all streams, one after the other, as chance would have them come; awaits their answers, and says
    /// how many there were.
    pub(crate) fn offer(&mut self, rate_per_s: f64, length: Duration, seed: u64) -> Result<u64, String> {
        let (start, before) = (Instant::now(), self.sent);
        for due in Schedule::new(Arrivals::Poisson, rate_per_s, length, seed) {
            // Late by what a timer is late: the same for everybody, and no times are measured here.
            thread::park_timeout((start + due).saturating_duration_since(Instant::now()));
            self.send(self.sent as usize % self.streams.len())?;
        }
        self.await_answers()?;
        Ok(self.sent - before)
    }
}
