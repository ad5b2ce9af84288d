//! Where threads begin, wait and give way: the platform's scheduler decides who runs, or, in the crate's own tests, a
//! simulation that has one seed for everything.
//!
//! Outside of tests each function here is the call that it is named after, and [`point`] and [`reached!`] are nothing.
//! In a test, a thread that a [`director`] has put on the stage runs only while it holds the baton, and these places are
//! where it may pass to another. So the code that runs is the real one, and its interleaving is repeatable.
//!
//! ```text
//!  point, give_way      may go on, or let any other thread that can run go first
//!  wait, receive, pause cannot run until it is woken, something is there, or the (virtual) time has come
//!  spawn                a new thread, which can run from now on
//! ```
//! A thread holds no lock at a point that another takes without trying: that one would wait outside of the director's
//! sight, and the director says so after a while.

use std::{
    io,
    time::{Duration, Instant},
};

use crossbeam::{channel::Receiver, select};

#[cfg(not(any(millstream_loom, millstream_shuttle)))]
use super::atomic::AtomicU32;

#[cfg(test)]
#[cfg(not(millstream_loom))]
#[cfg_attr(millstream_shuttle, allow(dead_code, reason = "threads of shuttle sleep by shuttle's means"))]
pub(crate) mod director;

#[cfg(test)]
#[cfg(not(millstream_loom))]
use self::director::role;

/// A step of a protocol, between two others that threads may take in any order.
#[inline(always)]
pub(crate) fn point() {
    #[cfg(test)]
    #[cfg(not(millstream_loom))]
    if let Some(role) = role() {
        role.point();
    }
}

/// Names a rare place. It is a [`point`] too; and the simulation has to have been at each.
macro_rules! reached {
    ($name:literal) => {{
        #[cfg(test)]
        #[cfg(not(millstream_loom))]
        $crate::platform::stage::director::reached($name);
    }};
}
pub(crate) use reached;

/// Lets others run first: what is waited for is a few instructions of another thread away.
pub(crate) fn give_way() {
    #[cfg(test)]
    #[cfg(not(millstream_loom))]
    if let Some(role) = role() {
        return role.give_way();
    }
    #[cfg(millstream_loom)]
    return loom::thread::yield_now();
    #[cfg(millstream_shuttle)]
    return shuttle::thread::yield_now();
    #[cfg(not(any(millstream_loom, millstream_shuttle)))]
    std::thread::yield_now();
}

/// Leaves the core to others for so long.
pub(crate) fn pause(time: Duration) {
    #[cfg(test)]
    #[cfg(not(millstream_loom))]
    if let Some(role) = role() {
        return role.sleep(time);
    }
    // Nobody wakes a thread here, so that it comes back early only where the platform lets it, which is as well.
    std::thread::park_timeout(time);
}

/// A thread of its own.
///
/// # Errors
/// The system gives none.
pub(crate) fn spawn(name: String, life: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = std::thread::Builder::new().name(name);
    #[cfg(test)]
    #[cfg(not(millstream_loom))]
    if let Some(role) = role() {
        return role.spawn(thread, life);
    }
    thread.spawn(life).map(drop)
}

/// What [`receive`] has found.
pub(crate) enum Heard<T> {
    Letter(T),
    Bell,
    /// Until the deadline.
    Nothing,
}

/// What comes until `deadline`. Somebody who may still write and ring has to be there, be it the caller itself.
pub(crate) fn receive<T: Send + 'static>(
    inbox: &Receiver<T>,
    bell: &Receiver<()>,
    deadline: Instant,
) -> Heard<T> {
    #[cfg(test)]
    #[cfg(not(millstream_loom))]
    if let Some(role) = role() {
        return role.receive(inbox, bell, deadline);
    }
    select! {
        recv(inbox) -> letter => Heard::Letter(letter.expect("somebody may still write")),
        recv(bell) -> rung => {
            rung.expect("somebody may still ring");
            Heard::Bell
        }
        default(deadline.saturating_duration_since(Instant::now())) => Heard::Nothing,
    }
}

/// In a simulation, how long it has taken so far.
#[cfg(test)]
#[cfg(not(millstream_loom))]
pub(crate) fn virtual_time() -> Option<Duration> {
    role().map(|role| role.time())
}

/// Sleeps while `word` is as expected, until [`wake`] or for nothing.
#[cfg(not(any(millstream_loom, millstream_shuttle)))]
pub(crate) fn wait(word: &AtomicU32, expected: u32) {
    #[cfg(test)]
    if let Some(role) = role() {
        return role.wait(word);
    }
    atomic_wait::wait(word, expected);
}

/// Wakes whoever sleeps at `word`, whose value has changed.
#[cfg(not(any(millstream_loom, millstream_shuttle)))]
pub(crate) fn wake(word: &AtomicU32) {
    #[cfg(test)]
    if let Some(role) = role() {
        return role.wake(word);
    }
    atomic_wait::wake_one(word);
}
