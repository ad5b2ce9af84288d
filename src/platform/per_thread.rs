//! A value for each thread that asks for one, which others may look at.
//!
//! It stays when its thread ends, and is the next one's that starts: as many are kept as there were threads at a time. Under
//! loom and shuttle, whose threads are not the system's, `thread_local` would give all of them the same.

#[cfg(not(any(millstream_loom, millstream_shuttle)))]
pub(crate) use thread_local::ThreadLocal as PerThread;

#[cfg(any(millstream_loom, millstream_shuttle))]
pub(crate) use self::model::PerThread;

#[cfg(any(millstream_loom, millstream_shuttle))]
mod model {
    use std::{
        array,
        sync::{
            OnceLock,
            atomic::Ordering::{Acquire, Release},
        },
    };

    #[cfg(millstream_loom)]
    use loom::thread::{ThreadId, current};
    #[cfg(millstream_shuttle)]
    use shuttle::thread::{ThreadId, current};

    use crate::platform::atomic::AtomicBool;

    /// Threads of a model.
    const THREADS: usize = if cfg!(millstream_loom) { 4 } else { 16 };

    pub(crate) struct PerThread<T>([Place<T>; THREADS]);

    struct Place<T> {
        value: OnceLock<(ThreadId, T)>,
        /// As in `thread_local`: what the model knows of that the value is there.
        present: AtomicBool,
    }

    impl<T> Default for PerThread<T> {
        fn default() -> Self {
            Self(array::from_fn(|_| Place { value: OnceLock::new(), present: AtomicBool::new(false) }))
        }
    }

    impl<T: Default> PerThread<T> {
        pub(crate) fn get(&self) -> Option<&T> {
            let own = current().id();
            self.0
                .iter()
                .filter_map(|place| place.value.get())
                .find(|(of, _)| *of == own)
                .map(|(_, value)| value)
        }

        pub(crate) fn get_or_default(&self) -> &T {
            let own = current().id();
            let of = |place: &Place<T>| place.value.get().map(|(thread, _)| *thread);
            let mine = |place: &&Place<T>| of(place).is_none_or(|thread| thread == own);
            let place = self.0.iter().find(mine).expect("a model has fewer threads");
            let is_new = of(place).is_none();
            // No other thread comes in between: they take turns, at what the model knows of, and none of that is here.
            let (_, value) = place.value.get_or_init(|| (own, T::default()));
            if is_new {
                place.present.store(true, Release);
            }
            value
        }

        pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
            let present = self.0.iter().filter(|place| place.present.load(Acquire));
            present.filter_map(|place| place.value.get()).map(|(_, value)| value)
        }
    }
}
