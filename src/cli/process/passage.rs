//! One stream, and the files that go over it.
//!
//! Two futures on one task: `feed` reads files and sends them, `answers` takes what comes back. Between them the
//! [`Window`]: `feed` enters a file before it is read into memory, and its answer takes it out. When the stream ends,
//! `feed` is dropped wherever it is. A file leaves the queue only when it has been handed to the stream, so none is
//! forgotten: what is still in the queue was not sent, and what is in the window alone has no answer.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    path::Path,
    pin::pin,
};

use prost::Message;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, transport::Channel};

use super::{
    plan::Plan,
    report::{Answer, Report, describe},
    results::{NotKept, keep},
};
use crate::grpc::proto::{
    StreamRequest, StreamResponse, data_plane_client::DataPlaneClient, stream_response::Outcome,
};

/// Files under way at a time: enough to keep every worker of a large machine busy.
const MOST_FILES: usize = 64;
/// Bytes of files under way at a time, in KiB, since permits are counted in 32 bits. One file may be larger, alone.
const MOST_KIB: u32 = 64 << 10;
/// The length of a message is written in 32 bits.
const LONGEST_MESSAGE: usize = u32::MAX as usize;

/// What all streams of a run have in common.
pub(super) struct Passage<'a> {
    pub(super) client: DataPlaneClient<Channel>,
    pub(super) plan: &'a Plan,
    pub(super) report: &'a RefCell<Report>,
    pub(super) order: &'static str,
    /// The largest message that the server takes, if that is known.
    pub(super) limit: Option<usize>,
}

/// How a stream came to its end.
pub(super) enum Ended {
    /// Every file has met its fate.
    WithAllAnswers,
    /// The stream broke: some of the files have no answer, some were not even sent.
    Broken { status: Status, unanswered: Vec<usize>, unsent: VecDeque<usize> },
}

/// The files under way, by their index, with their bytes.
struct Window {
    places: Semaphore,
    kib: Semaphore,
    files: RefCell<HashMap<usize, u64>>,
}

/// What a file takes of [`MOST_KIB`].
fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes / 1024 + 1).unwrap_or(MOST_KIB).min(MOST_KIB)
}

impl Window {
    fn new() -> Self {
        Self {
            places: Semaphore::new(MOST_FILES),
            kib: Semaphore::new(MOST_KIB as usize),
            files: RefCell::default(),
        }
    }

    /// Waits for room, then enters the file.
    async fn enter(&self, index: usize, bytes: u64) {
        let never_closed = "the semaphores of a window are never closed";
        let place = self.places.acquire().await.expect(never_closed);
        self.kib.acquire_many(kib(bytes)).await.expect(never_closed).forget();
        place.forget();
        self.files.borrow_mut().insert(index, bytes);
    }

    /// Takes out a file, makes room, and says how many bytes it had; nothing if it is not in the window.
    fn leave(&self, index: usize) -> Option<u64> {
        let bytes = self.files.borrow_mut().remove(&index)?;
        self.places.add_permits(1);
        self.kib.add_permits(kib(bytes) as usize);
        Some(bytes)
    }
}

