//! `/cluster` and `/history`: the view of a replica, of one that is cut off, and of a single node.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Endpoints;
use super::tests::{get, replica, single, unit};
use crate::clock::{Clock, since_boot};
use crate::cluster::{HistoryRecord, MemberRecord, Probe, Reason, SCHEMA, SwitchoverRecord};
use crate::status::{Cluster, Leadership, State, UnitKey, UnitStatus};
use crate::version::VERSION;

fn at(second: u64) -> Timestamp {
    Timestamp::UNIX_EPOCH + Duration::from_secs(second)
}

pub(super) fn member(instance: &str) -> MemberRecord {
    MemberRecord {
        schema: SCHEMA,
        instance: instance.to_owned(),
        incarnation: "i".to_owned(),
        address: format!("http://{instance}:5066"),
        state: "standby".to_owned(),
        version: "9.9.9".to_owned(),
        config_hash: "c0ffee".to_owned(),
        identity_hash: "1d".to_owned(),
        priority: 1,
        ttl_ms: 10_000,
        since: at(60),
        probe: None,
    }
}

/// Three replicas, `node-b` leads.
pub(super) fn three() -> Cluster {
    Cluster {
        members: vec![
            member("node-a"),
            MemberRecord {
                state: "leader".to_owned(),
                ..member("node-b")
            },
            MemberRecord {
                config_hash: "bad".to_owned(),
                priority: 0,
                probe: Some(Probe {
                    output: true,
                    ecs: false,
                    at: at(90),
                }),
                ..member("node-c")
            },
        ],
        seen: Some(since_boot()),
        ..Cluster::default()
    }
}

fn standby() -> Endpoints {
    let endpoints = replica(State::Standby);
    endpoints.status.tell_cluster(three());
    endpoints
}

fn row<'a>(body: &'a Value, instance: &str) -> &'a Value {
    let rows = body["members"].as_array().unwrap();
    rows.iter().find(|row| row["instance"] == instance).unwrap()
}

#[tokio::test]
async fn the_rows_say_who_leads_and_how_each_differs() {
    let (status, mut body) = get(&standby(), "/cluster").await;
    assert_eq!(status, 200);
    let stale = body["stale_ms"].take().as_u64().unwrap();
    assert!(stale < 5_000, "{stale}");
    assert_eq!(
        body,
        json!({
            "cluster": "prod", "ha_enabled": true, "cluster_unlocked": false, "term": 7, "pause": false,
            "leader": {"name": "node-b", "address": "http://node-b:5066", "since": "1970-01-01T00:00:00Z"},
            "switchover": null, "stale_ms": null,
            "members": [
                {
                    "instance": "node-a", "is_self": true, "role": "replica", "state": "standby",
                    "address": "http://node-a:5066", "version": VERSION, "config_hash": "c0ffee",
                    "config_mismatch": false, "identity_mismatch": false, "priority": 1,
                    "since": "1970-01-01T00:00:00Z", "probe": null, "lag_s": null
                },
                {
                    "instance": "node-b", "is_self": false, "role": "leader", "state": "leader",
                    "address": "http://node-b:5066", "version": "9.9.9", "config_hash": "c0ffee",
                    "config_mismatch": false, "identity_mismatch": false, "priority": 1,
                    "since": "1970-01-01T00:01:00Z", "probe": null, "lag_s": null
                },
                {
                    "instance": "node-c", "is_self": false, "role": "replica", "state": "standby",
                    "address": "http://node-c:5066", "version": "9.9.9", "config_hash": "bad",
                    "config_mismatch": true, "identity_mismatch": false, "priority": 0,
                    "since": "1970-01-01T00:01:00Z",
                    "probe": {"output": true, "ecs": false, "at": "1970-01-01T00:01:30Z"}, "lag_s": null
                }
            ]
        })
    );
}

#[tokio::test]
async fn the_own_row_is_as_of_now_whatever_etcd_says() {
    let mut endpoints = replica(State::Leader);
    endpoints.clock = Clock::system();
    endpoints.status.tell_cluster(three());
    let key = UnitKey {
        customer: "EMC".into(),
        vdc: "VDC1".into(),
        command: "alert".into(),
    };
    endpoints.status.unit(&key).store(std::sync::Arc::new(UnitStatus {
        checkpoint: Some(Timestamp::now() - Duration::from_secs(100)),
        ..UnitStatus::default()
    }));
    let (_, body) = get(&endpoints, "/cluster").await;
    let own = row(&body, "node-a");
    assert_eq!(
        (&own["role"], &own["state"]),
        (&json!("leader"), &json!("leader"))
    );
    assert!(
        (100..110).contains(&own["lag_s"].as_u64().unwrap()),
        "{}",
        own["lag_s"]
    );
    assert_eq!(row(&body, "node-b")["role"], "replica");
    assert_eq!(body["leader"]["name"], "node-a");
}

#[tokio::test]
async fn a_former_leader_does_not_call_itself_one() {
    let endpoints = replica(State::Leader);
    endpoints.status.tell_cluster(three());
    let told = Leadership::clone(&endpoints.status.leadership());
    endpoints.status.tell_leadership(Leadership {
        deadline: Some(since_boot()),
        ..told
    });
    let (_, body) = get(&endpoints, "/cluster").await;
    assert_eq!(
        (&body["leader"], &body["cluster_unlocked"]),
        (&Value::Null, &json!(true))
    );
    let own = row(&body, "node-a");
    assert_eq!((&own["role"], &own["state"]), (&json!("replica"), &json!("lost")));
    assert_eq!(own["config_mismatch"], Value::Null, "nobody to compare with");
    let (_, body) = get(&endpoints, "/health").await;
    assert_eq!(
        (&body["leader"], &body["lease_remaining_ms"]),
        (&Value::Null, &json!(0))
    );
}

