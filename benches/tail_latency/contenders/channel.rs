//! What many write by themselves: a channel, some pinned threads, and a oneshot for each answer.

use std::{
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam::channel::{self, Sender};
use tokio::sync::oneshot;

use super::{Executor, workers};
use crate::work::Work;

/// Jobs that the channel holds: more than any trace has, for a full channel would block an I/O thread.
pub(super) const CAPACITY: usize = 1 << 16;

struct Order {
    work: Work,
    answer: oneshot::Sender<Duration>,
}

pub(super) struct Channel {
    /// `None` once dropped.
    orders: Option<Sender<Order>>,
    threads: Vec<JoinHandle<()>>,
}

impl Channel {
    pub(super) fn start() -> Self {
        let (orders, inbox) = channel::bounded::<Order>(CAPACITY);
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let worker = |number: usize| {
            let (inbox, core) = (inbox.clone(), cores.get(number).copied());
            thread::spawn(move || {
                if let Some(core) = core {
                    core_affinity::set_for_current(core);
                }
                for order in inbox {
                    // Nobody listens only when the run was given up.
                    order.answer.send(order.work.burn()).ok();
                }
            })
        };
        Self { threads: (0..workers().get()).map(worker).collect(), orders: Some(orders) }
    }
}

impl Executor for Channel {
    fn run(&self, work: Work) -> impl Future<Output = Duration> + Send + 'static {
        let (sender, answer) = oneshot::channel();
        let orders = self.orders.as_ref().expect("it is not dropped");
        orders.send(Order { work, answer: sender }).expect("the threads outlive the sender");
        async move { answer.await.expect("work does not panic") }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.orders.take();
        for thread in self.threads.drain(..) {
            thread.join().expect("work does not panic");
        }
    }
}
