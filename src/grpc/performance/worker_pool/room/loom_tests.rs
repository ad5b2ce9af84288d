//! Waiters, releases, and the end. Who is forgotten is a deadlock, which loom reports.

use loom::{future::block_on, thread};

use super::{usage::Reading, *};
use crate::{grpc::performance::worker_pool::sleepers::Sleepers, platform::atomic::AtomicBool};

fn room(messages: usize, bytes: usize) -> Arc<Room> {
    room_for(messages, bytes, || ())
}

/// One that tells somebody when it is over.
fn room_for(messages: usize, bytes: usize, tell: impl Fn() + Send + Sync + 'static) -> Arc<Room> {
    let config = OptimizationConfig {
        worker_count: 1,
        worker_queue_capacity: messages,
        max_bytes_in_flight: bytes,
        backpressure_threshold: 1.0,
        ..OptimizationConfig::default()
    };
    Arc::new(Room::new(&config, tell))
}

fn spawn<T: 'static>(room: &Arc<Room>, run: impl FnOnce(&Arc<Room>) -> T + 'static) -> thread::JoinHandle<T> {
    let room = Arc::clone(room);
    thread::spawn(move || run(&room))
}

fn hold(room: &Room, bytes: usize) {
    room.try_acquire(Priority::Normal, bytes, Instant::now()).expect("the room is empty");
}

fn is_empty(room: &Room) -> bool {
    let Room { usage, promised, waiting, .. } = room;
    let Reading { messages, bytes, .. } = usage.read();
    (messages, bytes) == (0, 0)
        && promised.load(SeqCst) == 0
        && waiting.iter().all(|count| count.load(SeqCst) == 0)
}

#[test]
fn who_waits_is_served_when_the_one_ahead_leaves() {
    loom::model(|| {
        let room = room(2, 10);
        hold(&room, 4);
        hold(&room, 6);
        // What is released is not enough for the first, and more than enough for the second.
        let first = room.wait(Priority::Normal, 10);
        let leaving = spawn(&room, |_| drop(first));
        let second = spawn(&room, |room| {
            block_on(room.wait(Priority::Normal, 4)).expect("the room is open");
            assert_eq!(room.bytes_held(), 8);
            room.release(1, 4);
        });
        room.release(1, 6);
        leaving.join().unwrap();
        second.join().unwrap();
        room.release(1, 4);
        assert!(is_empty(&room));
    });
}

#[test]
fn what_two_release_two_get_and_never_more_than_there_is() {
    loom::model(|| {
        let room = room(2, 10);
        hold(&room, 5);
        hold(&room, 5);
        let waiter = spawn(&room, |room| {
            block_on(room.wait(Priority::Low, 10)).expect("the room is open");
            assert_eq!(room.bytes_held(), 10, "it has all the bytes to itself");
            room.release(1, 10);
        });
        let other = spawn(&room, |room| room.release(1, 5));
        room.release(1, 5);
        other.join().unwrap();
        waiter.join().unwrap();
        assert!(is_empty(&room));
    });
}

/// Closes a room while its only place is on its way to a waiter, beside a worker that sleeps until it is over, and says
/// so. What the waiter gives back is kept until then.
fn close_beside<T: 'static>(waiter: fn(&Room, Waiting, &AtomicBool) -> T) {
    loom::model(move || {
        let sleepers = Arc::new(Sleepers::new(1, &[]));
        let told = Arc::clone(&sleepers);
        let room = room_for(1, 10, move || told.wake_all());
        hold(&room, 0);
        let waiting = room.wait(Priority::Normal, 0);
        let ended = Arc::new(AtomicBool::new(false));
        let waiter = {
            let ended = Arc::clone(&ended);
            spawn(&room, move |room| waiter(room, waiting, &ended))
        };
        let releasing = spawn(&room, |room| room.release(1, 0));
        let closing = spawn(&room, |room| room.close());
        sleepers.begin_search();
        sleepers.sleep_until_found(0, || None::<()>, || room.is_over());
        ended.swap(true, SeqCst);
        releasing.join().unwrap();
        closing.join().unwrap();
        drop(waiter.join().unwrap());
        assert!(room.is_over() && is_empty(&room));
    });
}

#[test]
fn workers_see_the_end_when_the_last_waiter_leaves() {
    close_beside(|_, waiting, _| drop(waiting));
}

#[test]
fn workers_see_the_end_when_the_last_waiter_never_looks() {
    close_beside(|_, waiting, _| waiting);
}

#[test]
fn workers_see_the_end_when_the_last_place_is_used_or_refused() {
    close_beside(|room, waiting, ended| {
        if block_on(waiting).is_ok() {
            assert!(!ended.swap(true, SeqCst), "nobody is left for what it would queue");
            room.release(1, 0);
        }
    });
}
