//! When the figures are read, for however many ask for them.
//!
//! To merge every histogram, and to compress it, takes milliseconds of CPU time, and to ask takes nothing. So it is not
//! done on I/O threads, nor twice at a time, and it is done once for all who had asked before it began; after it there is
//! a rest, of [`RESTS`] times as long as it took. Whatever clients ask for, it costs no more than a tenth of a core.
//!
//! Nobody is given what is older than the question: readings are numbered as they begin, and who asks wants one with a
//! higher number than any that had begun by then.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Instant,
};

use tokio::{
    sync::Mutex,
    task::{self, JoinError},
    time::sleep,
};

use crate::platform::clock;

/// How many times as long as a reading took there is none.
const RESTS: u32 = 9;

pub(super) struct Readings<T> {
    /// So many have begun.
    begun: Arc<AtomicU64>,
    /// Who holds it reads, and nobody else; it is given in the order of the questions.
    last: Arc<Mutex<Last<T>>>,
}

struct Last<T> {
    /// The number of the reading, and what it gave.
    reading: Option<(u64, T)>,
    rest_ends: Instant,
}

impl<T: Clone + Send + 'static> Readings<T> {
    pub(super) fn new() -> Self {
        let last = Last { reading: None, rest_ends: clock::now() };
        Self { begun: Arc::default(), last: Arc::new(Mutex::new(last)) }
    }

    /// What `read` gives, for this caller or another one, called after this was.
    ///
    /// # Errors
    ///
    /// It panicked, or the runtime ends.
    pub(super) async fn current(&self, read: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
        let begun_before = self.begun.load(SeqCst);
        let mut last = Arc::clone(&self.last).lock_owned().await;
        if let Some((number, reading)) = &last.reading
            && *number > begun_before
        {
            return Ok(reading.clone());
        }
        let begun = Arc::clone(&self.begun);
        // A task of its own: who asked may go, but what has begun goes on, and so does the rest after it.
        let reading = task::spawn(async move {
            sleep(last.rest_ends.saturating_duration_since(clock::now())).await;
            let number = begun.fetch_add(1, SeqCst) + 1;
            let begin = clock::now();
            let reading = task::spawn_blocking(read).await;
            let end = clock::now();
            last.rest_ends = end + (end - begin) * RESTS;
            last.reading = reading.as_ref().ok().map(|reading| (number, reading.clone()));
            reading
        });
        reading.await?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, atomic::AtomicUsize};

    use tokio::{sync::oneshot, task::JoinSet};

    use super::*;

    /// Reads how often this was read.
    fn counting(readings: &Arc<AtomicUsize>) -> impl FnOnce() -> usize + Send + 'static {
        let readings = Arc::clone(readings);
        move || readings.fetch_add(1, SeqCst) + 1
    }

    #[tokio::test]
    async fn all_who_ask_while_one_reads_share_the_next_reading() {
        let (readings, times) = (Arc::new(Readings::new()), Arc::new(AtomicUsize::new(0)));
        let (begins, begun) = oneshot::channel();
        let may_end = Arc::new(Barrier::new(2));
        let first = {
            let (readings, count, may_end) = (Arc::clone(&readings), counting(&times), Arc::clone(&may_end));
            task::spawn(async move {
                let read = move || {
                    begins.send(()).expect("the test waits");
                    may_end.wait();
                    count()
                };
                readings.current(read).await.unwrap()
            })
        };
        begun.await.unwrap();
        let mut others = JoinSet::new();
        let asked = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let (readings, read, asked) = (Arc::clone(&readings), counting(&times), Arc::clone(&asked));
            others.spawn(async move {
                let current = readings.current(read);
                asked.fetch_add(1, SeqCst);
                current.await.unwrap()
            });
        }
        while asked.load(SeqCst) < 100 {
            task::yield_now().await;
        }
        may_end.wait();
        assert_eq!(first.await.unwrap(), 1);
        assert_eq!(others.join_all().await, [2; 100]);
    }

    #[tokio::test]
    async fn nobody_is_given_what_was_read_before_the_question() {
        let (readings, times) = (Readings::new(), Arc::new(AtomicUsize::new(0)));
        for expected in 1..=3 {
            assert_eq!(readings.current(counting(&times)).await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn after_a_reading_there_is_a_rest_even_if_who_asked_has_gone() {
        let readings = Readings::new();
        let (takes, taken) = oneshot::channel();
        let slow = move || {
            let begin = Instant::now();
            while begin.elapsed() < std::time::Duration::from_millis(5) {
                std::hint::spin_loop();
            }
            takes.send((begin.elapsed(), Instant::now())).expect("the test waits");
            Instant::now()
        };
        let asking = readings.current(slow);
        tokio::select! {
            biased;
            _ = asking => unreachable!("it takes longer than a poll"),
            () = task::yield_now() => {}
        }
        let (took, end) = taken.await.unwrap();
        let next = readings.current(Instant::now).await.unwrap();
        assert!(next - end >= took * RESTS, "{:?} after {took:?}", next - end);
    }

    #[tokio::test]
    async fn a_reading_that_panics_is_an_error_and_the_next_is_not() {
        let readings = Readings::new();
        assert!(readings.current(|| panic!("on purpose")).await.unwrap_err().is_panic());
        assert_eq!(readings.current(|| 7).await.unwrap(), 7);
    }
}
