//! Which batch a message may join, against what the configuration says in plain words.

use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use millstream::{OptimizationConfig, Priority, proof::Batches};

#[derive(Debug, Arbitrary)]
struct Plan {
    batch_size: u8,
    timeout_ms: u8,
    max_wait_ms: u8,
    steps: Vec<Step>,
}

#[derive(Debug, Arbitrary)]
struct Step {
    /// Since the step before.
    after_ms: u8,
    priority: Rank,
    slot: u8,
    /// Whether the slot was used before, and is filled anew.
    anew: bool,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Rank {
    High,
    Normal,
    Low,
}

impl Rank {
    fn priority(self) -> Priority {
        match self {
            Self::High => Priority::High,
            Self::Normal => Priority::Normal,
            Self::Low => Priority::Low,
        }
    }
}

/// A batch as one would write it down: when each of its messages came, and in which slot the last of them lies.
struct Open {
    came: Vec<Instant>,
    last: u32,
}

/// See the module.
pub fn batcher(data: &[u8]) {
    let Some(Plan { batch_size, timeout_ms, max_wait_ms, steps }) = crate::read(data) else {
        return;
    };
    let ms = |ms: u8| Duration::from_millis(u64::from(ms));
    let config = OptimizationConfig {
        batch_size: usize::from(batch_size.max(1)),
        batch_timeout: ms(timeout_ms),
        max_batch_wait: ms(max_wait_ms),
        ..OptimizationConfig::default()
    };
    let mut batches = Batches::default();
    let mut model: [Option<Open>; 3] = [None, None, None];
    let mut now = Instant::now();
    for Step { after_ms, priority: rank, slot, anew } in steps {
        now += ms(after_ms);
        let (slot, priority) = (u32::from(slot), rank.priority());
        if anew {
            batches.forget(slot);
            model.iter_mut().for_each(|open| *open = open.take().filter(|open| open.last != slot));
        }
        let open = &mut model[rank as usize];
        let expected = open.as_ref().filter(|Open { came, .. }| {
            came.len() < config.batch_size
                && came.last().is_some_and(|&latest| latest + config.batch_timeout >= now)
                && came.first().is_some_and(|&first| first + config.max_batch_wait >= now)
        });
        let expected = expected.map(|open| open.last);
        assert_eq!(batches.joinable(priority, now, &config), expected);
        match open {
            Some(open) if expected.is_some() => {
                batches.joined(priority, slot, now);
                open.came.push(now);
                open.last = slot;
            }
            open => {
                batches.opened(priority, slot, now);
                *open = Some(Open { came: vec![now], last: slot });
            }
        }
    }
}
