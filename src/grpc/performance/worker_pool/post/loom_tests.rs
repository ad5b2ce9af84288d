//! A worker that comes and goes, and a supervisor that looks, hesitates, and seizes or sinks.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use loom::thread;

use super::*;
use crate::grpc::performance::{
    error::Interruption,
    monitor::Class,
    worker_pool::{Forecast, Job, JobState, Priority, Share, job::stand_in::StandIn},
};

#[derive(Default)]
struct Nothing(Share);

impl StandIn for Nothing {
    fn share(&self, _: u32) -> &Share {
        &self.0
    }
}

const TURNS: u32 = 2;

/// With nothing beneath it.
fn alone(task: Task) -> Occupation {
    Occupation { task, life: Life::ONLY, beneath: None }
}

/// When the worker starts a unit.
fn start(epoch: Instant, unit: u32) -> Instant {
    epoch + Duration::from_secs(u64::from(unit) + 1)
}

/// Runs units until it is told to leave; gives how many it kept.
fn work(post: &Post, epoch: Instant) -> u32 {
    let job: Arc<dyn Job> = Arc::new(Nothing::default());
    for unit in 0..TURNS {
        let task = Task { job: Arc::clone(&job), unit, line: Priority::Normal.into() };
        post.occupy(alone(task), start(epoch, unit));
        if post.vacate() == Return::Leave {
            assert!(post.is_seized());
            return unit;
        }
    }
    TURNS
}

#[test]
fn a_task_is_kept_by_its_worker_or_seized_and_never_that_of_a_later_turn() {
    let epoch = Instant::now();
    loom::model(move || {
        let post = Arc::new(Post::new(epoch));
        let worker = {
            let post = Arc::clone(&post);
            thread::spawn(move || work(&post, epoch))
        };
        let turn = post.turn();
        let seized = turn.and_then(|turn| {
            let unit = (turn.busy / NEXT) as u32 - 1;
            assert!(
                turn.started >= start(epoch, unit),
                "an old start would make a task overstay that has just begun"
            );
            let seized = post.seize(turn)?;
            assert_eq!(seized.task.unit, unit);
            Some(unit)
        });
        assert_eq!(seized.is_some(), post.is_seized(), "the task goes with the post");
        let kept = worker.join().unwrap();
        assert_eq!(kept, seized.unwrap_or(TURNS));
    });
}

/// The number of a thread, which may be another thread's once that has ended.
#[derive(Default)]
struct Number {
    has_ended: AtomicBool,
}

impl Number {
    fn name(&self) {
        assert!(!self.has_ended.load(SeqCst), "a thread is named that may be another one by now");
    }

    fn end(&self) {
        self.has_ended.store(true, SeqCst);
    }
}

/// A message, the place that it holds in the room, and its forecast.
struct Message {
    state: JobState,
    share: Share,
    forecast: Arc<Forecast>,
    /// Of the thread that works on it.
    thread: Number,
}

impl Message {
    /// True for who gives the place back.
    fn leave_queue(&self) -> bool {
        self.forecast.unqueued(&self.share)
    }
}

/// What one of the threads has come by.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Did {
    answers: u32,
    places: u32,
    /// Seats that the thread has kept, or filled anew.
    seats: u32,
}

/// The worker's part, as in `Worker::work`.
fn serve(post: &Post, message: &Message, epoch: Instant) -> Did {
    let job: Arc<dyn Job> = Arc::new(Nothing::default());
    let places = u32::from(message.leave_queue());
    post.occupy(alone(Task { job, unit: 0, line: Priority::Normal.into() }), start(epoch, 0));
    let answers = u32::from(message.state.begin().is_ok() && message.state.finish().is_ok());
    let seats = match post.vacate() {
        Return::Stay => 1,
        Return::Leave => 0,
        Return::Surface => {
            post.await_release();
            message.thread.end();
            0
        }
    };
    Did { answers, places, seats }
}

/// The supervisor's part: the thread sinks, and then overstays as well, if there is time.
fn oversee(post: &Post, message: &Message) -> Did {
    let mut did = Did::default();
    if post.turn().is_some_and(|turn| post.sink(turn)) {
        message.thread.name();
        post.release();
        if post.hold_anew() {
            message.thread.name();
            post.release();
        }
        did.seats += 1;
    }
    let sunk = did.seats > 0;
    if let Some(Occupation { life, .. }) = post.turn().and_then(|turn| post.seize(turn)) {
        did.answers += u32::from(message.state.withdraw_from(life, Interruption::Overstayed).is_some());
        did.seats += u32::from(!sunk);
    }
    did
}

