//! Every setting does what its name says: turned, it changes something that a user can observe.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod batches;
mod cache;
#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "server")]
mod compression;
mod connections;
mod fairness;
mod figures;
#[cfg(target_os = "linux")]
mod lengths;
mod overload_rules;
mod pools;
mod room;
#[cfg(target_os = "linux")]
mod threads;
mod workers;

use millstream::OptimizationConfig;

/// Where the tests are that the table below names.
const FILES: [(&str, &str); 15] = [
    ("batches", include_str!("batches.rs")),
    ("cache", include_str!("cache.rs")),
    ("compression", include_str!("compression.rs")),
    ("connections", include_str!("connections.rs")),
    ("fairness", include_str!("fairness.rs")),
    ("figures", include_str!("figures.rs")),
    ("in_place", include_str!("../in_place.rs")),
    ("lengths", include_str!("lengths.rs")),
    ("overload", include_str!("../overload.rs")),
    ("overload_rules", include_str!("overload_rules.rs")),
    ("pools", include_str!("pools.rs")),
    ("room", include_str!("room.rs")),
    ("streams", include_str!("../streams.rs")),
    ("threads", include_str!("threads.rs")),
    ("workers", include_str!("workers.rs")),
];

/// What the documentation says of the settings.
const DOCUMENTATION: &str = include_str!("../../src/grpc/performance/config/README.md");

/// Takes the settings apart, so that a new one does not compile until it is named here, with its tests.
macro_rules! promises {
    ($($field:ident: $($file:ident::$test:ident),+;)*) => {
        fn promises() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
            let OptimizationConfig { $($field: _),* } = OptimizationConfig::default();
            vec![$((stringify!($field), vec![$((stringify!($file), stringify!($test))),+])),*]
        }
    };
}

