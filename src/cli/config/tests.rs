use std::{fs, net::SocketAddr, time::Duration};

use tempfile::TempDir;

use super::*;
use crate::WhenFull;

/// A file with this text, in a directory of its own.
fn file_with(text: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("millstream.toml");
    fs::write(&path, text).unwrap();
    (dir, path)
}

fn from_file(text: &str) -> Result<Configuration, BadConfiguration> {
    let (_dir, path) = file_with(text);
    Configuration::load(&Sources { file: Some(path), ..Sources::default() })
}

fn from_environment(variables: &[(&str, &str)]) -> Result<Configuration, BadConfiguration> {
    let environment = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Configuration::load(&Sources { environment, ..Sources::default() })
}

fn from_flags(settings: &[(&str, &str)]) -> Result<Configuration, BadConfiguration> {
    let flags = settings.iter().map(|(key, value)| ((*key).into(), (*value).into(), "--set")).collect();
    Configuration::load(&Sources { flags, ..Sources::default() })
}

fn origin(configuration: &Configuration, key: &str) -> String {
    configuration.values.origin(key).to_string()
}

#[test]
fn without_any_source_the_defaults_hold() {
    let configuration = Configuration::load(&Sources::default()).unwrap();
    assert_eq!(configuration.sections, Sections::default());
    assert_eq!(origin(&configuration, "worker_count"), "default");
}

#[test]
fn each_layer_overrides_the_one_below() {
    let keys = ["batch_size", "cache_capacity", "service_pool_size", "buffer_pool_size", "worker_spin"];
    let (_dir, path) = file_with(
        "preset = 'memory_efficient'\ncache_capacity = 200\nservice_pool_size = 200\nbuffer_pool_size = 200\n",
    );
    let configuration = Configuration::load(&Sources {
        file: Some(path.clone()),
        environment: vec![
            ("MILLSTREAM_SERVICE_POOL_SIZE".into(), "300".into()),
            ("MILLSTREAM_BUFFER_POOL_SIZE".into(), "300".into()),
            ("PATH".into(), "/bin".into()),
        ],
        flags: vec![("buffer_pool_size".into(), "400".into(), "--set")],
    })
    .unwrap();
    let plane = &configuration.sections.plane;
    assert_eq!(plane.batch_size, 5);
    assert_eq!(plane.cache_capacity, 200);
    assert_eq!(plane.service_pool_size, 300);
    assert_eq!(plane.buffer_pool_size, 400);
    assert_eq!(plane.worker_spin, OptimizationConfig::default().worker_spin);
    assert_eq!(
        keys.map(|key| origin(&configuration, key)),
        [
            "preset memory_efficient".into(),
            format!("{}:2", path.display()),
            "MILLSTREAM_SERVICE_POOL_SIZE".into(),
            "--set".to_string(),
            "default".into(),
        ]
    );
}

#[test]
fn the_topmost_layer_chooses_the_preset_and_lower_layers_still_override_it() {
    let (_dir, path) = file_with("preset = 'memory_efficient'\nbatch_size = 7\n");
    let configuration = Configuration::load(&Sources {
        file: Some(path),
        environment: vec![("MILLSTREAM_PRESET".into(), "development".into())],
        flags: vec![("preset".into(), "high_performance".into(), "--preset")],
    })
    .unwrap();
    assert_eq!(configuration.sections.plane.batch_size, 7);
    assert_eq!(configuration.sections.plane.cache_capacity, 5000);
    assert_eq!(origin(&configuration, "cache_capacity"), "preset high_performance");
    assert!(configuration.show().starts_with("preset = \"high_performance\"  # --preset\n"));
}

#[test]
fn every_preset_is_the_library_s() {
    for (name, config) in [
        ("balanced", OptimizationConfig::default()),
        ("memory_efficient", OptimizationConfig::memory_efficient()),
        ("high_performance", OptimizationConfig::high_performance()),
        ("development", OptimizationConfig::development()),
        ("custom", OptimizationConfig::default()),
    ] {
        let configuration = from_environment(&[("MILLSTREAM_PRESET", name)]).unwrap();
        assert_eq!(configuration.sections.plane, config, "{name}");
        assert!(describe_presets().contains(&format!("{name}: ")));
    }
    assert!(describe_presets().contains("    batch_size = 5  # default: 10\n"));
    assert_eq!(
        from_file("preset = 'fast'").unwrap_err().to_string().split_once(": ").unwrap().1,
        "there are balanced, memory_efficient, high_performance, development, custom"
    );
}

