use std::sync::{Arc, LazyLock};

use loom::thread;

use super::{
    super::super::{
        store::Uptime,
        value::{Body, Meta},
    },
    *,
};

/// A slot, and who looks at what is in it.
struct Room {
    slot: Slot,
    hazards: Hazards<Entry>,
}

impl Room {
    /// With an entry that is open.
    fn with(n: u8) -> Arc<Self> {
        let room = Self { slot: Slot::default(), hazards: Hazards::new() };
        assert!(room.slot.claim().unwrap().fill(fresh(n), &room.hazards).reveal());
        Arc::new(room)
    }

    fn read(&self, ask: Ask) -> Option<u8> {
        self.slot.look(ask, Some(Check::of(&KEY)), &self.hazards).map(|visit| content(visit.entry()))
    }

    /// Which one it replaced, for all to read at once.
    fn replace(&self, by: u8) -> Option<u8> {
        let old = self.slot.look(Ask::Open, None, &self.hazards)?.replace(fresh(by)).ok()?;
        let replaced = content(&old);
        self.free(old);
        Some(replaced)
    }

    /// Which one it replaced, and then showed what it had hidden.
    fn replace_hidden(&self, by: u8) -> Option<u8> {
        let visit = self.slot.look(Ask::Open, None, &self.hazards)?;
        let (new, old) = visit.replace_hidden(fresh(by), &self.hazards).ok()?;
        let replaced = content(&old);
        self.free(old);
        new.reveal();
        Some(replaced)
    }

    /// Which one it took out.
    fn close(&self) -> Option<u8> {
        let Emptied { entry, claim } = self.slot.look(Ask::OpenOrHidden, None, &self.hazards)?.close()?;
        drop(claim);
        let closed = content(&entry);
        self.free(entry);
        Some(closed)
    }

    fn seize_and_fill(&self, by: u8) -> Option<u8> {
        let Emptied { entry, claim } = self.slot.seize(Ask::Open)?;
        let seized = content(&entry);
        claim.fill(fresh(by), &self.hazards).reveal();
        self.free(entry);
        Some(seized)
    }

    fn free(&self, entry: Unlinked<Entry>) {
        assert!(!self.hazards.retire(entry, 1));
        self.hazards.reclaim_all(drop);
    }
}

static KEY: LazyLock<CacheKey> = LazyLock::new(|| CacheKey::of(&[]));

fn model(work: impl Fn() + Send + Sync + 'static) {
    // Here, since hashing takes more stack than the threads of a model have.
    LazyLock::force(&KEY);
    loom::model(work);
}

fn fresh(n: u8) -> Fresh {
    let stored = Stored::new(Body::plain(&[n]), Meta::until(Uptime::NEVER));
    Fresh::new(Entry { key: *KEY, stored })
}

fn content(entry: &Entry) -> u8 {
    entry.stored.data()[0]
}

/// What the other thread did, and this one.
fn together(
    room: &Arc<Room>,
    one: impl FnOnce(&Room) -> Option<u8> + 'static,
    other: impl FnOnce(&Room) -> Option<u8>,
) -> [Option<u8>; 2] {
    let thread = {
        let room = Arc::clone(room);
        thread::spawn(move || one(&room))
    };
    let here = other(room);
    [thread.join().unwrap(), here]
}

#[test]
fn who_reads_sees_the_one_or_the_other_while_one_is_replaced() {
    model(|| {
        let room = Room::with(1);
        let [read, replaced] = together(&room, |room| room.read(Ask::Open), |room| room.replace(2));
        assert!(matches!(read, Some(1 | 2)), "{read:?}");
        assert_eq!(replaced, Some(1));
        assert_eq!(room.read(Ask::Open), Some(2));
    });
}

#[test]
fn of_two_that_replace_the_second_replaces_the_first_or_comes_too_late() {
    model(|| {
        let room = Room::with(1);
        let replaced = together(&room, |room| room.replace(2), |room| room.replace(3));
        let last = match replaced {
            [Some(1), None] | [Some(3), Some(1)] => 2,
            [None, Some(1)] | [Some(1), Some(2)] => 3,
            impossible => panic!("{impossible:?}"),
        };
        assert_eq!(room.read(Ask::Open), Some(last));
    });
}

#[test]
fn of_two_that_claim_one_does() {
    model(|| {
        let room = Arc::new(Room { slot: Slot::default(), hazards: Hazards::new() });
        let fill = |n: u8| {
            move |room: &Room| {
                let visit = room.slot.claim()?.fill(fresh(n), &room.hazards);
                assert!(visit.reveal());
                Some(n)
            }
        };
        let filled = together(&room, fill(1), fill(2));
        let ([Some(by), None] | [None, Some(by)]) = filled else { panic!("{filled:?}") };
        assert_eq!(room.read(Ask::Open), Some(by));
    });
}

#[test]
fn of_two_that_take_one_out_one_does() {
    model(|| {
        let room = Room::with(1);
        let mut closed = together(&room, Room::close, Room::close);
        closed.sort_unstable();
        assert_eq!(closed, [None, Some(1)]);
        assert_eq!(room.read(Ask::OpenOrHidden), None);
        assert!(room.slot.claim().is_some());
    });
}

#[test]
fn what_is_replaced_while_it_is_taken_out_is_taken_out_or_replaced_and_not_both() {
    model(|| {
        let room = Room::with(1);
        let [closed, replaced] = together(&room, Room::close, |room| room.replace_hidden(2));
        let expected = match (closed, replaced) {
            // The one who takes out came too late for the first, or took the second.
            (None, Some(1)) => Some(2),
            (Some(1), None) | (Some(2), Some(1)) => None,
            impossible => panic!("{impossible:?}"),
        };
        assert_eq!(room.read(Ask::OpenOrHidden), expected);
    });
}

#[test]
fn what_is_seized_is_not_taken_out_as_well() {
    model(|| {
        let room = Room::with(1);
        let [closed, seized] = together(&room, Room::close, |room| room.seize_and_fill(2));
        let expected = match (closed, seized) {
            (None, Some(1)) => Some(2),
            (Some(1), None) | (Some(2), Some(1)) => None,
            impossible => panic!("{impossible:?}"),
        };
        assert_eq!(room.read(Ask::OpenOrHidden), expected);
    });
}
