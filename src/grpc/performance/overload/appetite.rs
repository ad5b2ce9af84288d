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
//! **Fading.** What was used counts half after [`HALF_LIFE`]. [`Usage`] is kept as the logarithm of that, counted up
//! with the time: it need not be touched to fade, and usages of different moments are compared by their difference.
//!
//! **The median** is that of a sample: some streams of each peer, and some peers, have a seat in it until they have been
//! idle for so long that what they have used has faded. A sample of the streams is enough, since the levels are far
//! apart: it errs only where nearly half of the streams are heavy, and then they are no exception.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// What counts half.
const HALF_LIFE: Duration = Duration::from_secs(1);
/// In times of the median: where a stream's messages sink by a line, and by another.
const KEEN: f64 = 5.0;
const GREEDY: f64 = 50.0;
/// Who has used less, in nanoseconds, counts as having used that: nobody is greedy beside next to nothing.
const FLOOR: f64 = 1e6;
/// So small a part of that says that somebody has gone.
const GONE: f64 = 1.0 / 1024.0;

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
        let beside = median.0.max(Usage::of(FLOOR, now).0);
        let times = (mine.0 - beside).exp2();
        match times {
            GREEDY.. => Self::Greedy,
            KEEN.. => Self::Keen,
            _ => Self::Modest,
        }
    }
}

/// CPU time that was used, fading: the binary logarithm of what is left of its nanoseconds, and one more for each
/// half-life since the start of time. The default is next to nothing.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
struct Usage(f64);

impl Usage {
    fn of(nanoseconds: f64, now: Duration) -> Self {
        Self(nanoseconds.max(1.0).log2() + Self::half_lives(now))
    }

    fn half_lives(now: Duration) -> f64 {
        now.as_secs_f64() / HALF_LIFE.as_secs_f64()
    }

    /// What is left of it, in nanoseconds.
    fn left(self, now: Duration) -> f64 {
        (self.0 - Self::half_lives(now)).exp2()
    }

    /// With so much more, or less.
    fn changed(self, nanoseconds: i64, now: Duration) -> Self {
        Self::of(self.left(now) + nanoseconds as f64, now)
    }

    fn is_gone(self, now: Duration) -> bool {
        self.0 < Self::of(FLOOR * GONE, now).0
    }
}

/// What several streams have used together. Relaxed, as all of this: it steers, and publishes nothing.
#[derive(Debug, Default)]
pub(crate) struct SharedUsage(AtomicU64);

impl SharedUsage {
    fn get(&self) -> Usage {
        Usage(f64::from_bits(self.0.load(Relaxed)))
    }

    /// Adds to it, or gives it up when somebody else does so at the same moment.
    fn try_change(&self, nanoseconds: i64, now: Duration) -> bool {
        let before = self.get();
        let after = before.changed(nanoseconds, now);
        self.0.compare_exchange(before.0.to_bits(), after.0.to_bits(), Relaxed, Relaxed).is_ok()
    }
}

/// What some of many have used: a word for each seat, 0 when it is free.
///
/// Nobody waits: a seat is taken, written and left by one exchange, and where that fails it is left for the next look.
#[derive(Debug)]
pub(crate) struct Sample<const SEATS: usize>([AtomicU64; SEATS]);

/// Bits of a seat that say who has it; above them is the usage, in parts of an octave.
const OWNER_BITS: u32 = 24;
const PARTS: f64 = 256.0;

/// One of those that a sample is of. Two of one number (one in 2^24) have one seat between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner(u64);

impl Owner {
    pub(crate) fn new(number: u64) -> Self {
        Self(number % ((1 << OWNER_BITS) - 1) + 1)
    }

    fn sign(self, usage: Usage) -> u64 {
        ((usage.0 * PARTS) as u64) << OWNER_BITS | self.0
    }

    fn has(self, seat: u64) -> bool {
        seat & ((1 << OWNER_BITS) - 1) == self.0
    }
}

