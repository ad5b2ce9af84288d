//! A value for each thread that asks for one, which others may look at.
//!
//! It stays when its thread ends, and is the next one's that starts: as many are kept as there were threads at a time. Under
//! loom and shuttle, whose threads are not the system's, [`thread_local`] would give all of them the same.

#[cfg(not(any(millstream_loom, millstream_shuttle)))]
pub(crate) use thread_local::ThreadLocal as PerThread;

#[cfg(any(millstream_loom, millstream_shuttle))]
pub(crate) use self::model::PerThread;

#[cfg(any(millstream_loom, millstream_shuttle))]
mod model {
    use std::sync::OnceLock;

    #[cfg(millstream_loom)]
    use loom::thread::{ThreadId, current};
    #[cfg(millstream_shuttle)]
    use shuttle::thread::{ThreadId, current};

    /// Threads of a model.
    const THREADS: usize = 16;

    pub(crate) struct PerThread<T>([OnceLock<(ThreadId, T)>; THREADS]);

    impl<T> Default for PerThread<T> {
        fn default() -> Self {
            Self([const { OnceLock::new() }; THREADS])
        }
    }

    impl<T: Default> PerThread<T> {
        pub(crate) fn get_or_default(&self) -> &T {
            let own = current().id();
            self.0
                .iter()
                .map(|place| place.get_or_init(|| (own, T::default())))
                .find_map(|(of, value)| (*of == own).then_some(value))
                .expect("a model has fewer threads")
        }

        pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
            self.0.iter().filter_map(OnceLock::get).map(|(_, value)| value)
        }
    }
}
