//! What was computed from before an invalidation is not served when the invalidation has returned.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use loom::thread;

use super::*;
use crate::platform::atomic::AtomicU32;

const OLD: u32 = 0;
const NEW: u32 = 1;

/// What answers are computed from, and the invalidations of one scope.
struct World {
    source: AtomicU32,
    invalidations: Invalidations,
}

fn scopes() -> Scopes {
    let mut scopes = Scopes::default();
    scopes.add(Scope(0));
    scopes
}

impl World {
    fn compute(&self) -> (Moment, u32) {
        let begun = self.invalidations.now();
        // Relaxed: what orders it is what is under test.
        (begun, self.source.load(Relaxed))
    }

    fn serves(&self, begun: Moment) -> bool {
        !self.invalidations.any_since(begun, &scopes())
    }
}

#[test]
fn what_was_computed_from_before_an_invalidation_is_not_served_after_it() {
    loom::model(|| {
        let world = Arc::new(World { source: AtomicU32::new(OLD), invalidations: Invalidations::with(1) });
        let computer = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.compute())
        };
        world.source.store(NEW, Relaxed);
        world.invalidations.invalidate(Scope(0));
        let (begun, read) = computer.join().unwrap();
        assert!(!world.serves(begun) || read == NEW);
        let (begun, read) = world.compute();
        assert!(world.serves(begun) && read == NEW);
    });
}

#[test]
fn of_two_invalidations_at_a_time_neither_is_lost() {
    loom::model(|| {
        let world = Arc::new(World { source: AtomicU32::new(OLD), invalidations: Invalidations::with(1) });
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let (begun, _) = world.compute();
                world.invalidations.invalidate(Scope(0));
                assert!(!world.serves(begun));
            })
        };
        let (begun, _) = world.compute();
        world.invalidations.invalidate(Scope(0));
        assert!(!world.serves(begun));
        other.join().unwrap();
        assert!(!world.serves(begun));
    });
}
