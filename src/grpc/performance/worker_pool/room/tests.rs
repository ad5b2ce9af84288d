//! What the room promises, first alone, then with many threads at it.
#![cfg(not(millstream_loom))]

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use super::*;

fn room(messages: usize, bytes: usize) -> Arc<Room> {
    open(&OptimizationConfig {
        worker_queue_capacity: messages,
        max_bytes_in_flight: bytes,
        backpressure_threshold: 1.0,
        ..OptimizationConfig::default()
    })
}

fn open(config: &OptimizationConfig) -> Arc<Room> {
    Arc::new(Room::new(config, || ()))
}

fn poll(waiting: &mut Waiting) -> Poll<Result<(), NoRoom>> {
    std::pin::Pin::new(waiting).poll(&mut Context::from_waker(Waker::noop()))
}

const OK: Poll<Result<(), NoRoom>> = Poll::Ready(Ok(()));

#[test]
fn room_is_handed_to_waiters_in_the_order_in_which_they_came() {
    let room = room(1, 100);
    room.try_acquire(Priority::Normal, 1, Instant::now()).unwrap();
    let mut first = room.wait(Priority::Normal, 1);
    let mut second = room.wait(Priority::Normal, 1);
    assert!(poll(&mut first).is_pending());
    room.release(1, 1);
    assert!(poll(&mut second).is_pending());
    assert_eq!(poll(&mut first), OK);
    assert_eq!(room.try_acquire(Priority::Normal, 1, Instant::now()), Err(NoRoom::Full));
    room.release(1, 1);
    assert_eq!(poll(&mut second), OK);
}

#[test]
fn a_waiter_whose_waker_panics_keeps_the_room_from_nobody() {
    struct Faulty;
    impl std::task::Wake for Faulty {
        fn wake(self: Arc<Self>) {
            panic!("a fault of the executor");
        }
    }
    let room = room(1, 100);
    room.try_acquire(Priority::Normal, 1, Instant::now()).unwrap();
    let mut first = room.wait(Priority::Normal, 1);
    let waker = Waker::from(Arc::new(Faulty));
    assert!(std::pin::Pin::new(&mut first).poll(&mut Context::from_waker(&waker)).is_pending());
    let mut second = room.wait(Priority::Normal, 1);
    assert!(poll(&mut second).is_pending());
    room.release(1, 1);
    drop(first);
    assert_eq!(poll(&mut second), OK);
}

#[test]
fn nobody_overtakes_a_waiter_of_the_same_priority_even_if_it_would_fit() {
    let room = room(10, 100);
    room.try_acquire(Priority::Normal, 90, Instant::now()).unwrap();
    let mut large = room.wait(Priority::Normal, 50);
    assert_eq!(room.try_acquire(Priority::Normal, 1, Instant::now()), Err(NoRoom::Full));
    assert_eq!(room.try_acquire(Priority::Low, 1, Instant::now()), Err(NoRoom::Full));
    assert_eq!(room.try_acquire(Priority::High, 1, Instant::now()), Ok(()));
    room.release(1, 90);
    assert_eq!(poll(&mut large), OK);
}

#[test]
fn who_comes_back_with_its_bytes_is_served_before_those_who_wait_for_them() {
    let room = room(10, 100);
    room.try_acquire(Priority::Normal, 90, Instant::now()).unwrap();
    room.release(1, 0);
    let mut large = room.wait(Priority::High, 50);
    assert_eq!(room.try_return(Instant::now()), Ok(()));
    room.release(1, 90);
    assert_eq!(poll(&mut large), OK);
}

#[test]
fn who_comes_back_is_not_held_up_by_the_bytes_that_it_holds() {
    let pressed = OptimizationConfig {
        worker_queue_capacity: 2,
        max_bytes_in_flight: 1024,
        backpressure_threshold: 0.5,
        backpressure_window: Duration::from_millis(1),
        ..OptimizationConfig::default()
    };
    let room = open(&pressed);
    let start = Instant::now();
    room.try_acquire(Priority::Normal, 1000, start).unwrap();
    room.try_acquire(Priority::Low, 0, start + Duration::from_secs(1)).unwrap_err();
    let mut back = room.wait_to_return();
    assert!(poll(&mut back).is_pending(), "half of the places are open, and that one is taken");
    room.release(1, 0);
    assert_eq!(poll(&mut back), OK);
}

