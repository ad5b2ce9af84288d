use std::time::{Duration, Instant};

use tonic::{Code, Status};

use super::*;
use crate::load::{
    WeightedMessage,
    books::{Books, Due, Outcome},
};

/// A run of 2 s at 2 per second on two streams, of which `late` sends were late: 2 good answers of 1 and 3 ms, one of
/// them in time, one refusal, and one that its failed stream left.
fn report(late: u64) -> LoadReport {
    let start = Instant::now();
    let ms = Duration::from_millis;
    let timeout = Some(ms(2));
    let due = |lateness| Due {
        message: 0,
        payload: 0,
        measured: true,
        intended: start,
        handed_over: start + lateness,
    };

    let mut first = Books::new(0, vec![timeout]);
    let ids: Vec<u64> = (0..3)
        .map(|number| first.take(due(if number < late { ms(5) } else { Duration::ZERO }), start + ms(1)))
        .collect();
    first.answer(ids[0], start + ms(1), Outcome::Result { cache_hit: true });
    first.answer(ids[1], start + ms(3), Outcome::Result { cache_hit: false });
    first.answer(ids[2], start + ms(3), Outcome::Error(Code::ResourceExhausted, "full"));
    let mut second = Books::new(1, vec![timeout]);
    second.take(due(Duration::ZERO), start);

    let endings = [Ending::Finished, Ending::Failed(Status::unavailable("gone"))];
    let mut tally = first.close([].into_iter(), &endings[0]);
    tally.merge(&second.close([].into_iter(), &endings[1]));
    let message = WeightedMessage { timeout, ..WeightedMessage::new("digest") };
    let options = LoadOptions {
        rate_per_s: 2.0,
        duration: Duration::from_secs(2),
        streams: 2,
        seed: 42,
        ..LoadOptions::new("http://unused", message)
    };
    LoadReport::new(&options, &tally, &endings, Paced { cpu_share: Some(0.25) })
}

#[test]
fn json_has_the_names_of_the_contract() {
    let json = serde_json::to_value(report(0)).unwrap();
    assert_eq!(json["valid"], true);
    assert_eq!(json["offered_per_s"], 2.0);
    assert_eq!(json["sent"], 4);
    assert_eq!(json["answered_ok"], 2);
    assert_eq!(json["errors"], serde_json::json!({"RESOURCE_EXHAUSTED": 1, "UNAVAILABLE": 1}));
    assert_eq!(json["lost"], 0);
    assert_eq!(json["goodput_per_s"], 0.5);
    assert_eq!(json["generator_late_p99_us"], 0);
    let latency = json["latency"].as_object().unwrap();
    let names: Vec<_> = latency.keys().map(String::as_str).collect();
    assert_eq!(names, ["max_us", "p50_us", "p90_us", "p95_us", "p999_us", "p99_us"]);
    assert!(latency.values().all(serde_json::Value::is_u64));
}

#[test]
fn json_has_the_reasons_and_the_rest() {
    let json = serde_json::to_value(report(1)).unwrap();
    assert_eq!(json["valid"], false);
    let reason = json["invalid_because"][0].as_str().unwrap();
    assert!(reason.contains("late with 1 of 4 sends"), "{reason}");
    assert_eq!(json["error_examples"]["UNAVAILABLE"], "gone");
    assert_eq!(json["labels"][0]["label"], "digest");
    assert_eq!(json["uncorrected_latency"]["max_us"].as_u64().unwrap() / 100, 20);
    assert_eq!(
        [&json["cache_hits"], &json["streams_failed"], &json["streams_cut"], &json["seed"]],
        [1, 1, 0, 42].map(|number| serde_json::json!(number)).each_ref()
    );
    assert_eq!([&json["arrivals"], &json["order"]], ["poisson", "request"]);
}

#[test]
fn refusals_are_in_the_json_even_when_there_are_none() {
    let options = LoadOptions::new("http://unused", WeightedMessage::new("digest"));
    let report = LoadReport::new(&options, &Tally::new(1), &[], Paced { cpu_share: None });
    assert_eq!(serde_json::to_value(report.errors).unwrap(), serde_json::json!({"RESOURCE_EXHAUSTED": 0}));
}

#[test]
fn a_full_cpu_is_judged_only_where_it_says_something() {
    let judged = |judge_cpu| {
        let options =
            LoadOptions { judge_cpu, ..LoadOptions::new("http://unused", WeightedMessage::new("digest")) };
        let report = LoadReport::new(&options, &Tally::new(1), &[], Paced { cpu_share: Some(0.99) });
        assert_eq!(report.generator_cpu_share, Some(0.99), "it is said in any case");
        report.invalid_because.contains(&Invalidity::CpuFull { share: 0.99 })
    };
    assert!(judged(true));
    assert!(!judged(false));
}

#[test]
fn the_table_says_what_happened() {
    let table = report(0).to_string();
    let rows = [
        "offered             2.0 /s  for 2 s (2 /s, Poisson) on 2 streams over 1 connection\n",
        "answered ok           2     1 from the cache\n",
        "                      1     RESOURCE_EXHAUSTED: full\n",
        "                      1     UNAVAILABLE: gone\n",
        "goodput             0.5 /s\n",
        "server fault          1     streams failed\n",
        "p50                          1.000 ms               0.000 ms\n",
        "; 25% of its CPU time used; seed 42\n",
    ];
    for row in rows {
        assert!(table.contains(row), "{row}is missing in\n{table}");
    }
}

#[test]
fn a_table_that_is_not_valid_says_so_before_any_percentile() {
    let table = report(1).to_string();
    assert!(
        table.starts_with("INVALID: the generator was more than 1 ms late with 1 of 4 sends (25.00%"),
        "{table}"
    );
    assert!(!report(0).to_string().contains("INVALID"));
}

#[test]
fn a_mix_has_a_row_for_each_of_its_messages() {
    let mut report = report(0);
    report.labels.push(LabelReport { label: "a longer label".to_owned(), ..report.labels[0].clone() });
    report.labels.push(LabelReport {
        label: "none good".to_owned(),
        answered_ok: 0,
        ..report.labels[0].clone()
    });
    let table = report.to_string();
    assert!(table.contains("\nnone good                4           0           2           -"), "{table}");
    assert!(table.contains("\nmessage               sent          ok      errors"), "{table}");
    assert!(table.contains("\ndigest                   4           2           2       1.000"), "{table}");
    assert!(table.contains("\na longer label           4           2           2       1.000"), "{table}");
}
