use loom::thread;

use super::*;
use crate::platform::atomic::AtomicU32;

fn key(n: u8) -> CacheKey {
    CacheKey::of(&[&[n]])
}

/// One bucket, whatever the keys.
fn bucket() -> Arc<Bucket> {
    Arc::new(Bucket::default())
}

fn spawn<R: 'static>(
    bucket: &Arc<Bucket>,
    work: impl FnOnce(&Bucket) -> R + 'static,
) -> thread::JoinHandle<R> {
    let bucket = Arc::clone(bucket);
    thread::spawn(move || work(&bucket))
}

#[test]
fn of_two_that_begin_a_flight_one_does_and_the_other_finds_it() {
    loom::model(|| {
        let bucket = bucket();
        let other = spawn(&bucket, |bucket| bucket.begin(key(1)));
        let ours = bucket.begin(key(1));
        let pair = (ours, other.join().unwrap());
        let ((Ok(begun), Err(found)) | (Err(found), Ok(begun))) = pair else { panic!("both, or neither") };
        assert!(Arc::ptr_eq(&begun, &found) && begun.listing.is_on());
    });
}

#[test]
fn who_begins_another_flight_does_not_hide_the_first() {
    loom::model(|| {
        let bucket = bucket();
        let other = spawn(&bucket, |bucket| bucket.begin(key(2)).is_ok());
        let first = bucket.begin(key(1)).ok().unwrap();
        assert!(other.join().unwrap());
        let found = bucket.begin(key(1)).err().unwrap();
        assert!(Arc::ptr_eq(&first, &found));
        assert!(bucket.begin(key(2)).is_err());
    });
}

#[test]
fn a_flight_that_ends_while_others_begin_one_is_followed_by_one_at_a_time() {
    loom::model(|| {
        let bucket = bucket();
        let flying = Arc::new(AtomicU32::new(0));
        let fly = |flying: Arc<AtomicU32>| {
            move |bucket: &Bucket| {
                if let Ok(flight) = bucket.begin(key(1)) {
                    assert_eq!(flying.swap(1, SeqCst), 0, "two at a time");
                    assert_eq!(flying.swap(0, SeqCst), 1);
                    bucket.strike(&flight);
                }
            }
        };
        let other = spawn(&bucket, fly(Arc::clone(&flying)));
        fly(flying)(&bucket);
        other.join().unwrap();
        assert_eq!(bucket.listed().count(), 0);
    });
}

/// Who moors where another has just left is not taken for that one.
#[test]
fn of_two_that_begin_a_flight_while_another_comes_and_goes_one_does() {
    loom::model(|| {
        let bucket = bucket();
        let coming_and_going = spawn(&bucket, |bucket| {
            let flight = bucket.begin(key(2)).ok().unwrap();
            bucket.strike(&flight);
        });
        let other = spawn(&bucket, |bucket| bucket.begin(key(1)).is_ok());
        let ours = bucket.begin(key(1)).is_ok();
        assert!(ours != other.join().unwrap(), "both, or neither");
        coming_and_going.join().unwrap();
    });
}

/// What an invalidation counts on: of a leader that stores and then looks whether its flight is on the table, and
/// somebody who takes it off and then looks what is stored, at least one sees what the other did.
#[test]
fn a_flight_is_seen_struck_by_its_leader_or_what_it_stored_is_seen() {
    loom::model(|| {
        let bucket = bucket();
        let stored = Arc::new(AtomicU32::new(0));
        let flight = bucket.begin(key(1)).ok().unwrap();
        let leader = {
            let stored = Arc::clone(&stored);
            thread::spawn(move || {
                stored.swap(1, SeqCst);
                flight.listing.is_on()
            })
        };
        let found = bucket.search(&key(1), bucket.latest()).unwrap();
        bucket.strike(&found);
        let seen = stored.load(SeqCst) == 1;
        assert!(seen || !leader.join().unwrap(), "stored behind the back of who invalidates");
    });
}

#[test]
fn of_two_that_strike_a_flight_both_may_and_it_is_let_go() {
    loom::model(|| {
        let bucket = bucket();
        let flight = bucket.begin(key(1)).ok().unwrap();
        let other = {
            let flight = Arc::clone(&flight);
            spawn(&bucket, move |bucket| bucket.strike(&flight))
        };
        bucket.strike(&flight);
        other.join().unwrap();
        assert_eq!(Arc::strong_count(&flight), 1);
    });
}
