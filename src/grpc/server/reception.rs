//! Bytes of messages that are being received, or wait to be accepted: bounded for all calls together.
//!
//! The data plane counts a message once it has accepted it (`max_bytes_in_flight`). Before that the transport holds it:
//! in pieces while it comes, then whole, until the data plane has room. Each call holds one such message at most, but
//! there may be thousands of calls. So before the bytes of a large message are taken from HTTP/2, they are drawn from a
//! budget, `max_receiving_bytes`; while it is spent the call is not read on, and flow control slows its client.
//!
//! - **Whom it concerns**: messages above [`SMALL`]. What is smaller fits in the window of its call, which bounds it
//!   already. A compressed message is drawn as if it unpacked to the limit: what it will unpack to is not known.
//! - **Given back** on a stream when it asks for what follows the message, which it does once the message was accepted;
//!   on a unary call when that is answered; and with the call, however that ends.
//! - **Beside the budget**: tonic's decoder keeps the memory of a stream's latest message until the next one comes or the
//!   stream ends. So open streams may keep `max_concurrent_connections` × `max_message_size` beyond the budgets (measured:
//!   100 streams after a message of 4 MiB each, 400 MiB); whoever serves strangers with large messages lowers one of the
//!   two.
//! - **No deadlock**: the budget holds the largest message, and what waits with a part of it waits for the workers, or
//!   for its client, whose `read_timeout` runs. Who waits for the budget is served in order.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::counts::{Limit, ServerCounts};

/// Bytes of the largest message that is received without more ado: as many as a stream window holds by default.
pub(super) const SMALL: usize = 64 << 10;
/// Semaphores count to 2^32; with this unit the budget may be as large as the machine.
const UNIT: usize = 1 << 10;

/// The budget of one server. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Reception {
    budget: Arc<Semaphore>,
    units: usize,
    counts: ServerCounts,
}

/// What a call has drawn from the budget. For unary calls the answer in the making holds it as well as the body.
pub(super) type Drawn = Arc<Mutex<Option<OwnedSemaphorePermit>>>;

type Drawing = Pin<Box<dyn Future<Output = OwnedSemaphorePermit> + Send>>;

/// One call's dealings with the budget.
pub(super) struct Draw {
    reception: Reception,
    waiting: Option<Drawing>,
    drawn: Drawn,
}

impl Reception {
    pub(super) fn new(bytes: usize, counts: ServerCounts) -> Self {
        let units = bytes.div_ceil(UNIT);
        Self { budget: Arc::new(Semaphore::new(units)), units, counts }
    }

    pub(super) fn draw(&self) -> Draw {
        Draw { reception: self.clone(), waiting: None, drawn: Drawn::default() }
    }
}

impl Draw {
    pub(super) fn drawn(&self) -> Drawn {
        Arc::clone(&self.drawn)
    }

    /// The call asks for what follows its message: that was accepted.
    pub(super) fn give_back(&mut self) {
        let drawn = self.drawn.lock().take();
        drop(drawn);
    }

    fn is_drawn(&self) -> bool {
        self.drawn.lock().is_some()
    }

    /// Ready when a message of so many bytes may be handed on: at once where the call has drawn already.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<()> {
        if bytes <= SMALL || self.is_drawn() {
            return Poll::Ready(());
        }
        let reception = &self.reception;
        let waiting = self.waiting.get_or_insert_with(|| {
            let units = bytes.div_ceil(UNIT).min(reception.units) as u32;
            if reception.budget.available_permits() < units as usize {
                reception.counts.hit(Limit::Receiving);
            }
            let budget = Arc::clone(&reception.budget);
            Box::pin(
                async move { budget.acquire_many_owned(units).await.expect("the budget is never closed") },
            )
        });
        let drawn = ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        *self.drawn.lock() = Some(drawn);
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const LARGE: usize = 100 << 10;

    async fn draws(draw: &mut Draw, bytes: usize) -> bool {
        poll_fn(|cx| Poll::Ready(draw.poll(cx, bytes).is_ready())).await
    }

    #[tokio::test]
    async fn a_large_message_waits_until_the_one_before_it_was_given_back() {
        let counts = ServerCounts::default();
        let reception = Reception::new(LARGE, counts.clone());
        let (mut one, mut other) = (reception.draw(), reception.draw());
        assert!(draws(&mut one, LARGE).await);
        assert!(draws(&mut one, LARGE).await, "what was drawn is not drawn twice");
        assert_eq!(counts.hits(Limit::Receiving), 0);
        assert!(!draws(&mut other, LARGE).await);
        assert!(!draws(&mut other, LARGE).await);
        assert_eq!(counts.hits(Limit::Receiving), 1);
        one.give_back();
        assert!(draws(&mut other, LARGE).await);
        assert!(!draws(&mut one, LARGE).await);
    }

    #[tokio::test]
    async fn a_small_message_waits_for_nobody_and_one_above_the_budget_for_all_of_it() {
        let reception = Reception::new(LARGE, ServerCounts::default());
        let (mut one, mut other) = (reception.draw(), reception.draw());
        assert!(draws(&mut one, 2 * LARGE).await);
        assert!(draws(&mut other, SMALL).await);
        assert!(!draws(&mut other, SMALL + 1).await);
    }

    #[tokio::test]
    async fn what_is_held_elsewhere_is_given_back_there_and_what_waits_in_vain_leaves_nothing_behind() {
        let reception = Reception::new(LARGE, ServerCounts::default());
        let mut one = reception.draw();
        assert!(draws(&mut one, LARGE).await);
        let elsewhere = one.drawn();
        drop(one);
        let mut other = reception.draw();
        assert!(!draws(&mut other, LARGE).await);
        drop(other);
        drop(elsewhere);
        assert!(draws(&mut reception.draw(), LARGE).await);
    }
}
