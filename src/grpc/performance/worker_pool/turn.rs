//! What a thread may still run in place before it lets others live: the budget of closures.
//!
//! A stream has a budget of its own, and renews it where it gives way. A closure is spawned by whatever code, which gives
//! way where this cannot see it. So the budget is the thread's, for each *turn* of the task that runs there: one poll of
//! it. It is renewed when that turn is known to be over:
//!
//! 1. **another task runs** on this thread than when it was last asked;
//! 2. the same one does, and **tokio lets it go on again**. tokio gives a task so many steps a turn, and makes it give way at
//!    the next one after them (`tokio::task::coop`). Once a budget is spent, all steps that are left of the turn are taken
//!    as well: the task gives way where it next awaits anything of tokio's, or a [`JobHandle`](super::JobHandle), and has
//!    steps again when it comes back, and not before;
//! 3. **time has passed**, where nobody counts steps: on a thread that is in no task and no `block_on` of tokio's (a
//!    worker, or a plain thread), and in what is `unconstrained`. There the budget is renewed when as much time has gone by
//!    as it is long. So no more than half of the time goes to what runs in place, and whoever spawns more than that has it
//!    run beside him, by workers.
//!
//! A turn that ends with some of the budget left goes unnoticed: what was used of it counts in the next one of that task,
//! if no other runs in between. That costs the task one of its turns' rest, now and then.
//!
//! **Where this can be deceived**: what wraps a part of a task in `coop::unconstrained` or `coop::cooperative` hides the
//! steps of the others from it, or gives them back, and so has one budget more for each time that it does.
//!
//! **One at a time.** What is spawned by a job that runs in place goes to a worker: else one that spawns its like would go
//! as deep as the stack is long.

use std::{
    cell::Cell,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use tokio::task::{Id, coop, try_id};

/// Steps that are tried for their end. tokio gives 128 a turn.
const STEPS: usize = 512;

/// How it stands with the budget of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// Some of it may be left.
    Open,
    /// A job runs in place here.
    Running,
    /// It is spent, and so are the steps of the task.
    GivesWay,
    /// It is spent, until then.
    Waits(Instant),
}

/// A thread's turn, as far as it is known.
struct Turn {
    task: Cell<Option<Id>>,
    spent: Cell<Duration>,
    stand: Cell<Stand>,
}

thread_local! {
    static TURN: Turn = const { Turn::new() };
}

/// What is left of a budget in this turn of the calling thread; zero in what runs in place.
pub(super) fn left_of(budget: Duration, now: impl FnOnce() -> Instant) -> Duration {
    TURN.with(|turn| turn.left_of(budget, now))
}

/// Runs a job in place, which says how long it took.
pub(super) fn spend<R>(job: impl FnOnce() -> (R, Duration)) -> R {
    TURN.with(|turn| {
        turn.stand.set(Stand::Running);
        let (outcome, time) = job();
        turn.stand.set(Stand::Open);
        turn.spent.set(turn.spent.get() + time);
        outcome
    })
}

/// What is left of a budget is too little: it is spent.
pub(super) fn end(budget: Duration, now: Instant) {
    TURN.with(|turn| turn.end(budget, now));
}

/// As if this thread had never run anything in place.
#[cfg(all(test, not(millstream_loom)))]
pub(crate) fn forget() {
    TURN.with(|turn| turn.begin(None));
}

impl Turn {
    const fn new() -> Self {
        Self { task: Cell::new(None), spent: Cell::new(Duration::ZERO), stand: Cell::new(Stand::Open) }
    }

    fn left_of(&self, budget: Duration, now: impl FnOnce() -> Instant) -> Duration {
        let stand = self.stand.get();
        if stand == Stand::Running {
            return Duration::ZERO;
        }
        let task = try_id();
        let over = match stand {
            _ if task != self.task.get() => true,
            Stand::Open | Stand::Running => false,
            Stand::GivesWay => coop::has_budget_remaining(),
            Stand::Waits(until) => now() >= until,
        };
        if over {
            self.begin(task);
        }
        match self.stand.get() {
            Stand::Open => budget.saturating_sub(self.spent.get()),
            _ => Duration::ZERO,
        }
    }

