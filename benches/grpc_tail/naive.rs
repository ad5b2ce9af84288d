//! Servers of millstream's contract as one writes them with tonic: a task reads the stream, the work is done in one of
//! three ways, answers leave through a channel as they are finished.
//!
//! They know `digest` and `echo` with `busy`, no deadlines, and no bound on what they take on, but that the answers'
//! channel has one.

use std::{
    env,
    io::Write,
    net::SocketAddr,
    pin::Pin,
    process::Command,
    sync::Arc,
    task::{Context, Poll},
    thread,
    time::Duration,
};

use bytes::Bytes;
use millstream::grpc::proto::{
    GetStatsRequest, GetStatsResponse, ListOperationsRequest, ListOperationsResponse, StreamRequest,
    StreamResponse, WatchStatsRequest,
    data_plane_server::{DataPlane, DataPlaneServer},
    stream_response::Outcome,
};
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot},
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

use crate::clock::thread_cpu;

/// Makes this executable such a server.
pub(crate) const ARGUMENT: &str = "--serve-naively";

pub(crate) const INLINE: &str = "inline";
pub(crate) const SPAWN_BLOCKING: &str = "spawn_blocking";
pub(crate) const RAYON: &str = "rayon";
/// The work in the stream of the answers itself, without a task and a channel: nothing but tonic.
pub(crate) const MAPPED: &str = "mapped";

/// Answers of a stream that wait for the transport.
const ANSWERS: usize = 128;

/// Where the work is done.
#[derive(Clone)]
enum Work {
    Inline,
    SpawnBlocking,
    Rayon(Arc<ThreadPool>),
    Mapped,
}

/// The answers of a stream.
enum Answers {
    Sent(ReceiverStream<Result<StreamResponse, Status>>),
    Mapped(Box<Streaming<StreamRequest>>),
}

impl Stream for Answers {
    type Item = Result<StreamResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.get_mut() {
            Self::Sent(answers) => Pin::new(answers).poll_next(cx),
            Self::Mapped(requests) => {
                Pin::new(requests).poll_next(cx).map(|next| next.map(|request| request.map(answer)))
            }
        }
    }
}

/// What starts such a server, as this executable once more.
pub(crate) fn command(how: &str) -> Result<Command, String> {
    let mut this = Command::new(env::current_exe().map_err(|error| format!("who am I? {error}"))?);
    this.args([ARGUMENT, how]);
    Ok(this)
}

/// Serves in this way until the process is ended.
pub(crate) fn serve(how: &str) -> Result<(), String> {
    let work = match how {
        INLINE => Work::Inline,
        SPAWN_BLOCKING => Work::SpawnBlocking,
        MAPPED => Work::Mapped,
        RAYON => {
            let threads = thread::available_parallelism().map_or(1, |cores| cores.get());
            let pool = ThreadPoolBuilder::new().num_threads(threads).build();
            Work::Rayon(Arc::new(pool.map_err(|error| error.to_string())?))
        }
        _ => return Err(format!("there is no naive server `{how}`")),
    };
    let runtime = Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(listen(Naive { work })).map_err(|error| error.to_string())
}

async fn listen(service: Naive) -> Result<(), Box<dyn std::error::Error>> {
    let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?.with_nodelay(Some(true));
    println!("listening on {}", incoming.local_addr()?);
    std::io::stdout().flush()?;
    Server::builder().add_service(DataPlaneServer::new(service)).serve_with_incoming(incoming).await?;
    Ok(())
}

struct Naive {
    work: Work,
}

impl Work {
    /// Answers a message; returns once the next one may be read.
    async fn take_on(&self, request: StreamRequest, answers: &mpsc::Sender<Result<StreamResponse, Status>>) {
        let answers = answers.clone();
        match self {
            Self::Inline | Self::Mapped => {
                // An error: the client is gone, here and below.
                answers.send(Ok(answer(request))).await.ok();
            }
            Self::SpawnBlocking => {
                tokio::spawn(async move {
                    let answer = tokio::task::spawn_blocking(|| answer(request)).await;
                    answers.send(answer.map_err(|error| Status::internal(error.to_string()))).await.ok();
                });
            }
            Self::Rayon(pool) => {
                let pool = Arc::clone(pool);
                tokio::spawn(async move {
                    let (sender, done) = oneshot::channel();
                    pool.spawn_fifo(move || {
                        sender.send(answer(request)).ok();
                    });
                    let answer = done.await.map_err(|_| Status::internal("the work was dropped"));
                    answers.send(answer).await.ok();
                });
            }
        }
    }
}

fn answer(request: StreamRequest) -> StreamResponse {
    let outcome = match request.operation.as_str() {
        "digest" => {
            let hash = blake3::hash(&request.payload);
            Outcome::Result(Bytes::copy_from_slice(hash.as_bytes()))
        }
        "echo" => {
            request.parameters.get("busy").into_iter().for_each(|busy| burn(parse(busy)));
            Outcome::Result(request.payload)
        }
        other => Outcome::Error(tonic_types::Status {
            code: tonic::Code::Unimplemented as i32,
            message: format!("there is no operation `{other}`"),
            details: Vec::new(),
        }),
    };
    StreamResponse { id: request.id, outcome: Some(outcome), ..StreamResponse::default() }
}

/// Durations as this bench writes them.
fn parse(busy: &str) -> Duration {
    let microseconds = busy.strip_suffix("us").and_then(|number| number.parse().ok());
    Duration::from_micros(microseconds.expect("this bench asks for microseconds"))
}

/// CPU time of the thread, as millstream's `echo` burns it.
fn burn(time: Duration) {
    let start = thread_cpu();
    while thread_cpu() - start < time {
        std::hint::spin_loop();
    }
}

#[tonic::async_trait]
impl DataPlane for Naive {
    type StreamStream = Answers;
    type WatchStatsStream = Pin<Box<dyn Stream<Item = Result<GetStatsResponse, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<StreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let mut requests = request.into_inner();
        if matches!(self.work, Work::Mapped) {
            return Ok(Response::new(Answers::Mapped(Box::new(requests))));
        }
        let (answers, outgoing) = mpsc::channel(ANSWERS);
        let work = self.work.clone();
        tokio::spawn(async move {
            loop {
                match requests.message().await {
                    Ok(Some(request)) => work.take_on(request, &answers).await,
                    Ok(None) => return,
                    Err(status) => {
                        answers.send(Err(status)).await.ok();
                        return;
                    }
                }
            }
        });
        Ok(Response::new(Answers::Sent(ReceiverStream::new(outgoing))))
    }

    async fn process(&self, _: Request<StreamRequest>) -> Result<Response<StreamResponse>, Status> {
        Err(Status::unimplemented("this server is for streams"))
    }

    async fn list_operations(
        &self,
        _: Request<ListOperationsRequest>,
    ) -> Result<Response<ListOperationsResponse>, Status> {
        Err(Status::unimplemented("this server is for streams"))
    }

    async fn get_stats(&self, _: Request<GetStatsRequest>) -> Result<Response<GetStatsResponse>, Status> {
        Err(Status::unimplemented("this server counts nothing"))
    }

    async fn watch_stats(
        &self,
        _: Request<WatchStatsRequest>,
    ) -> Result<Response<Self::WatchStatsStream>, Status> {
        Err(Status::unimplemented("this server counts nothing"))
    }
}
