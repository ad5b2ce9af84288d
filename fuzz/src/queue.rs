//! The lane, alone against a deque, and with several threads for what one cannot show.

use std::{collections::VecDeque, iter};

use arbitrary::Arbitrary;
use millstream::proof::Lane;

/// Threads with a cell of their own: fewer than there are, so that others borrow.
const OWN: usize = 2;
/// Cells to borrow: one for each who might.
const LOANS: usize = crate::THREADS;

#[derive(Debug, Arbitrary)]
enum Plan {
    Alone { capacity: u8, steps: Vec<Step> },
    Together { capacity: u8, threads: Vec<Vec<Step>> },
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Step {
    Push,
    Pop,
}

/// See the module.
pub fn queue(data: &[u8]) {
    match crate::read(data) {
        Some(Plan::Alone { capacity, steps }) => alone(capacity, &steps),
        Some(Plan::Together { capacity, threads }) => together(capacity, &threads),
        None => {}
    }
}

fn lane<T>(capacity: u8) -> (Lane<T>, usize) {
    let capacity = usize::from(capacity % 16);
    (Lane::new(capacity, OWN, LOANS), capacity.max(1).next_power_of_two())
}

fn alone(capacity: u8, steps: &[Step]) {
    let (lane, places) = lane(capacity);
    let mut model = VecDeque::new();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Push => {
                let pushed = lane.try_push(number);
                assert_eq!(pushed.is_ok(), model.len() < places);
                if pushed.is_ok() {
                    model.push_back(number);
                }
            }
            Step::Pop => assert_eq!(lane.pop(), model.pop_front()),
        }
        assert_eq!(lane.waiting(), model.len());
    }
}

/// Nothing is lost, nothing comes twice, what one thread pushed comes in its order to each that pops, and a push is
/// refused only where as many may be in the lane as it has places.
fn together(capacity: u8, threads: &[Vec<Step>]) {
    let (lane, places) = lane(capacity);
    let run = |me: usize, steps: &Vec<Step>| {
        let (mut pushed, mut popped) = (0_usize, Vec::new());
        for step in steps {
            match step {
                Step::Push => pushed += usize::from(lane.try_push((me, pushed)).is_ok()),
                Step::Pop => popped.extend(lane.pop()),
            }
        }
        (pushed, popped)
    };
    let threads = &threads[..threads.len().min(crate::THREADS)];
    let outcomes: Vec<(usize, Vec<(usize, usize)>)> = crate::together(threads, run);
    let rest: Vec<_> = iter::from_fn(|| lane.pop()).collect();
    let refused = threads.iter().flatten().filter(|step| matches!(step, Step::Push)).count()
        - outcomes.iter().map(|(pushed, _)| pushed).sum::<usize>();
    assert!(refused == 0 || outcomes.iter().map(|(pushed, _)| pushed).sum::<usize>() >= places);
    let mut seen = vec![Vec::new(); threads.len()];
    for popped in outcomes.iter().map(|(_, popped)| popped).chain([&rest]) {
        for me in 0..threads.len() {
            assert!(popped.iter().filter(|(from, _)| *from == me).is_sorted(), "out of order: {popped:?}");
        }
        popped.iter().for_each(|&(from, number)| seen[from].push(number));
    }
    for (mut seen, (pushed, _)) in iter::zip(seen, &outcomes) {
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..*pushed), "lost, or twice");
    }
}
