//! Things that are dear to make, kept for the next message: handler instances, validators, byte buffers.
//!
//! A [`ResourcePool`] is made once and shared. The threads that read streams check validators out of it, the workers
//! handlers and buffers; each guard brings its instance back when it is dropped, on whichever thread that is. What
//! holds for each of the three pools is said, and argued, in `pool` (the life of an instance), `desks` (where it is when
//! it is idle) and `slots` (why no thread waits for another):
//! - a checkout never blocks: it finds an idle instance, or makes one;
//! - an instance is in one pair of hands at a time, and is reset before it gets into the next;
//! - what a panic may have left half changed is never used again;
//! - no more than the configured number of instances is kept idle.

mod berth;
mod buffers;
mod desk;
mod desks;
mod pool;
mod reset;
mod seats;
mod slots;
mod stats;

use std::fmt;

pub use buffers::{BufferPool, PooledBuffer};
pub use pool::{Keep, Pool, PoolOptions, Pooled};
pub use stats::PoolStats;

use super::{config::OptimizationConfig, error::OptimizationError};
use crate::platform::contain::contain;

/// How the instances of a [`ResourcePool`] are made, and readied for their next message.
#[derive(Debug, Clone, Copy)]
pub struct ResourceFactories<MakeHandler, ResetHandler, MakeValidator> {
    /// Makes a handler: `Fn() -> H`.
    pub handler: MakeHandler,
    /// Readies a handler that came back: `Fn(&mut H)`.
    pub reset_handler: ResetHandler,
    /// Makes a validator: `Fn() -> V`.
    pub validator: MakeValidator,
}

/// The figures of the three pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ResourcePoolStats {
    /// Handler instances.
    pub handlers: PoolStats,
    /// Validators.
    pub validators: PoolStats,
    /// Byte buffers.
    pub buffers: PoolStats,
}

/// The handlers, validators and buffers of one data plane. Clones are handles on the same pools.
///
/// ```
/// use millstream::{OptimizationConfig, ResourceFactories, ResourcePool};
///
/// let factories = ResourceFactories {
///     handler: || String::from("scratch space"),
///     reset_handler: String::clear,
///     validator: || |message: &str| !message.is_empty(),
/// };
/// let pool = ResourcePool::new(&OptimizationConfig::memory_efficient(), factories)?;
/// pool.handler().push_str("work");
/// assert!((pool.validator())("a message"));
/// assert_eq!(pool.stats().handlers.hits, 1);
/// # Ok::<(), millstream::OptimizationError>(())
/// ```
pub struct ResourcePool<H: Send + 'static, V: Send + 'static> {
    handlers: Pool<H>,
    validators: Pool<V>,
    buffers: BufferPool,
}

impl<H: Send + 'static, V: Send + 'static> ResourcePool<H, V> {
    /// Pools with the sizes of `config`. As many handlers are made ahead as can run at a time (a handler for each
    /// worker, `service_pool_size` at most), and one validator.
    ///
    /// # Errors
    /// [`OptimizationError::ResourcePoolError`] when a factory panics, and which.
    pub fn new<MakeHandler, ResetHandler, MakeValidator>(
        config: &OptimizationConfig,
        factories: ResourceFactories<MakeHandler, ResetHandler, MakeValidator>,
    ) -> Result<Self, OptimizationError>
    where
        MakeHandler: Fn() -> H + Send + Sync + 'static,
        ResetHandler: Fn(&mut H) + Send + Sync + 'static,
        MakeValidator: Fn() -> V + Send + Sync + 'static,
    {
        let ResourceFactories { handler, reset_handler, validator } = factories;
        let handlers = made_ahead("handler", || {
            let options =
                PoolOptions { capacity: config.service_pool_size, preallocate: config.worker_count };
            Pool::new(options, handler, move |instance| {
                reset_handler(instance);
                Keep::Yes
            })
        })?;
        let validators = made_ahead("validator", || {
            // One, so that a factory that cannot work is known now, and not with the first message.
            let options = PoolOptions { capacity: config.validator_pool_size, preallocate: 1 };
            Pool::new(options, validator, |_| Keep::Yes)
        })?;
        Ok(Self { handlers, validators, buffers: BufferPool::new(config) })
    }
}

fn made_ahead<T: Send + 'static>(
    kind: &str,
    build: impl FnOnce() -> Pool<T>,
) -> Result<Pool<T>, OptimizationError> {
    contain(build).map_err(|panic| {
        let what = format!("the {kind} factory panicked while instances were made ahead: {panic}");
        OptimizationError::ResourcePoolError(what.into())
    })
}

impl<H: Send + 'static, V: Send + 'static> ResourcePool<H, V> {
    /// A handler, ready for a message.
    ///
    /// # Panics
    /// When none is idle and the factory panics.
    #[must_use]
    pub fn handler(&self) -> Pooled<H> {
        self.handlers.checkout()
    }

    /// A validator.
    ///
    /// # Panics
    /// When none is idle and the factory panics.
    #[must_use]
    pub fn validator(&self) -> Pooled<V> {
        self.validators.checkout()
    }

    /// The byte buffers.
    #[must_use]
    pub fn buffers(&self) -> &BufferPool {
        &self.buffers
    }

    /// What the pools have done so far.
    #[must_use]
    pub fn stats(&self) -> ResourcePoolStats {
        ResourcePoolStats {
            handlers: self.handlers.stats(),
            validators: self.validators.stats(),
            buffers: self.buffers.stats(),
        }
    }
}

impl<H: Send + 'static, V: Send + 'static> Clone for ResourcePool<H, V> {
    fn clone(&self) -> Self {
        Self {
            handlers: self.handlers.clone(),
            validators: self.validators.clone(),
            buffers: self.buffers.clone(),
        }
    }
}

impl<H: Send + 'static, V: Send + 'static> fmt::Debug for ResourcePool<H, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourcePool").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
