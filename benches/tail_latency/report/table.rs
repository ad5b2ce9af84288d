//! The report as sentences.

use std::fmt::Write;

use super::{
    json::{Contender, Report, Scenario},
    tricks::Trick,
};
use crate::{
    goals::Elsewhere,
    words::{figure, time},
};

/// Everything that a person wants to know who has a terminal.
pub(crate) fn render(report: &Report) -> String {
    let mut text = String::new();
    for scenario in &report.scenarios {
        scenario_table(&mut text, scenario);
    }
    closed_loops(&mut text, report);
    tricks(&mut text, &report.tricks);
    text.push_str("\nWhat was to be reached:\n");
    report.goals.iter().for_each(|goal| line(&mut text, format_args!("{goal}")));
    for Elsewhere { number, text: what, command } in report.judged_elsewhere {
        line(&mut text, format_args!("{number:>3}. judged by `{command}`: {what}"));
    }
    line(&mut text, format_args!("\n{}", report.circumstances()));
    if let Some(warning) = report.warning() {
        line(&mut text, format_args!("{warning}"));
    }
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("a string takes all");
}

fn scenario_table(text: &mut String, scenario: &Scenario) {
    let handlers = if scenario.checkpoints { ", handlers that call checkpoint()" } else { "" };
    line(
        text,
        format_args!(
            "\n{}: {}{handlers}; {:.0}% load, {:.0} messages a second. Ideal servers have half of them answered within \
             {}, 99% within {}, 99.9% within {}.",
            scenario.name,
            scenario.what,
            scenario.load * 100.0,
            scenario.offered_per_s,
            time(scenario.ideal.p50_us),
            time(scenario.ideal.p99_us),
            time(scenario.ideal.p999_us)
        ),
    );
    let mut contenders: Vec<_> = scenario.contenders.iter().collect();
    contenders.sort_by(|one, other| one.figures.p99_us.total_cmp(&other.figures.p99_us));
    for contender in contenders {
        let figures = &contender.figures;
        line(
            text,
            format_args!(
                "  {:<26} 99% within {:>7} ({} to {}), {:>5} times the ideal; half within {:>7}, 99.9% within {:>7}; \
                 short ones slowed down {:>5} times at p99; {:>5} µs of CPU beyond each job, {:>4} context switches{}",
                contender.name,
                time(figures.p99_us),
                time(contender.p99_us_min),
                time(contender.p99_us_max),
                figure(contender.p99_of_ideal),
                time(figures.p50_us),
                time(figures.p999_us),
                figure(figures.slowdown_p99_short),
                figure(contender.cpu_beyond_us),
                figure(contender.switches),
                left_out(contender)
            ),
        );
    }
}

/// How much of it was around standstills.
fn left_out(contender: &Contender) -> String {
    contender.left_out_share.map_or(String::new(), |share| format!("; {:.0}% left out", 100.0 * share))
}

fn closed_loops(text: &mut String, report: &Report) {
    let mut heading = (u64::MAX, 0);
    for row in &report.round_trips {
        if heading != (row.service_us, row.gap_ms) {
            heading = (row.service_us, row.gap_ms);
            let gap = if row.gap_ms == 0 { "back to back" } else { "1 ms apart, everybody asleep" };
            line(text, format_args!("\nA round trip of a job of {} µs, {gap}:", row.service_us));
        }
        line(
            text,
            format_args!(
                "  {:<26} half within {:>7}, 99% within {:>7}",
                row.name,
                time(row.p50_us),
                time(row.p99_us)
            ),
        );
    }
    let mut heading = 0;
    for row in &report.tiny_jobs {
        if heading != row.in_flight {
            heading = row.in_flight;
            line(text, format_args!("\nJobs that do nothing, {} in flight:", row.in_flight));
        }
        line(text, format_args!("  {:<26} {:>9.0} a second", row.name, row.jobs_per_s));
    }
    if !report.probes.is_empty() {
        text.push_str("\nA task on the I/O threads that is woken while all workers are busy:\n");
    }
    for row in &report.probes {
        line(
            text,
            format_args!(
                "  {:<26} half runs within {:>7}, 99% within {:>7}; {:>5.0} jobs of 1 ms a second meanwhile; {:>2.0}% \
                 of the wakes not counted, since others had a core",
                row.name,
                time(row.late_p50_us),
                time(row.late_p99_us),
                row.jobs_per_s,
                100.0 * row.disturbed
            ),
        );
    }
    if !report.fairness.is_empty() {
        text.push_str("\nEight streams at a modest rate, messages of 1 ms:\n");
    }
    for row in &report.fairness {
        let heavy = row.heavy_p99_us.map_or(String::new(), |p99_us| {
            format!("; 99% of what the heavy one sends within {:>7}", time(p99_us))
        });
        line(
            text,
            format_args!(
                "  {:<40} half within {:>7}, 99% within {:>7}{heavy}",
                row.setting.what(),
                time(row.light_p50_us),
                time(row.light_p99_us)
            ),
        );
    }
    let mut heading = 0;
    for row in &report.spawning {
        if heading != row.producers {
            heading = row.producers;
            line(text, format_args!("\nSpawning from {} threads at once:", row.producers));
        }
        line(text, format_args!("  {:<26} {:>7.0} ns a job", row.name, row.ns_per_job));
    }
}

fn tricks(text: &mut String, tricks: &[Trick]) {
    if !tricks.is_empty() {
        text.push_str(
            "\nWith one thing turned off, in times of the figure with it (95% of the means lie between):\n",
        );
    }
    for trick in tricks {
        let Trick { name, scenario, figure: of, ratio, .. } = trick;
        let note = if trick.is_control() { "; the same once more: what is not 1 is noise" } else { "" };
        line(
            text,
            format_args!(
                "  {name:<26} {scenario}: {of} {} times ({} to {}){note}",
                figure(ratio.mean),
                figure(ratio.low),
                figure(ratio.high)
            ),
        );
    }
}
