//! Metrics and log lines, on leader and standby.

use serde_json::Value;

use crate::support::cluster::{Cluster, TTL, until};
use crate::support::process::SOON;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_tell_who_leads_and_how_the_lease_fares() {
    let cluster = Cluster::new().await;
    let (a, term) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    let renewed = "ecsbeat_ha_renewals_total{result=\"ok\"}";
    for replica in [&a, &b] {
        let before = replica.metric(renewed).await.unwrap_or_default();
        until("renewals are counted", SOON, async || {
            (replica.metric(renewed).await >= Some(before + 2.0)).then_some(())
        })
        .await;
    }
    until("the leader knows both", SOON, async || {
        (a.metric("ecsbeat_ha_members").await == Some(2.0)).then_some(())
    })
    .await;
    let (leader, standby) = (a.get("/metrics").await, b.get("/metrics").await);
    for (name, of_leader, of_standby) in [
        ("ecsbeat_ha_is_leader", 1.0, 0.0),
        ("leader_election_master_status{name=\"prod\"}", 1.0, 0.0),
        ("ecsbeat_leader", 1.0, 0.0),
        ("ecsbeat_ha_state", 3.0, 1.0),
        ("ecsbeat_ha_term", term as f64, term as f64),
        ("ecsbeat_ha_members", 2.0, 2.0),
        ("ecsbeat_ha_cluster_unlocked", 0.0, 0.0),
        ("ecsbeat_ha_config_mismatch", 0.0, 0.0),
        ("ecsbeat_ha_is_paused", 0.0, 0.0),
        ("ecsbeat_ha_priority", 1.0, 1.0),
        ("ecsbeat_ha_fenced_writes_total", 0.0, 0.0),
    ] {
        assert_eq!(leader.metric(name), Some(of_leader), "{name} of the leader");
        assert_eq!(standby.metric(name), Some(of_standby), "{name} of the standby");
    }
    let to_leader = "ecsbeat_ha_transitions_total{from=\"candidate\",to=\"leader\",reason=\"startup\"}";
    assert_eq!(
        (leader.metric(to_leader), standby.metric(to_leader)),
        (Some(1.0), None)
    );
    let to_standby = "ecsbeat_ha_transitions_total{from=\"starting\",to=\"standby\",reason=\"none\"}";
    assert_eq!(standby.metric(to_standby), Some(1.0));
    let remaining = leader.metric("ecsbeat_ha_lease_remaining_seconds").unwrap();
    assert!(
        remaining > 0.0 && remaining <= TTL.as_secs_f64() - 1.0,
        "{remaining}"
    );
    assert_eq!(standby.metric("ecsbeat_ha_lease_remaining_seconds"), None);
    for reply in [&leader, &standby] {
        let seen = reply.metric("ecsbeat_dcs_last_seen_timestamp_seconds").unwrap();
        let renewed = reply.metric("ecsbeat_ha_last_renew_timestamp_seconds").unwrap();
        assert!(renewed > 1e9 && seen + 0.001 >= renewed, "{seen} {renewed}");
    }
}

#[track_caller]
fn one(mut lines: Vec<Value>, level: &str) -> Value {
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = lines.remove(0);
    assert_eq!(line["log.level"], level, "{line}");
    line
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_tells_each_change_of_leader_once_and_in_the_same_words() {
    let cluster = Cluster::new().await;
    let (mut a, first) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    let lease = format!("{:x}", cluster.key("leader").await.unwrap().lease());
    let acquired = one(a.lines("\"acquired leadership\""), "info");
    assert_eq!(
        [
            &acquired["term"],
            &acquired["previous"],
            &acquired["reason"],
            &acquired["lease_id"]
        ],
        [
            &Value::from(first),
            &"none".into(),
            &"startup".into(),
            &lease.as_str().into()
        ],
        "{acquired}"
    );
    assert_eq!(one(a.lines("\"joined the cluster\""), "info")["lease_id"], lease);
    let standing = one(b.lines("\"standing by\""), "info");
    assert_eq!(
        (&standing["leader"], &standing["term"]),
        (&"a".into(), &first.into())
    );
    a.stop().await.expect(0);
    let second = b.led().await;
    let released = one(a.lines("\"released leadership\""), "info");
    assert_eq!(
        (&released["term"], &released["reason"]),
        (&first.into(), &"graceful".into())
    );
    assert!(released["drain_ms"].is_u64(), "{released}");
    let acquired = one(b.lines("\"acquired leadership\""), "info");
    assert_eq!(
        [&acquired["term"], &acquired["previous"], &acquired["reason"]],
        [&Value::from(second), &"a".into(), &"graceful".into()],
        "{acquired}"
    );
    assert!(acquired["gap_ms"].is_u64(), "{acquired}");
    // What an alert would wait for has not happened.
    for words in ["\"lost leadership\"", "lease renewal failed", "publish refused"] {
        for replica in [&a, &b] {
            assert!(replica.lines(words).is_empty(), "{words}");
        }
    }
}