#[test]
fn values_of_every_type_are_read_from_text_and_from_toml() {
    let settings = [
        ("worker_timeout", "250ms"),
        ("worker_pinning", "reserve:1"),
        ("when_full", "shed"),
        ("backpressure_threshold", "0.5"),
        ("enable_metrics", "false"),
        ("max_bytes_in_flight", "64MiB"),
        ("server.listen", "127.0.0.1:0"),
        ("server.max_message_size", "20MiB"),
        ("server.admin_listen", "127.0.0.1:0"),
        ("server.allow_fault_injection", "true"),
        ("server.io_threads", "3"),
    ];
    let toml = "
        worker_timeout = '250ms'
        worker_pinning = 'reserve:1'
        when_full = 'shed'
        backpressure_threshold = 0.5
        enable_metrics = false
        max_bytes_in_flight = 67108864
        [server]
        listen = '127.0.0.1:0'
        admin_listen = '127.0.0.1:0'
        max_message_size = '20MiB'
        allow_fault_injection = true
        io_threads = 3
    ";
    let from_text = from_flags(&settings).unwrap().sections;
    assert_eq!(from_text.plane.worker_timeout, Duration::from_millis(250));
    assert_eq!(from_text.plane.when_full, WhenFull::Shed);
    assert!(!from_text.plane.enable_metrics);
    assert_eq!(from_text.server.transport.max_message_size, 20 << 20);
    assert_eq!(from_text.server.admin_listen, Some(SocketAddr::from(([127, 0, 0, 1], 0))));
    assert!(from_text.server.allow_fault_injection);
    assert_eq!(from_text.server.io_threads, 3);
    assert_eq!(from_file(toml).unwrap().sections, from_text);
    let variables = settings.map(|(key, value)| {
        (format!("MILLSTREAM_{}", key.replace('.', "_").to_uppercase()), value.to_string())
    });
    let from_variables =
        Configuration::load(&Sources { environment: variables.to_vec(), ..Sources::default() });
    assert_eq!(from_variables.unwrap().sections, from_text);
}

#[test]
fn what_is_shown_reads_back_exactly() {
    for preset in ["balanced", "memory_efficient", "high_performance", "development", "custom"] {
        let shown = from_flags(&[
            ("preset", preset),
            ("backpressure_threshold", "0.3333333333333333"),
            ("worker_spin", "1us 1ns"),
            ("server.drain_timeout", "1500ms"),
            ("worker_pinning", "off"),
        ])
        .unwrap();
        let read = from_file(&shown.show()).unwrap();
        assert_eq!(read.sections, shown.sections);
        assert_eq!(read.values.preset.value, shown.values.preset.value);
        let without_comments = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.split("  # ").next().unwrap().to_owned()).collect()
        };
        assert_eq!(without_comments(&read.show()), without_comments(&shown.show()));
    }
}

