//! Queues: the victim pushes and pops by turns, one thread pushes, one pops. Each element is the moment at which its
//! push began, so that a pop that finds it knows since when it could have done so; those of the victim say nothing
//! ([`UNKNOWN`]), since it may have been stopped since, and do not count as progress either. A full queue stalls nobody: `push` says so at once.
//!
//! Ours are measured twice. `millstream's lane` is the queue by itself, like the others. `millstream` is the lane as it is
//! used, with `try_spawn` as the push and the start of a job as the pop; the submitter and a worker are stopped by turns.
//! That charges it with the allocation of the job, the room's accounting and the wake of a worker.

use std::{collections::VecDeque, hint, sync::Arc};

use crossbeam::{
    channel,
    queue::{ArrayQueue, SegQueue},
};
use millstream::{JobHandle, OptimizationConfig, Pinning, TrySpawnError, WorkerPool, proof::Lane};
use thingbuf::ThingBuf;

use super::{
    pause::{Aim, now},
    rig::{Kind, Progress, Rig, Row},
};

const CAPACITY: usize = 1024;
/// Threads with a cell of their own in the lane, and cells for others, as in the worker pool.
const OWN: usize = 128;
const LOANS: usize = 16;
/// Later than any moment.
const UNKNOWN: u64 = u64::MAX;

/// A bounded queue of moments.
trait Queue: Sync {
    /// Whether there was room.
    fn push(&self, moment: u64) -> bool;
    fn pop(&self) -> Option<u64>;
}

impl Queue for ArrayQueue<u64> {
    fn push(&self, moment: u64) -> bool {
        self.push(moment).is_ok()
    }
    fn pop(&self) -> Option<u64> {
        self.pop()
    }
}

impl Queue for SegQueue<u64> {
    fn push(&self, moment: u64) -> bool {
        // It has no bound of its own.
        let room = self.len() < CAPACITY;
        if room {
            self.push(moment);
        }
        room
    }
    fn pop(&self) -> Option<u64> {
        self.pop()
    }
}

impl Queue for Lane<u64> {
    fn push(&self, moment: u64) -> bool {
        self.try_push(moment).is_ok()
    }
    fn pop(&self) -> Option<u64> {
        self.pop()
    }
}

impl Queue for (channel::Sender<u64>, channel::Receiver<u64>) {
    fn push(&self, moment: u64) -> bool {
        self.0.try_send(moment).is_ok()
    }
    fn pop(&self) -> Option<u64> {
        self.1.try_recv().ok()
    }
}

impl Queue for (flume::Sender<u64>, flume::Receiver<u64>) {
    fn push(&self, moment: u64) -> bool {
        self.0.try_send(moment).is_ok()
    }
    fn pop(&self) -> Option<u64> {
        self.1.try_recv().ok()
    }
}

impl Queue for ThingBuf<u64> {
    fn push(&self, moment: u64) -> bool {
        self.push(moment).is_ok()
    }
    fn pop(&self) -> Option<u64> {
        self.pop()
    }
}

/// Every queue in turn.
pub(crate) fn run(injections: usize) -> Vec<Row> {
    let peers: [(&str, &dyn Queue); 6] = [
        ("ArrayQueue", &ArrayQueue::new(CAPACITY)),
        ("SegQueue", &SegQueue::new()),
        ("crossbeam channel", &channel::bounded(CAPACITY)),
        ("flume", &flume::bounded(CAPACITY)),
        ("thingbuf", &ThingBuf::new(CAPACITY)),
        ("millstream's lane", &Lane::new(CAPACITY, OWN, LOANS)),
    ];
    let mut rows: Vec<Row> =
        peers.into_iter().flat_map(|(name, queue)| peer(name, queue, injections)).collect();
    rows.extend(lanes(injections));
    rows
}

fn peer(name: &'static str, queue: &dyn Queue, injections: usize) -> Vec<Row> {
    let (pushes, pops) = (&Progress::new(Kind::QueuePush), &Progress::new(Kind::QueuePop));
    let aim = &Aim::default();
    Rig {
        name,
        aims: vec![aim],
        loops: vec![
            Box::new(move || {
                queue.push(UNKNOWN);
                queue.pop();
                aim.rest();
            }),
            Box::new(move || if queue.push(now()) { pushes.made() } else { pushes.idle() }),
            Box::new(move || match queue.pop() {
                Some(UNKNOWN) => {}
                Some(pushed) => pops.made_of(pushed),
                None => hint::spin_loop(),
            }),
        ],
        progress: vec![pushes, pops],
    }
    .run(injections)
}

/// The jobs of one submitter. A handle that is dropped early cancels its job, so the latest are kept: more than can wait.
struct Submitter<'a> {
    pool: &'a WorkerPool,
    handles: VecDeque<JobHandle<()>>,
}

impl<'a> Submitter<'a> {
    fn new(pool: &'a WorkerPool) -> Self {
        Self { pool, handles: VecDeque::with_capacity(2 * CAPACITY) }
    }

    fn submit(&mut self, job: impl FnOnce() + Send + 'static) -> bool {
        match self.pool.try_spawn(job) {
            Ok(handle) => {
                if self.handles.len() == 2 * CAPACITY {
                    self.handles.pop_front();
                }
                self.handles.push_back(handle);
                true
            }
            Err(TrySpawnError::Full(_)) => false,
            Err(refused) => unreachable!("the pool is open until the rig is taken down: {refused}"),
        }
    }
}

fn lanes(injections: usize) -> Vec<Row> {
    let config = OptimizationConfig {
        worker_count: 2,
        worker_queue_capacity: CAPACITY,
        worker_pinning: Pinning::Off,
        // Held back by the bound alone.
        backpressure_threshold: 1.0,
        // A worker that sinks ends, and could be stopped no more.
        enable_length_scheduling: false,
        ..OptimizationConfig::default()
    };
    let pool = WorkerPool::new(&config).expect("two workers can be started");
    let (pushes, pops) = (&Progress::new(Kind::QueuePush), Arc::new(Progress::new(Kind::QueuePop)));
    let (submitter, worker) = (&Aim::default(), Arc::new(Aim::default()));
    let job = |pushed| {
        let (pops, worker) = (Arc::clone(&pops), Arc::clone(&worker));
        move || {
            worker.rest();
            if pushed != UNKNOWN {
                pops.made_of(pushed);
            }
        }
    };
    let (mut stopped, mut timed) = (Submitter::new(&pool), Submitter::new(&pool));
    let make = &job;
    Rig {
        name: "millstream",
        aims: vec![submitter, &worker],
        loops: vec![
            Box::new(move || {
                stopped.submit(make(UNKNOWN));
                submitter.rest();
            }),
            Box::new(move || if timed.submit(make(now())) { pushes.made() } else { pushes.idle() }),
        ],
        progress: vec![pushes, &pops],
    }
    .run(injections)
}
