//! The plane, and the work that its messages are.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use millstream::{
    Class, HandlerError, JobScope, MessageHandler, OptimizationConfig, OptimizedStreamProcessor, Priority,
};

use crate::clock::thread_cpu;

/// The mean of the work.
pub(crate) const SERVICE: Duration = Duration::from_millis(1);

pub(crate) type Plane = OptimizedStreamProcessor<Burner>;

/// Burns CPU time.
pub(crate) struct Burner;

pub(crate) struct Work {
    pub(crate) time: Duration,
    /// Whose it is, to be asked for a forecast when the message is accepted.
    pub(crate) plane: Plane,
    /// The wait that was predicted then, in nanoseconds.
    pub(crate) predicted: Arc<AtomicU64>,
}

impl MessageHandler for Burner {
    type Request = Work;
    type Response = ();

    fn handle(&mut self, work: Work, scope: &mut JobScope<'_>) -> Result<(), HandlerError> {
        let end = thread_cpu() + work.time;
        while thread_cpu() < end {
            scope.checkpoint()?;
        }
        Ok(())
    }

    fn class(work: &Work) -> Class {
        let wait = work.plane.forecast(Class::DEFAULT, Priority::Normal).queue_wait;
        work.predicted.store(wait.as_nanos() as u64, Relaxed);
        Class::DEFAULT
    }
}

/// A plane of two workers, with settings as they come otherwise.
pub(crate) fn plane(turn: impl FnOnce(&mut OptimizationConfig)) -> Plane {
    let mut config = OptimizationConfig { worker_count: 2, ..OptimizationConfig::default() };
    turn(&mut config);
    OptimizedStreamProcessor::new(config, || Burner)
        .expect("the configuration is valid, and there are threads")
}
