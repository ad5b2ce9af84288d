use std::sync::atomic::Ordering::SeqCst;

use loom::{sync::Arc, thread};

use super::*;
use crate::platform::atomic::AtomicU32;

const CHECK: u16 = 7;

/// A gate, and who is with the content: visitors count up, the one that has a claim sets [`ALONE`].
struct Room {
    gate: Gate,
    inside: AtomicU32,
    /// How often what was published has been emptied.
    emptied: AtomicU32,
}

const ALONE: u32 = 1 << 16;

impl Room {
    fn new() -> Self {
        Self { gate: Gate::default(), inside: AtomicU32::new(0), emptied: AtomicU32::new(0) }
    }

    /// The content is ours: nobody looks at it, or has it, too.
    fn alone(&self) {
        assert_eq!(self.inside.swap(ALONE, SeqCst), 0);
        assert_eq!(self.inside.swap(0, SeqCst), ALONE);
    }

    fn fill(&self) -> bool {
        if !self.gate.claim() {
            return false;
        }
        self.alone();
        self.gate.publish(CHECK);
        true
    }

    fn visit(&self, close: bool) -> bool {
        let entrance = self.gate.enter(Ask::Open(CHECK));
        if entrance == Entrance::In {
            // Nobody fills or empties it while we are in.
            assert_eq!(self.inside.load(SeqCst), 0);
            if close {
                self.gate.close();
            }
            assert_eq!(self.inside.load(SeqCst), 0);
        }
        if entrance != Entrance::Barred {
            self.leave();
        }
        entrance == Entrance::In
    }

    fn leave(&self) {
        if self.gate.leave() {
            self.empty();
        }
    }

    fn empty(&self) {
        self.alone();
        let emptied = self.emptied.load(SeqCst);
        self.emptied.store(emptied + 1, SeqCst);
        self.gate.vacate();
    }
}

/// Runs each in a thread of its own.
fn together(room: &Arc<Room>, works: Vec<fn(&Room) -> bool>) {
    let threads: Vec<_> = works
        .into_iter()
        .map(|work| {
            let room = Arc::clone(room);
            thread::spawn(move || work(&room))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn what_is_closed_is_emptied_once_and_by_somebody_who_is_alone_with_it() {
    loom::model(|| {
        let room = Arc::new(Room::new());
        assert!(room.fill());
        together(&room, vec![|room| room.visit(true), |room| room.visit(true)]);
        assert_eq!(room.emptied.load(SeqCst), 1);
        assert!(room.fill());
        assert!(room.visit(false));
    });
}

#[test]
fn a_berth_that_is_filled_anew_amid_visits_is_never_emptied_under_a_visitor() {
    loom::model(|| {
        let room = Arc::new(Room::new());
        assert!(room.fill());
        together(
            &room,
            vec![
                |room| {
                    room.visit(true);
                    room.fill()
                },
                |room| room.visit(false),
            ],
        );
        // The first was emptied by now, and the second is there.
        assert_eq!(room.emptied.load(SeqCst), 1);
        assert!(room.visit(true) || room.fill());
        assert!(room.emptied.load(SeqCst) <= 2);
    });
}
