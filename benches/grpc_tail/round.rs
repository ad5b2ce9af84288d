//! Rounds: in each, all scenarios, and in each of those all contenders in an order of chance, on the same arrivals.
//!
//! What the cores can do is measured anew in each round, so that a machine that is slow for a while is slow for both sides of
//! the ratio; the rates are those of the first round, so that all rounds have the same arrivals.
//!
//! A run whose generator was late, or which others disturbed, is thrown away, counted, and done again
//! ([`referee`](crate::referee)).

use std::{
    thread,
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::Xoshiro256PlusPlus, seq::SliceRandom};

use crate::{
    children::own_cpu,
    contenders::{CONTENDERS, Contender},
    generator::{self, Offer, Seen},
    naive,
    referee::Referee,
    results::{Capacity, Results, ScenarioResults},
    scenarios::{Rate, SCENARIOS, Scenario, TWICE, find},
};

/// The arrivals of the first round.
const SEED: u64 = 20_260_201;
/// What may go into runs that are thrown away, and where minutes count.
const WASTE: (Duration, Duration) = (Duration::from_secs(240), Duration::from_secs(30));
/// How long the capacity is measured for.
const CAPACITY: Duration = Duration::from_secs(2);
/// Offered of what the cores could do at best, so that none of them is ever idle.
const SATURATING: f64 = 1.3;

/// Runs it all.
pub(crate) fn run(quick: bool) -> Result<Results, String> {
    let pick = |full, short| if quick { short } else { full };
    let mut referee = Referee::new(own_cpu, if quick { WASTE.1 } else { WASTE.0 });
    let mut chance = Xoshiro256PlusPlus::seed_from_u64(SEED);
    let mut capacities = vec![measure_capacity(&mut referee)?];
    let mut scenarios: Vec<_> =
        SCENARIOS.iter().map(|scenario| ScenarioResults::new(scenario, capacities[0])).collect();
    let most = SCENARIOS.iter().map(|scenario| pick(scenario.rounds.0, scenario.rounds.1)).max().unwrap_or(0);
    for round in 0..most {
        let start = Instant::now();
        if round > 0 {
            capacities.push(measure_capacity(&mut referee)?);
        }
        for results in &mut scenarios {
            let scenario = results.scenario;
            if round >= pick(scenario.rounds.0, scenario.rounds.1) {
                continue;
            }
            let (full, short) = scenario.duration;
            let offer = Offer {
                scenario: scenario.name.to_owned(),
                server: String::new(),
                rate_per_s: results.rate_per_s,
                warm_up: scenario.warm_up,
                duration: if quick { short } else { full },
                drain: scenario.drain,
                deadlines: true,
                seed: SEED + round as u64,
            };
            let mut order: Vec<usize> =
                (0..CONTENDERS.len()).filter(|&index| CONTENDERS[index].takes_part(scenario.name)).collect();
            order.shuffle(&mut chance);
            for index in order {
                let seen = judged(&mut referee, &CONTENDERS[index], &offer)?;
                results.rounds[index].push(seen);
            }
        }
        eprintln!("round {} of {most} in {:.0?}, {:?}", round + 1, start.elapsed(), referee.validity);
    }
    Ok(Results { capacity: Capacity::median_of(&capacities), scenarios, validity: referee.validity })
}

impl ScenarioResults {
    fn new(scenario: &'static Scenario, capacity: Capacity) -> Self {
        let rate_per_s = match scenario.rate {
            Rate::PerSecond(rate) => rate,
            Rate::OfCapacity(times) => times * capacity.per_s,
        };
        Self { scenario, rate_per_s, rounds: vec![Vec::new(); CONTENDERS.len()] }
    }
}

/// One run that counts.
fn judged(referee: &mut Referee, contender: &Contender, offer: &Offer) -> Result<Seen, String> {
    let is_late = |seen: &Result<Seen, String>| seen.as_ref().is_ok_and(|seen| !seen.valid);
    referee.judge(is_late, || {
        let server = contender.start()?;
        generator::run(&Offer { server: server.url(), ..offer.clone() })
    })
}

/// Messages of the overload that are answered each second by the inline server, which has more than it can do, no
/// deadlines, and nothing to refuse.
fn measure_capacity(referee: &mut Referee) -> Result<Capacity, String> {
    let scenario = find(TWICE).expect("it is one of the scenarios");
    let busy = scenario.busy().expect("its messages take CPU time");
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    let offer = Offer {
        scenario: scenario.name.to_owned(),
        server: String::new(),
        rate_per_s: SATURATING * cores as f64 / busy.as_secs_f64(),
        warm_up: Duration::ZERO,
        duration: CAPACITY,
        // What is not answered by the end does not count.
        drain: Duration::from_millis(1),
        deadlines: false,
        seed: SEED,
    };
    let inline = CONTENDERS.iter().find(|contender| contender.name == naive::INLINE);
    let seen = judged(referee, inline.expect("it is one of the contenders"), &offer)?;
    let per_s = seen.answered_ok as f64 / CAPACITY.as_secs_f64();
    Ok(Capacity { per_s, generator_cpu_share: seen.generator_cpu_share })
}
