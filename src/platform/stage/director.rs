//! The simulation's scheduler: threads that run one at a time, and a seed that says which.
//!
//! **The baton.** Each thread on the stage is an [`Actor`]. One of them holds the baton and runs; the others are parked.
//! Where the running thread comes to a place of [`stage`](super), it chooses who goes on, by the seed, among all that can;
//! nothing else on the stage depends on the platform's scheduler.
//!
//! **Time** is that of a paused tokio runtime, which every actor has entered. It stands still while anybody can run.
//! When nobody can, the baton goes to the first actor (the test's own thread, see [`Stage::rest`]), who moves the clock.
//!
//! **Chance** is uneven on purpose: actors have weights, so that in one schedule a worker is slow to get anywhere, in
//! another the supervisor; and how readily a running thread is interrupted is drawn for each schedule.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io, process, ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, Builder, JoinHandle, Thread},
    time::{Duration, Instant},
};

use crossbeam::channel::Receiver;
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use tokio::runtime::Handle;

use super::Heard;
use crate::platform::{atomic::AtomicU32, clock, contain::contain};

/// Virtual time that a thread which gives way lets pass at most, if nobody else can run.
const BREATH: Duration = Duration::from_micros(10);
/// Real time without a hand-over after which the baton is lost: who has it waits outside of the director's sight.
const LOST: Duration = Duration::from_secs(30);
/// Later than anything.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

thread_local! {
    static ROLE: RefCell<Option<Role>> = const { RefCell::new(None) };
}

/// How often simulations have reached each probe, in this process.
static REACHED: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

pub(crate) fn reached(name: &'static str) {
    if let Some(role) = role() {
        *REACHED.lock().entry(name).or_default() += 1;
        role.point();
    }
}

/// All probes that simulations have reached so far, and how often.
pub(crate) fn all_reached() -> BTreeMap<&'static str, u64> {
    REACHED.lock().clone()
}

/// The calling thread's, if it is on a stage.
pub(crate) fn role() -> Option<Role> {
    ROLE.try_with(|role| role.borrow().clone()).ok().flatten()
}

/// Whether an actor can run.
enum Condition {
    Ready,
    /// From a moment on, or as soon as something holds.
    Until(Instant, Option<Box<dyn Fn() -> bool + Send>>),
    /// As soon as nobody else can run, and a breath of time has passed.
    GivesWay(Instant),
    /// Asleep at the word with this address, until it is woken.
    Asleep(usize),
    Gone,
}

struct Actor {
    name: String,
    thread: Option<Thread>,
    /// None for the first actor, and for one that has gone.
    life: Option<JoinHandle<()>>,
    condition: Condition,
    weight: u32,
}

struct Cast {
    actors: Vec<Actor>,
    chance: Xoshiro256PlusPlus,
    /// Of 256 points, those at which a thread that could go on lets another go first.
    restlessness: u8,
    /// Of 256 spawns, those that the system refuses.
    refusals: u8,
    /// How threads have ended that should not have.
    panics: Vec<String>,
    /// Threads that have handed the baton on for good. What they leave behind as they end (the places of their
    /// thread-locals, for one) comes into other hands, so whoever has the baton next waits for their end.
    leaving: Vec<JoinHandle<()>>,
    /// Nobody could run when the first actor was given the baton.
    quiet: bool,
    /// Times that the baton went to another thread.
    handovers: u64,
}

/// One simulation's threads. The first actor is the test's thread.
pub(crate) struct Stage {
    cast: Mutex<Cast>,
    on: AtomicUsize,
    runtime: Handle,
    entered: Instant,
    seed: u64,
    over: AtomicBool,
}

/// The calling thread's part in a simulation.
#[derive(Clone)]
pub(crate) struct Role {
    stage: Arc<Stage>,
    me: usize,
}

/// Takes the calling thread off the stage when it is dropped.
pub(crate) struct OffStage(Arc<Stage>);

impl Drop for OffStage {
    fn drop(&mut self) {
        self.0.over.store(true, SeqCst);
        ROLE.with(|role| role.borrow_mut().take());
    }
}

impl Stage {
    /// A stage with the calling thread on it, which is the one that moves the clock of `runtime`.
    pub(crate) fn enter(seed: u64, runtime: Handle) -> (Arc<Self>, OffStage) {
        let mut chance = Xoshiro256PlusPlus::seed_from_u64(seed);
        let restlessness = [4, 16, 64, 160][chance.random_range(0..4)];
        let first = Actor {
            name: "the test".into(),
            thread: Some(thread::current()),
            life: None,
            condition: Condition::Ready,
            weight: 1 << chance.random_range(0..4),
        };
        let cast = Cast {
            actors: vec![first],
            chance,
            restlessness,
            refusals: 0,
            panics: Vec::new(),
            leaving: Vec::new(),
            quiet: false,
            handovers: 0,
        };
        let (on, entered) = (AtomicUsize::new(0), clock::now());
        let over = AtomicBool::new(false);
        let stage = Arc::new(Self { cast: Mutex::new(cast), on, runtime, entered, seed, over });
        ROLE.with(|role| role.replace(Some(Role { stage: Arc::clone(&stage), me: 0 })));
        (Arc::clone(&stage), OffStage(stage))
    }

