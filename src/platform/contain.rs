//! Where code of strangers (factories, resets, destructors) runs, a panic ends here.

use std::{
    any::Any,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    task::Waker,
};

use super::sync::AtomicWaker;

/// Runs `stranger`; a panic becomes its message.
///
/// What `stranger` borrowed may be half changed after a panic: the caller throws it away.
pub(crate) fn contain<R>(stranger: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(stranger)).map_err(message)
}

/// Drops `value`; a panic of its destructor becomes its message.
pub(crate) fn drop_contained<T>(value: T) -> Result<(), String> {
    contain(|| drop(value))
}

/// Drops `value`; a panic of its destructor goes to the log, since nobody else has a use for it.
pub(crate) fn drop_logged<T>(value: T) {
    if let Err(panic) = drop_contained(value) {
        tracing::warn!(panic, "a value panicked while it was dropped");
    }
}

/// Wakes a task; a panic of its executor's waker goes to the log: whoever wakes it, a worker or the supervisor, say, has
/// others to see to.
pub(crate) fn wake_logged(waker: Waker) {
    if let Err(panic) = contain(|| waker.wake()) {
        tracing::warn!(panic, "a waker panicked");
    }
}

/// The same, for whoever is registered there.
pub(crate) fn wake_registered(waker: &AtomicWaker) {
    if let Some(waker) = waker.take() {
        wake_logged(waker);
    }
}

fn message(payload: Box<dyn Any + Send>) -> String {
    let text = if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "the panic carries no text".to_owned()
    };
    // A payload is a stranger's value too; one whose destructor panics, and panics with another such, is leaked.
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(another);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::panic::panic_any;

    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic_any(Self);
        }
    }

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(contain(|| 7), Ok(7));
        assert_eq!(contain(|| -> () { panic!("plain") }), Err("plain".to_owned()));
        assert_eq!(contain(|| -> () { panic!("with {}", 1) }), Err("with 1".to_owned()));
        assert_eq!(contain(|| panic_any(1_u8)), Err("the panic carries no text".to_owned()));
    }

    #[test]
    fn a_payload_that_panics_when_dropped_does_not_get_out() {
        assert!(contain(|| panic_any(Bomb)).is_err());
        assert!(drop_contained(Bomb).is_err());
    }
}