#[test]
fn a_thread_that_sinks_costs_no_answer_no_place_and_no_seat() {
    let epoch = Instant::now();
    let forecast = Arc::new(Forecast::new(1));
    loom::model(move || {
        let message = Message {
            state: JobState::queued(),
            share: Share::default(),
            forecast: Arc::clone(&forecast),
            thread: Number::default(),
        };
        message.forecast.queued(&message.share, Class::DEFAULT, Priority::Normal);
        let scene = Arc::new((Post::new(epoch), message));
        let worker = {
            let scene = Arc::clone(&scene);
            thread::spawn(move || serve(&scene.0, &scene.1, epoch))
        };
        let client = {
            let scene = Arc::clone(&scene);
            thread::spawn(move || Did {
                answers: u32::from(scene.1.state.withdraw(Interruption::Cancelled).is_some()),
                places: u32::from(scene.1.leave_queue()),
                seats: 0,
            })
        };
        let supervisor = oversee(&scene.0, &scene.1);
        let did = [worker.join().unwrap(), client.join().unwrap(), supervisor];
        let sum = |part: fn(&Did) -> u32| did.iter().map(part).sum::<u32>();
        assert_eq!(sum(|did| did.answers), 1, "{did:?}");
        assert_eq!(sum(|did| did.places), 1, "{did:?}");
        assert_eq!(sum(|did| did.seats), 1, "{did:?}");
        assert!(scene.0.task.take().is_none(), "the task has found its owner");
    });
}

/// What the supervisor took from a thread, and how the thread came back: numbers of units.
#[derive(Debug, Default)]
struct Interrupted {
    seized: Vec<u32>,
    sunk: bool,
}

/// The supervisor's part: whatever the thread is at, it sinks with it, or loses it.
fn interfere(post: &Post, sinks: bool) -> Interrupted {
    let mut did = Interrupted::default();
    let Some(turn) = post.turn() else { return did };
    if sinks {
        did.sunk = post.sink(turn);
        if did.sunk {
            post.release();
        }
    } else if let Some(occupation) = post.seize(turn) {
        did.seized = occupation.tasks().map(|(task, _)| task.unit).collect();
    }
    did
}

/// A worker that runs unit 1 within unit 0; gives the units that it has brought to an end as its own, and how it returns.
fn interrupted_work(post: &Post, epoch: Instant) -> (Vec<u32>, Return) {
    let job: Arc<dyn Job> = Arc::new(Nothing::default());
    let task = |unit| Task { job: Arc::clone(&job), unit, line: Priority::Normal.into() };
    post.occupy(alone(task(0)), start(epoch, 0));
    let mut done = Vec::new();
    if let Some(beneath) = post.suspend(Duration::ZERO) {
        assert_eq!(beneath.task.unit, 0);
        let within = Occupation { beneath: Some(beneath), ..alone(task(1)) };
        post.occupy(within, start(epoch, 1));
        if post.resume(start(epoch, 0)) {
            done.push(1);
        }
    }
    let outcome = post.vacate();
    if outcome != Return::Leave {
        done.push(0);
    }
    (done, outcome)
}

#[test]
fn an_interlude_and_what_lies_beneath_it_are_kept_or_seized_and_a_thread_that_sinks_stays_sunk() {
    let epoch = Instant::now();
    for sinks in [false, true] {
        loom::model(move || {
            let post = Arc::new(Post::new(epoch));
            let worker = {
                let post = Arc::clone(&post);
                thread::spawn(move || interrupted_work(&post, epoch))
            };
            let did = interfere(&post, sinks);
            let (done, outcome) = worker.join().unwrap();
            assert_eq!(outcome == Return::Leave, !did.seized.is_empty(), "{done:?} {did:?}");
            assert_eq!(outcome == Return::Surface, did.sunk, "{done:?} {did:?}");
            // Every unit that was begun has one owner in the end. Unit 1 is not begun where unit 0 was lost before.
            let mut owned = [done.as_slice(), &did.seized].concat();
            owned.sort_unstable();
            assert!(matches!(owned.as_slice(), [0] | [0, 1]), "{done:?} {did:?}");
            assert!(post.task.take().is_none(), "every task has found its owner");
        });
    }
}
