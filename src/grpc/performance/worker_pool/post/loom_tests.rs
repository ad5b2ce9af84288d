//! A worker that comes and goes, and a supervisor that looks, hesitates and seizes.

use std::sync::Arc;

use loom::thread;

use super::*;
use crate::grpc::performance::{
    error::Interruption,
    worker_pool::{Description, Job, Priority, Share},
};

#[derive(Default)]
struct Nothing(Share);

impl Job for Nothing {
    fn split(&self, _: u32) -> Option<u32> {
        None
    }
    fn share(&self, _: u32) -> &Share {
        &self.0
    }
    fn run(&self, _: u32, _: Instant) {}
    fn is_withdrawn(&self, _: u32) -> bool {
        false
    }
    fn describe(&self, _: u32, _: Life) -> Option<Description> {
        None
    }
    fn displace(&self, _: u32, _: Life) -> bool {
        false
    }
    fn refuse(&self, _: u32, _: Interruption) {}
    fn life(&self, _: u32) -> Life {
        Life::ONLY
    }
    fn abandon(&self, _: u32, _: Life, _: Interruption) {}
}

const TURNS: u32 = 2;

/// When the worker starts a unit.
fn start(epoch: Instant, unit: u32) -> Instant {
    epoch + Duration::from_secs(u64::from(unit) + 1)
}

/// Runs units until it is told to leave; gives how many it kept.
fn work(post: &Post, epoch: Instant) -> u32 {
    let job: Arc<dyn Job> = Arc::new(Nothing::default());
    for unit in 0..TURNS {
        let task = Task { job: Arc::clone(&job), unit, priority: Priority::Normal };
        post.occupy(task, Life::ONLY, start(epoch, unit));
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
            let (seized, _) = post.seize(turn)?;
            assert_eq!(seized.unit, unit);
            Some(unit)
        });
        assert_eq!(seized.is_some(), post.is_seized(), "the task goes with the post");
        let kept = worker.join().unwrap();
        assert_eq!(kept, seized.unwrap_or(TURNS));
    });
}
