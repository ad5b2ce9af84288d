//! A clock that stands still while sockets go on.
//!
//! tokio moves a paused clock on to the next timer whenever no task has anything to do, and a task that waits for a socket
//! has nothing to do. A blocking call that is under way keeps it from that. So what a server allows in a time can be
//! counted to the last frame, and how long it waits be told to the millisecond, however busy the machine is.

use std::sync::mpsc;

use tokio::time;

use super::PATIENCE;

/// Does this while the time of the runtime (of one thread) goes by with [`advance`](time::advance) alone.
pub(crate) async fn stopped<T>(scene: impl Future<Output = T>) -> T {
    let (held, until_dropped) = mpsc::channel::<()>();
    // The timeouts of whoever waits in vain do not come: this one does.
    let too_long = tokio::task::spawn_blocking(move || until_dropped.recv_timeout(PATIENCE));
    time::pause();
    let outcome = tokio::select! {
        outcome = scene => outcome,
        _ = too_long => panic!("somebody waits in vain"),
    };
    time::resume();
    drop(held);
    outcome
}
