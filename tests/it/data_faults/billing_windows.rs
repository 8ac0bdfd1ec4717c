//! Item 15, windows of billing: UTC, multiples of 5 minutes, one after the other, and only when they are complete.

use std::process::Stdio;
use std::time::Duration;

use ecs_sim::{Billing, Fault, FaultRule};
use ecsbeat::app::Outcome;
use ecsbeat::config::{Sources, load};
use serde_json::Value;

use crate::support::bench::{Bench, failures, of, small};

const SAMPLE: &str = "{type: nsbillingsample, interval: 600s}";
const PATH: &str = "/object/billing/namespace/sample";

async fn bench(lag_secs: i64) -> Bench {
    Bench::new(ecs_sim::Config {
        namespaces: 3,
        billing: Billing {
            lag_secs,
            ..Billing::default()
        },
        ..small()
    })
    .await
}

fn queries(bench: &Bench) -> Vec<String> {
    let asked = bench.asked(PATH);
    asked
        .iter()
        .map(|request| request.query.replace("include_bucket_detail=false&", ""))
        .collect()
}

/// The figures of a namespace in all its windows together.
fn sums(events: &[Value], namespace: &str) -> (i64, i64, i64) {
    let samples = of(events, "nsbillingsample");
    let own = samples.iter().filter(|sample| sample["namespace"] == namespace);
    let number = |sample: &Value, member: &str| sample[member].as_i64().unwrap();
    own.fold((0, 0, 0), |sum, sample| {
        (
            sum.0 + number(sample, "objects_created"),
            sum.1 + number(sample, "ingress"),
            sum.2 + number(sample, "bytes_delta"),
        )
    })
}

#[tokio::test]
async fn item_15_windows_follow_each_other_and_their_sum_is_the_whole() {
    let bench = bench(600).await;
    for step in [0, 600, 1800] {
        bench.sim.advance_clock(Duration::from_secs(step));
        assert_eq!(
            bench.once(&[SAMPLE]).await,
            Outcome::Well,
            "{:?}",
            failures(&bench.events())
        );
    }
    let window = |start: &str, end: &str| format!("start_time=2026-03-02T{start}&end_time=2026-03-02T{end}");
    assert_eq!(
        queries(&bench),
        [
            window("09:30", "09:40"),
            window("09:40", "09:50"),
            window("09:50", "10:00"),
            window("10:00", "10:10"),
            window("10:10", "10:20"),
        ]
    );
    let events = bench.events();
    assert_eq!(events.len(), 15);
    for name in ["ns1", "ns2", "ns3"] {
        // 09:30 to 10:20: the start of each belongs to it, its end to the next.
        let truth = bench.sim.billing_truth(name, 1_772_443_800, 1_772_446_800);
        assert_eq!(
            sums(&events, name),
            (truth.objects_created, truth.ingress, truth.bytes_delta),
            "{name}"
        );
    }
}

/// Asked every second, so that what becomes of a window is seen soon.
const EAGER: &str = "{type: nsbillingsample, interval: 1s, \
                     window: {step: 10m, lag: 15m, granularity: 5m, complete_field: uptodate_till}}";
/// Asked every second, so that the clock of the federation is known when it has been moved.
const CLOCK: &str = "{type: clock, uri: /object/capacity.json, level: vdc, interval: 1s}";

fn samples(events: &[Value]) -> usize {
    of(events, "nsbillingsample").len()
}

#[tokio::test]
async fn item_15_a_window_is_held_until_it_is_complete() {
    // Three quarters of an hour behind, and so behind the end of the first window.
    let bench = bench(2700).await;
    let running = bench.start(&[EAGER, CLOCK]);
    let events = running
        .eventually("two questions", |_| bench.asked(PATH).len() >= 2)
        .await;
    assert_eq!(samples(&events), 0, "unfinished rows are not delivered");
    assert_eq!(failures(&events), [], "late is no failure");
    assert_eq!(queries(&bench)[0], queries(&bench)[1]);
    bench.sim.advance_clock(Duration::from_secs(1800));
    running
        .eventually("the window", |events| samples(events) >= 3)
        .await;
    assert_eq!(running.stop().await, Outcome::Well);
    let events = bench.events();
    assert_eq!(samples(&events), 3, "the next window is not complete");
    for name in ["ns1", "ns2", "ns3"] {
        let truth = bench.sim.billing_truth(name, 1_772_443_800, 1_772_444_400);
        assert_eq!(
            sums(&events, name),
            (truth.objects_created, truth.ingress, truth.bytes_delta),
            "{name}"
        );
    }
}

