//! Threads that have sunk, and on which cores each of them goes on.
//!
//! They share what the front leaves of the cores, and the platform gives those on one core equal shares: were all of them to
//! run anywhere, all would be done late. So when they are as many as the cores, or more, *each core but the last belongs to
//! one of those that sank first*, and the others share the last one. Who is done is followed by the next in line, which has
//! part of its message behind it then. No core is without one of them meanwhile, so nothing is lost by it; when they are
//! fewer, each may run wherever it finds room.
//!
//! That is not first come, first served, as the background serves what is known to be long, but half of the way there.
//! Closures of which nothing is known, mixed 0.2/10 ms, 0.7 to 0.9 of two cores (`tail_latency --scenario
//! mixed_200us_10ms`, medians of two runs in turn): p99 of all, which is that of the long ones, 52, 66, 89 and 173 ms
//! where all ran anywhere, 42, 52, 69 and 127 so; p99.9 104, 125, 157 and 253 ms, and 59, 78, 100 and 169 so. Nothing short
//! of stopping threads in the midst of strangers' code would do more; a [`Class`](crate::Class) does.
//!
//! Where workers are not pinned, nor are these.

use std::sync::Arc;

use super::super::post::Post;
use crate::platform::affinity::{Core, pin_thread};

/// On which cores a thread may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Berth {
    /// On that of the seat that it has lost.
    Seat,
    Anywhere,
    /// On this one, which is no other sunk thread's.
    Own(usize),
    /// On the last one, with others.
    Shared,
}

/// Threads that have sunk and are not back.
pub(super) struct Sunk {
    /// Of the pool, each once.
    cores: Vec<Core>,
    /// Those that sank first are first.
    posts: Vec<Arc<Post>>,
    berths: Vec<Berth>,
}

impl Sunk {
    /// None, on the cores of a pool that is pinned to these.
    pub(super) fn new(cores: &[Core]) -> Self {
        Self { cores: cores.to_vec(), posts: Vec::new(), berths: Vec::new() }
    }

    pub(super) fn posts(&self) -> &[Arc<Post>] {
        &self.posts
    }

    /// A thread has sunk, and was released.
    pub(super) fn add(&mut self, post: Arc<Post>) {
        self.posts.push(post);
        self.berths.push(Berth::Seat);
        self.arrange();
    }

    /// A thread is back, or was given up; false when it is none of these.
    pub(super) fn strike(&mut self, post: &Arc<Post>) -> bool {
        let Some(found) = self.posts.iter().position(|sunk| Arc::ptr_eq(sunk, post)) else { return false };
        self.posts.remove(found);
        self.berths.remove(found);
        self.arrange();
        true
    }

    /// Gives each its berth.
    fn arrange(&mut self) {
        if self.cores.is_empty() {
            return;
        }
        let before = self.berths.clone();
        assign(&mut self.berths, self.cores.len());
        let moves = self.posts.iter().zip(&self.berths).zip(before);
        for ((post, &berth), _) in moves.filter(|((_, now), before)| *now != before) {
            move_to(post, self.cores_of(berth));
        }
    }

    fn cores_of(&self, berth: Berth) -> &[Core] {
        match berth {
            Berth::Own(core) => &self.cores[core..=core],
            Berth::Shared => &self.cores[self.cores.len() - 1..],
            Berth::Anywhere | Berth::Seat => &self.cores,
        }
    }
}

/// Gives berths on so many cores to threads in this order; who has one of its own keeps it.
fn assign(berths: &mut [Berth], cores: usize) {
    if cores == 1 || berths.len() < cores {
        berths.fill(Berth::Anywhere);
        return;
    }
    let (first, others) = berths.split_at_mut(cores - 1);
    let taken = first.to_vec();
    let mut free = (0..cores - 1).filter(|&core| !taken.contains(&Berth::Own(core)));
    for berth in first.iter_mut().filter(|berth| !matches!(berth, Berth::Own(_))) {
        *berth = Berth::Own(free.next().expect("as many cores as threads to have one"));
    }
    others.fill(Berth::Shared);
}

fn move_to(post: &Post, cores: &[Core]) {
    // One that is about to end may stay where it is.
    let Some(thread) = post.thread().filter(|_| post.hold_anew()) else { return };
    if !pin_thread(thread, cores) {
        tracing::debug!(%thread, ?cores, "the platform leaves a thread that has sunk where it is");
    }
    post.release();
}

#[cfg(test)]
#[cfg(not(millstream_loom))]
mod tests {
    use super::{Berth::*, *};

    /// As many as there are berths, after one more or one less.
    fn assigned<const N: usize>(mut berths: [Berth; N], cores: usize) -> [Berth; N] {
        assign(&mut berths, cores);
        berths
    }

    #[test]
    fn fewer_than_cores_run_anywhere() {
        assert_eq!(assigned([Seat], 1), [Anywhere]);
        assert_eq!(assigned([Seat], 2), [Anywhere]);
        assert_eq!(assigned([Anywhere, Seat], 3), [Anywhere; 2]);
        assert_eq!(assigned([Own(1), Shared], 3), [Anywhere; 2], "when one has gone");
        assert_eq!(assigned([Anywhere, Anywhere, Seat], 1), [Anywhere; 3], "there is but one core");
    }

    #[test]
    fn of_as_many_as_cores_or_more_the_first_have_one_each_and_keep_it() {
        assert_eq!(assigned([Anywhere, Seat], 2), [Own(0), Shared]);
        assert_eq!(assigned([Own(0), Shared, Seat], 2), [Own(0), Shared, Shared]);
        assert_eq!(assigned([Own(0), Shared, Shared, Seat], 2), [Own(0), Shared, Shared, Shared]);
        assert_eq!(assigned([Anywhere, Anywhere, Seat], 3), [Own(0), Own(1), Shared]);
    }

    #[test]
    fn who_is_done_is_followed_by_the_next_in_line() {
        assert_eq!(assigned([Shared, Shared, Shared], 2), [Own(0), Shared, Shared]);
        assert_eq!(assigned([Own(1), Shared, Shared, Shared], 3), [Own(1), Own(0), Shared, Shared]);
        assert_eq!(assigned([Own(0), Shared, Shared, Shared], 3), [Own(0), Own(1), Shared, Shared]);
        assert_eq!(
            assigned([Own(0), Own(1), Shared, Shared], 3),
            [Own(0), Own(1), Shared, Shared],
            "one of the last"
        );
    }
}
