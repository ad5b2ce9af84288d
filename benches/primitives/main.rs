//! What the parts cost by themselves, beside those that one would have taken instead.
//!
//! `cargo bench --bench primitives -- [--quick] [--json FILE]`.

#[path = "../common/arguments.rs"]
mod arguments;

mod histogram;
mod pool;
mod queue;
mod speed;

use std::{iter, time::Duration};

use arguments::Arguments;
use serde_json::{Value, json};
use speed::Repeat;

/// One answer to one question.
pub(crate) struct Figure {
    pub(crate) question: &'static str,
    pub(crate) contender: &'static str,
    pub(crate) threads: usize,
    pub(crate) figure: f64,
    pub(crate) unit: &'static str,
}

impl Figure {
    /// What an operation costs each contender, with so many threads and so many.
    pub(crate) fn of_each(
        question: &'static str,
        unit: &'static str,
        contenders: &[(&'static str, Repeat<'_>)],
        threads: &[usize],
        round: Duration,
    ) -> Vec<Self> {
        let repeats: Vec<_> = contenders.iter().map(|(_, repeat)| *repeat).collect();
        let at = |&threads: &usize| {
            iter::zip(contenders, speed::nanos(&repeats, threads, round))
                .map(move |(&(contender, _), figure)| Self { question, contender, threads, figure, unit })
        };
        threads.iter().flat_map(at).collect()
    }
}

fn main() {
    let arguments = Arguments::of_this_process();
    let mut figures = Vec::new();
    for part in [queue::run, pool::run, histogram::run] {
        let answers = part(arguments.quick);
        answers.iter().for_each(|answer| println!("{}", sentence(answer)));
        println!();
        figures.extend(answers);
    }
    let figures: Vec<Value> = figures.iter().map(value).collect();
    arguments.write(&json!({ "figures": figures }));
}

fn sentence(Figure { question, contender, threads, figure, unit }: &Figure) -> String {
    format!("{question:10} {contender:24} {threads} threads: {figure:7.1} {unit}.")
}

fn value(Figure { question, contender, threads, figure, unit }: &Figure) -> Value {
    json!({ "question": question, "contender": contender, "threads": threads, "figure": figure, "unit": unit })
}
