//! Threads with hands of their own, which are made here: what finds a thread's own elsewhere cannot tell loom's apart.

use loom::{sync::Arc, thread};

use super::*;

impl<T> Lane<T> {
    fn push_by(&self, hand: &Hand, value: T) -> Result<(), T> {
        let (kept, put) = self.put(hand.cell.get().expect("a cell of its own"), value, hand.tail.get());
        hand.cell.set(Some(kept.number));
        hand.tail.set(kept.next);
        put
    }

    fn pop_by(&self, hand: &Hand) -> Option<T> {
        let (kept, value) = self.take(hand.cell.get().expect("a cell of its own"), hand.head.get());
        hand.cell.set(Some(kept.number));
        hand.head.set(kept.next);
        value
    }
}

fn rest(lane: &Lane<u32>) -> Vec<u32> {
    let hand = lane.hands.new_hand();
    std::iter::from_fn(|| lane.pop_by(&hand)).collect()
}

#[test]
fn two_who_pop_and_one_who_pushes_lose_nothing_and_nothing_comes_twice() {
    loom::model(|| {
        let lane = Arc::new(Lane::new(2, 6, 1));
        lane.push_by(&lane.hands.new_hand(), 0).unwrap();
        let pusher = {
            let (lane, hand) = (Arc::clone(&lane), lane.hands.new_hand());
            thread::spawn(move || lane.push_by(&hand, 1).unwrap())
        };
        let popper = {
            let (lane, hand) = (Arc::clone(&lane), lane.hands.new_hand());
            thread::spawn(move || lane.pop_by(&hand))
        };
        let mut popped: Vec<_> = lane.pop_by(&lane.hands.new_hand()).into_iter().collect();
        pusher.join().unwrap();
        popped.extend(popper.join().unwrap());
        popped.extend(rest(&lane));
        popped.sort_unstable();
        assert_eq!(popped, [0, 1]);
    });
}

#[test]
fn one_slot_goes_round_between_two_who_push_and_one_who_pops() {
    loom::model(|| {
        let lane = Arc::new(Lane::new(1, 4, 1));
        let pushers = [1, 2].map(|value| {
            let (lane, hand) = (Arc::clone(&lane), lane.hands.new_hand());
            thread::spawn(move || lane.push_by(&hand, value).is_ok())
        });
        let mut popped: Vec<_> = lane.pop_by(&lane.hands.new_hand()).into_iter().collect();
        let pushed = pushers.map(|pusher| pusher.join().unwrap());
        popped.extend(rest(&lane));
        popped.sort_unstable();
        let expected = [1, 2].into_iter().zip(pushed).filter(|(_, pushed)| *pushed).map(|(value, _)| value);
        assert!(expected.eq(popped.iter().copied()), "{pushed:?}, {popped:?}");
        assert!(!popped.is_empty(), "a slot that is vacant refuses nobody");
    });
}

#[test]
fn who_borrows_has_the_cell_alone() {
    loom::model(|| {
        let lane = Arc::new(Lane::new(2, 0, 2));
        let other = {
            let lane = Arc::clone(&lane);
            thread::spawn(move || {
                lane.try_push(1).unwrap();
                lane.pop()
            })
        };
        lane.try_push(2).unwrap();
        let mut popped: Vec<_> = lane.pop().into_iter().chain(other.join().unwrap()).collect();
        popped.sort_unstable();
        assert_eq!(popped, [1, 2]);
    });
}
