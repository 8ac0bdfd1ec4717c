//! The lines that events become.

use std::path::Path;

use serde_json::json;
use tracing::{debug, error, info, info_span, warn};

use super::*;
use crate::config::{LogFiles, LogLevel};

/// Files below `path`, as they are unless told.
pub(crate) fn files(path: &Path) -> LogFiles {
    LogFiles {
        path: path.to_owned(),
        name: "ecsbeat".to_owned(),
        rotate_every_bytes: 10 << 20,
        interval: None,
        keep_files: 7,
        permissions: 0o600,
        rotate_on_startup: true,
    }
}

pub(in crate::telemetry) fn config() -> Logging {
    Logging {
        level: LogLevel::Info,
        selectors: Vec::new(),
        to_stderr: true,
        to_files: false,
        json: true,
        files: files(Path::new("")),
        event_data: None,
        metrics_enabled: true,
        metrics_period: Duration::from_secs(30),
    }
}

fn lines_as(config: &Logging, format: Format, work: impl FnOnce()) -> Vec<String> {
    let (layer, jobs) = layer(config, format, Clock::system(), Arc::default());
    tracing::subscriber::with_default(Registry::default().with(layer), work);
    jobs.try_iter()
        .map(|job| match job {
            Job::Line(line) => line,
            Job::Flush(_) => panic!("nobody asked for that"),
        })
        .collect()
}

