//! Whether a message's stream, and its peer, have more than their share of what waits.
//!
//! Fairness is by peer first, then by stream within the peer, so that who opens more streams does not get more. The
//! share is of what is queued *now*: a stream that is alone has everything, and one that comes to a crowded queue is let
//! in while the crowd is held back. All it takes is a count for each stream and peer, and how many of them have anything
//! queued: the memory is bounded, and nothing has to be forgotten.

/// What is queued, and by how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Messages queued, all together.
    pub(crate) queued: usize,
    /// Peers that have any.
    pub(crate) peers: usize,
    /// Messages of this peer.
    pub(crate) of_peer: usize,
    /// Streams of this peer that have any.
    pub(crate) streams_of_peer: usize,
    /// Messages of this stream.
    pub(crate) of_stream: usize,
}

impl Shares {
    /// Whether one more would be more than the stream's share: it waits until the others have had theirs. Who has
    /// nothing queued is never over, and neither is who is alone.
    pub(crate) fn is_over(&self) -> bool {
        // One more than the fair share is allowed, so that the rounding of small queues holds nobody back.
        let over = |mine: usize, all: usize, contenders: usize| contenders > 1 && mine > all / contenders + 1;
        let peers = self.peers + usize::from(self.of_peer == 0);
        let streams = self.streams_of_peer + usize::from(self.of_stream == 0);
        over(self.of_peer, self.queued, peers) || over(self.of_stream, self.of_peer, streams)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(
        queued: usize,
        peers: usize,
        of_peer: usize,
        streams_of_peer: usize,
        of_stream: usize,
    ) -> Shares {
        Shares { queued, peers, of_peer, streams_of_peer, of_stream }
    }

    #[test]
    fn who_is_alone_may_have_everything() {
        assert!(!shares(1000, 1, 1000, 1, 1000).is_over());
    }

    #[test]
    fn a_stream_is_held_to_its_part_of_its_peers_share() {
        assert!(shares(100, 1, 100, 2, 90).is_over());
        assert!(!shares(100, 1, 100, 2, 10).is_over());
        assert!(!shares(100, 1, 100, 2, 51).is_over(), "one more than half");
    }

    #[test]
    fn who_opens_many_streams_gets_no_more() {
        // One peer with 50 streams of 2 each, another with one stream of 10.
        assert!(shares(110, 2, 100, 50, 2).is_over());
        assert!(!shares(110, 2, 10, 1, 10).is_over());
    }

    #[test]
    fn who_has_nothing_queued_is_let_in() {
        assert!(!shares(100, 1, 0, 0, 0).is_over());
        assert!(!shares(100, 1, 100, 1, 0).is_over());
    }
}
