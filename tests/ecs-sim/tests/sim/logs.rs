//! Item 14: audit events and alerts, with every row known.

use std::collections::BTreeSet;
use std::time::Duration;

use ecs_sim::{Config, Fault, FaultRule, Journal, Oddity, Sim};
use serde_json::Value;

use crate::client::Session;

async fn start(journal: Journal) -> (Sim, Session) {
    let sim = Sim::start(Config {
        journal,
        clock_start: Some(1_772_448_030),
        ..Config::for_tests()
    })
    .await
    .unwrap();
    sim.freeze_clock();
    let session = Session::open(&sim).await;
    (sim, session)
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// All rows of a window, page after page.
async fn window(session: &Session, what: &str, start: &str, end: &str) -> Vec<Value> {
    let key = if what == "events" { "auditevent" } else { "alert" };
    let mut rows = Vec::new();
    let mut marker = String::new();
    loop {
        let path = format!(
            "/vdc/{what}.json?start_time={start}&end_time={end}&marker={}",
            encoded(&marker)
        );
        let page = session.json(&path).await;
        rows.extend(page[key].as_array().unwrap().iter().cloned());
        match page["NextMarker"].as_str() {
            Some(next) => next.clone_into(&mut marker),
            None => return rows,
        }
    }
}

fn ids(rows: &[Value]) -> BTreeSet<String> {
    rows.iter()
        .map(|row| row["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn pages_of_a_window_are_the_truth() {
    let journal = Journal {
        events_per_minute: 12,
        burst_every: 5,
        page_size: 7,
        ..Journal::default()
    };
    let (sim, session) = start(journal).await;
    let rows = window(&session, "events", "2026-03-02T10:00", "2026-03-02T10:40").await;
    let truth = sim.truth_between(1_772_445_600, 1_772_448_000);
    let expected: BTreeSet<_> = truth.vdcs[0]
        .audit_events
        .iter()
        .map(|row| row.id.clone())
        .collect();
    assert_eq!(ids(&rows), expected);
    assert_eq!(rows.len(), expected.len(), "no row twice");
    assert_eq!(rows.len(), 12 * 32 + 120 * 8);
    assert_eq!(rows[0]["timestamp"], "2026-03-02T10:00");
    assert!(
        rows.iter()
            .any(|row| row["description"].as_str().unwrap().contains('東'))
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn alerts_are_stamped_to_the_second_and_latest_are_twenty() {
    let (sim, session) = start(Journal {
        alerts_per_minute: 4,
        ..Journal::default()
    })
    .await;
    let rows = window(&session, "alerts", "2026-03-02T10:00:00Z", "2026-03-02T10:10:00Z").await;
    assert_eq!(rows.len(), 40);
    assert_eq!(rows[1]["timestamp"], "2026-03-02T10:00:15");
    assert!(rows[0]["symptomCode"].is_string());
    let latest = session.json("/vdc/alerts/latest.json?limit=50").await;
    let latest = latest["alert"].as_array().unwrap();
    assert_eq!(latest.len(), 20);
    assert!(latest.iter().all(|alert| alert["acknowledged"] == false));
    assert!(latest[0]["timestamp"].as_str() > latest[19]["timestamp"].as_str());
    sim.shutdown().await;
}

#[tokio::test]
async fn late_rows_show_up_later() {
    let (sim, session) = start(Journal {
        late_one_in: 2,
        late_secs: 120,
        ..Journal::default()
    })
    .await;
    let early = window(&session, "events", "2026-03-02T10:38", "2026-03-02T10:40").await;
    let truth = sim.truth_between(1_772_447_880, 1_772_448_000);
    assert_eq!(truth.vdcs[0].audit_events.len(), 6);
    assert!(early.len() < 6);
    sim.advance_clock(Duration::from_secs(200));
    assert_eq!(
        window(&session, "events", "2026-03-02T10:38", "2026-03-02T10:40")
            .await
            .len(),
        6
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn the_same_rows_come_from_every_node_and_other_rows_from_another_vdc() {
    let (sim, session) = start(Journal::default()).await;
    let (from, to) = ("2026-03-02T10:00", "2026-03-02T10:40");
    let mut other = session.clone();
    other.host = sim.vdc(0).node(2).mgmt_host();
    assert_eq!(
        ids(&window(&session, "events", from, to).await),
        ids(&window(&other, "events", from, to).await)
    );
    let other = Session::at(&sim, &sim.vdc(1).node(0).mgmt_host(), "monitor").await;
    assert!(
        ids(&window(&session, "events", from, to).await)
            .is_disjoint(&ids(&window(&other, "events", from, to).await))
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn rows_and_lists_take_odd_forms() {
    let (sim, session) = start(Journal::default()).await;
    let under = async |oddity, path: &'static str| {
        sim.faults().clear();
        sim.faults().set(FaultRule::everywhere(Fault::Odd { oddity }));
        session.json(path).await
    };
    let one = "/vdc/alerts.json?start_time=2026-03-02T10:00&end_time=2026-03-02T10:01";
    let none = "/vdc/alerts.json?start_time=2026-03-02T08:00&end_time=2026-03-02T08:01";
    assert!(under(Oddity::WrappedAlerts, one).await["alerts"]["alert"].is_array());
    assert!(under(Oddity::SymptomNumber, one).await["alert"][0]["symptomCode"].is_number());
    assert!(under(Oddity::SingleObject, one).await["alert"]["id"].is_string());
    assert_eq!(under(Oddity::EmptyObject, none).await, serde_json::json!({}));
    assert!(under(Oddity::NullList, none).await["alert"].is_null());
    let events = "/vdc/events.json?start_time=2026-03-02T10:00&end_time=2026-03-02T10:01";
    let stamp = under(Oddity::SecondStamps, events).await["auditevent"][1]["timestamp"].clone();
    assert_eq!(stamp, "2026-03-02T10:00:20");
    sim.shutdown().await;
}

#[tokio::test]
async fn wrong_parameters_are_refused() {
    let (sim, session) = start(Journal::default()).await;
    for query in [
        "start_time=yesterday",
        "marker=xyz",
        "start_time=2026-03-02T10:00&end_time=2026-03-02T09:00",
    ] {
        assert_eq!(
            session.status(&format!("/vdc/events.json?{query}")).await,
            400,
            "{query}"
        );
    }
    sim.shutdown().await;
}
