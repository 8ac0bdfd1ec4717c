//! Item 14, audit events: every event exactly once, whatever the pages, the lateness and the restarts. What is
//! expected comes from the simulator's own record of what happened. The clock stands still between the steps, so
//! that every window is known; it is months behind that of this machine, and the windows must follow it.

use std::collections::BTreeSet;
use std::time::Duration;

use ecs_sim::{Fault, FaultRule, Journal, Oddity, RowTruth};
use ecsbeat::app::Outcome;
use serde_json::Value;

use crate::support::bench::{Bench, START, failures, of, small, sorted};

const EVENTS: &str = "{type: auditevent, interval: 1s}";
/// Asked of each VDC every second, so that the clock of the federation is known when it has been moved.
const CLOCK: &str = "{type: clock, uri: /object/capacity.json, level: vdc, interval: 1s}";
const PATH: &str = "/vdc/events";

/// The end of the first window: a minute behind the clock, on the minute.
const FIRST_END: i64 = START - 30 - 60;
/// Where the first question begins: a window of a minute, and the overlap.
const FIRST_START: i64 = FIRST_END - 60 - 300;

async fn bench(journal: Journal) -> Bench {
    Bench::new(ecs_sim::Config { journal, ..small() }).await
}

/// What happened from the first question on until a minute behind the clock, and can be seen.
fn due(bench: &Bench, pick: impl Fn(&ecs_sim::VdcTruth) -> &[RowTruth]) -> Vec<String> {
    let now = bench.sim.now();
    let end = (now - 60).div_euclid(60) * 60;
    let truth = bench.sim.truth_between(FIRST_START, end);
    let rows = truth.vdcs.iter().flat_map(|vdc| pick(vdc).iter());
    let mut ids: Vec<String> = rows
        .filter(|row| row.visible_at <= now)
        .map(|row| row.id.clone())
        .collect();
    ids.sort();
    ids
}

fn audit(vdc: &ecs_sim::VdcTruth) -> &[RowTruth] {
    &vdc.audit_events
}

fn delivered(events: &[Value]) -> Vec<String> {
    sorted(&of(events, "auditevent"), "id")
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// Runs once after each step, which is a restart each time, and compares with the truth at the end of each.
async fn every_event_once(bench: &Bench) {
    for step in [0, 60, 60, 180, 61, 59, 600] {
        bench.sim.advance_clock(Duration::from_secs(step));
        assert_eq!(
            bench.once(&[EVENTS]).await,
            Outcome::Well,
            "{:?}",
            failures(&bench.events())
        );
        let (found, want) = (delivered(&bench.events()), due(bench, audit));
        assert!(!want.is_empty());
        assert_eq!(found, want, "after a step of {step} s");
    }
}

#[tokio::test]
async fn item_14_every_event_once_over_restarts_late_rows_and_pages() {
    let journal = Journal {
        events_per_minute: 40,
        burst_every: 3,
        late_one_in: 4,
        late_secs: 90,
        page_size: 7,
        ..Journal::default()
    };
    let bench = bench(journal).await;
    every_event_once(&bench).await;
    assert!(bench.asked(PATH).len() > 100, "many pages");
    assert!(delivered(&bench.events()).len() > 1000);
}

#[tokio::test]
async fn item_14_every_event_once_with_an_inclusive_end() {
    let journal = Journal {
        events_per_minute: 6,
        inclusive_end: true,
        ..Journal::default()
    };
    every_event_once(&bench(journal).await).await;
}

#[tokio::test]
async fn item_14_every_event_once_with_repeated_rows_on_each_page() {
    let bench = bench(Journal {
        events_per_minute: 9,
        page_size: 4,
        ..Journal::default()
    })
    .await;
    let oddity = Oddity::RepeatedRows;
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(Fault::Odd { oddity }));
    every_event_once(&bench).await;
}

#[tokio::test]
async fn item_14_every_event_once_with_stamps_to_the_second() {
    let bench = bench(Journal {
        events_per_minute: 6,
        ..Journal::default()
    })
    .await;
    let oddity = Oddity::SecondStamps;
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(Fault::Odd { oddity }));
    every_event_once(&bench).await;
}

#[tokio::test]
async fn item_14_a_minute_without_events_in_every_form() {
    for oddity in [None, Some(Oddity::EmptyObject), Some(Oddity::NullList)] {
        let bench = bench(Journal {
            events_per_minute: 0,
            ..Journal::default()
        })
        .await;
        if let Some(oddity) = oddity {
            bench
                .sim
                .faults()
                .set(FaultRule::everywhere(Fault::Odd { oddity }));
        }
        assert_eq!(bench.once(&[EVENTS]).await, Outcome::Well, "{oddity:?}");
        assert_eq!(bench.events().len(), 0, "{oddity:?}");
        assert_eq!(bench.asked(PATH).len(), 1);
    }
}

#[tokio::test]
async fn item_14_an_event_has_its_own_time_and_its_fields() {
    let bench = bench(Journal::default()).await;
    bench.once(&[EVENTS]).await;
    let truth = bench.sim.truth();
    let events = bench.events();
    for event in of(&events, "auditevent") {
        let row = truth.vdcs[0]
            .audit_events
            .iter()
            .find(|row| event["id"] == row.id.as_str())
            .unwrap();
        assert_eq!(event["timestamp"], row.timestamp.as_str());
        assert_eq!(event["@timestamp"], format!("{}:00.000Z", row.timestamp));
        assert_eq!(event["event"]["kind"], "event");
        assert_eq!(event["userId"], "root");
        assert_eq!(event["ecs-vdc-cfgname"], "VDC1");
    }
    let texts: BTreeSet<&str> = events
        .iter()
        .filter_map(|event| event["description"].as_str())
        .collect();
    assert!(texts.iter().any(|text| !text.is_ascii()), "{texts:?}");
}

