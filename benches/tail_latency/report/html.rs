//! The report as one page that needs nothing else.

use std::fmt::Write;

use super::{
    chart::{Bar, Curve, bars, percentiles},
    json::{Figures, Report, Scenario},
    tricks::Trick,
};
use crate::{
    contenders::{Role, entry},
    experiments::open_loop::QUANTILES,
    goal::{Goal, Side},
    words::{figure, time},
};

const STYLE: &str = include_str!("page.css");

/// Of the loads of a kind, the one that is shown unfolded is the highest up to this.
const UNFOLDED_UP_TO: f64 = 0.8;

/// The page.
pub(crate) fn render(report: &Report) -> String {
    let met = report.goals.iter().filter(|goal| goal.met).count();
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>millstream: the tail</title><style>{STYLE}</style><main>\
         <h1>The tail of millstream, beside its peers</h1><p class=\"soft\">{}</p>",
        report.circumstances()
    );
    if let Some(warning) = report.warning() {
        add(&mut page, format_args!("<p class=\"warning\">{warning}</p>"));
    }
    add(
        &mut page,
        format_args!("<h2>{met} of {} goals are met</h2><div class=\"goals\">", report.goals.len()),
    );
    report.goals.iter().for_each(|goal| goal_card(&mut page, goal));
    page.push_str("</div>");
    open_loop(&mut page, report);
    closed_loops(&mut page, report);
    tricks(&mut page, &report.tricks);
    page.push_str("<h2>Who takes part</h2><table>");
    for about in &report.contenders {
        add(&mut page, format_args!("<tr><td>{}</td><td>{}</td></tr>", swatched(about.name), about.what));
    }
    page.push_str("</table></main></html>\n");
    page
}

fn add(page: &mut String, arguments: std::fmt::Arguments<'_>) {
    page.write_fmt(arguments).expect("a string takes all");
}

fn goal_card(page: &mut String, goal: &Goal) {
    let (class, verdict) = if goal.met { ("goal met", "met") } else { ("goal", "not met") };
    let shown = |value: Option<f64>| value.map_or("–".to_owned(), figure);
    add(
        page,
        format_args!(
            "<div class=\"{class}\"><span class=\"verdict\">{verdict}</span><b>{}. {}</b> <span class=\"soft\">bound \
             {}</span><p>{}</p><ul>",
            goal.number,
            shown(goal.figure),
            shown(goal.bound),
            goal.text
        ),
    );
    for part in &goal.parts {
        let side = match part.at {
            Side::Most => "at most",
            Side::Least => "at least",
            Side::Below => "below",
        };
        let mark = match (part.informative, part.met) {
            (true, _) => "·",
            (false, true) => "✓",
            (false, false) => "✗",
        };
        add(
            page,
            format_args!(
                "<li>{mark} {}: {}, {side} {}</li>",
                part.what,
                shown(part.figure),
                shown(part.bound)
            ),
        );
    }
    page.push_str("</ul></div>");
}

fn open_loop(page: &mut String, report: &Report) {
    let mut name = "";
    for scenario in &report.scenarios {
        if name != scenario.name {
            name = &scenario.name;
            let handlers =
                if scenario.checkpoints { ", handlers that call <code>checkpoint()</code>" } else { "" };
            add(page, format_args!("<h2>{name}</h2><p class=\"soft\">{}{handlers}</p>", scenario.what));
            let of_kind = || report.scenarios.iter().filter(|other| other.name == name);
            let unfolded = of_kind()
                .map(|other| other.load)
                .filter(|load| *load <= UNFOLDED_UP_TO)
                .max_by(f64::total_cmp);
            of_kind().for_each(|other| cell(page, other, Some(other.load) == unfolded));
        }
    }
}

fn cell(page: &mut String, scenario: &Scenario, open: bool) {
    let fold = if open { " open" } else { "" };
    add(
        page,
        format_args!(
            "<details{fold}><summary>{:.0}% load: {:.0} messages a second</summary><div class=\"two\"><div>{}",
            scenario.load * 100.0,
            scenario.offered_per_s,
            percentiles(&curves(scenario))
        ),
    );
    // Where times are exponential the slowest of all is whoever has next to nothing to do, with every contender.
    let slowdowns = if scenario.is_mixed { slowdowns(scenario) } else { String::new() };
    add(page, format_args!("{slowdowns}</div><div class=\"wide\">{}</div></div></details>", table(scenario)));
}

/// Variants are left to the table: they would hide what they vary.
fn curves(scenario: &Scenario) -> Vec<Curve<'_>> {
    let curve = |name, class, figures: &Figures| {
        let points = QUANTILES.iter().copied().zip(figures.curve_us.iter().copied());
        Curve { name, class, points: points.collect() }
    };
    let limits = [
        curve("ideal, first come first served", "ideal".to_owned(), &scenario.ideal),
        curve("ideal, shortest remaining first", "floor".to_owned(), &scenario.ideal_shortest_remaining),
    ];
    let contenders = scenario.contenders.iter().filter(|contender| !is_variant(contender.name));
    limits
        .into_iter()
        .chain(contenders.map(|contender| curve(contender.name, class(contender.name), &contender.figures)))
        .collect()
}