promises! {
    worker_count: workers::as_many_messages_run_at_a_time_as_there_are_workers;
    worker_queue_capacity: streams::no_more_is_accepted_than_may_be_in_flight,
        room::the_lanes_hold_as_many_messages_as_they_are_told_to;
    worker_timeout: workers::a_message_that_runs_for_longer_than_the_timeout_is_answered_for;
    worker_pinning: threads::workers_run_on_the_cores_that_they_are_pinned_to;
    worker_niceness: threads::workers_give_way_as_much_as_they_are_told_to;
    worker_spin: threads::a_worker_without_work_stays_awake_while_that_has_paid;
    await_spin: threads::who_awaits_a_short_job_looks_out_for_as_long_as_it_is_told_to;
    in_place_budget: in_place::what_costs_less_than_its_hand_off_runs_where_it_was_read_if_there_is_a_budget;
    worker_substitutes: workers::a_stuck_thread_is_stood_in_for_if_there_may_be_a_substitute;
    enable_length_scheduling: lengths::what_is_short_does_not_wait_for_what_is_long_if_lengths_are_told_apart;
    long_work_share: lengths::long_work_keeps_its_share_while_short_work_never_ends;
    worker_demotions: lengths::no_more_threads_sink_than_may;
    enable_stream_fairness: fairness::a_stream_that_has_used_far_more_than_the_others_waits_behind_them;
    batch_size: batches::no_more_messages_travel_together_than_a_batch_may_have;
    batch_timeout: batches::a_batch_takes_company_for_so_long_after_its_latest_message;
    max_batch_wait: batches::a_batch_takes_company_for_so_long_after_its_first_message;
    cache_capacity: cache::no_more_answers_are_kept_than_may_be;
    cache_byte_capacity: cache::answers_take_no_more_bytes_than_they_may;
    cache_ttl: cache::an_answer_is_served_for_its_time_to_live;
    cache_stale_ttl: cache::a_stale_answer_is_served_for_so_long_while_it_is_computed_anew;
    enable_cache_compression: cache::answers_are_stored_compressed_and_come_back_whole;
    service_pool_size: pools::as_many_handlers_are_kept_as_may_be;
    validator_pool_size: pools::as_many_validators_are_kept_as_may_be;
    buffer_pool_size: pools::as_many_buffers_are_kept_as_may_be;
    buffer_initial_capacity: pools::a_fresh_buffer_has_its_initial_room;
    buffer_max_capacity: pools::a_buffer_keeps_no_more_room_than_it_may;
    backpressure_threshold: room::load_that_lasts_leaves_only_its_share_of_the_lanes_open;
    backpressure_window: room::a_burst_within_the_window_may_fill_the_lanes;
    when_full: streams::a_full_plane_sheds_when_it_is_told_to, streams::no_more_is_accepted_than_may_be_in_flight;
    when_full_high: overload_rules::what_happens_for_want_of_room_is_told_for_each_priority;
    when_full_low: overload_rules::what_happens_for_want_of_room_is_told_for_each_priority;
    make_room: overload_rules::only_who_may_takes_the_place_of_a_worse_one;
    deadline_admission: overload::a_message_that_would_be_late_is_refused_at_once_with_the_wait_and_a_hint,
        overload::in_a_dry_run_what_would_be_late_is_counted_and_accepted;
    deadline_wait_share: overload::the_wait_may_take_its_share_of_the_time_left_and_no_more;
    fair_wait_share: overload_rules::a_stream_that_crowds_others_out_has_less_of_the_wait_to_itself;
    queue_control: overload_rules::who_has_waited_too_long_is_refused_or_counted_or_neither;
    queue_target_services: overload_rules::the_target_is_as_many_service_times_as_it_is_told_within_its_bounds;
    queue_target_min: overload_rules::the_target_is_as_many_service_times_as_it_is_told_within_its_bounds;
    queue_target_max: overload_rules::the_target_is_as_many_service_times_as_it_is_told_within_its_bounds;
    queue_interval: overload_rules::waits_are_judged_by_the_least_of_an_interval;
    overload_warning: overload_rules::each_level_begins_at_its_load;
    overload_critical: overload_rules::each_level_begins_at_its_load;
    overload_emergency: overload_rules::each_level_begins_at_its_load;
    max_bytes_in_flight: room::no_more_bytes_are_in_flight_than_may_be,
        streams::a_message_larger_than_all_that_may_be_in_flight_is_refused_and_the_stream_lives_on;
    max_concurrent_connections: streams::one_stream_too_many_is_refused_and_another_may_come_when_one_has_gone;
    enable_metrics: figures::times_are_measured_and_published_only_when_they_are_wanted;
    metrics_interval: figures::figures_are_published_once_in_an_interval;
    enable_detailed_tracing: figures::each_message_leaves_an_event_only_when_that_is_wanted;
    stream_channel_capacity: connections::a_stream_has_no_more_messages_under_way_than_it_may;
    stream_timeout: connections::a_stream_is_ended_when_it_was_idle_for_so_long_and_not_while_it_is_busy;
    enable_stream_compression: compression::answers_are_compressed_for_clients_that_accept_it;
}

#[test]
fn every_setting_has_a_test_that_turns_it() {
    for (field, tests) in promises() {
        for (file, test) in tests {
            let (_, source) = FILES.iter().find(|(name, _)| *name == file).expect("the file is listed");
            let attribute = source
                .lines()
                .zip(source.lines().skip(1))
                .find_map(|(above, line)| line.contains(&format!("fn {test}()")).then_some(above));
            let is_test = attribute.is_some_and(|line| ["#[test]", "#[tokio::test]"].contains(&line));
            assert!(is_test, "{field}: there is no test {test} in {file}");
        }
    }
}

#[test]
fn every_setting_is_documented_in_its_place() {
    let rows = DOCUMENTATION.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0));
    let fields: Vec<_> = promises().into_iter().map(|(field, _)| field).collect();
    assert_eq!(rows.collect::<Vec<_>>(), fields);
}