#[test]
fn a_waiter_that_leaves_makes_way_and_gives_back_what_it_was_granted() {
    let room = room(1, 100);
    room.try_acquire(Priority::Normal, 0, Instant::now()).unwrap();
    let leaving = room.wait(Priority::Normal, 0);
    let granted_unseen = room.wait(Priority::Normal, 0);
    drop(leaving);
    room.release(1, 0);
    assert_eq!(room.places_held(), 1, "granted to the second");
    drop(granted_unseen);
    assert_eq!(room.places_held(), 0);
    assert_eq!(room.try_acquire(Priority::Low, 0, Instant::now()), Ok(()));
}

#[test]
fn closing_tells_everybody() {
    let room = room(1, 100);
    room.try_acquire(Priority::Normal, 0, Instant::now()).unwrap();
    let mut waiting = room.wait(Priority::High, 0);
    room.close();
    assert_eq!(poll(&mut waiting), Poll::Ready(Err(NoRoom::Closed)));
    assert_eq!(room.try_acquire(Priority::High, 0, Instant::now()), Err(NoRoom::Closed));
    assert!(!room.is_over());
    room.release(1, 0);
    assert!(room.is_over());
}

#[test]
fn a_place_that_was_promised_and_not_looked_at_ends_with_the_room() {
    let room = room(2, 100);
    room.try_acquire(Priority::Normal, 60, Instant::now()).unwrap();
    let mut promised = room.wait(Priority::Normal, 60);
    room.try_acquire(Priority::High, 0, Instant::now()).unwrap();
    room.release(1, 60);
    room.close();
    assert!(!room.is_over(), "one holds a place and may use it");
    room.release(1, 0);
    assert!(room.is_over(), "the promised one will not be used");
    assert_eq!(poll(&mut promised), Poll::Ready(Err(NoRoom::Closed)));
    assert_eq!((room.places_held(), room.bytes_held()), (0, 0));
    assert!(room.is_over());
}

#[test]
fn load_that_lasts_is_held_back_at_the_threshold() {
    let room = open(&OptimizationConfig {
        worker_queue_capacity: 10,
        backpressure_threshold: 0.5,
        backpressure_window: Duration::from_millis(100),
        ..OptimizationConfig::default()
    });
    let start = Instant::now();
    for _ in 0..10 {
        room.try_acquire(Priority::Normal, 0, start).unwrap();
    }
    let later = start + Duration::from_secs(1);
    room.release(1, 0);
    assert_eq!(room.try_acquire(Priority::Normal, 0, later), Err(NoRoom::Full), "9 of 10 for a second");
    room.release(5, 0);
    assert_eq!(room.try_acquire(Priority::Normal, 0, later), Ok(()), "4 of 10");
}

#[test]
fn bounds_hold_and_nobody_waits_for_ever_with_many_threads() {
    const THREADS: usize = 8;
    const TURNS: usize = 2_000;
    let room = room(3, 100);
    let inside = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (room, inside) = (Arc::clone(&room), Arc::clone(&inside));
            thread::spawn(move || {
                for turn in 0..TURNS {
                    let bytes = (thread * 7 + turn) % 90;
                    let priority = Priority::ALL[(thread + turn) % 3];
                    if room.try_acquire(priority, bytes, Instant::now()).is_err() {
                        let waiting = room.wait(priority, bytes);
                        if turn % 5 == 0 {
                            drop(waiting);
                            continue;
                        }
                        block_on(waiting).unwrap();
                    }
                    assert!(inside.fetch_add(1, SeqCst) < 3);
                    assert!(room.bytes_held() <= 100);
                    inside.fetch_sub(1, SeqCst);
                    room.release(1, bytes);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!((room.places_held(), room.bytes_held()), (0, 0));
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
