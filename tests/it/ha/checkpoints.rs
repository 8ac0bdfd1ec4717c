//! Where a new leader goes on, and what becomes of checkpoints that others lay hands on.

use std::collections::BTreeMap;

use ecs_sim::bulk::{BulkFault, BulkRule};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::windows::{asked, without_gap};
use crate::support::cluster::{Cluster, Setup, successor, until, until_of};
use crate::support::process::SOON;
use crate::support::windowed::{COMMANDS, busy, complete, exactly_once, rows_of};

/// A stream's checkpoint.
const EVENTS: &str = "checkpoint/sim/vdc-north/auditevent";
const GAUGE: &str = "checkpoint/sim/vdc-north/localzone";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_each_window_goes_on_exactly_at_its_checkpoint() {
    let cluster = Cluster::new().await;
    let (mut a, first) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    let from = cluster.begun().await;
    a.kill().await;
    let left: BTreeMap<String, Timestamp> = (cluster.keys("checkpoint/").await.iter())
        .filter_map(|key| Some((key.key_str().unwrap().to_owned(), until_of(key)?.parse().unwrap())))
        .collect();
    let a = cluster.again(&a).await;
    let (leader, second) = successor(&[&a, &b], first).await;
    cluster.delivers(second).await;
    let since: Timestamp = [&a, &b][leader].last_term(second).await["at"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let to = cluster.sim.now();
    complete(&cluster.sim, from, to, SOON, || rows_of(&cluster.bulk)).await;
    for ((vdc, path), windows) in asked(&cluster) {
        let kind = if path.contains("events") {
            "auditevent"
        } else {
            "alert"
        };
        let next = windows.iter().find(|window| window.at >= since).unwrap();
        let until = left[&format!("/ecsbeat/prod/checkpoint/sim/{vdc}/{kind}")];
        assert_eq!(next.begin, until, "{vdc} {kind}");
    }
    exactly_once(&cluster.sim, &rows_of(&cluster.bulk));
    without_gap(&cluster);
}

/// Gauges whose ticks no test outlives, beside the windows.
fn rare_gauge() -> Setup {
    Setup {
        commands: format!("{COMMANDS}  - {{type: localzone, interval: 24h}}\n"),
        sim: busy(),
        ..Setup::default()
    }
}

/// How often each VDC was asked for the gauge, by tick.
fn polls(cluster: &Cluster) -> BTreeMap<(usize, i64), usize> {
    let mut polls = BTreeMap::new();
    for request in cluster.sim.requests() {
        if request.path == "/dashboard/zones/localzone" {
            let tick = request.at_ms / (24 * 3600 * 1000);
            *polls.entry((request.vdc, tick)).or_default() += 1;
        }
    }
    polls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tick_that_was_acknowledged_is_not_polled_again_by_the_next_leader() {
    let cluster = Cluster::of(rare_gauge()).await;
    let (mut a, first) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    for vdc in ["vdc-north", "vdc-south"] {
        let key = format!("checkpoint/sim/{vdc}/localzone");
        until("the tick is delivered", SOON, async || cluster.key(&key).await).await;
    }
    a.kill().await;
    let a = cluster.again(&a).await;
    let (_, second) = successor(&[&a, &b], first).await;
    // Gauges whose tick is due are polled before the first window is delivered.
    cluster.delivers(second).await;
    let polls = polls(&cluster);
    assert!(
        polls.len() >= 2 && polls.values().all(|count| *count == 1),
        "{polls:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tick_that_was_not_acknowledged_is_polled_at_once_by_the_next_leader() {
    let cluster = Cluster::of(rare_gauge()).await;
    cluster.bulk.set(BulkRule::always(BulkFault::Hang));
    let (mut a, first) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    until("the gauge is polled", SOON, async || {
        (polls(&cluster).values().sum::<usize>() == 2).then_some(())
    })
    .await;
    until("a bulk hangs", SOON, async || {
        (cluster.bulk.requests().last()?.status == 0).then_some(())
    })
    .await;
    assert!(cluster.key(GAUGE).await.is_none());
    a.kill().await;
    cluster.bulk.clear_faults();
    let a = cluster.again(&a).await;
    let (_, second) = successor(&[&a, &b], first).await;
    until("the tick is delivered", SOON, async || cluster.key(GAUGE).await).await;
    let polls = polls(&cluster);
    assert!(polls.values().sum::<usize>() >= 4, "{polls:?}");
    let told = cluster.bulk.documents();
    let gauge = told.iter().map(|document| document.json());
    let gauge: Vec<Value> = gauge
        .filter(|json| json["ecs-event-type"] == "localzone")
        .collect();
    assert!(
        gauge.iter().all(|json| json["ecsbeat"]["term"] == second),
        "{gauge:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_that_was_deleted_is_written_anew() {
    let cluster = Cluster::new().await;
    let (a, term) = cluster.leader("a").await;
    let from = cluster.begun().await;
    let before = cluster.key(EVENTS).await.unwrap();
    cluster.delete(EVENTS).await;
    let after = until("it is there again", SOON, async || cluster.key(EVENTS).await).await;
    assert!(until_of(&after) >= until_of(&before), "{after:?}");
    assert_eq!(a.leads().await, Some(term));
    assert!(a.lines("giving up this term").is_empty());
    let to = cluster.sim.now();
    complete(&cluster.sim, from, to, SOON, || rows_of(&cluster.bulk)).await;
    exactly_once(&cluster.sim, &rows_of(&cluster.bulk));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_that_somebody_else_writes_ends_the_term_and_somebody_leads_on() {
    let cluster = Cluster::new().await;
    let (a, first) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    let from = cluster.begun().await;
    let key = cluster.key(EVENTS).await.unwrap();
    let mut value: Value = serde_json::from_slice(key.value()).unwrap();
    value["term"] = json!(1);
    cluster.put(EVENTS, &value.to_string()).await;
    let told = until("the leader says why", SOON, async || {
        a.lines("giving up this term").pop()
    })
    .await;
    assert_eq!(
        (&told["log.level"], &told["term"]),
        (&"error".into(), &first.into())
    );
    let error = told["error.message"].as_str().unwrap();
    assert!(
        error.contains(EVENTS) && error.contains("another program"),
        "{error}"
    );
    let (_, second) = successor(&[&a, &b], first).await;
    cluster.delivers(second).await;
    assert_eq!(a.lines("lost leadership")[0]["reason"], "fenced");
    assert_eq!(a.metric("ecsbeat_ha_fenced_writes_total").await, Some(1.0));
    let to = cluster.sim.now();
    complete(&cluster.sim, from, to, SOON, || rows_of(&cluster.bulk)).await;
    exactly_once(&cluster.sim, &rows_of(&cluster.bulk));
}