    fn begin(&self, task: Option<Id>) {
        self.task.set(task);
        self.spent.set(Duration::ZERO);
        self.stand.set(Stand::Open);
    }

    fn end(&self, budget: Duration, now: Instant) {
        self.stand.set(if take_all_steps() { Stand::GivesWay } else { Stand::Waits(now + budget) });
    }
}

/// Takes the steps that the task has left in this turn; false where nobody counts them.
fn take_all_steps() -> bool {
    // Nobody is woken: a step is only taken where there is one.
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..STEPS {
        if !coop::has_budget_remaining() {
            return true;
        }
        if let std::task::Poll::Ready(step) = coop::poll_proceed(&mut context) {
            step.made_progress();
        }
    }
    false
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use super::*;

    const BUDGET: Duration = Duration::from_micros(50);

    /// Something is run in place that takes so long.
    fn run(time: Duration) {
        spend(|| ((), time));
    }

    fn left() -> Duration {
        left_of(BUDGET, Instant::now)
    }

    /// Spends all of it.
    fn end_at(now: Instant) {
        run(BUDGET);
        end(BUDGET, now);
    }

    #[test]
    fn a_thread_that_is_in_no_task_has_its_budget_again_after_as_much_time() {
        forget();
        run(BUDGET * 3 / 5);
        assert_eq!(left(), BUDGET * 2 / 5);
        let spent = Instant::now();
        end_at(spent);
        let left_at = |now| left_of(BUDGET, || now);
        assert_eq!(left_at(spent), Duration::ZERO);
        assert_eq!(left_at(spent + BUDGET - Duration::from_nanos(1)), Duration::ZERO);
        assert_eq!(left_at(spent + BUDGET), BUDGET);
    }

    #[test]
    fn what_runs_in_place_has_nothing_to_spend() {
        forget();
        spend(|| {
            assert_eq!(left(), Duration::ZERO);
            ((), BUDGET / 2)
        });
        assert_eq!(left(), BUDGET / 2);
    }

    #[tokio::test]
    async fn a_task_has_its_budget_again_when_it_has_given_way_and_not_before() {
        let task = tokio::spawn(async {
            for _ in 0..3 {
                assert_eq!(left(), BUDGET);
                end_at(Instant::now());
                for _ in 0..10 {
                    assert_eq!(left(), Duration::ZERO, "however much time has passed");
                }
                // Anything of tokio's makes it give way.
                tokio::task::consume_budget().await;
            }
        });
        task.await.unwrap();
    }

    #[tokio::test]
    async fn parts_of_a_task_have_one_budget_whatever_they_wait_for() {
        let polled = |first: bool| {
            poll_fn(move |_| {
                assert_eq!(left(), if first { BUDGET } else { Duration::ZERO });
                if first {
                    end_at(Instant::now());
                }
                Poll::Ready(())
            })
        };
        let task = tokio::spawn(async move {
            let mut parts = [polled(true), polled(false), polled(false)];
            poll_fn(|cx| {
                for part in &mut parts {
                    assert!(std::pin::Pin::new(part).poll(cx).is_ready());
                }
                Poll::Ready(())
            })
            .await;
        });
        task.await.unwrap();
    }

    #[tokio::test]
    async fn each_task_has_a_budget_of_its_own() {
        let spends = || async {
            assert_eq!(left(), BUDGET);
            end_at(Instant::now());
        };
        for _ in 0..3 {
            tokio::spawn(spends()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_task_that_nobody_makes_give_way_has_its_budget_again_after_as_much_time() {
        let task = tokio::spawn(coop::unconstrained(async {
            let spent = Instant::now();
            assert_eq!(left(), BUDGET);
            end_at(spent);
            tokio::task::yield_now().await;
            assert_eq!(left_of(BUDGET, || spent), Duration::ZERO);
            assert_eq!(left_of(BUDGET, || spent + BUDGET), BUDGET);
        }));
        task.await.unwrap();
    }
}
