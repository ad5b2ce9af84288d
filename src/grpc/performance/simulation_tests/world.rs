//! One schedule from its first message until nothing is left of it: whose turn it is, and the clock.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use atomic_waker::AtomicWaker;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use tokio::runtime::Runtime;

use super::{
    actor::Actor,
    clients,
    ledger::Ledger,
    plan::{BRIEF, HEAVIEST, Plan},
};
use crate::{
    grpc::performance::{
        processor::OptimizedStreamProcessor,
        worker_pool::{Shared, forget_turn},
    },
    platform::{
        clock,
        stage::director::{OffStage, Stage},
    },
};

/// No schedule takes longer, in virtual time, steps of the clock aside: what is not over by then hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// Who is stuck comes back after this, at the latest: with nobody to take its place, others wait for it.
const STUCK: Duration = Duration::from_secs(10);

/// The clock moves no further at a time, so that what the world does by the clock is in time.
const LONGEST_STEP: Duration = Duration::from_secs(1);

/// Some task has something to do.
#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    waker: AtomicWaker,
}

/// Wakes one task of the simulation.
struct Call {
    woken: AtomicBool,
    bell: Arc<Bell>,
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, SeqCst);
        self.bell.rung.store(true, SeqCst);
        self.bell.waker.wake();
    }
}

struct Task {
    name: String,
    future: Pin<Box<dyn Future<Output = ()>>>,
    call: Arc<Call>,
}

/// What is to be known of a schedule that has been run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) faults: Vec<String>,
    /// A digest of what happened, in its order.
    pub(super) trace: u64,
    pub(super) handovers: u64,
}

pub(super) struct World {
    plan: Plan,
    ledger: Arc<Ledger>,
    shared: Arc<Shared>,
    stage: Arc<Stage>,
    bell: Arc<Bell>,
    tasks: Vec<Task>,
    chance: Xoshiro256PlusPlus,
    // Dropped last, in this order.
    _off_stage: OffStage,
    runtime: Runtime,
}

/// Runs the schedule of a seed.
pub(super) fn run(seed: u64) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing");
    let handle = runtime.handle().clone();
    let _entered = handle.enter();
    let plan = Plan::of(seed);
    let (stage, off_stage) = Stage::enter(seed, handle.clone());
    let processor = OptimizedStreamProcessor::new(plan.config.clone(), Actor::default)
        .expect("the plan's configuration is valid");
    stage.refuse(plan.refusals);
    // A schedule has fewer messages than it takes to learn that.
    processor.pool().seam().forecast.teach(BRIEF, Duration::ZERO);
    forget_turn();
    let mut world = World {
        ledger: Arc::new(Ledger::new(plan.config.clone())),
        shared: Arc::clone(processor.pool().seam()),
        plan,
        stage,
        bell: Arc::default(),
        tasks: Vec::new(),
        chance: Xoshiro256PlusPlus::seed_from_u64(!seed),
        _off_stage: off_stage,
        runtime,
    };
    world.cast(&processor);
    world.play();
    if world.is_sound() {
        world.close(processor);
    }
    Report { faults: world.ledger.faults(), trace: world.ledger.trace(), handovers: world.stage.handovers() }
}

impl World {
    fn begin(&mut self, name: &str, future: impl Future<Output = ()> + 'static) {
        let call = Arc::new(Call { woken: AtomicBool::new(true), bell: Arc::clone(&self.bell) });
        self.tasks.push(Task { name: name.into(), future: Box::pin(future), call });
    }

    /// A task for everything that the plan says.
    fn cast(&mut self, processor: &OptimizedStreamProcessor<Actor>) {
        let ledger = Arc::clone(&self.ledger);
        for plan in std::mem::take(&mut self.plan.streams) {
            let [sends, reads] = clients::stream(plan, processor.clone(), Arc::clone(&ledger));
            self.begin("a sender", sends);
            self.begin("a reader", reads);
        }
        for plan in std::mem::take(&mut self.plan.singles) {
            self.begin("a single call", clients::single(plan, processor.clone(), Arc::clone(&ledger)));
        }
        for (at, key) in std::mem::take(&mut self.plan.invalidations) {
            self.begin("an invalidation", clients::invalidate(at, key, processor.clone()));
        }
        for (at, step) in std::mem::take(&mut self.plan.jumps) {
            let ledger = Arc::clone(&ledger);
            self.begin("a step of the clock", async move {
                tokio::time::sleep(at).await;
                ledger.steps(step);
                tokio::time::advance(step).await;
            });
        }
        if let Some((begins, takes)) = self.plan.drain {
            self.begin("the drain", clients::drain(begins, takes, processor.clone(), ledger));
        }
    }

