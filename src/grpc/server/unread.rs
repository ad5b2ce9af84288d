//! Calls whose answers nobody reads.
//!
//! The transport asks a call for its next frame only when the client has room for it (HTTP/2 flow control). A client
//! that never makes room is never asked for: nobody polls the call, so that its own timers do not run, and it would hold
//! its place in the data plane, and the bytes of its messages, for as long as the client likes.
//!
//! ```text
//!             response            frame handed out        asked for the next
//!  opened ──────────────► unread ◄───────────────► asked ───────────────────► over
//!                            │ write_timeout
//!                            ▼
//!                          ended: the body is dropped; if the client reads on, it reads DEADLINE_EXCEEDED
//! ```
//! - **Who runs it**: the task of the connection opens the calls and sweeps over them now and then; the task of a call
//!   asks its body for frames. They meet at the lock of the call, which is taken once for each frame; the sweep passes
//!   over a lock that is held, takes the body out under it, and drops it outside.
//! - **What it costs the client**: its call. The connection and its other calls go on. What the transport has buffered of
//!   the call stays (at most 400 KiB), and its place among the connection's own calls, until the client reads, resets
//!   or goes.

use std::{
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::{Status, body::Body, codegen::http::HeaderMap};

use super::counts::{Limit, ServerCounts};
use crate::platform::contain::drop_logged;

/// Calls that are noted beyond twice the live ones before those that are over are swept out.
const SLACK: usize = 64;

/// What a call's answers are up to.
enum State {
    /// The transport asks for a frame, or has not got the first.
    Asked(Body),
    /// The transport has a frame (or the headers) to send, since then.
    Unread(Body, Instant),
    /// Given up.
    Ended,
    /// Nothing is left to send.
    Over,
}

/// The calls of one connection, as its task knows them.
pub(super) struct Calls {
    calls: Vec<Weak<Mutex<State>>>,
    live: usize,
    timeout: Duration,
    counts: ServerCounts,
}

impl Calls {
    pub(super) fn new(timeout: Duration, counts: ServerCounts) -> Self {
        Self { calls: Vec::new(), live: 0, timeout, counts }
    }

    /// A call has come; it hands its answers to what it gets.
    pub(super) fn open(&mut self) -> Opened {
        if self.calls.len() > 2 * self.live + SLACK {
            self.prune();
        }
        let state = Arc::new(Mutex::new(State::Over));
        self.calls.push(Arc::downgrade(&state));
        Opened { state, timeout: self.timeout }
    }

    /// Ends the calls whose answers have been unread for too long.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.prune();
        for call in &self.calls {
            let Some(call) = call.upgrade() else { continue };
            // Whoever holds the lock is asking for a frame.
            let Some(mut state) = call.try_lock() else { continue };
            let late = matches!(*state, State::Unread(_, since) if now - since >= self.timeout);
            if !late {
                continue;
            }
            let ended = std::mem::replace(&mut *state, State::Ended);
            drop(state);
            self.counts.hit(Limit::Unread);
            tracing::info!(timeout = ?self.timeout, "a call's answers are not read, it is ended");
            drop_logged(ended);
        }
    }

    fn prune(&mut self) {
        self.calls.retain(|call| call.strong_count() > 0);
        self.live = self.calls.len();
    }
}

/// A call before its answers.
pub(super) struct Opened {
    state: Arc<Mutex<State>>,
    timeout: Duration,
}

impl Opened {
    /// The answers of the call, watched over from now on.
    pub(super) fn answers(self, body: Body) -> Body {
        *self.state.lock() = State::Unread(body, Instant::now());
        Body::new(Answers(self))
    }
}

struct Answers(Opened);