impl<const SEATS: usize> Default for Sample<SEATS> {
    fn default() -> Self {
        Self([(); SEATS].map(|()| AtomicU64::new(0)))
    }
}

impl<const SEATS: usize> Sample<SEATS> {
    /// Somebody writes down what it has used, if it has a seat or finds one, and gets the median of all who have; of an
    /// even number the lesser one.
    fn median_with(&self, owner: Owner, usage: Usage, now: Duration) -> Usage {
        let mut seated = [Usage::default(); SEATS];
        let (mut count, mut mine) = (0, None);
        for seat in &self.0 {
            let word = seat.load(Relaxed);
            let theirs = Usage((word >> OWNER_BITS) as f64 / PARTS);
            if owner.has(word) {
                mine = Some((seat, word));
            } else if word == 0 || theirs.is_gone(now) {
                mine = mine.or(Some((seat, word)));
            } else {
                seated[count] = theirs;
                count += 1;
            }
        }
        if let Some((seat, word)) = mine {
            // Where somebody else was quicker, there will be another look.
            let _ = seat.compare_exchange(word, owner.sign(usage), Relaxed, Relaxed);
            seated[count] = usage;
            count += 1;
        }
        let seated = &mut seated[..count];
        seated.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
        seated[(count - 1) / 2]
    }

    /// Somebody leaves.
    pub(crate) fn leave(&self, owner: Owner) {
        for seat in &self.0 {
            let word = seat.load(Relaxed);
            if owner.has(word) {
                // It was taken as one that has gone: then there is nothing to leave.
                let _ = seat.compare_exchange(word, 0, Relaxed, Relaxed);
            }
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
        self.charged += nanoseconds(expected);
    }

    /// It has run: charges the difference.
    pub(crate) fn correct(&mut self, expected: Duration, taken: Duration) {
        self.charged += nanoseconds(taken) - nanoseconds(expected);
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
        let of_stream = self.stream.map(|stream| {
            Appetite::of(self.used, peer.streams.median_with(stream, self.used, now), now)
        });
        let of_peer = peers.map(|(sample, owner)| {
            let used = peer.used.get();
            Appetite::of(used, sample.median_with(owner, used, now), now)
        });
        of_stream.max(of_peer).unwrap_or_default()
    }

    /// Puts what was charged to the accounts.
    fn settle(&mut self, peer: &PeerUsage, now: Duration) {
        self.used = self.used.changed(self.charged, now);
        self.untold += std::mem::take(&mut self.charged);
        self.much = (self.used.left(now).max(FLOOR) * MUCH) as i64;
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

    #[test]
    fn seats_go_to_those_who_come_when_others_have_gone_or_left() {
        let sample = Sample::<2>::default();
        let (now, later) = (Duration::from_secs(100), Duration::from_secs(130));
        let [one, two, three] = [1, 2, 3].map(Owner::new);
        let used = |ms: f64, now| Usage::of(ms * 1e6, now);
        sample.median_with(one, used(10.0, now), now);
        sample.median_with(two, used(30.0, now), now);
        let close = |found: Usage, expected: Usage| (found.0 - expected.0).abs() < 0.01;
        let median = sample.median_with(three, used(90.0, now), now);
        assert!(close(median, used(10.0, now)), "{median:?}: there is no seat for a third");
        sample.leave(one);
        let median = sample.median_with(three, used(90.0, now), now);
        assert!(close(median, used(30.0, now)), "{median:?}");
        let median = sample.median_with(one, used(5.0, later), later);
        assert!(close(median, used(5.0, later)), "{median:?}: the others have been idle for half a minute");
    }

    #[test]
    fn usage_fades_by_half_in_its_time_and_what_was_small_is_not_lost() {
        let now = Duration::from_secs(10_000_000);
        let shared = SharedUsage::default();
        (0..10_000).for_each(|_| assert!(shared.try_change(1000, now)));
        let left = shared.get().left(now + HALF_LIFE);
        assert!((left - 5e6).abs() < 5e3, "{left}");
    }
}
