use std::sync::{Arc, atomic::Ordering::SeqCst};

use loom::{cell::UnsafeCell, thread};

use super::*;
use crate::platform::atomic::AtomicU32;

/// What is freed is written to, so that the model sees a look that is not over before.
#[derive(Default)]
struct Probe {
    content: UnsafeCell<bool>,
    freed: AtomicU32,
}

// SAFETY: what it is here to prove: nobody looks while it is freed.
unsafe impl Sync for Probe {}
// SAFETY: the same.
unsafe impl Send for Probe {}

impl Probe {
    fn look(&self) {
        // SAFETY: the model checks that nobody writes.
        self.content.with(|content| assert!(unsafe { !*content }, "it was freed"));
    }

    fn free(&self) {
        self.freed.store(self.freed.load(SeqCst) + 1, SeqCst);
        // SAFETY: the model checks that nobody reads or writes.
        self.content.with_mut(|content| unsafe { *content = true });
    }
}

/// Who has it.
struct Held(Arc<Probe>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &[]
    }
}

/// Where one probe is found.
struct Room {
    here: AtomicPtr<Node<Held>>,
    hazards: Hazards<Held>,
}

impl Room {
    fn new(probe: &Arc<Probe>) -> Arc<Self> {
        Arc::new(Self { here: AtomicPtr::new(node(probe)), hazards: Hazards::new() })
    }

    fn look(&self) {
        let hazard = self.hazards.hazard();
        let mut here = self.here.load(SeqCst);
        loop {
            hazard.point_at(here);
            let now = self.here.load(SeqCst);
            if now == here {
                break;
            }
            here = now;
        }
        // SAFETY: the hazard points at it, and has since it was to be found.
        unsafe { Node::value(NonNull::new(here).unwrap()) }.0.look();
    }

    fn replace(&self, probe: &Arc<Probe>) {
        let old = self.here.swap(node(probe), SeqCst);
        // SAFETY: the exchange has taken it out.
        let unlinked = unsafe { Unlinked::new(NonNull::new(old).unwrap()) };
        assert!(!self.hazards.retire(unlinked, 1));
    }

    fn reclaim(&self) {
        self.hazards.reclaim(|probe| probe.0.free());
        // What is spare now.
        self.hazards.reclaim(|probe| probe.0.free());
    }

    /// Frees one that is spare, if there is one.
    fn free_one(&self) {
        self.hazards.reclaim(|probe| probe.0.free());
        self.hazards.spare(|_| ()).into_iter().for_each(|probe| probe.0.free());
    }

    fn reclaim_all(&self) {
        self.hazards.reclaim_all(|probe| probe.0.free());
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let here = NonNull::new(self.here.load(SeqCst)).unwrap();
        // SAFETY: nobody else has the room.
        drop(unsafe { Owned::from_raw(here).into_sole() });
    }
}

fn node(probe: &Arc<Probe>) -> *mut Node<Held> {
    Sole::new(Held(Arc::clone(probe))).into_owned().as_raw().as_ptr()
}

fn probes<const N: usize>() -> [Arc<Probe>; N] {
    std::array::from_fn(|_| Arc::default())
}

#[test]
fn what_is_replaced_is_not_freed_under_a_look_and_is_once_nobody_looks() {
    loom::model(|| {
        let [old, new] = probes();
        let room = Room::new(&old);
        let other = {
            let room = Arc::clone(&room);
            thread::spawn(move || room.look())
        };
        room.replace(&new);
        room.reclaim();
        other.join().unwrap();
        room.reclaim();
        assert_eq!(old.freed.load(SeqCst), 1);
        assert_eq!(new.freed.load(SeqCst), 0);
    });
}

#[test]
fn a_place_that_points_at_one_after_the_other_keeps_each() {
    loom::model(|| {
        let [first, second] = probes();
        let room = Room::new(&first);
        let other = {
            let room = Arc::clone(&room);
            thread::spawn(move || {
                room.look();
                room.look();
            })
        };
        room.replace(&second);
        room.reclaim();
        other.join().unwrap();
    });
}

#[test]
fn what_one_retires_is_freed_by_another_and_once() {
    loom::model(|| {
        let [first, second, third] = probes();
        let room = Room::new(&first);
        let other = {
            let (room, second) = (Arc::clone(&room), Arc::clone(&second));
            thread::spawn(move || {
                room.replace(&second);
                room.reclaim_all();
            })
        };
        room.replace(&third);
        room.reclaim_all();
        other.join().unwrap();
        room.reclaim_all();
        let freed = [first, second, third].map(|probe| probe.freed.load(SeqCst));
        assert!(freed == [1, 1, 0] || freed == [1, 0, 1], "{freed:?}");
    });
}

#[test]
fn what_is_spare_is_freed_by_its_thread_or_another_and_once() {
    loom::model(|| {
        let [first, second] = probes();
        let room = Room::new(&first);
        let other = {
            let room = Arc::clone(&room);
            thread::spawn(move || room.reclaim_all())
        };
        room.replace(&second);
        room.free_one();
        other.join().unwrap();
        room.reclaim_all();
        let freed = [first, second].map(|probe| probe.freed.load(SeqCst));
        assert_eq!(freed, [1, 0]);
    });
}

#[test]
fn who_looks_while_another_takes_what_a_third_has_retired_is_safe() {
    loom::model(|| {
        let [old, new] = probes();
        let room = Room::new(&old);
        let spawn = |work: fn(&Room)| {
            let room = Arc::clone(&room);
            thread::spawn(move || work(&room))
        };
        let (looking, freeing) = (spawn(Room::look), spawn(Room::reclaim_all));
        room.replace(&new);
        looking.join().unwrap();
        freeing.join().unwrap();
        room.reclaim_all();
        assert_eq!(old.freed.load(SeqCst), 1);
    });
}