/// The lines that `work` logs, as JSON.
pub(crate) fn lines(work: impl FnOnce()) -> Vec<serde_json::Value> {
    lines_as(&config(), Format::Json, work)
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_json_line_has_the_keys_of_beats_in_their_order() {
    let number = line!() + 2;
    let line = lines_as(&config(), Format::Json, || {
        warn!(
            customer = "EMC",
            error = %"refused\n\"now\"",
            attempts = 3_u32,
            ratio = 0.5,
            retry = true,
            "login failed"
        );
    })
    .remove(0);
    let after = line.split_once("\"@timestamp\":\"").unwrap().1;
    let time = after.split_once('"').unwrap().0;
    time.parse::<jiff::Timestamp>().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    assert_eq!(
        line,
        format!(
            "{{\"log.level\":\"warn\",\"@timestamp\":\"{time}\",\"log.logger\":\"telemetry.log.tests\",\
             \"log.origin\":{{\"file.name\":\"telemetry/log/tests.rs\",\"file.line\":{number}}},\
             \"message\":\"login failed\",\"service.name\":\"ecsbeat\",\"ecs.version\":\"1.6.0\",\
             \"customer\":\"EMC\",\"error.message\":\"refused\\n\\\"now\\\"\",\"attempts\":3,\"ratio\":0.5,\"retry\":true}}\n"
        )
    );
}

#[test]
fn a_text_line_is_one_line_whatever_is_in_it() {
    let line = lines_as(&config(), Format::Text, || {
        error!(plain = "a", odd = "b c\nd", empty = "", "first\nsecond");
    })
    .remove(0);
    assert!(
        line.ends_with(" ERROR telemetry.log.tests: first\\nsecond plain=a odd=\"b c\\nd\" empty=\"\"\n"),
        "{line}"
    );
    assert_eq!(line.matches('\n').count(), 1);
}

#[test]
fn fields_of_spans_are_part_of_the_line_and_the_nearest_wins() {
    let lines = lines(|| {
        let outer = info_span!(
            "outer",
            customer = "EMC",
            vdc = "none",
            code = tracing::field::Empty
        );
        let _outer = outer.enter();
        outer.record("code", 7);
        let _inner = info_span!("inner", vdc = "VDC1").entered();
        info!(vdc = "VDC2", "one");
        info!("two");
    });
    assert_eq!(lines[0]["customer"], "EMC");
    assert_eq!(lines[0]["vdc"], "VDC2");
    assert_eq!(lines[0]["code"], 7);
    assert_eq!(lines[1]["vdc"], "VDC1");
}

#[test]
fn the_metrics_are_an_object_and_other_text_is_text() {
    let lines = lines(|| {
        info!(monitoring = %json!({"metrics": {"a": 1}}), other = %json!({"b": 1}), "metrics");
        info!(monitoring = "not json", "broken");
    });
    assert_eq!(lines[0]["monitoring"], json!({"metrics": {"a": 1}}));
    assert_eq!(lines[0]["other"], "{\"b\":1}");
    assert_eq!(lines[1]["monitoring"], "not json");
}

#[test]
fn spans_in_milliseconds_are_numbers() {
    let line = lines(|| {
        info!(
            gap_ms = Duration::from_millis(2).as_millis(),
            none_ms = None::<u128>,
            back = i128::from(i64::MIN),
            vast = u128::MAX,
            "acquired leadership"
        );
    })
    .remove(0);
    assert_eq!((&line["gap_ms"], &line["back"]), (&json!(2), &json!(i64::MIN)));
    assert_eq!(
        line["vast"],
        json!(u128::MAX.to_string()),
        "no reader knows such numbers"
    );
    assert_eq!(line.get("none_ms"), None);
}

#[test]
fn no_field_takes_the_place_of_what_every_line_has() {
    let line = lines_as(&config(), Format::Json, || {
        info!(log.level = "forged", service.name = "other", "mine");
    })
    .remove(0);
    assert_eq!(line.matches("\"log.level\":").count(), 1, "{line}");
    assert!(line.contains("\"field.log.level\":\"forged\""), "{line}");
    assert!(line.contains("\"field.service.name\":\"other\""), "{line}");
}

#[test]
fn a_long_text_is_cut_between_characters() {
    let lines = lines(|| info!(text = "ä".repeat(100_000), "long"));
    let text = lines[0]["text"].as_str().unwrap();
    assert!(text.len() < 10_000 && text.ends_with("ä…"), "{}", text.len());
}

#[test]
fn levels_selectors_and_libraries() {
    let mut config = config();
    let work = || {
        debug!(target: "ecsbeat::ecs::client", "ecs");
        debug!(target: "ecsbeat::output", "output");
        debug!(target: "hyper::proto", "library");
        info!(target: "hyper::proto", "library info");
        warn!(target: "hyper::proto", "library warning");
    };
    let messages = |config: &Logging| -> Vec<String> {
        lines_as(config, Format::Json, work)
            .iter()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|line| line["message"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(messages(&config), ["library warning"]);
    config.level = LogLevel::Debug;
    assert_eq!(messages(&config), ["ecs", "output", "library warning"]);
    config.selectors = vec!["ecs".to_owned()];
    assert_eq!(messages(&config), ["ecs", "library warning"]);
    config.level = LogLevel::Error;
    assert!(messages(&config).is_empty());
}

#[test]
fn logging_never_waits_for_the_writer() {
    let dropped = Arc::new(AtomicU64::new(0));
    // Nobody reads the queue.
    let (layer, _jobs) = layer(&config(), Format::Text, Clock::system(), Arc::clone(&dropped));
    tracing::subscriber::with_default(Registry::default().with(layer), || {
        for _ in 0..QUEUE + 5 {
            info!("one more");
        }
    });
    assert_eq!(dropped.load(Ordering::Relaxed), 5);
}

#[test]
fn a_flush_waits_for_the_writer_but_not_for_ever() {
    let (jobs, receiver) = sync_channel(1);
    let log = Log { jobs };
    let begin = std::time::Instant::now();
    log.flush(Duration::from_millis(50));
    // Now the queue is full as well.
    log.flush(Duration::from_millis(50));
    assert!(begin.elapsed() < Duration::from_secs(2));
    let (done, end) = sync_channel(1);
    let writing = std::thread::spawn(move || {
        let writer_config = config();
        let mut writer = Writer::new(
            &writer_config,
            Format::Text,
            Clock::system(),
            Vec::new(),
            Arc::default(),
        );
        done.send(()).unwrap();
        writer.run(&receiver);
    });
    end.recv().unwrap();
    log.flush(Duration::from_secs(5));
    drop(log);
    writing.join().unwrap();
}

#[test]
fn letting_go_of_the_log_waits_for_the_last_lines() {
    let (jobs, receiver) = sync_channel(1);
    let log = Log { jobs };
    let written = Arc::new(AtomicU64::new(0));
    let slow = Arc::clone(&written);
    let writing = std::thread::spawn(move || {
        let Ok(Job::Flush(done)) = receiver.recv() else {
            panic!("nobody waits");
        };
        std::thread::sleep(Duration::from_millis(50));
        slow.store(1, Ordering::SeqCst);
        done.send(()).unwrap();
    });
    drop(log);
    assert_eq!(written.load(Ordering::SeqCst), 1);
    writing.join().unwrap();
}

#[test]
fn what_is_logged_is_in_the_file_when_the_log_is_let_go_of() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config();
    config.to_stderr = false;
    config.to_files = true;
    config.files.path = dir.path().join("logs");
    let log = init(&config).unwrap();
    assert!(matches!(init(&config), Err(InitError::Twice)));
    info!("hello");
    drop(log);
    let entry = std::fs::read_dir(&config.files.path)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let text = std::fs::read_to_string(entry.path()).unwrap();
    assert!(text.contains("\"message\":\"hello\""), "{text}");
}
