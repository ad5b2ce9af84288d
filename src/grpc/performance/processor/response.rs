//! The plain form of a stream's answers: responses, until a message fails.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;

use super::{AnswerStream, Message, MessageHandler};
use crate::grpc::performance::error::OptimizationError;

/// The input of a plain stream: requests become messages with nothing special about them.
pub(super) struct Plain<S>(Pin<Box<S>>);

impl<S> Plain<S> {
    pub(super) fn new(requests: S) -> Self {
        Self(Box::pin(requests))
    }
}

impl<R, E, S: Stream<Item = Result<R, E>>> Stream for Plain<S> {
    type Item = Result<Message<R>, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx).map(|next| next.map(|request| request.map(Message::new)))
    }
}

/// The responses of a stream, in the order of the requests; see
/// [`OptimizedStreamProcessor::process_stream`](super::OptimizedStreamProcessor::process_stream).
pub struct ResponseStream<H: MessageHandler, S, E>(pub(super) Responses<H, S, E>);

pub(super) enum Responses<H: MessageHandler, S, E> {
    Open(Box<AnswerStream<H, Plain<S>, (), E>>),
    /// The stream was not accepted.
    Refused(OptimizationError),
    Over,
}

// Nothing is pinned in place: `AnswerStream` is `Unpin`.
impl<H: MessageHandler, S, E> Unpin for ResponseStream<H, S, E> {}

impl<H, S, E> Stream for ResponseStream<H, S, E>
where
    H: MessageHandler,
    S: Stream<Item = Result<H::Request, E>>,
    E: From<OptimizationError>,
{
    type Item = Result<H::Response, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = match &mut self.0 {
            Responses::Open(answers) => {
                let Poll::Ready(answer) = Pin::new(answers.as_mut()).poll_next(cx) else {
                    return Poll::Pending;
                };
                answer.map(|answer| answer.and_then(|answer| answer.result.map_err(E::from)))
            }
            Responses::Refused(_) => match std::mem::replace(&mut self.0, Responses::Over) {
                Responses::Refused(error) => Some(Err(error.into())),
                _ => unreachable!("matched above"),
            },
            Responses::Over => None,
        };
        if !matches!(next, Some(Ok(_))) {
            // gRPC ends a stream with its first error; what is still in work is cancelled.
            self.0 = Responses::Over;
        }
        Poll::Ready(next)
    }
}