#[test]
fn the_origin_of_each_value_is_shown_beside_it() {
    let shown = from_environment(&[("MILLSTREAM_WORKER_COUNT", "4")]).unwrap().show();
    assert!(shown.contains("\nworker_count = 4  # MILLSTREAM_WORKER_COUNT\n"), "{shown}");
    assert!(shown.contains("\n[server]\n"), "{shown}");
    assert!(shown.contains("\nlisten = \"127.0.0.1:50051\"  # default\n"), "{shown}");
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_one() {
    let error = from_file("# mine\n\nworker_cuont = 4\n").unwrap_err().to_string();
    assert!(error.ends_with("millstream.toml:3): is it `worker_count`?"), "{error}");
    let error = from_file("[server]\nlisten = '127.0.0.1:0'\ndrain_timout = '1s'\n").unwrap_err().to_string();
    assert!(error.starts_with("unknown key `server.drain_timout`"), "{error}");
    assert!(error.ends_with("millstream.toml:3): is it `server.drain_timeout`?"), "{error}");
    let error = from_flags(&[("listen", "127.0.0.1:0")]).unwrap_err().to_string();
    assert_eq!(error, "unknown key `listen` (--set): is it `server.listen`?");
}

#[test]
fn a_name_in_quotes_leads_into_no_table_and_a_table_that_is_none_of_ours_is_refused_though_it_is_empty() {
    for (text, message) in [
        ("\"server.listen\" = '127.0.0.1:0'\n", "unknown key `\"server.listen\"`"),
        ("[server]\nlisten = '127.0.0.1:0'\n[\"server.listen\"]\n", "unknown key `\"server.listen\"`"),
        ("[server]\n\"listen.at\" = 1\n", "unknown key `server.\"listen.at\"`"),
        ("[servr]\n", "unknown key `servr`"),
        ("[server.listen]\n", "server.listen = {} ("),
        ("[server.tls]\n", "unknown key `server.tls`"),
        ("worker_count = {}\n", "worker_count = {} ("),
    ] {
        let error = from_file(text).unwrap_err().to_string();
        assert!(error.starts_with(message), "{text}: {error}");
    }
    from_file("[server]\n[operations]\n").unwrap();
}

#[test]
fn an_unknown_variable_is_refused_with_the_nearest_known_one() {
    let error = from_environment(&[("MILLSTREAM_WORKERS_COUNT", "4")]).unwrap_err().to_string();
    assert_eq!(
        error,
        "MILLSTREAM_WORKERS_COUNT is no variable of millstream: is it MILLSTREAM_WORKER_COUNT?"
    );
    from_environment(&[(LOG_VARIABLE, "debug"), ("MILLSTREAMS", "not ours")]).unwrap();
}

#[test]
fn a_value_that_cannot_work_is_refused_with_key_value_origin_and_what_would_be_right() {
    for (key, value, message) in [
        (
            "worker_count",
            "many",
            "worker_count = \"many\" (--set): expected a whole number, or a size such as \"4KiB\" or \"20MiB\"",
        ),
        (
            "worker_timeout",
            "10",
            "worker_timeout = \"10\" (--set): expected a duration with its unit, such as \"10ms\", \"5s\" or \"2m\"",
        ),
        ("enable_metrics", "yes", "enable_metrics = \"yes\" (--set): expected true or false"),
        (
            "backpressure_threshold",
            "high",
            "backpressure_threshold = \"high\" (--set): expected a number such as 0.8",
        ),
        ("when_full", "drop", "unknown variant `drop`, expected `wait` or `shed`"),
        (
            "server.listen",
            "localhost",
            "server.listen = \"localhost\" (--set): expected an IP address and a port, such as \"127.0.0.1:50051\"",
        ),
        ("server.stream_window", "5GiB", "server.stream_window = \"5GiB\" (--set): "),
        (
            "worker_count",
            "0",
            "worker_count = 0 cannot work: it must be from 1 to 1024 (worker_count is from: --set)",
        ),
        ("batch_timeout", "51ms", "it must be at most max_batch_wait = 50ms (batch_timeout is from: --set)"),
        ("server.connection_window", "1MiB", "server.connection_window = 1048576 cannot work"),
    ] {
        let error = from_flags(&[(key, value)]).unwrap_err().to_string();
        assert!(error.contains(message), "{key}={value}: {error}");
    }
    let error = from_file("\nworker_timeout = 10\n").unwrap_err().to_string();
    assert!(error.contains("worker_timeout = 10 (") && error.contains(":2): expected a duration"), "{error}");
    let error = from_file("[server]\nmax_message_size = -1\n").unwrap_err().to_string();
    assert!(
        error.ends_with(":2): expected a whole number, or a size such as \"4KiB\" or \"20MiB\""),
        "{error}"
    );
    let error = from_file("\n\nworker_count = \n").unwrap_err().to_string();
    assert!(error.contains("millstream.toml:3: "), "{error}");
    let missing = Sources { file: Some("/nowhere/millstream.toml".into()), ..Sources::default() };
    let error = Configuration::load(&missing).unwrap_err().to_string();
    assert!(error.starts_with("cannot read /nowhere/millstream.toml: "), "{error}");
}