impl HttpBody for Answers {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut state = self.0.state.lock();
        let mut body = match std::mem::replace(&mut *state, State::Over) {
            State::Asked(body) | State::Unread(body, _) => body,
            State::Ended => return Poll::Ready(Some(trailers(self.0.timeout))),
            State::Over => return Poll::Ready(None),
        };
        let polled = Pin::new(&mut body).poll_frame(cx);
        match &polled {
            Poll::Pending => *state = State::Asked(body),
            Poll::Ready(Some(Ok(_))) => *state = State::Unread(body, Instant::now()),
            Poll::Ready(_) => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &*self.0.state.lock() {
            State::Asked(body) | State::Unread(body, _) => body.is_end_stream(),
            State::Ended => false,
            State::Over => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &*self.0.state.lock() {
            State::Asked(body) | State::Unread(body, _) => body.size_hint(),
            State::Ended | State::Over => SizeHint::new(),
        }
    }
}

/// How a call ends that was given up.
fn trailers(timeout: Duration) -> Result<Frame<Bytes>, Status> {
    let status = Status::deadline_exceeded(format!(
        "the answers were not read for {timeout:?} (server.write_timeout)"
    ));
    let mut headers = HeaderMap::new();
    status.add_header(&mut headers)?;
    Ok(Frame::trailers(headers))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::sync::mpsc;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    /// Frames that a test hands in.
    struct Feed(mpsc::UnboundedReceiver<Bytes>);

    impl HttpBody for Feed {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            self.0.poll_recv(cx).map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
        }
    }

    async fn frame(body: &mut Body) -> Option<Frame<Bytes>> {
        poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await.transpose().unwrap()
    }

    fn call(calls: &mut Calls) -> (mpsc::UnboundedSender<Bytes>, Body) {
        let (sender, feed) = mpsc::unbounded_channel();
        (sender, calls.open().answers(Body::new(Feed(feed))))
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_not_read_is_dropped_and_whoever_reads_on_is_told_why() {
        let counts = ServerCounts::default();
        let mut calls = Calls::new(TIMEOUT, counts.clone());
        let (never_read, mut one) = call(&mut calls);
        let (half_read, mut two) = call(&mut calls);
        half_read.send("x".into()).unwrap();
        tokio::time::advance(TIMEOUT / 2).await;
        assert_eq!(frame(&mut two).await.unwrap().into_data().unwrap(), "x");
        tokio::time::advance(TIMEOUT / 2).await;
        calls.sweep(Instant::now());
        assert_eq!((never_read.is_closed(), half_read.is_closed()), (true, false));
        tokio::time::advance(TIMEOUT / 2).await;
        calls.sweep(Instant::now());
        assert_eq!((half_read.is_closed(), counts.hits(Limit::Unread)), (true, 2));
        for body in [&mut one, &mut two] {
            assert!(!body.is_end_stream());
            let trailers = frame(body).await.unwrap().into_trailers().unwrap();
            assert_eq!(trailers["grpc-status"], "4");
            assert!(frame(body).await.is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_has_nothing_to_say_is_left_alone() {
        let counts = ServerCounts::default();
        let mut calls = Calls::new(TIMEOUT, counts.clone());
        let (sender, mut body) = call(&mut calls);
        let asked = tokio::time::timeout(10 * TIMEOUT, frame(&mut body)).await;
        assert!(asked.is_err());
        calls.sweep(Instant::now());
        sender.send("late".into()).unwrap();
        assert_eq!(frame(&mut body).await.unwrap().into_data().unwrap(), "late");
        drop(sender);
        assert!(frame(&mut body).await.is_none());
        tokio::time::advance(10 * TIMEOUT).await;
        calls.sweep(Instant::now());
        assert_eq!(counts.hits(Limit::Unread), 0);
    }

    #[tokio::test]
    async fn calls_that_are_over_are_forgotten() {
        let mut calls = Calls::new(TIMEOUT, ServerCounts::default());
        for _ in 0..10 * SLACK {
            drop(calls.open());
        }
        assert!(calls.calls.len() <= SLACK + 1, "{}", calls.calls.len());
    }
}
