//! Every interleaving, but for the fences: both barriers are SeqCst fences here (see [`barrier`]).

use std::sync::Arc;

use loom::thread;

use super::*;

/// A desk with a value, and its tenant.
fn with_a_tenant(
    desk: &Arc<Desk<u8>>,
    what: impl FnOnce(&Tenant<u8>) -> usize + 'static,
) -> thread::JoinHandle<usize> {
    let desk = Arc::clone(desk);
    // SAFETY: one thread of each model is the tenant, and the desk outlives it. None takes once the desk is closed.
    thread::spawn(move || what(&unsafe { Tenant::of(NonNull::from(&*desk)) }))
}

#[test]
fn a_value_is_the_tenants_or_the_thiefs() {
    loom::model(|| {
        let desk = Arc::new(Desk::new(Some(Some(Box::new(1)))));
        let tenant = with_a_tenant(&desk, |tenant| usize::from(tenant.take().is_some()));
        let stolen = usize::from(desk.steal().is_some());
        let had = stolen + tenant.join().unwrap();
        let left = usize::from(desk.clear().is_some());
        assert_eq!(had + left, 1);
        // Who finds it busy goes away: but not both.
        assert!(had == 1 || left == 1);
    });
}

#[test]
fn a_value_that_is_left_while_another_is_lodged_is_lost_by_neither() {
    loom::model(|| {
        let desk = Arc::new(Desk::new(Some(None)));
        let tenant = with_a_tenant(&desk, |tenant| usize::from(tenant.put(Box::new(1)).is_err()));
        let refused = usize::from(desk.lodge(Box::new(2)).is_err()) + tenant.join().unwrap();
        assert_eq!(refused + usize::from(desk.clear().is_some()), 2);
    });
}

#[test]
fn a_tenant_takes_and_leaves_while_somebody_steals() {
    loom::model(|| {
        let desk = Arc::new(Desk::new(Some(Some(Box::new(1)))));
        let tenant = with_a_tenant(&desk, |tenant| match tenant.take() {
            // It is to come back whole: with what was written while it was out.
            Some(mut value) => {
                *value += 1;
                usize::from(tenant.put(value).is_err())
            }
            None => 0,
        });
        let stolen = desk.steal();
        let refused = tenant.join().unwrap();
        let left = desk.clear();
        assert_eq!(usize::from(stolen.is_some()) + usize::from(left.is_some()) + refused, 1);
    });
}

#[test]
fn what_is_left_at_a_desk_that_is_being_closed_is_taken_by_one() {
    loom::model(|| {
        let desk = Arc::new(Desk::new(Some(None)));
        let value = Arc::new(());
        let tenant = {
            let (desk, value) = (Arc::clone(&desk), Box::new(Arc::clone(&value)));
            thread::spawn(move || {
                // SAFETY: this thread is the tenant, and holds the desk. It takes nothing.
                let tenant = unsafe { Tenant::of(NonNull::from(&*desk)) };
                if tenant.put(value).is_ok() {
                    tenant.drop_what_is_late();
                }
            })
        };
        desk.close();
        barrier::heavy();
        let cleared = desk.clear();
        tenant.join().unwrap();
        drop(cleared);
        assert_eq!(Arc::strong_count(&value), 1);
        assert!(desk.clear().is_none());
    });
}

#[test]
fn who_moves_in_while_somebody_is_at_the_berth_does_not_meet_him() {
    loom::model(|| {
        let desk = Arc::new(Desk::new(Some(Some(Box::new(1)))));
        desk.vacate();
        let next = {
            let desk = Arc::clone(&desk);
            thread::spawn(move || {
                if !desk.occupy() {
                    return 0;
                }
                // SAFETY: this thread has just occupied it.
                let tenant = unsafe { Tenant::of(NonNull::from(&*desk)) };
                usize::from(tenant.take().is_some())
            })
        };
        let stolen = usize::from(desk.steal().is_some());
        let had = stolen + next.join().unwrap();
        assert_eq!(had + usize::from(desk.clear().is_some()), 1);
    });
}
