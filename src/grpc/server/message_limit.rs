//! Refuses requests above `max_message_size` with RESOURCE_EXHAUSTED, and says the limit.
//!
//! tonic has such a limit too, but answers OUT_OF_RANGE, which no other gRPC implementation does; on a unary call it
//! does so before the method is called, and on a stream it loses its place and reads the rest of the message as the
//! next one. So the bytes are looked at before tonic gets them: each gRPC message begins with five bytes, of which
//! four say its length. The body is passed on up to the prefix of a message that is too long, in the frames in which
//! it came, and then fails with the status, once and for good. tonic hands the status on: to the client of a unary
//! call, or as the last item of a stream's requests.
//!
//! A message that was begun has to go on: when none of it comes for `read_timeout`, its call ends with
//! DEADLINE_EXCEEDED. So has the message of a unary call, for which tonic waits without a limit before the service
//! hears of the call. A stream without a message under way is the service's to watch over.
//!
//! What a compressed message unpacks to is checked by tonic, with the same limit; there it answers
//! RESOURCE_EXHAUSTED by itself.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::{
    Status,
    body::Body,
    codegen::{Service, http::Request},
    server::NamedService,
};

use super::counts::{Limit, ServerCounts};

/// One byte says whether the message is compressed, four say its length.
const PREFIX: usize = 5;
/// The one method whose client sends as many messages as it likes, when it likes.
const STREAMING: &str = "/Stream";

/// A gRPC service whose requests are bounded in size.
#[derive(Debug, Clone)]
pub(super) struct MessageLimit<S> {
    inner: S,
    limit: usize,
    read_timeout: Duration,
    counts: ServerCounts,
}

impl<S> MessageLimit<S> {
    pub(super) fn new(inner: S, limit: usize, read_timeout: Duration, counts: ServerCounts) -> Self {
        Self { inner, limit, read_timeout, counts }
    }
}

impl<S: NamedService> NamedService for MessageLimit<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for MessageLimit<S>
where
    S: Service<Request<Body>, Error = Infallible>,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        let streams = request.uri().path().ends_with(STREAMING);
        let watch = |body| BoundedBody {
            body,
            scan: Scan::new(self.limit),
            ended: false,
            awaited: !streams,
            halt: None,
            halted: false,
            read_timeout: self.read_timeout,
            counts: self.counts.clone(),
        };
        let request = request.map(|body| Body::new(watch(body)));
        self.inner.call(request)
    }
}

/// A request's body, up to the first message that is too long.
struct BoundedBody {
    body: Body,
    scan: Scan,
    ended: bool,
    /// The client owes the first message of a unary call.
    awaited: bool,
    /// Made when the client keeps the server waiting for the first time.
    halt: Option<Pin<Box<Sleep>>>,
    halted: bool,
    read_timeout: Duration,
    counts: ServerCounts,
}

impl BoundedBody {
    /// Ready when the rest of a message has been waited for too long.
    fn poll_halt(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.awaited && self.scan.is_between_messages() {
            return Poll::Pending;
        }
        let halt = self.halt.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::ZERO)));
        if !self.halted {
            self.halted = true;
            halt.as_mut().reset(Instant::now() + self.read_timeout);
        }
        halt.as_mut().poll(cx)
    }
}

impl HttpBody for BoundedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(length) = self.scan.too_long {
            self.ended = true;
            self.counts.hit(Limit::MessageSize);
            return Poll::Ready(Some(Err(above_limit(length, self.scan.limit))));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx)? else {
            if self.poll_halt(cx).is_pending() {
                return Poll::Pending;
            }
            self.ended = true;
            self.counts.hit(Limit::Read);
            return Poll::Ready(Some(Err(halted(self.read_timeout))));
        };
        self.halted = false;
        let Some(frame) = frame else { return Poll::Ready(None) };
        let mut data = match frame.into_data() {
            Ok(data) => data,
            Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
        };
        let sound = self.scan.advance(&data);
        self.awaited &= data.is_empty();
        data.truncate(sound);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || (self.scan.too_long.is_none() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

fn above_limit(length: usize, limit: usize) -> Status {
    Status::resource_exhausted(format!(
        "a message of {length} bytes is above the limit of {limit} bytes (server.max_message_size)"
    ))
}

fn halted(timeout: Duration) -> Status {
    Status::deadline_exceeded(format!("nothing of the message came for {timeout:?} (server.read_timeout)"))
}

/// Where in a sequence of gRPC messages the bytes are.
struct Scan {
    limit: usize,
    prefix: [u8; PREFIX],
    /// Bytes of the current prefix that have been seen.
    seen: usize,
    /// Bytes of the current message that are still to come.
    remaining: usize,
    /// The length of the message that is too long.
    too_long: Option<usize>,
}

impl Scan {
    fn new(limit: usize) -> Self {
        Self { limit, prefix: [0; PREFIX], seen: 0, remaining: 0, too_long: None }
    }

    fn is_between_messages(&self) -> bool {
        self.seen == 0 && self.remaining == 0
    }

    /// Looks at the next bytes, and says how many of them come before the end of the prefix that is too long: all
    /// of them when there is none.
    fn advance(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let skipped = self.remaining.min(bytes.len() - at);
            at += skipped;
            self.remaining -= skipped;
            let taken = (PREFIX - self.seen).min(bytes.len() - at);
            self.prefix[self.seen..self.seen + taken].copy_from_slice(&bytes[at..at + taken]);
            self.seen += taken;
            if self.seen < PREFIX {
                return bytes.len();
            }
            let [_, length @ ..] = self.prefix;
            let length = u32::from_be_bytes(length) as usize;
            if length > self.limit {
                self.too_long = Some(length);
                return at;
            }
            at += taken;
            self.seen = 0;
            self.remaining = length;
        }
        bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
        bytes.extend(vec![7; length]);
        bytes
    }

    #[test]
    fn messages_up_to_the_limit_pass_however_they_are_cut() {
        let bytes = [message(0), message(10), message(1), message(9)].concat();
        for size in 1..=bytes.len() {
            let mut scan = Scan::new(10);
            for piece in bytes.chunks(size) {
                assert_eq!(scan.advance(piece), piece.len(), "in pieces of {size}");
            }
            assert_eq!(scan.too_long, None, "in pieces of {size}");
        }
    }

    #[test]
    fn what_comes_before_a_message_above_the_limit_passes_however_it_is_cut() {
        let sound = [message(3), message(10)].concat();
        let bytes = [sound.clone(), message(11), message(2)].concat();
        for size in 1..=bytes.len() {
            let mut scan = Scan::new(10);
            let mut passed = 0;
            for piece in bytes.chunks(size) {
                passed += scan.advance(piece);
                if scan.too_long.is_some() {
                    break;
                }
            }
            assert_eq!(scan.too_long, Some(11), "in pieces of {size}");
            assert!((sound.len()..sound.len() + PREFIX).contains(&passed), "in pieces of {size}: {passed}");
        }
    }
}
