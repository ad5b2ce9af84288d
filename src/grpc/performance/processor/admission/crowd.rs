//! Who has how much under way, and has used how much lately: the counts that fair shares are taken from, and the accounts
//! that say in which line a message stands.
//!
//! A stream knows by itself how many of its messages lack an answer. Once in a poll it adds what has changed to the
//! count of its peer, and to that of all: so a message costs nothing here, and the counts of others are as old as their
//! last poll. The account ([`Account`]) is the stream's own as well, and looks at those of others now and then.
//!
//! **Bounded.** Peers share a fixed number of counts, by a hash that nobody outside knows; two that fall on one count
//! are one peer. Streams of an unknown peer are all of one.

use std::{
    hash::BuildHasher,
    net::IpAddr,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::grpc::performance::overload::{
    Account, Appetite, Company, Owner, PEERS_SAMPLED, PeerUsage, Sample, Shares,
};

/// Counts of peers: far more than peers that are busy at a time.
const PEERS: usize = 1024;

/// Who is at the other end of a stream: those who share it share what they may have waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(u64);

impl Peer {
    /// Whoever is at this address, from whatever port.
    #[must_use]
    pub fn at(address: IpAddr) -> Self {
        Self::hashed(&address)
    }

    /// Whoever has proved to be this.
    #[must_use]
    pub fn named(identity: &str) -> Self {
        Self::hashed(identity)
    }

    fn hashed(what: &(impl std::hash::Hash + ?Sized)) -> Self {
        static HASHES: LazyLock<std::hash::RandomState> = LazyLock::new(std::hash::RandomState::new);
        Self(HASHES.hash_one(what))
    }
}

/// All counts are relaxed: they steer, and publish nothing.
#[derive(Default)]
struct Count {
    /// Messages without an answer.
    open: AtomicUsize,
    /// Streams that have any.
    streams: AtomicUsize,
}

/// The counts of all peers, and their accounts.
pub(in super::super) struct Crowd {
    peers: Box<[Count]>,
    /// Messages without an answer, and peers that have any.
    all: Count,
    /// `None`: nobody keeps accounts.
    usage: Option<Usages>,
}

struct Usages {
    peers: Box<[PeerUsage]>,
    sample: Sample<PEERS_SAMPLED>,
    streams_seen: AtomicU64,
}

impl Crowd {
    pub(in super::super) fn new(keeps_accounts: bool) -> Self {
        // One more, for those who are unknown.
        let usage = || Usages {
            peers: (0..=PEERS).map(|_| PeerUsage::default()).collect(),
            sample: Sample::default(),
            streams_seen: AtomicU64::new(0),
        };
        Self {
            peers: (0..=PEERS).map(|_| Count::default()).collect(),
            all: Count::default(),
            usage: keeps_accounts.then(usage),
        }
    }
}

impl Usages {
    /// An account for a stream, or a call of one message; calls of nobody in particular have none.
    fn open(&self, peer: usize, is_stream: bool) -> Option<Account> {
        let number = || Owner::new(self.streams_seen.fetch_add(1, Relaxed));
        (is_stream || peer != PEERS).then(|| Account::new(is_stream.then(number)))
    }

    fn company(&self, peer: usize) -> Company<'_> {
        let known = (peer != PEERS).then(|| (&self.sample, Owner::new(peer as u64)));
        Company { peer: &self.peers[peer], peers: known }
    }
}

/// What one stream adds to the counts; nothing when it is gone.
pub(in super::super) struct Part {
    crowd: Arc<Crowd>,
    peer: usize,
    /// Messages of this stream without an answer.
    pub(in super::super) open: usize,
    /// What of them the others know.
    published: usize,
    account: Option<Account>,
}

impl Part {
    /// Of a stream, or a call of one message.
    pub(in super::super) fn new(crowd: &Arc<Crowd>, peer: Option<Peer>, is_stream: bool) -> Self {
        let peer = peer.map_or(PEERS, |Peer(hash)| hash as usize % PEERS);
        let account = crowd.usage.as_ref().and_then(|usage| usage.open(peer, is_stream));
        Self { crowd: Arc::clone(crowd), peer, open: 0, published: 0, account }
    }

    /// How the stream stands to the others by what was used, at the last look.
    pub(in super::super) fn appetite(&self) -> Appetite {
        self.account.as_ref().map_or(Appetite::Modest, Account::appetite)
    }