impl Passage<'_> {
    /// Sends files over one stream, and takes their answers.
    ///
    /// An error: nobody takes the results any more.
    pub(super) async fn send(&self, files: VecDeque<usize>) -> anyhow::Result<Ended> {
        let (window, queue) = (Window::new(), RefCell::new(files));
        let (sender, requests) = mpsc::channel(1);
        let status = {
            let mut answers = pin!(self.answers(requests, &window));
            tokio::select! {
                biased;
                ended = &mut answers => ended,
                () = self.feed(&queue, &window, sender) => answers.await,
            }
        }?;
        let unsent = queue.into_inner();
        let mut unanswered: Vec<usize> =
            window.files.into_inner().into_keys().filter(|index| !unsent.contains(index)).collect();
        unanswered.sort_unstable();
        Ok(match status {
            Ok(()) if unanswered.is_empty() && unsent.is_empty() => Ended::WithAllAnswers,
            Ok(()) => {
                let status =
                    Status::internal("the server ended the stream without an answer to this message");
                Ended::Broken { status, unanswered, unsent }
            }
            Err(status) => Ended::Broken { status, unanswered, unsent },
        })
    }

    /// Reads and sends, until the queue is empty or the stream is gone.
    async fn feed(
        &self,
        queue: &RefCell<VecDeque<usize>>,
        window: &Window,
        sender: mpsc::Sender<StreamRequest>,
    ) {
        loop {
            let Some(index) = queue.borrow().front().copied() else { return };
            let path = &self.plan.inputs[index];
            match self.read(index, path, window).await {
                Ok(request) => {
                    if sender.send(request).await.is_err() {
                        return;
                    }
                }
                Err(reason) => {
                    window.leave(index);
                    self.report.borrow_mut().failed(path, reason);
                }
            }
            queue.borrow_mut().pop_front();
        }
    }

    /// Reads a file once there is room for it.
    async fn read(&self, index: usize, path: &Path, window: &Window) -> Result<StreamRequest, String> {
        let metadata = tokio::fs::metadata(path).await.map_err(|error| error.to_string())?;
        if !metadata.is_file() {
            return Err("not a regular file".to_owned());
        }
        self.fits(metadata.len())?;
        window.enter(index, metadata.len()).await;
        let payload = tokio::fs::read(path).await.map_err(|error| error.to_string())?;
        let request = StreamRequest {
            id: index as u64,
            operation: self.plan.operation.clone(),
            payload: payload.into(),
            parameters: self.plan.parameters.clone(),
            ..Default::default()
        };
        self.fits(request.encoded_len() as u64)?;
        Ok(request)
    }

    fn fits(&self, bytes: u64) -> Result<(), String> {
        match self.limit {
            Some(limit) if bytes > limit as u64 => Err(format!(
                "{bytes} bytes are above server.max_message_size = {limit}; \
                 --set server.max_message_size=SIZE raises it"
            )),
            _ if bytes > LONGEST_MESSAGE as u64 => {
                Err(format!("{bytes} bytes are above the {LONGEST_MESSAGE} that a gRPC message can have"))
            }
            _ => Ok(()),
        }
    }

    /// Takes answers until the stream ends: well, or with a status.
    async fn answers(
        &self,
        requests: mpsc::Receiver<StreamRequest>,
        window: &Window,
    ) -> anyhow::Result<Result<(), Status>> {
        let mut request = Request::new(ReceiverStream::new(requests));
        let order = self.order.parse().expect("the names of the orders are ASCII");
        request.metadata_mut().insert("millstream-order", order);
        let mut responses = match self.client.clone().stream(request).await {
            Ok(response) => response.into_inner(),
            Err(status) => return Ok(Err(status)),
        };
        loop {
            match responses.message().await {
                Ok(Some(response)) => self.take(response, window).await?,
                Ok(None) => return Ok(Ok(())),
                Err(status) => return Ok(Err(status)),
            }
        }
    }

    async fn take(&self, response: StreamResponse, window: &Window) -> anyhow::Result<()> {
        let index = usize::try_from(response.id)?;
        // The place is free, but the file is done only with its result.
        let Some(bytes_in) = window.leave(index) else {
            anyhow::bail!("the server answered message {index} twice, or without having been asked");
        };
        let path = &self.plan.inputs[index];
        let result = match response.outcome {
            Some(Outcome::Result(result)) => result,
            Some(Outcome::Error(error)) => {
                let status = Status::new(error.code.into(), error.message);
                self.report.borrow_mut().failed(path, describe(&status));
                return Ok(());
            }
            None => {
                self.report.borrow_mut().failed(path, "the server gave neither a result nor an error");
                return Ok(());
            }
        };
        match keep(self.plan, index, &result).await {
            Ok(()) => self.report.borrow_mut().succeeded(&Answer {
                bytes_in,
                bytes_out: result.len() as u64,
                cache_hit: response.cache_hit,
                timing: response.timing,
            }),
            Err(NotKept::File(error)) => {
                let reason = format!("cannot write {}: {error}", self.plan.outputs[index].display());
                self.report.borrow_mut().failed(path, reason);
            }
            Err(NotKept::Stdout(error)) => {
                return Err(anyhow::Error::new(error).context("cannot write to stdout"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Whether a file may enter at once; if not, it does not wait.
    fn enters(window: &Window, index: usize, bytes: u64) -> bool {
        let entered = pin!(window.enter(index, bytes)).poll(&mut Context::from_waker(Waker::noop()));
        entered == Poll::Ready(())
    }

    #[test]
    fn a_window_holds_so_many_files_and_makes_room_when_one_leaves() {
        let window = Window::new();
        assert!((0..MOST_FILES).all(|index| enters(&window, index, 0)));
        assert!(!enters(&window, MOST_FILES, 0));
        assert_eq!(window.leave(7), Some(0));
        assert_eq!(window.leave(7), None);
        assert!(enters(&window, MOST_FILES, 0));
        assert!(!enters(&window, 7, 0));
    }

    #[test]
    fn a_file_above_the_bound_in_bytes_passes_alone() {
        let window = Window::new();
        let huge = 10 * u64::from(MOST_KIB) * 1024;
        assert!(enters(&window, 0, huge));
        assert!(!enters(&window, 1, 1));
        assert_eq!(window.leave(0), Some(huge));
        assert!(enters(&window, 1, 1));
        assert!(!enters(&window, 2, huge));
    }
}
