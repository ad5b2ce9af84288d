//! The same work in many classes, and under many keys.
//!
//! Under keys there is one message under way at a time: two equal ones would be one piece of work. The answers to the one
//! key are not kept, so that it is worked on each time; those to the many are, as a user would have it.

use std::fmt;

use serde::Serialize;

use crate::{
    pairs::Pairs,
    referee::Referee,
    work::{Mix, Plane, Steps},
};

const CLASSES: u64 = 1000;
const KEYS: u64 = 1_000_000;
/// Messages under way where they may be many.
const IN_FLIGHT: usize = 64;
/// In a round of classes.
const MESSAGES: u64 = 30_000;
/// Rounds, and where minutes count.
const ROUNDS: (u64, u64) = (50, 10);

/// How long a message takes where everything is one, and where it is many.
#[derive(Debug, Serialize)]
pub(crate) struct Variety {
    pub(crate) of: &'static str,
    pub(crate) time: Pairs,
}

impl fmt::Display for Variety {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: a message takes {}.", self.of, self.time)
    }
}

pub(crate) const OF_CLASSES: &str = "1,000 classes";
pub(crate) const OF_KEYS: &str = "1,000,000 keys, each worked on";
pub(crate) const OF_ANSWERS: &str = "1,000,000 keys, each answered from the cache";

pub(crate) fn measure(referee: &mut Referee, quick: bool) -> Vec<Variety> {
    let rounds = if quick { ROUNDS.1 } else { ROUNDS.0 };
    let steps = Steps::of_work();
    vec![classes(referee, rounds, steps), keys(referee, rounds, steps), answers(referee, rounds)]
}

fn classes(referee: &mut Referee, rounds: u64, steps: Steps) -> Variety {
    let (one, many) = (Plane::new(IN_FLIGHT, 0), Plane::new(IN_FLIGHT, 0));
    let mix = Mix { messages: MESSAGES, steps, first: 0, classes: 1, keys: None, kept: false };
    one.run(mix);
    many.run(Mix { classes: CLASSES, ..mix });
    compare(referee, OF_CLASSES, rounds, |_| one.run(mix), |_| many.run(Mix { classes: CLASSES, ..mix }))
}

/// On the one key a fourth of the messages has to do: there are as many rounds.
const OF_ONE_KEY: u64 = 4;

/// All keys in the end, each once in so many rounds.
fn keys(referee: &mut Referee, rounds: u64, steps: Steps) -> Variety {
    let (one, many) = (Plane::new(1, KEYS), Plane::new(1, KEYS));
    let messages = KEYS / rounds;
    let mix =
        Mix { messages: messages / OF_ONE_KEY, steps, first: 0, classes: 1, keys: Some(1), kept: false };
    one.run(mix);
    compare(
        referee,
        OF_KEYS,
        rounds,
        |_| one.run(mix),
        // A run that is done again has to have keys of its own, too.
        |run| many.run(Mix { messages, first: run * messages, keys: Some(u64::MAX), kept: true, ..mix }),
    )
}

fn answers(referee: &mut Referee, rounds: u64) -> Variety {
    let (one, many) = (Plane::new(IN_FLIGHT, KEYS), Plane::new(IN_FLIGHT, KEYS));
    let mix =
        Mix { messages: MESSAGES, steps: Steps::none(), first: 0, classes: 1, keys: Some(1), kept: true };
    one.run(mix);
    let all = Mix { messages: KEYS, keys: Some(KEYS), ..mix };
    many.run(all);
    compare(
        referee,
        OF_ANSWERS,
        rounds,
        |_| one.run(mix),
        |run| many.run(Mix { first: run * MESSAGES, messages: MESSAGES, ..all }),
    )
}

/// Runs both, round by round; each is told how many runs there were before.
fn compare(
    referee: &mut Referee,
    of: &'static str,
    rounds: u64,
    one: impl Fn(u64) -> f64,
    many: impl Fn(u64) -> f64,
) -> Variety {
    let mut runs = 0;
    let mut judged = |run: &dyn Fn(u64) -> f64| {
        referee.judge(
            |_| false,
            || {
                runs += 1;
                run(runs - 1)
            },
        )
    };
    let pairs: Vec<_> = (0..rounds).map(|_| (judged(&one) / 1e3, judged(&many) / 1e3)).collect();
    Variety { of, time: Pairs::of(&pairs) }
}
