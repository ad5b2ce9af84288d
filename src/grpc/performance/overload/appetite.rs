//! How much of the CPU a stream has had lately beside the others, and so in which line its next message stands.
//!
//! Nobody knows how long a message will run, but everybody knows what a stream has used. So messages of a stream that has
//! used far more than most sink behind those of the others: at [`KEEN`] times the median one line, at [`GREEDY`] times two
//! (multilevel feedback: what is known of the past stands in for the future). Somebody has to be first only where
//! somebody waits: a stream that is alone, or beside idle ones, has all of the machine whatever it has used.
//!
//! **By peer, then by stream.** A stream is judged twice: its peer among the peers, and itself among the streams of that
//! peer; the worse of the two counts. So who opens more streams gets no more, and one stream does not crowd out its
//! siblings. Where no peer is known the streams are judged among themselves. A call of one message is judged by its peer
//! alone.
//!
//! **What is accounted.** A message is charged what its class is expected to take when it is queued, and the difference
//! when it has run: so a burst weighs before any of it has run. What never ran stays charged as it was expected; that
//! fades.
//!
//! **Fading.** What was used counts half after a second ([`usage`]).
//!
//! **The median** is that of a [`sample`], which is enough, since the levels are far apart: it errs only where nearly half
//! of the streams are heavy, and then they are no exception.

mod sample;
mod usage;

use std::time::Duration;

use self::usage::{SharedUsage, Usage};

pub(crate) use self::sample::{Owner, Sample};

/// In times of the median: where a stream's messages sink by a line, and by another.
const KEEN: f64 = 5.0;
const GREEDY: f64 = 50.0;

/// Between two looks at the others, each some hundred nanoseconds, unless much was charged meanwhile: this part of what
/// was used before.
const LOOK: Duration = Duration::from_millis(10);
const MUCH: f64 = 0.25;

/// How a stream, or a peer, stands to what most have used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Appetite {
    /// As most, or less.
    #[default]
    Modest,
    /// Far more than most.
    Keen,
    /// As much as a crowd of others.
    Greedy,
}

impl Appetite {
    /// All of them, in the order of service.
    pub(crate) const ALL: [Self; 3] = [Self::Modest, Self::Keen, Self::Greedy];

    /// Of somebody beside the median.
    fn of(mine: Usage, median: Usage, now: Duration) -> Self {
        let beside = median.at_least(usage::FLOOR, now);
        match mine.times(beside) {
            GREEDY.. => Self::Greedy,
            KEEN.. => Self::Keen,
            _ => Self::Modest,
        }
    }
}

/// Seats in the sample of one peer's streams, and in that of the peers.
pub(crate) const STREAMS_SAMPLED: usize = 8;
pub(crate) const PEERS_SAMPLED: usize = 32;

/// What all streams of a peer have used, and each of some.
#[derive(Debug, Default)]
pub(crate) struct PeerUsage {
    used: SharedUsage,
    streams: Sample<STREAMS_SAMPLED>,
}

/// The account of one stream, or of one call.
#[derive(Debug)]
pub(crate) struct Account {
    /// `None`: a call, which is not judged by itself.
    stream: Option<Owner>,
    used: Usage,
    /// Nanoseconds charged since the last look, and how many of them ask for another.
    charged: i64,
    much: i64,
    /// Those that the peer was not told of.
    untold: i64,
    next_look: Duration,
    appetite: Appetite,
}

/// Among whom an account is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Company<'a> {
    /// Its peer; all unknown ones are one.
    pub(crate) peer: &'a PeerUsage,
    /// The peers, and which of them it is; `None`: it is not known.
    pub(crate) peers: Option<(&'a Sample<PEERS_SAMPLED>, Owner)>,
}

impl Account {
    /// Of a stream, by its number, or of a call.
    pub(crate) fn new(stream: Option<Owner>) -> Self {
        Self {
            stream,
            used: Usage::default(),
            charged: 0,
            much: 0,
            untold: 0,
            next_look: Duration::ZERO,
            appetite: Appetite::Modest,
        }
    }

    /// At the last look.
    pub(crate) fn appetite(&self) -> Appetite {
        self.appetite
    }

    /// Charges what a message is expected to take.
    pub(crate) fn charge(&mut self, expected: Duration) {
        self.charged = self.charged.saturating_add(nanoseconds(expected));
    }

    /// It has run: charges the difference.
    pub(crate) fn correct(&mut self, expected: Duration, taken: Duration) {
        let difference = nanoseconds(taken) - nanoseconds(expected);
        self.charged = self.charged.saturating_add(difference);
    }

    /// Looks at the others, if it is time to.
    pub(crate) fn look(&mut self, company: Company<'_>, now: Duration) -> Appetite {
        if now >= self.next_look || self.charged > self.much {
            self.next_look = now + LOOK;
            self.appetite = self.compare(company, now);
        }
        self.appetite
    }

    fn compare(&mut self, Company { peer, peers }: Company<'_>, now: Duration) -> Appetite {
        self.settle(peer, now);
        let of_stream = self
            .stream
            .map(|stream| Appetite::of(self.used, peer.streams.median_with(stream, self.used, now), now));
        let of_peer = peers.map(|(sample, owner)| {
            let used = peer.used.get();
            Appetite::of(used, sample.median_with(owner, used, now), now)
        });
        of_stream.max(of_peer).unwrap_or_default()
    }