    /// Until every task is over.
    fn play(&mut self) {
        let begin = clock::now();
        let end = begin + PATIENCE;
        while !self.tasks.is_empty() && self.is_sound() {
            let woken: Vec<_> =
                (0..self.tasks.len()).filter(|&task| self.tasks[task].call.woken.load(SeqCst)).collect();
            if woken.is_empty() {
                self.idle();
            } else {
                let chosen = self.chance.random_range(0..woken.len());
                self.poll(woken[chosen]);
            }
            if clock::now() > begin + STUCK {
                self.ledger.released.store(true, SeqCst);
            }
            if clock::now() > end {
                let waiting: Vec<_> = self.tasks.iter().map(|task| task.name.as_str()).collect();
                self.ledger.fault(format!(
                    "these hang: {waiting:?}; beside {:?}, of which sleep {:?}",
                    self.stage.alive(),
                    self.stage.sleepers()
                ));
                let room = &self.shared.room;
                let (places, bytes, tasks) = (room.places_held(), room.bytes_held(), self.shared.waiting());
                self.ledger.fault(format!(
                    "{places} places, {bytes} bytes, {tasks:?} tasks; {}",
                    self.ledger.open()
                ));
            }
        }
    }

    fn poll(&mut self, index: usize) {
        let task = &mut self.tasks[index];
        task.call.woken.store(false, SeqCst);
        let waker = Waker::from(Arc::clone(&task.call));
        if task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            drop(self.tasks.swap_remove(index));
        }
        self.within_bounds();
    }

    /// Lets the threads run; when none can, and no task was woken, moves the clock to where somebody can.
    fn idle(&self) {
        self.bell.rung.store(false, SeqCst);
        let bell = Arc::clone(&self.bell);
        let quiet = self.stage.rest(move || bell.rung.load(SeqCst));
        self.within_bounds();
        if quiet && !self.bell.rung.load(SeqCst) {
            self.nothing_is_forgotten();
            self.move_clock();
        }
    }

    /// To the next moment at which a thread can run, or the next timer, whichever is first.
    fn move_clock(&self) {
        let latest = clock::now() + LONGEST_STEP;
        let next = self.stage.next_moment().map_or(latest, |next| next.min(latest));
        self.runtime.block_on(async {
            let mut next = pin!(tokio::time::sleep_until(next.into()));
            poll_fn(|cx| {
                self.bell.waker.register(cx.waker());
                if self.bell.rung.load(SeqCst) { Poll::Ready(()) } else { next.as_mut().poll(cx) }
            })
            .await;
        });
    }

    fn is_sound(&self) -> bool {
        self.ledger.faults().is_empty()
    }

    /// The bounds of the whole pool hold at every moment.
    fn within_bounds(&self) {
        let room = &self.shared.room;
        let (places, most) = (room.places_held(), room.capacity());
        if places > most {
            self.ledger.fault(format!("{places} messages hold a place, of {most}"));
        }
        let excess = self.ledger.most_running() * HEAVIEST;
        let (bytes, most) = (room.bytes_held(), room.byte_capacity() + excess);
        if bytes > most {
            self.ledger
                .fault(format!("{bytes} bytes are in flight, of {most} with every worker's last answer"));
        }
    }

    /// When nothing can move by itself, no worker sleeps beside a message that waits for its crew.
    fn nothing_is_forgotten(&self) {
        if self.stage.anyone_looks() {
            return;
        }
        for (waiting, crew) in self.shared.waiting().into_iter().zip(["millstream-w", "millstream-b"]) {
            let mut asleep = self.stage.sleepers();
            asleep.retain(|name| name.starts_with(crew));
            if waiting > 0 && !asleep.is_empty() {
                self.ledger.fault(format!("{waiting} tasks wait in the lanes while {asleep:?} sleep"));
            }
        }
    }

    /// After the last task: whatever was taken is given back, and the threads end.
    fn close(&mut self, processor: OptimizedStreamProcessor<Actor>) {
        self.ledger.released.store(true, SeqCst);
        self.stage.refuse(0);
        let held = |world: &Self| {
            let room = &world.shared.room;
            [room.places_held(), room.bytes_held(), processor.open_streams()]
        };
        self.settle(|world| held(world) == [0; 3]);
        let [places, bytes, streams] = held(self);
        if places + bytes + streams > 0 {
            self.ledger
                .fault(format!("{places} places, {bytes} bytes, {streams} streams are never given back"));
        }
        drop(processor);
        self.settle(|world| world.stage.alive().is_empty());
        for panic in self.stage.panics() {
            self.ledger.fault(format!("a thread of the pool has panicked: {panic}"));
        }
        let alive = self.stage.alive();
        if !alive.is_empty() {
            self.ledger.fault(format!("{alive:?} do not end"));
        }
    }

    fn settle(&self, holds: impl Fn(&Self) -> bool) {
        let end = clock::now() + PATIENCE;
        while !holds(self) && clock::now() < end && self.is_sound() {
            self.idle();
        }
    }
}
