//! Refuses requests above `max_message_size` with RESOURCE_EXHAUSTED, and says the limit.
//!
//! tonic has such a limit too, but answers OUT_OF_RANGE, which no other gRPC implementation does; on a unary call it
//! does so before the method is called, and on a stream it loses its place and reads the rest of the message as the
//! next one. So the bytes are looked at before tonic gets them: each gRPC message begins with five bytes, of which
//! four say its length. The body is passed on up to the prefix of a message that is too long, in the frames in which
//! it came, and then fails with the status, once and for good. tonic hands the status on: to the client of a unary
//! call, or as the last item of a stream's requests.
//!
//! A message that was begun has to go on: when it has neither ended within `read_timeout` nor gone on by [`SMALL`], its
//! call ends with DEADLINE_EXCEEDED. (Single bytes renew nothing: a large message of which one came now and then would
//! hold its share of the budget for years.) So has the message of a unary call, for which tonic waits without a limit
//! before the service hears of the call. A stream without a message under way is the service's to watch over. All this
//! holds for the requests of health and reflection too: they share the limits, and the budget.
//!
//! The bytes of a large message are drawn from a budget before they are read ([`reception`](super::reception)).
//!
//! What a compressed message unpacks to is checked by tonic, with the same limit; there it answers
//! RESOURCE_EXHAUSTED by itself.

mod scan;

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

use self::scan::Scan;
use super::{
    ServerOptions,
    counts::{Limit, ServerCounts},
    reception::{Draw, Reception, SMALL},
};

/// The methods whose clients send as many messages as they like, when they like: ours, and that of reflection.
const STREAMING: [&str; 2] = ["/Stream", "/ServerReflectionInfo"];

/// What the requests of all services of a server are held to.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    limit: usize,
    read_timeout: Duration,
    reception: Reception,
    counts: ServerCounts,
}

impl Bounds {
    pub(super) fn new(options: &ServerOptions, counts: ServerCounts) -> Self {
        let reception = Reception::new(options.max_receiving_bytes, counts.clone());
        let (limit, read_timeout) = (options.max_message_size, options.read_timeout);
        Self { limit, read_timeout, reception, counts }
    }
}

/// A gRPC service whose requests are bounded in size.
#[derive(Debug, Clone)]
pub(super) struct MessageLimit<S> {
    inner: S,
    bounds: Bounds,
}

impl<S> MessageLimit<S> {
    pub(super) fn new(inner: S, bounds: &Bounds) -> Self {
        Self { inner, bounds: bounds.clone() }
    }
}

impl<S: NamedService> NamedService for MessageLimit<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for MessageLimit<S>
where
    S: Service<Request<Body>, Error = Infallible, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let streams = STREAMING.iter().any(|method| path.ends_with(method));
        let Bounds { limit, read_timeout, reception, counts } = &self.bounds;
        let draw = reception.draw();
        // tonic has let go of the message of a unary call long before that is answered.
        let held_for_the_answer = (!streams).then(|| draw.drawn());
        let watch = |body| BoundedBody {
            body,
            draw,
            streams,
            parked: None,
            rest: Bytes::new(),
            scan: Scan::new(*limit),
            ended: false,
            awaited: !streams,
            halt: None,
            halted: false,
            came: 0,
            read_timeout: *read_timeout,
            counts: counts.clone(),
        };
        let request = request.map(|body| Body::new(watch(body)));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            drop(held_for_the_answer);
            answer
        })
    }
}

/// A request's body, up to the first message that is too long.
struct BoundedBody {
    body: Body,
    draw: Draw,
    streams: bool,
    /// Looked at, and to be handed on once its messages' bytes are drawn.
    parked: Option<Bytes>,
    /// Not looked at yet: what follows the end of a large message, whose bytes are given back first.
    rest: Bytes,
    scan: Scan,
    ended: bool,
    /// The client owes the first message of a unary call.
    awaited: bool,
    /// Made when the client keeps the server waiting for the first time.
    halt: Option<Pin<Box<Sleep>>>,
    halted: bool,
    /// Bytes that came since then.
    came: usize,
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
            self.came = 0;
            halt.as_mut().reset(Instant::now() + self.read_timeout);
        }
        halt.as_mut().poll(cx)
    }

    /// Looks at data and hands it on, as soon as what it begins may be received.
    fn hand_on(
        &mut self,
        cx: &mut Context<'_>,
        mut data: Bytes,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let rest = data.split_off(self.scan.advance(&data));
        self.came += data.len();
        // Who looks late cannot tell how long it took to come.
        let late = self.halt.as_ref().is_some_and(|halt| halt.is_elapsed());
        if self.scan.went_on || self.came >= SMALL || late {
            self.halted = false;
        }
        if self.scan.too_long.is_none() {
            self.rest = rest;
        }
        self.parked = Some(data);
        self.poll_parked(cx)
    }

    fn poll_parked(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.draw.poll(cx, self.scan.begun).is_pending() {
            // The client is not to be blamed for the time in which it is kept from sending.
            self.halted = false;
            return Poll::Pending;
        }
        Poll::Ready(self.parked.take().map(|data| Ok(Frame::data(data))))
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
        if self.parked.is_some() {
            return self.poll_parked(cx);
        }
        if self.streams && self.scan.is_between_messages() {
            self.draw.give_back();
        }
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            return self.hand_on(cx, rest);
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx)? else {
            if self.poll_halt(cx).is_pending() {
                return Poll::Pending;
            }
            self.ended = true;
            self.counts.hit(Limit::Read);
            return Poll::Ready(Some(Err(halted(self.read_timeout))));
        };
        let Some(frame) = frame else { return Poll::Ready(None) };
        match frame.into_data() {
            Ok(data) => {
                self.awaited &= data.is_empty();
                self.hand_on(cx, data)
            }
            Err(trailers) => Poll::Ready(Some(Ok(trailers))),
        }
    }

    fn is_end_stream(&self) -> bool {
        let all_handed_on = self.scan.too_long.is_none() && self.parked.is_none() && self.rest.is_empty();
        self.ended || (all_handed_on && self.body.is_end_stream())
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
    Status::deadline_exceeded(format!(
        "the message has neither ended within {timeout:?} (server.read_timeout) nor gone on by {} KiB",
        SMALL >> 10
    ))
}