    /// Puts what was charged to the accounts.
    fn settle(&mut self, peer: &PeerUsage, now: Duration) {
        self.used = self.used.changed(self.charged, now);
        self.untold = self.untold.saturating_add(std::mem::take(&mut self.charged));
        self.much = (self.used.left(now).max(usage::FLOOR) * MUCH) as i64;
        if peer.used.try_change(self.untold, now) {
            self.untold = 0;
        }
    }

    /// The stream ends: its peer keeps what it has used.
    pub(crate) fn close(&mut self, peer: &PeerUsage, now: Duration) {
        self.settle(peer, now);
        if let Some(stream) = self.stream {
            peer.streams.leave(stream);
        }
    }
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Streams of one peer, or of several, each of which uses so much in each step of the time; what each of them wants
    /// in the end.
    fn appetites(steps: u32, streams: &[(Option<usize>, Duration)]) -> Vec<Appetite> {
        let mut world = World::new(streams.len());
        (0..steps).for_each(|step| world.step(step * MS, streams));
        world.accounts.iter().map(Account::appetite).collect()
    }

    struct World {
        sample: Sample<PEERS_SAMPLED>,
        peers: Vec<PeerUsage>,
        accounts: Vec<Account>,
    }

    impl World {
        fn new(streams: usize) -> Self {
            Self {
                sample: Sample::default(),
                peers: (0..=streams).map(|_| PeerUsage::default()).collect(),
                accounts: (0..streams).map(|number| Account::new(Some(Owner::new(number as u64)))).collect(),
            }
        }

        fn step(&mut self, now: Duration, streams: &[(Option<usize>, Duration)]) {
            for (account, &(peer, used)) in self.accounts.iter_mut().zip(streams) {
                // Who does nothing never looks.
                if used.is_zero() {
                    continue;
                }
                let company = Company {
                    peer: &self.peers[peer.map_or(0, |peer| peer + 1)],
                    peers: peer.map(|peer| (&self.sample, Owner::new(peer as u64))),
                };
                account.charge(2 * used);
                account.correct(2 * used, used);
                account.look(company, now);
            }
        }
    }

    const fn us(microseconds: u64) -> Duration {
        Duration::from_micros(microseconds)
    }

    use Appetite::{Greedy, Keen, Modest};

    #[test]
    fn a_stream_at_ten_times_the_rate_of_the_others_is_keen_and_at_a_hundred_times_greedy() {
        let light = [(None, us(10)); 8];
        assert_eq!(appetites(1000, &light), [Modest; 8]);
        for (times, expected) in [(3, Modest), (10, Keen), (100, Greedy)] {
            let mut streams = light.to_vec();
            streams.push((None, us(10 * times)));
            let found = appetites(1000, &streams);
            assert_eq!(found[..8], [Modest; 8]);
            assert_eq!(found[8], expected, "{times} times");
        }
    }

    #[test]
    fn two_are_enough_to_tell_and_one_alone_has_everything() {
        assert_eq!(appetites(1000, &[(None, us(10)), (None, us(100))]), [Modest, Keen]);
        assert_eq!(appetites(1000, &[(None, us(1000)), (None, us(0))]), [Modest, Modest]);
    }

    #[test]
    fn who_opens_many_streams_gets_no_more() {
        let mut streams = vec![(Some(0), us(10)), (Some(1), us(10)), (Some(2), us(10))];
        streams.extend([(Some(3), us(10)); 20]);
        let found = appetites(1000, &streams);
        assert_eq!(found[..3], [Modest; 3]);
        assert_eq!(found[3..], [Keen; 20], "together they have used twenty times as much as the other peers");
    }

    #[test]
    fn one_stream_is_judged_among_those_of_its_peer_and_not_among_strangers() {
        // One peer with one stream, and one with ten that use as much together.
        let mut streams = vec![(Some(0), us(100))];
        streams.extend([(Some(1), us(10)); 10]);
        assert_eq!(appetites(1000, &streams), [Modest; 11]);
        // And one among siblings that uses ten times as much as they do.
        streams.truncate(1);
        streams.extend([(Some(1), us(5)); 9]);
        streams.push((Some(1), us(60)));
        let found = appetites(1000, &streams);
        assert_eq!(found[..10], [Modest; 10]);
        assert_eq!(found[10], Keen);
    }

    #[test]
    fn a_burst_weighs_before_any_of_it_has_run_and_fades_when_it_is_over() {
        let mut world = World::new(3);
        let steady = [(None, us(10)), (None, us(10)), (None, us(0))];
        (0..1000).for_each(|step| world.step(step * MS, &steady));
        let company = Company { peer: &world.peers[0], peers: None };
        let found: Vec<_> = (0..200)
            .map(|_| {
                world.accounts[2].charge(MS);
                world.accounts[2].look(company, 1000 * MS)
            })
            .collect();
        assert_eq!((found[0], found[199]), (Modest, Keen), "the others have used some 7 ms lately");
        (1000..4000).for_each(|step| world.step(step * MS, &steady));
        let company = Company { peer: &world.peers[0], peers: None };
        assert_eq!(world.accounts[2].look(company, 4000 * MS), Modest);
    }

    #[test]
    fn next_to_nothing_is_no_measure() {
        assert_eq!(appetites(1000, &[(None, Duration::from_nanos(1)), (None, us(3))]), [Modest, Modest]);
    }
}