    /// By the first actor: lets the others run until `wanted`, or, which it says, until nobody can.
    pub(crate) fn rest(&self, wanted: impl Fn() -> bool + Send + 'static) -> bool {
        let condition = Condition::Until(clock::now() + NEVER, Some(Box::new(wanted)));
        self.pass(0, condition);
        std::mem::take(&mut self.cast.lock().quiet)
    }

    /// When the next actor can run, if none can before somebody is woken.
    pub(crate) fn next_moment(&self) -> Option<Instant> {
        let cast = self.cast.lock();
        let moments = cast.actors[1..].iter().filter_map(|actor| match actor.condition {
            Condition::Until(moment, _) | Condition::GivesWay(moment) => Some(moment),
            _ => None,
        });
        moments.min()
    }

    /// Names of the threads that sleep until they are woken.
    pub(crate) fn sleepers(&self) -> Vec<String> {
        self.those(|condition| matches!(condition, Condition::Asleep(_)))
    }

    /// Whether a thread looks for something again and again.
    pub(crate) fn anyone_looks(&self) -> bool {
        !self.those(|condition| matches!(condition, Condition::GivesWay(_))).is_empty()
    }

    /// Names of the threads that have not ended, but for the first.
    pub(crate) fn alive(&self) -> Vec<String> {
        self.those(|condition| !matches!(condition, Condition::Gone))
    }

    fn those(&self, wanted: impl Fn(&Condition) -> bool) -> Vec<String> {
        let cast = self.cast.lock();
        let found = cast.actors[1..].iter().filter(|actor| wanted(&actor.condition));
        found.map(|actor| actor.name.clone()).collect()
    }

    /// From now on the system refuses so many of 256 threads.
    pub(crate) fn refuse(&self, refusals: u8) {
        self.cast.lock().refusals = refusals;
    }

    /// What threads have panicked with, outside of whatever contains panics.
    pub(crate) fn panics(&self) -> Vec<String> {
        self.cast.lock().panics.clone()
    }

    /// Times that the baton went to another thread.
    pub(crate) fn handovers(&self) -> u64 {
        self.cast.lock().handovers
    }

    /// Gives the baton to whoever the seed says, and returns when it is back.
    fn pass(&self, me: usize, condition: Condition) {
        // A test that has failed takes its scene down by itself.
        if me == 0 && thread::panicking() {
            return;
        }
        if self.hand_over(me, condition) {
            self.await_baton(me);
        }
    }

    /// False: it stays.
    fn hand_over(&self, me: usize, condition: Condition) -> bool {
        let mut cast = self.cast.lock();
        cast.actors[me].condition = condition;
        let next = cast.choose(me, clock::now());
        cast.actors[next].condition = Condition::Ready;
        if next == me {
            return false;
        }
        cast.handovers += 1;
        if matches!(cast.actors[me].condition, Condition::Gone) {
            let life = cast.actors[me].life.take();
            cast.leaving.extend(life);
        }
        let thread =
            cast.actors[next].thread.clone().expect("an actor has its thread before it can be chosen");
        drop(cast);
        self.on.store(next, SeqCst);
        thread.unpark();
        true
    }

    fn await_baton(&self, me: usize) {
        let (mut seen, mut patience) = (self.handovers(), Instant::now() + LOST);
        while self.on.load(SeqCst) != me {
            thread::park_timeout(LOST);
            let handovers = self.handovers();
            if handovers != seen {
                (seen, patience) = (handovers, Instant::now() + LOST);
            } else if Instant::now() > patience && !self.over.load(SeqCst) {
                self.lose_the_baton();
            }
        }
        let leaving = std::mem::take(&mut self.cast.lock().leaving);
        for thread in leaving {
            thread.join().expect("an actor contains its panics");
        }
    }
}

impl Stage {
    /// The thread that has the baton will not come back, and may well be the test's.
    fn lose_the_baton(&self) -> ! {
        let on = self.on.load(SeqCst);
        let name = self.cast.lock().actors[on].name.clone();
        eprintln!(
            "MILLSTREAM_SEED={}: the baton is lost, {name} waits for a lock that is held at a point",
            self.seed
        );
        process::abort();
    }
}