#[tokio::test]
async fn item_14_windows_are_asked_in_utc_minutes_without_gap() {
    let bench = bench(Journal::default()).await;
    for _ in 0..3 {
        bench.once(&[EVENTS]).await;
        bench.sim.advance_clock(minutes(2));
    }
    let queries: Vec<String> = bench
        .asked(PATH)
        .iter()
        .map(|request| request.query.clone())
        .collect();
    assert_eq!(
        queries,
        [
            "start_time=2026-03-02T09:53&end_time=2026-03-02T09:59",
            "start_time=2026-03-02T09:54&end_time=2026-03-02T10:01",
            "start_time=2026-03-02T09:56&end_time=2026-03-02T10:03",
        ]
    );
}

#[tokio::test]
async fn item_14_a_running_collector_and_its_successor_leave_no_gap() {
    let config = ecs_sim::Config {
        vdcs: 2,
        journal: Journal {
            events_per_minute: 12,
            late_one_in: 5,
            page_size: 9,
            ..Journal::default()
        },
        ..small()
    };
    let bench = Bench::new(config).await;
    for step in [0, 1, 7] {
        bench.sim.advance_clock(minutes(step));
        let running = bench.start(&[EVENTS, CLOCK]);
        for _ in 0..2 {
            let want = due(&bench, audit);
            let events = running.eventually("the events of the window", |events| {
                delivered(events).len() >= want.len()
            });
            assert_eq!(delivered(&events.await), want);
            bench.sim.advance_clock(minutes(1));
        }
        assert_eq!(running.stop().await, Outcome::Well);
    }
    bench.once(&[EVENTS]).await;
    assert_eq!(delivered(&bench.events()), due(&bench, audit));
    assert_eq!(failures(&bench.events()), []);
}

#[tokio::test]
async fn item_14_an_outage_is_caught_up() {
    let bench = bench(Journal {
        events_per_minute: 5,
        ..Journal::default()
    })
    .await;
    let running = bench.start(&[EVENTS, CLOCK]);
    let want = due(&bench, audit).len();
    running
        .eventually("the first window", |events| delivered(events).len() == want)
        .await;
    bench.sim.vdc(0).down().unwrap();
    running
        .eventually("that it is down", |events| !failures(events).is_empty())
        .await;
    bench.sim.advance_clock(minutes(45));
    bench.sim.vdc(0).up().unwrap();
    let want = due(&bench, audit);
    let events = running
        .eventually("the outage", |events| delivered(events).len() >= want.len())
        .await;
    assert_eq!(delivered(&events), want);
    running.stop().await;
}

#[tokio::test]
async fn item_14_rows_before_a_page_that_failed_are_not_sent_again() {
    let bench = bench(Journal {
        events_per_minute: 20,
        page_size: 50,
        ..Journal::default()
    })
    .await;
    let broken = Fault::Status {
        codes: vec![400],
        retry_after: None,
        retryable: None,
        code: None,
        details: None,
    };
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(broken).on_path(PATH).skip(1).times(1));
    let running = bench.start(&[EVENTS, CLOCK]);
    let events = running
        .eventually("the failed page", |events| !failures(events).is_empty())
        .await;
    assert_eq!(failures(&events)[0].0, "bad_request");
    let want = due(&bench, audit);
    let events = running
        .eventually("all pages", |events| delivered(events).len() >= want.len())
        .await;
    assert_eq!(delivered(&events), want);
    running.stop().await;
    let asked = bench.asked(PATH);
    assert_eq!(
        asked[2].query, asked[0].query,
        "the window is asked for from its beginning"
    );
}

#[tokio::test]
async fn item_14_a_marker_that_repeats_is_an_error_and_not_endless() {
    let bench = bench(Journal::default()).await;
    let body = r#"{"auditevent":[{"id":"a","timestamp":"2026-03-02T09:58"}],"NextMarker":"same"}"#;
    let answer = Fault::Answer {
        status: 200,
        content_type: None,
        body: body.into(),
    };
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(answer).on_path(PATH));
    assert_eq!(bench.once(&[EVENTS]).await, Outcome::Incomplete);
    assert_eq!(failures(&bench.events())[0].0, "marker_loop");
    assert_eq!(delivered(&bench.events()), ["a"]);
    assert_eq!(bench.asked(PATH).len(), 2);
}

#[tokio::test]
async fn item_14_windows_of_a_second_find_the_events_of_the_minute() {
    let bench = bench(Journal {
        events_per_minute: 30,
        ..Journal::default()
    })
    .await;
    let command = "{type: auditevent, interval: 1s, window: {step: 1s, lag: 1s, overlap: 70s, max_span: 1h, format: rfc3339}}";
    for step in [0, 1, 1, 13, 45, 1, 61] {
        bench.sim.advance_clock(Duration::from_secs(step));
        assert_eq!(bench.once(&[command]).await, Outcome::Well);
    }
    // What can be seen at the last question, from the minute on that the first one reached.
    let first = START - 2 - 70;
    let truth = bench
        .sim
        .truth_between(first.div_euclid(60) * 60 + 60, bench.sim.now() + 1);
    let mut want: Vec<&str> = truth.vdcs[0]
        .audit_events
        .iter()
        .map(|row| row.id.as_str())
        .collect();
    want.sort_unstable();
    assert_eq!(delivered(&bench.events()), want);
}
