use std::sync::Arc;

use super::*;

/// A desk, and its tenant: this thread.
fn occupied<T>(desk: &Desk<T>) -> Tenant<T> {
    // SAFETY: each test occupies its desk, and vacates it only after it has done with the tenant; none takes anything once
    // it has closed the desk.
    unsafe { Tenant::of(NonNull::from(desk)) }
}

fn desk() -> Desk<u8> {
    Desk::new(Some(None))
}

#[test]
fn a_tenant_finds_what_it_left_and_what_others_lodged() {
    let desk = desk();
    let tenant = occupied(&desk);
    assert_eq!(tenant.put(Box::new(1)), Ok(()));
    assert_eq!(tenant.put(Box::new(2)), Err(Box::new(2)));
    assert_eq!(tenant.displace(Box::new(3)), Ok(Some(Box::new(1))));
    assert_eq!(desk.lodge(Box::new(4)), Err(Box::new(4)));
    assert_eq!(tenant.take(), Some(Box::new(3)));
    assert_eq!(tenant.take(), None);
    assert_eq!(desk.lodge(Box::new(4)), Ok(()));
    assert_eq!(tenant.take(), Some(Box::new(4)));
    assert_eq!(tenant.put(Box::new(5)), Ok(()));
    assert_eq!(desk.steal(), Some(Box::new(5)));
    assert_eq!((desk.steal(), tenant.take()), (None, None));
}

#[test]
fn a_tenant_that_is_stopped_while_it_is_busy_keeps_what_it_has_and_nobody_waits() {
    let desk = desk();
    let tenant = occupied(&desk);
    tenant.put(Box::new(1)).unwrap();
    desk.0.busy.store(true, Relaxed);
    assert_eq!(desk.steal(), None);
    desk.0.busy.store(false, Release);
    assert_eq!(desk.steal(), Some(Box::new(1)));
}

#[test]
fn who_is_stopped_while_a_desk_is_seized_keeps_what_is_there_and_nobody_waits() {
    let desk = desk();
    let tenant = occupied(&desk);
    tenant.put(Box::new(1)).unwrap();
    let at_the_berth = desk.seized(|berth| {
        assert_eq!(tenant.take(), None);
        assert_eq!(tenant.displace(Box::new(2)), Err(Box::new(2)));
        assert_eq!(desk.steal(), None);
        assert!(!desk.occupy());
        berth.take()
    });
    assert_eq!(at_the_berth, Some(Some(Box::new(1))));
    assert_eq!(tenant.put(Box::new(2)), Ok(()));
    assert_eq!(tenant.take(), Some(Box::new(2)));
}

#[test]
fn who_moves_in_has_what_was_left_there_and_nobody_else_moves_in() {
    let desk = desk();
    assert!(!desk.occupy());
    occupied(&desk).put(Box::new(1)).unwrap();
    desk.vacate();
    assert!(desk.occupy());
    assert!(!desk.occupy());
    assert_eq!(occupied(&desk).take(), Some(Box::new(1)));
    desk.vacate();
    assert_eq!(desk.lodge(Box::new(2)), Ok(()));
    assert_eq!(desk.steal(), Some(Box::new(2)));
}

#[test]
fn nobody_uses_a_bare_desk() {
    let desk = Desk::new(None);
    let tenant = occupied(&desk);
    assert_eq!(tenant.put(Box::new(1)), Err(Box::new(1)));
    assert_eq!(desk.lodge(Box::new(1)), Err(Box::new(1)));
    assert_eq!(tenant.take(), None);
}

#[test]
fn nothing_stays_at_a_closed_desk() {
    let value = Arc::new(());
    let one_more = || Box::new(Arc::clone(&value));
    let desk = Desk::new(Some(Some(one_more())));
    let tenant = occupied(&desk);
    tenant.drop_what_is_late();
    desk.close();
    assert!(desk.clear().is_some());
    assert!(tenant.put(one_more()).is_err());
    // One that looked before, and leaves now.
    desk.0.berth.leave(one_more()).unwrap();
    assert_eq!(Arc::strong_count(&value), 2);
    tenant.drop_what_is_late();
    assert_eq!(Arc::strong_count(&value), 1);
}