impl Cast {
    fn choose(&mut self, me: usize, now: Instant) -> usize {
        if matches!(self.actors[me].condition, Condition::Ready)
            && self.chance.random::<u8>() >= self.restlessness
        {
            return me;
        }
        // A futex may wake for nothing.
        let dreams = self.chance.random_ratio(1, 100);
        let can_run = |actor: &Actor| match &actor.condition {
            Condition::Ready => true,
            Condition::Until(moment, sooner) => {
                *moment <= now || sooner.as_ref().is_some_and(|holds| holds())
            }
            Condition::GivesWay(moment) => *moment <= now,
            Condition::Asleep(_) => dreams,
            Condition::Gone => false,
        };
        let ready: Vec<_> = (0..self.actors.len()).filter(|&actor| can_run(&self.actors[actor])).collect();
        let sum: u32 = ready.iter().map(|&actor| self.actors[actor].weight).sum();
        if sum == 0 {
            self.quiet = true;
            return 0;
        }
        let mut ticket = self.chance.random_range(0..sum);
        for actor in ready {
            let weight = self.actors[actor].weight;
            if ticket < weight {
                return actor;
            }
            ticket -= weight;
        }
        unreachable!("the ticket is below the sum of the weights")
    }
}

impl Role {
    pub(super) fn point(&self) {
        self.stage.pass(self.me, Condition::Ready);
    }

    pub(super) fn give_way(&self) {
        self.stage.pass(self.me, Condition::GivesWay(clock::now() + BREATH));
    }

    /// Lets virtual time pass.
    pub(crate) fn sleep(&self, time: Duration) {
        self.stage.pass(self.me, Condition::Until(clock::now() + time, None));
    }

    /// Cannot run before `holds`.
    pub(crate) fn until(&self, holds: impl Fn() -> bool + Send + 'static) {
        self.stage.pass(self.me, Condition::Until(clock::now() + NEVER, Some(Box::new(holds))));
    }

    pub(super) fn receive<T: Send + 'static>(
        &self,
        inbox: &Receiver<T>,
        bell: &Receiver<()>,
        deadline: Instant,
    ) -> Heard<T> {
        let (letters, rings) = (inbox.clone(), bell.clone());
        let any = move || !letters.is_empty() || !rings.is_empty();
        self.stage.pass(self.me, Condition::Until(deadline, Some(Box::new(any))));
        if let Ok(letter) = inbox.try_recv() {
            return Heard::Letter(letter);
        }
        bell.try_recv().map_or(Heard::Nothing, |()| Heard::Bell)
    }

    /// Virtual time since the stage was entered.
    pub(super) fn time(&self) -> Duration {
        clock::now() - self.stage.entered
    }

    pub(super) fn wait(&self, word: &AtomicU32) {
        self.stage.pass(self.me, Condition::Asleep(ptr::from_ref(word).addr()));
    }

    pub(super) fn wake(&self, word: &AtomicU32) {
        let here = ptr::from_ref(word).addr();
        for actor in &mut self.stage.cast.lock().actors {
            if matches!(actor.condition, Condition::Asleep(word) if word == here) {
                actor.condition = Condition::Ready;
            }
        }
    }

    pub(super) fn spawn(&self, builder: Builder, life: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let me = {
            let mut cast = self.stage.cast.lock();
            let refusals = cast.refusals;
            if cast.chance.random::<u8>() < refusals {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let weight = 1 << cast.chance.random_range(0..4);
            let name = format!("thread {}", cast.actors.len());
            cast.actors.push(Actor { name, thread: None, life: None, condition: Condition::Gone, weight });
            cast.actors.len() - 1
        };
        let role = Self { stage: Arc::clone(&self.stage), me };
        let stage = Arc::clone(&self.stage);
        let thread = builder.spawn(move || {
            stage.await_baton(me);
            ROLE.with(|mine| mine.replace(Some(role)));
            let entered = stage.runtime.enter();
            // Whatever it ends with, the baton goes on.
            if let Err(panic) = contain(life) {
                stage.cast.lock().panics.push(panic);
            }
            ROLE.with(|mine| mine.replace(None));
            // Still in the runtime, whose clock it is that says who can run.
            stage.hand_over(me, Condition::Gone);
            drop(entered);
        })?;
        let mut cast = self.stage.cast.lock();
        let name = thread.thread().name().unwrap_or("a thread without a name").to_owned();
        let actor = &mut cast.actors[me];
        (actor.name, actor.thread) = (name, Some(thread.thread().clone()));
        (actor.life, actor.condition) = (Some(thread), Condition::Ready);
        Ok(())
    }
}
