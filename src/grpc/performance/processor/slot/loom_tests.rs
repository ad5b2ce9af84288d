//! Chains that grow while a worker comes for them, and slots that come back from several workers at once.

use std::sync::Arc;

use loom::thread;

use super::{
    stand_ins::{arena, outcome},
    *,
};

#[test]
fn a_message_joins_a_batch_or_finds_it_cut_and_its_worker_sees_it_filled() {
    loom::model(|| {
        let batch = Arc::new((Link::new(), Handoff::empty()));
        batch.0.reset();
        let worker = {
            let batch = Arc::clone(&batch);
            thread::spawn(move || {
                let next = batch.0.cut();
                if next.is_some() {
                    assert_eq!((next, batch.1.take()), (Some(1), Some("filled")));
                }
                next
            })
        };
        batch.1.put("filled");
        let joined = batch.0.extend(1);
        assert_eq!(joined, worker.join().unwrap().is_some());
        assert!(!batch.0.extend(2), "a worker has come for it");
    });
}

#[test]
fn every_slot_comes_back_once_with_its_outcome_and_each_heap_was_told_to_one() {
    loom::model(|| {
        let stream = Arc::new((arena(2), Returned::new()));
        let workers = [0, 1].map(|slot| {
            let stream = Arc::clone(&stream);
            thread::spawn(move || {
                let (arena, returned) = &*stream;
                arena.get(slot).outcome.put(outcome());
                returned.push(arena, slot)
            })
        });
        let (arena, returned) = &*stream;
        let mut back = Vec::new();
        let mut heaps = 0;
        let mut take = || {
            let before = back.len();
            returned.take(arena, &mut back);
            for &slot in &back[before..] {
                assert!(
                    arena.get(slot).outcome.take().is_some(),
                    "slot {slot} came back without its outcome"
                );
            }
            heaps += usize::from(back.len() > before);
        };
        take();
        let told = workers.map(|worker| usize::from(worker.join().unwrap()));
        take();
        assert!(returned.is_empty());
        back.sort_unstable();
        assert_eq!(back, [0, 1]);
        assert_eq!(told[0] + told[1], heaps);
    });
}
