//! Single flight, against a table of who leads and who follows; and with several threads, of which one computes at a
//! time and none is forgotten.
//!
//! A cache may forget what was stored at any time, so where the model knows an answer a look-up may also lead anew.

use std::{
    collections::{HashMap, VecDeque},
    iter,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use arbitrary::Arbitrary;
use bytes::Bytes;
use millstream::{
    CacheKey, OptimizationConfig, StreamCache,
    cache::{FlightSink, FlightWatch, Follower, Lead, Lookup},
};

const KEYS: u8 = 4;
/// A follower that has heard nothing by then never will.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Arbitrary)]
enum Plan {
    Alone(Vec<Step>),
    Together(Vec<Vec<(u8, Ending)>>),
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Step {
    Join(u8),
    End(u8, Ending),
    Abandon(u8),
    Invalidate(u8),
    Clear,
}

/// What becomes of a lead.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Ending {
    Complete,
    ResolveWithoutStoring,
    Drop,
}

/// What a follower hears.
enum News {
    Resolved(Bytes),
    YourTurn(Lead),
}

struct Ear(Sender<(u32, News)>);

impl FlightSink for Ear {
    fn resolved(&self, token: u32, value: Bytes) {
        self.0.send((token, News::Resolved(value))).expect("the listener outlives the flights");
    }
    fn failed(&self, _: u32, _: Bytes) {
        unreachable!("no lead fails here: they complete, resolve, or are dropped");
    }
    fn your_turn(&self, token: u32, lead: Lead) {
        self.0.send((token, News::YourTurn(lead))).expect("the listener outlives the flights");
    }
}

/// See the module.
pub fn flight(data: &[u8]) {
    match crate::read(data) {
        Some(Plan::Alone(steps)) => alone(&steps),
        Some(Plan::Together(threads)) => together(&threads),
        None => {}
    }
}

fn cache() -> StreamCache {
    StreamCache::new(&OptimizationConfig::default()).expect("the defaults work")
}

fn key(key: u8) -> CacheKey {
    CacheKey::of(&[&[key % KEYS]])
}

/// An answer that says which key it is for.
fn answer(key: u8, number: usize) -> Bytes {
    format!("{}/{number}", key % KEYS).into()
}

/// A flight as the model has it: its turn, and who follows, until it is over.
struct Flight {
    key: u8,
    turn: usize,
    over: bool,
    on_table: bool,
    followers: VecDeque<u32>,
}

/// A lead, or a watch over one, and which turn of which flight it is.
struct Held<T> {
    real: T,
    flight: usize,
    turn: usize,
}

struct Alone {
    cache: StreamCache,
    ear: Arc<Ear>,
    news: Receiver<(u32, News)>,
    leads: Vec<Held<Lead>>,
    watches: Vec<Held<FlightWatch>>,
    flights: Vec<Flight>,
    stored: HashMap<u8, Bytes>,
    asked: u32,
}

fn alone(steps: &[Step]) {
    let (sender, news) = channel();
    let mut alone = Alone {
        cache: cache(),
        ear: Arc::new(Ear(sender)),
        news,
        leads: Vec::new(),
        watches: Vec::new(),
        flights: Vec::new(),
        stored: HashMap::new(),
        asked: 0,
    };
    steps.iter().for_each(|step| alone.step(*step));
    while !alone.leads.is_empty() {
        alone.step(Step::End(0, Ending::Drop));
    }
    assert!(alone.flights.iter().all(|flight| flight.over && flight.followers.is_empty()), "somebody waits");
}

impl Alone {
    fn step(&mut self, step: Step) {
        match step {
            Step::Join(key) => self.join(key % KEYS),
            Step::End(which, ending) if !self.leads.is_empty() => {
                let lead = self.leads.swap_remove(usize::from(which) % self.leads.len());
                self.end(lead, ending);
            }
            Step::Abandon(which) if !self.watches.is_empty() => {
                let Held { real, flight, turn } =
                    self.watches.swap_remove(usize::from(which) % self.watches.len());
                real.abandon();
                self.expect_relief(flight, turn);
            }
            Step::End(..) | Step::Abandon(_) => {}
            Step::Invalidate(which) => {
                let which = which % KEYS;
                let (removed, known) = (self.cache.invalidate(&key(which)), self.stored.remove(&which));
                assert!(known.is_some() || !removed);
                self.detach(|flight| flight.key == which);
            }
            Step::Clear => {
                self.cache.clear();
                self.stored.clear();
                self.detach(|_| true);
            }
        }
        assert!(self.news.try_recv().is_err(), "news that nobody was to hear");
    }

    fn detach(&mut self, which: impl Fn(&Flight) -> bool) {
        self.flights.iter_mut().filter(|flight| which(flight)).for_each(|flight| flight.on_table = false);
    }

    fn join(&mut self, which: u8) {
        self.asked += 1;
        let token = self.asked;
        let sink = Arc::clone(&self.ear);
        let going_on = self.flights.iter_mut().find(|flight| flight.key == which && flight.on_table);
        match (self.cache.join(key(which), || Follower { sink, token }), going_on) {
            (Lookup::Hit(value), None) => assert_eq!(Some(&value), self.stored.get(&which)),
            (Lookup::Follow, Some(flight)) => flight.followers.push_back(token),
            (Lookup::Lead(real), None) => {
                self.stored.remove(&which);
                let followers = VecDeque::new();
                self.flights.push(Flight { key: which, turn: 0, over: false, on_table: true, followers });
                self.leads_now(real, self.flights.len() - 1, 0);
            }
            (other, going_on) => panic!("{other:?}, and a flight goes on: {}", going_on.is_some()),
        }
    }

    fn leads_now(&mut self, real: Lead, flight: usize, turn: usize) {
        self.watches.push(Held { real: real.watch(), flight, turn });
        self.leads.push(Held { real, flight, turn });
    }

    fn end(&mut self, Held { real, flight, turn }: Held<Lead>, ending: Ending) {
        let value = answer(self.flights[flight].key, self.asked as usize);
        match ending {
            Ending::Complete => real.complete(value.clone()),
            Ending::ResolveWithoutStoring => real.resolve_without_storing(value.clone()),
            Ending::Drop => {
                drop(real);
                return self.expect_relief(flight, turn);
            }
        }
        let flight = &mut self.flights[flight];
        if flight.over || flight.turn != turn {
            return;
        }
        for follower in flight.followers.drain(..) {
            match self.news.try_recv() {
                Ok((token, News::Resolved(told))) => assert_eq!((token, &told), (follower, &value)),
                _ => panic!("{follower} was not told"),
            }
        }
        flight.over = true;
        if std::mem::take(&mut flight.on_table) && matches!(ending, Ending::Complete) {
            self.stored.insert(flight.key, value);
        }
    }

    /// A turn was given back: the next follower leads, if it was on.
    fn expect_relief(&mut self, number: usize, turn: usize) {
        let flight = &mut self.flights[number];
        if flight.over || flight.turn != turn {
            return;
        }
        let Some(follower) = flight.followers.pop_front() else {
            (flight.over, flight.on_table) = (true, false);
            return;
        };
        flight.turn += 1;
        let turn = flight.turn;
        match self.news.try_recv() {
            Ok((token, News::YourTurn(lead))) => {
                assert_eq!(token, follower);
                self.leads_now(lead, number, turn);
            }
            _ => panic!("{follower} did not get the turn"),
        }
    }
}

/// One computes at a time for each key, and everybody gets an answer for the key that it asked for.
fn together(threads: &[Vec<(u8, Ending)>]) {
    let (cache, computing) = (&cache(), &[(); KEYS as usize].map(|()| AtomicUsize::new(0)));
    let compute = |which: u8, ending: Ending, lead: Lead| {
        let alone = &computing[usize::from(which % KEYS)];
        assert_eq!(alone.fetch_add(1, SeqCst), 0, "two compute {which}");
        thread::yield_now();
        assert_eq!(alone.fetch_sub(1, SeqCst), 1);
        match ending {
            Ending::Complete => lead.complete(answer(which, 0)),
            Ending::ResolveWithoutStoring => lead.resolve_without_storing(answer(which, 0)),
            Ending::Drop => drop(lead),
        }
    };
    let run = |_, calls: &Vec<(u8, Ending)>| {
        let (sender, news) = channel();
        let ear = Arc::new(Ear(sender));
        for (&(which, ending), token) in iter::zip(calls, 0..) {
            let sink = Arc::clone(&ear);
            match cache.join(key(which), || Follower { sink, token }) {
                Lookup::Hit(value) => assert_eq!(value, answer(which, 0)),
                Lookup::Failure(_) => unreachable!("no lead fails here"),
                Lookup::Lead(lead) => compute(which, ending, lead),
                Lookup::Follow => match news.recv_timeout(PATIENCE).expect("every follower is told") {
                    (told, News::Resolved(value)) => assert_eq!((told, value), (token, answer(which, 0))),
                    (told, News::YourTurn(lead)) => {
                        assert_eq!(told, token);
                        compute(which, ending, lead);
                    }
                },
            }
        }
        assert!(news.try_recv().is_err(), "told twice");
    };
    crate::together(threads, run);
}
