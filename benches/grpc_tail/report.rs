//! What came out, as sentences and as JSON.

use std::{fmt::Write, thread};

use serde_json::{Value, json};

use crate::{
    contenders::Contender,
    generator::{Seen, Times},
    goal::Goal,
    results::{Results, ScenarioResults, over},
    scenarios::{LONG, SHORT},
    words::{figure, time},
};

/// Everything that a person wants to know who has a terminal.
pub(crate) fn sentences(results: &Results, goals: &[Goal]) -> String {
    let mut text = String::new();
    for scenario in &results.scenarios {
        line(
            &mut text,
            format_args!(
                "\n{}: {}; {:.0} messages a second.",
                scenario.scenario.name, scenario.scenario.what, scenario.rate_per_s
            ),
        );
        for (contender, rounds) in scenario.contenders() {
            line(&mut text, format_args!("  {}", sentence(scenario, contender, rounds)));
        }
    }
    text.push_str("\nWhat was to be reached:\n");
    goals.iter().for_each(|goal| line(&mut text, format_args!("{goal}")));
    let validity = results.validity;
    line(
        &mut text,
        format_args!(
            "\n{} cores; the capacity is {} messages a second; {} runs that count; thrown away and run again: {} for CPU \
         time that others took, {} for a late generator; disturbed each time, and in the figures: {}. Figures are \
         medians over rounds.",
            cores(),
            figure(results.capacity.per_s),
            validity.runs,
            validity.discarded_noise,
            validity.discarded_late,
            validity.kept_in_spite
        ),
    );
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("a string takes all");
}

fn sentence(scenario: &ScenarioResults, contender: &Contender, rounds: &[Seen]) -> String {
    let at = |what: fn(&Times) -> f64| {
        over(rounds, |seen| seen.times().as_ref().map(what)).map_or("never".to_owned(), time)
    };
    let p99s = rounds.iter().filter_map(|seen| Some(seen.times()?.p99_us));
    let (least, most) =
        p99s.fold((f64::INFINITY, 0.0_f64), |(least, most), p99| (least.min(p99), most.max(p99)));
    let spread = if least > most { String::new() } else { format!(" ({} to {})", time(least), time(most)) };
    let mut text = format!(
        "{:<22} 99% of the answers within {:>7}{spread}; half within {:>7}, 99.9% within {:>7}",
        contender.name,
        at(|times| times.p99_us),
        at(|times| times.p50_us),
        at(|times| times.p999_us)
    );
    if scenario.scenario.is_mixed() {
        let of = |label| time(over(rounds, |seen| Some(seen.of(label)?.p99_us)).unwrap_or(f64::NAN));
        write!(text, "; short ones' p99 {}, long ones' {}", of(SHORT), of(LONG)).expect("a string takes all");
    }
    let in_time = over(rounds, |seen| Some(seen.goodput_per_s)).unwrap_or(0.0);
    write!(text, "; {in_time:.0} a second in time").expect("a string takes all");
    text
}

/// The same for programs.
pub(crate) fn json(results: &Results, goals: &[Goal]) -> Value {
    json!({
        "machine": { "cores": cores() },
        "capacity": results.capacity,
        "validity": results.validity,
        "scenarios": results.scenarios.iter().map(scenario).collect::<Vec<_>>(),
        "goals": goals,
    })
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get())
}

fn scenario(results: &ScenarioResults) -> Value {
    let contender = |(contender, rounds): (&'static Contender, &Vec<Seen>)| {
        let at = |what: fn(&Seen) -> f64| over(rounds, |seen| Some(what(seen)));
        let of = |label: &'static str| over(rounds, |seen| Some(seen.of(label)?.p99_us));
        let times = |what: fn(&Times) -> f64| over(rounds, |seen| seen.times().as_ref().map(what));
        let p99s = || rounds.iter().filter_map(|seen| Some(seen.times()?.p99_us));
        json!({
            "name": contender.name,
            "what": contender.what,
            "rounds": rounds.len(),
            "sent": rounds.iter().map(|seen| seen.sent).sum::<u64>(),
            "answered_ok": rounds.iter().map(|seen| seen.answered_ok).sum::<u64>(),
            "lost": rounds.iter().map(|seen| seen.lost).sum::<u64>(),
            "goodput_per_s": at(|seen| seen.goodput_per_s),
            "p50_us": times(|times| times.p50_us),
            "p99_us": times(|times| times.p99_us),
            "p99_us_min": p99s().min_by(f64::total_cmp),
            "p99_us_max": p99s().max_by(f64::total_cmp),
            "p999_us": times(|times| times.p999_us),
            "max_us": times(|times| times.max_us),
            "short_p99_us": of(SHORT),
            "long_p99_us": of(LONG),
            "generator_cpu_share": over(rounds, |seen| seen.generator_cpu_share),
            "generator_late_p99_us": at(|seen| seen.generator_late_p99_us),
        })
    };
    json!({
        "name": results.scenario.name,
        "what": results.scenario.what,
        "rate_per_s": results.rate_per_s,
        "contenders": results.contenders().map(contender).collect::<Vec<_>>(),
    })
}
