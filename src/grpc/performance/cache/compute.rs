//! Single flight for those who wait in a future.
//!
//! A leader's future may be stuck, or not be polled any more, and then nobody abandons its lead. So each follower keeps
//! the watch itself: after `worker_timeout` under one leader it [overtakes](FlightWatch::overtake) it, and the next in
//! line computes, which may be another. A follower waits no longer than that for any one leader.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    flight::{FlightSink, FlightWatch, Flights, Follower, Joined, Lead, Wanted},
    freshness::Freshness,
    key::CacheKey,
};
use crate::platform::clock;

/// What a follower hears.
enum News {
    Resolved(Bytes),
    YourTurn(Lead),
    /// Whoever computed has failed, and made that known to those who are content with it.
    Failed,
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

    fn failed(&self, _: u32, _: Bytes) {
        self.tell(News::Failed);
    }

    fn your_turn(&self, _: u32, lead: Lead) {
        self.tell(News::YourTurn(lead));
    }
}

/// See [`StreamCache::get_or_compute_with`](super::StreamCache::get_or_compute_with).
pub(super) async fn get_or_compute<E, F: Future<Output = Result<(Bytes, Freshness), E>>>(
    flights: &Arc<Flights>,
    key: CacheKey,
    compute: impl FnOnce() -> F,
) -> Result<Bytes, E> {
    let lead = loop {
        let mut news = None;
        let follower = || {
            let (sender, receiver) = oneshot::channel();
            news = Some(receiver);
            Follower { sink: Arc::new(Waiter(Mutex::new(Some(sender)))), token: 0 }
        };
        match flights.join(key, Wanted::Answer, follower, clock::now()) {
            Joined::Hit(verdict) => return Ok(verdict.into_bytes()),
            Joined::Lead(lead) => break lead,
            Joined::Follow(watch) => {
                let news = news.expect("who follows has made a follower");
                match hear(flights, news, watch).await {
                    News::Resolved(value) => {
                        flights.count_join();
                        return Ok(value);
                    }
                    News::YourTurn(lead) => break lead,
                    // It asks again, and counts then.
                    News::Failed => {}
                }
            }
        }
    };
    // Dropping the lead here, on an error or with this future, passes the turn on.
    let (value, freshness) = compute().await?;
    lead.fresh(freshness).complete(value.clone());
    Ok(value)
}

/// Waits for the news, whatever becomes of the leaders.
async fn hear(flights: &Flights, mut news: oneshot::Receiver<News>, mut watch: FlightWatch) -> News {
    loop {
        let heard = tokio::time::timeout(flights.patience(), &mut news).await;
        if let Ok(news) = heard {
            return news.expect("a follower is told before its flight lets it go");
        }
        if let Some(finding) = watch.overtake() {
            // Not an outdated one: who joins anew gets to know.
            let serves = finding.serves(Wanted::Answer, flights.invalidations());
            return if serves { News::Resolved(finding.verdict.into_bytes()) } else { News::Failed };
        }
    }
}

#[cfg(test)]
mod tests;