#[tokio::test]
async fn a_view_that_is_old_says_how_old() {
    let endpoints = standby();
    let told = Leadership::clone(&endpoints.status.leadership());
    endpoints.status.tell_leadership(Leadership {
        dcs_reachable: false,
        ..told
    });
    let minute = Duration::from_secs(60);
    endpoints.status.tell_cluster(Cluster {
        seen: Some(since_boot().saturating_sub(minute)),
        ..three()
    });
    let (status, body) = get(&endpoints, "/cluster").await;
    let stale = body["stale_ms"].as_u64().unwrap();
    // A machine that has just started has no older view.
    let oldest = u64::try_from(minute.min(since_boot()).as_millis()).unwrap();
    assert!(status == 200 && stale + 1000 >= oldest, "{stale}");
    assert_eq!(body["members"].as_array().unwrap().len(), 3);
    assert_eq!(body["leader"]["name"], "node-b");
}

#[tokio::test]
async fn an_instance_that_never_saw_etcd_tells_of_itself() {
    let endpoints = replica(State::Starting);
    endpoints.status.tell_leadership(Leadership::default());
    let (_, body) = get(&endpoints, "/cluster").await;
    assert_eq!(body["stale_ms"], Value::Null);
    assert_eq!(body["cluster_unlocked"], true);
    assert_eq!(body["members"].as_array().unwrap().len(), 1);
    let own = row(&body, "node-a");
    assert_eq!(
        (&own["is_self"], &own["state"]),
        (&json!(true), &json!("starting"))
    );
    assert_eq!(own["priority"], Value::Null);
}

#[tokio::test]
async fn a_pause_and_a_pending_switchover_are_told() {
    let endpoints = standby();
    let told = Leadership::clone(&endpoints.status.leadership());
    endpoints
        .status
        .tell_leadership(Leadership { paused: true, ..told });
    endpoints.status.tell_cluster(Cluster {
        switchover: Some(SwitchoverRecord {
            schema: SCHEMA,
            leader: "node-b".to_owned(),
            candidate: Some("node-a".to_owned()),
            by: "node-c".to_owned(),
            at: at(5),
            reason: Reason::Switchover,
        }),
        ..three()
    });
    let (_, body) = get(&endpoints, "/cluster").await;
    assert_eq!(body["pause"], true);
    assert_eq!(
        body["switchover"],
        json!({
            "leader": "node-b", "candidate": "node-a", "by": "node-c", "at": "1970-01-01T00:00:05Z",
            "reason": "switchover"
        })
    );
}

#[tokio::test]
async fn a_single_node_is_a_cluster_of_one() {
    let endpoints = single();
    unit(&endpoints, "VDC1", "nodes", None);
    let (status, body) = get(&endpoints, "/cluster").await;
    assert_eq!(status, 200);
    assert_eq!(
        body,
        json!({
            "cluster": null, "ha_enabled": false, "cluster_unlocked": false, "term": 0, "pause": false,
            "leader": {"name": "node-a", "address": "http://node-a:5066", "since": "1970-01-01T00:00:00Z"},
            "switchover": null, "stale_ms": null,
            "members": [{
                "instance": "node-a", "is_self": true, "role": "leader", "state": "single",
                "address": "http://node-a:5066", "version": VERSION, "config_hash": null, "config_mismatch": null,
                "identity_mismatch": null, "priority": null, "since": "1970-01-01T00:00:00Z", "probe": null,
                "lag_s": null
            }]
        })
    );
    let (status, body) = get(&endpoints, "/history").await;
    assert_eq!((status, body), (200, json!({"cluster": null, "history": []})));
}

#[tokio::test]
async fn the_history_is_told_oldest_first() {
    let endpoints = standby();
    let first = HistoryRecord {
        schema: SCHEMA,
        term: 5,
        from: None,
        to: "node-a".to_owned(),
        reason: Reason::Startup,
        at: at(1),
        gap_ms: None,
        ending: Some(Reason::Graceful),
    };
    let second = HistoryRecord {
        term: 9,
        from: Some("node-a".to_owned()),
        to: "node-b".to_owned(),
        reason: Reason::Graceful,
        at: at(2),
        gap_ms: Some(12),
        ending: None,
        ..first.clone()
    };
    endpoints.status.tell_cluster(Cluster {
        history: vec![first, second],
        ..three()
    });
    let (status, body) = get(&endpoints, "/history").await;
    assert_eq!(status, 200);
    assert_eq!(
        body,
        json!({
            "cluster": "prod",
            "history": [
                {
                    "term": 5, "from": null, "to": "node-a", "reason": "startup", "at": "1970-01-01T00:00:01Z",
                    "gap_ms": null, "ending": "graceful"
                },
                {
                    "term": 9, "from": "node-a", "to": "node-b", "reason": "graceful",
                    "at": "1970-01-01T00:00:02Z", "gap_ms": 12
                }
            ]
        })
    );
}
