//! Item 14, alerts: every alert exactly once in all its forms, and the newest ones not again and again.

use std::time::Duration;

use ecs_sim::{Fault, FaultRule, Journal, Oddity};
use ecsbeat::app::Outcome;
use serde_json::Value;

use crate::support::bench::{Bench, START, failures, of, small, sorted};

const ALERTS: &str = "{type: alert, interval: 1s}";
const LATEST: &str = "{type: latestalert, interval: 1s}";
const LATEST_PATH: &str = "/vdc/alerts/latest";

/// Where the first question begins, see the tests of events.
const FIRST_START: i64 = START - 30 - 60 - 60 - 300;

async fn bench(journal: Journal, oddities: &[Oddity]) -> Bench {
    let bench = Bench::new(ecs_sim::Config { journal, ..small() }).await;
    for oddity in oddities {
        bench
            .sim
            .faults()
            .set(FaultRule::everywhere(Fault::Odd { oddity: *oddity }));
    }
    bench
}

fn due(bench: &Bench) -> Vec<String> {
    let now = bench.sim.now();
    let end = (now - 60).div_euclid(60) * 60;
    let truth = bench.sim.truth_between(FIRST_START, end);
    let rows = truth.vdcs[0].alerts.iter().filter(|row| row.visible_at <= now);
    let mut ids: Vec<String> = rows.map(|row| row.id.clone()).collect();
    ids.sort();
    ids
}

async fn every_alert_once(bench: &Bench) {
    for step in [0, 60, 95, 25, 300] {
        bench.sim.advance_clock(Duration::from_secs(step));
        assert_eq!(
            bench.once(&[ALERTS]).await,
            Outcome::Well,
            "{:?}",
            failures(&bench.events())
        );
        let found = sorted(&of(&bench.events(), "alert"), "id");
        assert!(!found.is_empty());
        assert_eq!(found, due(bench), "after a step of {step} s");
    }
}

fn busy() -> Journal {
    Journal {
        alerts_per_minute: 12,
        late_one_in: 4,
        late_secs: 90,
        page_size: 5,
        ..Journal::default()
    }
}

#[tokio::test]
async fn item_14_every_alert_once() {
    let bench = bench(busy(), &[]).await;
    every_alert_once(&bench).await;
    let events = bench.events();
    for alert in of(&events, "alert") {
        assert_eq!(alert["type"], "ecsbeat");
        assert!(
            alert["ecs-type"]
                .as_str()
                .unwrap()
                .chars()
                .all(char::is_uppercase),
            "the alert's own type"
        );
        assert_eq!(alert["event"]["kind"], "alert");
        let stamp = alert["timestamp"].as_str().unwrap();
        assert_eq!(alert["@timestamp"], format!("{stamp}.000Z"));
    }
}

#[tokio::test]
async fn item_14_every_alert_once_with_an_inclusive_end() {
    // One at each full minute, which is the border of two windows.
    let journal = Journal {
        alerts_per_minute: 1,
        inclusive_end: true,
        ..Journal::default()
    };
    every_alert_once(&bench(journal, &[]).await).await;
}

#[tokio::test]
async fn item_14_every_alert_once_in_the_wrapped_form() {
    every_alert_once(&bench(busy(), &[Oddity::WrappedAlerts]).await).await;
}

#[tokio::test]
async fn item_14_every_alert_once_where_a_page_of_one_is_no_list() {
    let journal = Journal {
        alerts_per_minute: 3,
        page_size: 1,
        ..Journal::default()
    };
    every_alert_once(&bench(journal.clone(), &[Oddity::SingleObject]).await).await;
    every_alert_once(&bench(journal, &[Oddity::SingleObject, Oddity::WrappedAlerts]).await).await;
}

#[tokio::test]
async fn item_14_no_alert_in_every_form() {
    let quiet = || Journal {
        alerts_per_minute: 0,
        ..Journal::default()
    };
    for empty in [None, Some(Oddity::EmptyObject), Some(Oddity::NullList)] {
        for wrapped in [None, Some(Oddity::WrappedAlerts)] {
            let oddities: Vec<Oddity> = [empty, wrapped].into_iter().flatten().collect();
            let bench = bench(quiet(), &oddities).await;
            assert_eq!(bench.once(&[ALERTS, LATEST]).await, Outcome::Well, "{oddities:?}");
            assert_eq!(bench.events().len(), 0, "{oddities:?}");
        }
    }
}

#[tokio::test]
async fn item_14_symptom_codes_are_strings_or_numbers() {
    for (oddities, is_number) in [(&[][..], false), (&[Oddity::SymptomNumber][..], true)] {
        let bench = bench(busy(), oddities).await;
        every_alert_once(&bench).await;
        let events = bench.events();
        let codes: Vec<&Value> = of(&events, "alert")
            .iter()
            .map(|alert| &alert["symptomCode"])
            .collect();
        assert!(
            codes
                .iter()
                .all(|code| code.is_number() == is_number && !code.is_null()),
            "{codes:?}"
        );
    }
}

#[tokio::test]
async fn item_14_the_latest_alerts_are_not_sent_again() {
    let journal = Journal {
        alerts_per_minute: 4,
        ..Journal::default()
    };
    let bench = bench(journal, &[]).await;
    let running = bench.start(&[LATEST]);
    let first = running
        .eventually("the newest 20", |events| of(events, "latestalert").len() >= 20)
        .await;
    assert_eq!(first.len(), 20);
    // Two more polls that bring nothing new.
    let before = bench.asked(LATEST_PATH).len();
    running
        .eventually("two polls", |_| bench.asked(LATEST_PATH).len() >= before + 2)
        .await;
    bench.sim.advance_clock(Duration::from_secs(120));
    let before = bench.asked(LATEST_PATH).len();
    let events = running
        .eventually("two polls", |_| bench.asked(LATEST_PATH).len() >= before + 2)
        .await;
    let ids = sorted(&of(&events, "latestalert"), "id");
    let mut distinct = ids.clone();
    distinct.dedup();
    assert_eq!(ids, distinct, "none twice");
    assert!(
        (21..=28).contains(&ids.len()),
        "{} with those of two minutes",
        ids.len()
    );
    running.stop().await;
}

#[tokio::test]
async fn item_14_the_latest_alerts_are_not_sent_again_after_a_restart() {
    let journal = Journal {
        alerts_per_minute: 4,
        ..Journal::default()
    };
    let bench = bench(journal, &[]).await;
    for _ in 0..3 {
        assert_eq!(bench.once(&[LATEST]).await, Outcome::Well);
    }
    assert_eq!(bench.asked(LATEST_PATH).len(), 3);
    assert_eq!(bench.events().len(), 20);
}
