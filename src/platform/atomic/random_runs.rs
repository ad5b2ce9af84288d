use std::env;

use shuttle::{
    Config, Runner,
    scheduler::{PctScheduler, RandomScheduler},
};

/// Runs of each test, for each of two ways to draw them, if nothing else is asked for.
const RUNS: usize = 3000;
/// Steps at which a run may turn, where they are drawn as few and rare: what is wrong mostly needs no more.
const TURNS: usize = 4;

/// Of each thread: the sets of a cache are made on it, and Shuttle's atomics are many times as large as real ones.
const STACK_BYTES: usize = 1 << 20;

/// Runs the test many times: with any thread next at each step, and with threads that go on until one of a few steps.
pub(crate) fn random_runs(test: impl Fn() + Send + Sync + Clone + 'static) {
    let runs = env::var("MILLSTREAM_SHUTTLE_RUNS").ok();
    let runs = runs.map_or(RUNS, |runs| runs.parse().expect("MILLSTREAM_SHUTTLE_RUNS is a number"));
    let mut config = Config::new();
    config.silence_warnings = true;
    config.stack_size = STACK_BYTES;
    Runner::new(RandomScheduler::new(runs), config.clone()).run(test.clone());
    Runner::new(PctScheduler::new(TURNS, runs), config).run(test);
}