    /// Charges what a message is expected to take that is about to be queued, and says how the stream stands now.
    pub(in super::super) fn charge(&mut self, expected: Duration, now: Duration) -> Appetite {
        let (Some(account), Some(usage)) = (&mut self.account, &self.crowd.usage) else {
            return Appetite::Modest;
        };
        account.charge(expected);
        account.look(usage.company(self.peer), now)
    }

    /// It has run for so long.
    pub(in super::super) fn correct(&mut self, expected: Duration, taken: Duration) {
        if let Some(account) = &mut self.account {
            account.correct(expected, taken);
        }
    }

    /// The stream ends.
    pub(in super::super) fn close(&mut self, now: Duration) {
        if let (Some(account), Some(usage)) = (&mut self.account, &self.crowd.usage) {
            account.close(&usage.peers[self.peer], now);
        }
    }

    /// Tells the others.
    pub(in super::super) fn publish(&mut self) {
        let (before, now) = (self.published, self.open);
        if before == now {
            return;
        }
        self.published = now;
        let (peer, all) = (&self.crowd.peers[self.peer], &self.crowd.all);
        // What has become less wraps round, and so does the sum.
        let change = now.wrapping_sub(before);
        all.open.fetch_add(change, Relaxed);
        let of_peer = peer.open.fetch_add(change, Relaxed);
        if before == 0 {
            peer.streams.fetch_add(1, Relaxed);
        } else if now == 0 {
            peer.streams.fetch_sub(1, Relaxed);
        }
        if of_peer == 0 {
            all.streams.fetch_add(1, Relaxed);
        } else if of_peer.wrapping_add(change) == 0 {
            all.streams.fetch_sub(1, Relaxed);
        }
    }

    /// How the stream stands among the others.
    pub(in super::super) fn shares(&self) -> Shares {
        let (peer, all) = (&self.crowd.peers[self.peer], &self.crowd.all);
        // What this stream has not told yet.
        let change = self.open.wrapping_sub(self.published);
        let of_peer = peer.open.load(Relaxed);
        // That it has any, and so has its peer.
        let is_new = self.published == 0 && self.open > 0;
        Shares {
            queued: all.open.load(Relaxed).wrapping_add(change),
            peers: all.streams.load(Relaxed) + usize::from(is_new && of_peer == 0),
            of_peer: of_peer.wrapping_add(change),
            streams_of_peer: peer.streams.load(Relaxed) + usize::from(is_new),
            of_stream: self.open,
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.open = 0;
        self.publish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They have counts of their own, as two names of a random hash have not always.
    const TWO: (Peer, Peer) = (Peer(0), Peer(1));

    #[test]
    fn what_streams_have_is_counted_by_peer_and_is_gone_with_them() {
        let crowd = Arc::new(Crowd::new(true));
        let (one, other) = TWO;
        let mut first = Part::new(&crowd, Some(one), true);
        let mut second = Part::new(&crowd, Some(one), true);
        let mut third = Part::new(&crowd, Some(other), true);
        (first.open, second.open, third.open) = (10, 5, 1);
        first.publish();
        second.publish();
        third.publish();
        second.open = 7;
        let expected = Shares { queued: 18, peers: 2, of_peer: 17, streams_of_peer: 2, of_stream: 7 };
        assert_eq!(second.shares(), expected);
        drop((first, third));
        let alone = Shares { queued: 7, peers: 1, of_peer: 7, streams_of_peer: 1, of_stream: 7 };
        assert_eq!(second.shares(), alone);
        drop(second);
        let nobody = Part::new(&crowd, None, true).shares();
        assert_eq!(nobody, Shares { queued: 0, peers: 0, of_peer: 0, streams_of_peer: 0, of_stream: 0 });
    }

    #[test]
    fn a_burst_of_a_stream_that_had_nothing_is_held_to_its_share_before_the_others_hear_of_it() {
        let crowd = Arc::new(Crowd::new(true));
        let (one, other) = TWO;
        let mut first = Part::new(&crowd, Some(one), true);
        first.open = 10;
        first.publish();
        for peer in [one, other] {
            let mut burst = Part::new(&crowd, Some(peer), true);
            burst.open = 11;
            assert!(!burst.shares().is_over(), "half, and one more");
            burst.open = 40;
            assert!(burst.shares().is_over(), "{:?}", burst.shares());
            let before = burst.shares();
            burst.publish();
            assert_eq!(burst.shares(), before);
        }
    }

    #[test]
    fn one_host_is_one_peer_and_two_are_two() {
        let at = |text: &str| Peer::at(text.parse().unwrap());
        assert_eq!(at("10.0.0.1"), at("10.0.0.1"));
        assert_ne!(at("10.0.0.1"), at("10.0.0.2"));
    }
}
