//! Single flight for those who wait in a future.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    flight::{FlightSink, Flights, Follower, Lead, Lookup},
    key::CacheKey,
};
use crate::platform::clock;

/// What a follower hears.
enum News {
    Resolved(Bytes),
    YourTurn(Lead),
}

/// One follower, told through a channel. News that it does not live to hear is dropped with the channel, and a lead
/// that is dropped passes the turn on.
struct Waiter(Mutex<Option<oneshot::Sender<News>>>);

impl Waiter {
    fn tell(&self, news: News) {
        // Taken before it is used: nothing may be dropped under the lock.
        let sender = self.0.lock().take();
        drop(sender.map(|sender| sender.send(news)));
    }
}

impl FlightSink for Waiter {
    fn resolved(&self, _: u32, value: Bytes) {
        self.tell(News::Resolved(value));
    }

    fn your_turn(&self, _: u32, lead: Lead) {
        self.tell(News::YourTurn(lead));
    }
}

/// See [`StreamCache::get_or_compute`](super::StreamCache::get_or_compute).
pub(super) async fn get_or_compute<E, F: Future<Output = Result<Bytes, E>>>(
    flights: &Arc<Flights>,
    key: CacheKey,
    compute: impl FnOnce() -> F,
) -> Result<Bytes, E> {
    let mut news = None;
    let follower = || {
        let (sender, receiver) = oneshot::channel();
        news = Some(receiver);
        Follower { sink: Arc::new(Waiter(Mutex::new(Some(sender)))), token: 0 }
    };
    let lead = match flights.join(key, follower, clock::now()) {
        Lookup::Hit(value) => return Ok(value),
        Lookup::Lead(lead) => lead,
        Lookup::Follow => {
            let news = news.expect("who follows has made a follower");
            match news.await.expect("a follower is told before its flight lets it go") {
                News::Resolved(value) => return Ok(value),
                News::YourTurn(lead) => lead,
            }
        }
    };
    // Dropping the lead here, on an error or with this future, passes the turn on.
    let value = compute().await?;
    lead.complete(value.clone());
    Ok(value)
}

#[cfg(test)]
mod tests;