#[tokio::test]
async fn item_15_a_window_that_never_becomes_complete_is_delivered_in_the_end() {
    let bench = bench(4 * 3600).await;
    let running = bench.start(&[EAGER, CLOCK]);
    let events = running
        .eventually("two questions", |_| bench.asked(PATH).len() >= 2)
        .await;
    assert_eq!(samples(&events), 0);
    // An hour after it should have been complete.
    bench.sim.advance_clock(Duration::from_secs(3600));
    running
        .eventually("the window", |events| samples(events) >= 3)
        .await;
    running.stop().await;
    assert_eq!(samples(&bench.events()), 3);
}

#[tokio::test]
async fn item_15_runs_with_once_wait_for_one_and_the_same_window() {
    // At no run is the newest window complete; the first one is in the end.
    let bench = bench(2700).await;
    for step in [0, 600, 600, 600, 600] {
        bench.sim.advance_clock(Duration::from_secs(step));
        assert_eq!(bench.once(&[SAMPLE]).await, Outcome::Well);
    }
    let events = bench.events();
    let truth = bench.sim.billing_truth("ns1", 1_772_443_800, 1_772_445_000);
    assert_eq!(sums(&events, "ns1").1, truth.ingress, "{} rows", samples(&events));
}

#[tokio::test]
async fn item_15_a_window_that_failed_is_asked_again() {
    let bench = bench(600).await;
    assert_eq!(bench.once(&[SAMPLE]).await, Outcome::Well);
    let refuse = Fault::Status {
        codes: vec![400],
        retry_after: None,
        retryable: None,
        code: None,
        details: None,
    };
    let rule = bench
        .sim
        .faults()
        .set(FaultRule::everywhere(refuse).on_path(PATH));
    bench.sim.advance_clock(Duration::from_secs(600));
    assert_eq!(bench.once(&[SAMPLE]).await, Outcome::Incomplete);
    bench.sim.faults().remove(rule);
    assert_eq!(bench.once(&[SAMPLE]).await, Outcome::Well);
    let queries = queries(&bench);
    assert_eq!(queries.len(), 3);
    assert_eq!(queries[1], queries[2]);
    let events = bench.events();
    assert_eq!(of(&events, "nsbillingsample").len(), 6);
    let truth = bench.sim.billing_truth("ns2", 1_772_443_800, 1_772_445_000);
    assert_eq!(sums(&events, "ns2").1, truth.ingress);
}

#[tokio::test]
async fn item_15_windows_that_are_no_multiple_of_five_minutes_are_refused_at_start() {
    let bench = bench(600).await;
    let file = bench.write(&["{type: nsbillingsample, interval: 7m}"], true);
    let sources = Sources {
        files: vec![file],
        strict_perms: false,
        ..Sources::default()
    };
    let told = load(&sources, &|_| None).unwrap_err().to_string();
    assert!(told.contains("5m") && told.contains("interval"), "{told}");
}

#[tokio::test]
async fn item_15_windows_are_utc_whatever_the_zone_of_the_machine() {
    let bench = bench(600).await;
    let file = bench.write(&[SAMPLE, "{type: auditevent}"], true);
    for zone in ["America/New_York", "Asia/Kolkata"] {
        bench.sim.clear_requests();
        let _ = std::fs::remove_dir_all(bench.path("data"));
        let mut collector = std::process::Command::new(env!("CARGO_BIN_EXE_ecsbeat"));
        collector
            .args(["run", "-e", "--strict.perms=false", "-c"])
            .arg(&file)
            .env("TZ", zone)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let status = tokio::task::spawn_blocking(move || collector.status())
            .await
            .unwrap()
            .unwrap();
        assert!(status.success(), "{zone}: {status}");
        assert_eq!(
            queries(&bench),
            ["start_time=2026-03-02T09:30&end_time=2026-03-02T09:40"],
            "{zone}"
        );
        assert_eq!(
            bench.asked("/vdc/events")[0].query,
            "start_time=2026-03-02T09:53&end_time=2026-03-02T09:59",
            "{zone}"
        );
    }
    let samples = bench.events();
    assert!(
        of(&samples, "nsbillingsample")
            .iter()
            .all(|sample| sample["@timestamp"] == "2026-03-02T09:30:00.000Z")
    );
}
