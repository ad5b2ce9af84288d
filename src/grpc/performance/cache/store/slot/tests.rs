use std::{sync::atomic::AtomicUsize, thread};

use super::{
    super::super::{
        store::Uptime,
        value::{Body, Meta},
    },
    *,
};

fn key(n: u8) -> CacheKey {
    CacheKey::of(&[&[n]])
}

#[test]
fn who_looks_for_another_key_is_told_by_the_word_alone() {
    let (slot, hazards) = (Slot::default(), Hazards::new());
    let entry = || {
        Fresh::new(Entry { key: key(0), stored: Stored::new(Body::plain(b"0"), Meta::until(Uptime::NEVER)) })
    };
    let has = |check| slot.look(Ask::Open, check, &hazards).is_some();
    let hidden = slot.claim().unwrap().fill(entry(), &hazards);
    assert!(!has(Some(Check::of(&key(0)))), "it is hidden");
    assert!(hidden.reveal());
    drop(hidden);
    for check in [None, Some(Check::of(&key(0)))] {
        assert!(has(check));
    }
    let others = (1..=255).map(|n| Check::of(&key(n))).filter(|check| *check != Check::of(&key(0)));
    assert!(others.clone().count() > 200 || !HAS_CHECK);
    assert!(others.into_iter().all(|check| !has(Some(check))));

    let visit = slot.look(Ask::Open, None, &hazards).unwrap();
    assert_eq!(visit.bytes(), "0");
    let old = visit.replace(entry()).unwrap_or_else(|_| unreachable!("nobody else is there"));
    drop(visit);
    assert!(!hazards.retire(old, 1));
    assert!(has(Some(Check::of(&key(0)))));
}

/// For Miri, and other tools that see what is read after it was freed.
#[test]
fn who_has_replaced_an_entry_reads_neither_that_nor_its_own_while_others_free_them() {
    let rounds = if cfg!(miri) { 200 } else { 20_000 };
    let (slot, hazards, key) = (Slot::default(), Hazards::new(), key(0));
    let entry =
        || Fresh::new(Entry { key, stored: Stored::new(Body::plain(b"0"), Meta::until(Uptime::NEVER)) });
    assert!(slot.claim().unwrap().fill(entry(), &hazards).reveal());
    let replaced = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..rounds {
                    let visit = slot.look(Ask::Open, None, &hazards).unwrap();
                    if let Ok(old) = visit.replace(entry()) {
                        replaced.fetch_add(1, SeqCst);
                        drop(visit);
                        let _ = hazards.retire(old, 1);
                    }
                    hazards.reclaim_all(drop);
                }
            });
        }
    });
    assert!(replaced.into_inner() >= rounds);
    assert_eq!(slot.look(Ask::Open, None, &hazards).unwrap().bytes(), "0");
}