fn slowdowns(scenario: &Scenario) -> String {
    let bar = |name, class, figures: &Figures| Bar {
        name,
        class,
        value: figures.slowdown_p99_short,
        label: format!("{} ×", figure(figures.slowdown_p99_short)),
    };
    let mut all = vec![bar("ideal FCFS", "ideal".to_owned(), &scenario.ideal)];
    let contenders = scenario.contenders.iter().filter(|contender| !is_variant(contender.name));
    all.extend(contenders.map(|contender| bar(contender.name, class(contender.name), &contender.figures)));
    all.sort_by(|one, other| one.value.total_cmp(&other.value));
    bars("Slowdown of short messages at p99", &all)
}

fn table(scenario: &Scenario) -> String {
    let mut text =
        "<table><tr><th></th><th>p50</th><th>p99</th><th>min to max</th><th>p99.9</th><th>of ideal</th>\
                    <th>CPU beyond</th></tr>"
            .to_owned();
    let limit = &scenario.ideal;
    add(
        &mut text,
        format_args!(
            "<tr class=\"limit\"><td>{}</td><td>{}</td><td>{}</td><td></td><td>{}</td><td>1</td><td></td></tr>",
            swatched("ideal"),
            time(limit.p50_us),
            time(limit.p99_us),
            time(limit.p999_us)
        ),
    );
    let mut contenders: Vec<_> = scenario.contenders.iter().collect();
    contenders.sort_by(|one, other| one.figures.p99_us.total_cmp(&other.figures.p99_us));
    for contender in contenders {
        let row = if is_ours(contender.name) { "ours" } else { "" };
        add(
            &mut text,
            format_args!(
                "<tr class=\"{row}\"><td>{}</td><td>{}</td><td>{}</td><td>{} – {}</td><td>{}</td><td>{}</td><td>{} \
                 µs</td></tr>",
                swatched(contender.name),
                time(contender.figures.p50_us),
                time(contender.figures.p99_us),
                time(contender.p99_us_min),
                time(contender.p99_us_max),
                time(contender.figures.p999_us),
                figure(contender.p99_of_ideal),
                figure(contender.cpu_beyond_us)
            ),
        );
    }
    text + "</table>"
}

fn closed_loops(page: &mut String, report: &Report) {
    page.push_str("<h2>The hand-off by itself</h2><p class=\"soft\">Best first.</p><div class=\"panels\">");
    let panel = |page: &mut String, title: &str, mut rows: Vec<Bar<'_>>, more_is_better: bool| {
        rows.sort_by(|one, other| one.value.total_cmp(&other.value));
        if more_is_better {
            rows.reverse();
        }
        add(page, format_args!("<div class=\"panel\">{}</div>", bars(title, &rows)));
    };
    let bar = |name: &'static str, value: f64, label: String| Bar { name, class: class(name), value, label };
    for group in report
        .round_trips
        .chunk_by(|one, other| (one.service_us, one.gap_ms) == (other.service_us, other.gap_ms))
    {
        let first = &group[0];
        let rhythm = if first.gap_ms == 0 { "back to back" } else { "1 ms apart" };
        let rows = group
            .iter()
            .map(|row| bar(row.name, row.p50_us, format!("{} / {}", time(row.p50_us), time(row.p99_us))));
        let title = format!("Round trip of {} µs, {rhythm}: p50 / p99", first.service_us);
        panel(page, &title, rows.collect(), false);
    }
    for group in report.tiny_jobs.chunk_by(|one, other| one.in_flight == other.in_flight) {
        let rows = group
            .iter()
            .map(|row| bar(row.name, row.jobs_per_s, format!("{:.0} thousand/s", row.jobs_per_s / 1e3)));
        let title = format!("Empty jobs a second, {} in flight", group[0].in_flight);
        panel(page, &title, rows.collect(), true);
    }
    if !report.probes.is_empty() {
        let rows = report.probes.iter().map(|row| bar(row.name, row.late_p99_us, time(row.late_p99_us)));
        panel(page, "Lateness of an I/O task while saturated, p99", rows.collect(), false);
    }
    for group in report.spawning.chunk_by(|one, other| one.producers == other.producers) {
        let rows = group.iter().map(|row| bar(row.name, row.ns_per_job, format!("{:.0} ns", row.ns_per_job)));
        let title = format!("Cost of a job, {} threads spawning", group[0].producers);
        panel(page, &title, rows.collect(), false);
    }
    page.push_str("</div>");
}

fn tricks(page: &mut String, tricks: &[Trick]) {
    if tricks.is_empty() {
        return;
    }
    page.push_str(
        "<h2>What each trick earns</h2><p class=\"soft\">The figure with the trick turned off, in times of that with it; \
         95% of the means over rounds lie between. The control is the same contender once more: how far it is from 1 is \
         noise.</p><div class=\"panel wide\"><table><tr><th>without</th><th>scenario</th><th>figure</th><th>times</th>\
         <th>between</th></tr>",
    );
    for Trick { name, what, scenario, figure: of, ratio } in tricks {
        add(
            page,
            format_args!(
                "<tr><td title=\"{what}\">{name}</td><td>{scenario}</td><td>{of}</td><td>{}</td><td>{} – {}</td></tr>",
                figure(ratio.mean),
                figure(ratio.low),
                figure(ratio.high)
            ),
        );
    }
    page.push_str("</table></div>");
}

fn is_ours(name: &str) -> bool {
    entry(name).role == Role::Millstream
}

fn is_variant(name: &str) -> bool {
    entry(name).is_variant()
}

fn class(name: &str) -> String {
    if is_ours(name) { format!("{name} ours") } else { name.to_owned() }
}

fn swatched(name: &str) -> String {
    format!("<span class=\"swatch {name}\"></span>{name}")
}
