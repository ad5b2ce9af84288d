//! One stream: the requests as the transport takes them, and the answers as they come.
//!
//! Two tasks share its [`Outbox`]: the transport's, which polls [`Outgoing`] for the next request, and the stream's own
//! ([`converse`]), which reads answers. Each holds the lock for the few hundred nanoseconds that an entry in the books
//! takes, and an answer's time is read before the lock is asked for, so that waiting for it does not count.
//!
//! The pacer's channel stays open after the stream has failed, so that all that falls due later is found in it when the
//! books are closed, which is after the pacer has ended: no message is in two books, or in none.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_core::Stream;
use parking_lot::Mutex;
use tokio::sync::mpsc::{Sender, UnboundedReceiver};
use tonic::{Code, Request, metadata::MetadataValue, transport::Channel};

use super::{
    Order,
    books::{Books, Due, Ending, Outcome},
    mix::Mix,
    tally::Tally,
};
use crate::grpc::proto::{
    StreamRequest, StreamResponse, data_plane_client::DataPlaneClient, stream_response,
};

/// What a stream is to send, and its books.
pub(super) struct Outbox(Mutex<State>);

struct State {
    due: UnboundedReceiver<Due>,
    /// The transport asked, found nothing, and waits.
    waiting: bool,
    /// Dropped when the transport asks for the first time, which it does once the stream is open.
    opening: Option<Sender<Infallible>>,
    books: Books,
}

impl Outbox {
    /// An outbox for what comes through `due`. `opening` is dropped once the stream is open.
    pub(super) fn new(
        stream: usize,
        timeouts: Vec<Option<Duration>>,
        due: UnboundedReceiver<Due>,
        opening: Sender<Infallible>,
    ) -> Self {
        let books = Books::new(stream, timeouts);
        Self(Mutex::new(State { due, waiting: false, opening: Some(opening), books }))
    }

    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<(u64, Due)>> {
        let mut state = self.0.lock();
        state.opening = None;
        let next = state.due.poll_recv(cx);
        // tokio also says Pending to a task that has had its share, whatever the channel holds.
        let waits = next.is_pending() && state.due.is_empty();
        let was_waiting = std::mem::replace(&mut state.waiting, waits);
        let Poll::Ready(Some(due)) = next else {
            return next.map(|_| None);
        };
        let now = Instant::now();
        if was_waiting {
            state.books.woke(now);
        }
        let id = state.books.take(due, now);
        Poll::Ready(Some((id, due)))
    }

    fn answer(&self, answer: &StreamResponse, now: Instant) {
        let outcome = match &answer.outcome {
            Some(stream_response::Outcome::Result(_)) => Outcome::Result { cache_hit: answer.cache_hit },
            Some(stream_response::Outcome::Error(error)) => {
                Outcome::Error(Code::from(error.code), &error.message)
            }
            None => Outcome::Error(Code::Unknown, "the answer has neither a result nor an error"),
        };
        self.0.lock().books.answer(answer.id, now, outcome);
    }

    /// The stream will not open any more, if it is not open yet.
    fn ended(&self) {
        self.0.lock().opening = None;
    }

    /// Accounts for what has no answer, and gives the counts away. Called once, after the pacer has ended.
    pub(super) fn close(&self, ending: &Ending) -> Tally {
        let mut state = self.0.lock();
        let State { due, books, .. } = &mut *state;
        due.close();
        books.close(std::iter::from_fn(|| due.try_recv().ok()), ending)
    }
}

/// The requests of a stream: made one by one, as the transport asks for them.
struct Outgoing {
    outbox: Arc<Outbox>,
    mix: Arc<Mix>,
}

impl Stream for Outgoing {
    type Item = StreamRequest;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<StreamRequest>> {
        let taken = self.outbox.poll_take(cx);
        taken.map(|taken| taken.map(|(id, due)| self.mix.request(id, due.message, due.payload)))
    }
}

/// Opens a stream, sends what the outbox holds, and enters the answers until the stream ends.
pub(super) async fn converse(
    mut client: DataPlaneClient<Channel>,
    outbox: Arc<Outbox>,
    mix: Arc<Mix>,
    order: Order,
) -> Ending {
    let mut request = Request::new(Outgoing { outbox: Arc::clone(&outbox), mix });
    request.metadata_mut().insert("millstream-order", MetadataValue::from_static(order.as_str()));
    let ending = async {
        let mut answers = client.stream(request).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            outbox.answer(&answer, Instant::now());
        }
        Ok(())
    };
    let ending = ending.await.map_or_else(Ending::Failed, |()| Ending::Finished);
    outbox.ended();
    ending
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{self, UnboundedSender};

    use super::*;

    fn outbox() -> (Outbox, UnboundedSender<Due>, mpsc::Receiver<Infallible>) {
        let ((pacer, due), (opening, all_open)) = (mpsc::unbounded_channel(), mpsc::channel(1));
        (Outbox::new(0, vec![None], due, opening), pacer, all_open)
    }

    /// A message that the pacer handed over in time, a second ago.
    fn old() -> Due {
        let intended =
            Instant::now().checked_sub(Duration::from_secs(1)).expect("the machine runs for a second");
        Due { message: 0, payload: 0, measured: true, intended, handed_over: intended }
    }

    #[tokio::test]
    async fn a_backlog_that_the_server_caused_is_not_the_generators_lateness() {
        let (outbox, pacer, _all_open) = outbox();
        // More than tokio lets a task take in one go.
        (0..1_000).for_each(|_| pacer.send(old()).unwrap());
        drop(pacer);
        while std::future::poll_fn(|cx| outbox.poll_take(cx)).await.is_some() {}
        let tally = outbox.close(&Ending::Finished);
        assert_eq!((tally.total().sent, tally.late), (1_000, 0));
    }

    #[tokio::test]
    async fn a_transport_that_waited_for_the_message_is() {
        let (outbox, pacer, _all_open) = outbox();
        let (taken, ()) = tokio::join!(std::future::poll_fn(|cx| outbox.poll_take(cx)), async {
            pacer.send(old()).unwrap();
        });
        assert!(taken.is_some());
        assert_eq!(outbox.close(&Ending::Finished).late, 1);
    }

    #[tokio::test]
    async fn a_stream_is_open_when_its_transport_asks_or_it_has_ended() {
        let (outbox, _pacer, mut all_open) = outbox();
        assert!(all_open.try_recv().is_err_and(|error| error == mpsc::error::TryRecvError::Empty));
        std::future::poll_fn(|cx| Poll::Ready(outbox.poll_take(cx).is_pending())).await;
        assert_eq!(all_open.recv().await, None);

        let (outbox, _pacer, mut all_open) = self::outbox();
        outbox.ended();
        assert_eq!(all_open.recv().await, None);
    }

    #[test]
    fn closed_books_hold_all_that_was_handed_over() {
        let (outbox, pacer, _all_open) = outbox();
        (0..3).for_each(|_| pacer.send(old()).unwrap());
        let tally = outbox.close(&Ending::Finished);
        assert_eq!((tally.total().sent, tally.lost, tally.unsent), (3, 3, 3));
        assert!(pacer.send(old()).is_err(), "nothing can be handed over any more");
    }
}
