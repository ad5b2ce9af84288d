//! A room of this bench: a question, and the measures that answer it.
//!
//! A measure has one figure for each contender. [`Measure::take`] calls the contenders once a round, in an order of
//! chance, so that a noisy second of the machine is nobody's in particular; a figure is the median of the rounds, with the
//! least and the most beside it. Nothing is compared but figures of the same measure.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};
use serde::Serialize;

/// A question, and who answers it.
pub(crate) struct Room {
    pub(crate) name: &'static str,
    pub(crate) question: &'static str,
    pub(crate) measure: fn(&Effort) -> Vec<Measure>,
}

/// How hard to look.
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// How long one contender is measured for in one round, about.
    pub(crate) time: Duration,
}

impl Effort {
    pub(crate) fn new(quick: bool) -> Self {
        let (rounds, time) =
            if quick { (5, Duration::from_millis(20)) } else { (15, Duration::from_millis(100)) };
        Self { rounds, time }
    }
}

/// Which figures are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Better {
    Less,
    More,
}

/// One figure of every contender.
#[derive(Debug, Serialize)]
pub(crate) struct Measure {
    what: String,
    unit: &'static str,
    better: Better,
    figures: Vec<Figure>,
}

/// The median of the rounds, and how far they lie apart.
#[derive(Debug, Clone, Copy, Serialize)]
struct Figure {
    name: &'static str,
    standing: Standing,
    median: f64,
    least: f64,
    most: f64,
}

/// What a contender is to millstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    Ours,
    /// What one would have taken instead.
    Peer,
    /// What it would cost if it did less than is needed: where the others are measured from.
    Limit,
}

/// Somebody to be measured.
pub(crate) struct Contender<'a> {
    name: &'static str,
    standing: Standing,
    /// Gives the figure of one round.
    round: Box<dyn FnMut() -> f64 + 'a>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(name: &'static str, standing: Standing, round: impl FnMut() -> f64 + 'a) -> Self {
        Self { name, standing, round: Box::new(round) }
    }

    pub(crate) fn ours(round: impl FnMut() -> f64 + 'a) -> Self {
        Self::new("millstream", Standing::Ours, round)
    }

    pub(crate) fn peer(name: &'static str, round: impl FnMut() -> f64 + 'a) -> Self {
        Self::new(name, Standing::Peer, round)
    }

    pub(crate) fn limit(name: &'static str, round: impl FnMut() -> f64 + 'a) -> Self {
        Self::new(name, Standing::Limit, round)
    }
}

impl Measure {
    /// Measures all contenders, round by round.
    pub(crate) fn take(
        what: impl Into<String>,
        unit: &'static str,
        better: Better,
        effort: &Effort,
        mut contenders: Vec<Contender<'_>>,
    ) -> Self {
        let mut chance = SmallRng::seed_from_u64(effort.rounds as u64);
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        let mut rounds: Vec<Vec<f64>> = vec![Vec::new(); contenders.len()];
        // The first round warms up: threads, caches, the branch predictor.
        for round in 0..=effort.rounds {
            order.shuffle(&mut chance);
            for &index in &order {
                let figure = (contenders[index].round)();
                if round > 0 {
                    rounds[index].push(figure);
                }
            }
        }
        let figures = contenders.iter().zip(rounds).map(|(contender, rounds)| Figure::of(contender, rounds));
        Self { what: what.into(), unit, better, figures: figures.collect() }
    }

    /// What came out, for people: millstream beside the best of the others, then everybody.
    pub(crate) fn sentences(&self) -> String {
        let mut text = format!("  {}, in {}:", self.what, self.unit);
        if let (Some(ours), Some(peer)) =
            (self.best_figure(Standing::Ours, |_| true), self.best_figure(Standing::Peer, |_| true))
        {
            let ratio = ours.median / peer.median;
            write!(text, " {}'s is {ratio:.2} times that of {}, the best peer.", ours.name, peer.name)
                .expect("a string takes all");
        }
        let mut figures: Vec<_> = self.figures.iter().collect();
        figures.sort_by(|one, other| one.median.total_cmp(&other.median));
        if self.better == Better::More {
            figures.reverse();
        }
        for Figure { name, standing, median, least, most } in figures {
            let limit = if *standing == Standing::Limit { "; the limit" } else { "" };
            write!(text, "\n    {name:32} {median:10.2}  ({least:.2} to {most:.2}){limit}")
                .expect("a string takes all");
        }
        text
    }

    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// The best median of those who stand like that, and are meant.
    pub(crate) fn best(&self, standing: Standing, meant: impl Fn(&str) -> bool) -> Option<f64> {
        self.best_figure(standing, meant).map(|figure| figure.median)
    }

    fn best_figure(&self, standing: Standing, meant: impl Fn(&str) -> bool) -> Option<&Figure> {
        let figures = self.figures.iter().filter(|figure| figure.standing == standing && meant(figure.name));
        let by_median = |one: &&Figure, other: &&Figure| one.median.total_cmp(&other.median);
        match self.better {
            Better::Less => figures.min_by(by_median),
            Better::More => figures.max_by(by_median),
        }
    }
}

impl Figure {
    fn of(contender: &Contender<'_>, mut rounds: Vec<f64>) -> Self {
        let &Contender { name, standing, .. } = contender;
        rounds.sort_by(f64::total_cmp);
        let at = |index: usize| rounds.get(index).copied().unwrap_or(f64::NAN);
        Self { name, standing, median: at(rounds.len() / 2), least: at(0), most: at(rounds.len() - 1) }
    }
}

/// Nanoseconds that `work` takes, in the mean over as many calls as fit into the time. The clock is read once a batch.
pub(crate) fn nanoseconds_each(time: Duration, mut work: impl FnMut()) -> f64 {
    const BATCH: u32 = 256;
    let start = Instant::now();
    let mut calls = 0_u64;
    loop {
        (0..BATCH).for_each(|_| work());
        calls += u64::from(BATCH);
        let elapsed = start.elapsed();
        if elapsed >= time {
            return elapsed.as_nanos() as f64 / calls as f64;
        }
    }
}
