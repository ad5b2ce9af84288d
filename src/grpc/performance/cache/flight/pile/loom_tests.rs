use std::sync::atomic::Ordering::Relaxed;

use loom::{sync::Arc, thread};

use super::*;
use crate::platform::atomic::AtomicU32;

#[test]
fn what_is_put_on_a_pile_that_is_being_closed_is_taken_once_or_comes_back() {
    loom::model(|| {
        // What the one that closes leaves for those who find it closed.
        let shared = Arc::new((Pile::new(), AtomicU32::new(0)));
        let put = |value| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let back = shared.0.put(value).is_err();
                assert!(!back || shared.1.load(Relaxed) == 1, "closed, and what was left is not seen");
                back
            })
        };
        let putting = [put(1), put(2)];
        let mut taken: Vec<u32> = Vec::new();
        loop {
            taken.extend(shared.0.take());
            shared.1.store(1, Relaxed);
            if shared.0.close() {
                break;
            }
        }
        let back = putting.map(|put| put.join().unwrap());
        taken.sort_unstable();
        let expected: Vec<u32> = (1..).zip(back).filter(|(_, back)| !back).map(|(value, _)| value).collect();
        assert_eq!(taken, expected);
    });
}
