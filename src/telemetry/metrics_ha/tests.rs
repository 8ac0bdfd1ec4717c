//! The series of the cluster: their names, and that they say what `/leader` says.

use uuid::Uuid;

use super::*;
use crate::status::{Cluster, Leader, Leadership, State};
use crate::telemetry::metrics::Metrics;

const NOW: Duration = Duration::from_secs(1000);

fn identity(cluster: Option<&str>) -> Identity {
    Identity::new("n", Uuid::nil(), "node-a", cluster, "http://node-a:5066")
}

fn observed(status: &Status, cluster: Option<&str>, now: Duration) -> String {
    let metrics = Metrics::new();
    metrics.ha.observe(status, &identity(cluster), now);
    metrics.prometheus().unwrap()
}

fn leading() -> Status {
    let status = Status::new(Timestamp::UNIX_EPOCH);
    status.tell_leadership(Leadership {
        term: 184_467,
        leader: Some(Leader {
            name: "node-a".into(),
            address: "http://node-a:5066".into(),
            since: Timestamp::UNIX_EPOCH,
        }),
        deadline: Some(NOW + Duration::from_millis(7500)),
        dcs_reachable: true,
        dcs_last_seen: Some(Timestamp::UNIX_EPOCH + Duration::from_millis(1500)),
        paused: true,
        ..Leadership::default()
    });
    status.tell_cluster(Cluster {
        seen: Some(NOW),
        ..Cluster::default()
    });
    status.enter(State::Leader, Timestamp::UNIX_EPOCH);
    status
}

fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "{line}\n{text}");
    }
}

#[test]
fn a_leader_is_one_until_its_deadline() {
    has(
        &observed(&leading(), Some("prod"), NOW),
        &[
            "ecsbeat_ha_state 3",
            "ecsbeat_ha_is_leader 1",
            "leader_election_master_status{name=\"prod\"} 1",
            "ecsbeat_ha_term 184467",
            "ecsbeat_ha_lease_remaining_seconds 7.5",
            "ecsbeat_ha_cluster_unlocked 0",
            "ecsbeat_ha_members 0",
            "ecsbeat_ha_config_mismatch 0",
            "ecsbeat_ha_is_paused 1",
            "ecsbeat_dcs_last_seen_timestamp_seconds 1.5",
        ],
    );
    has(
        &observed(&leading(), Some("prod"), NOW + Duration::from_secs(8)),
        &[
            "ecsbeat_ha_state 5",
            "ecsbeat_ha_is_leader 0",
            "leader_election_master_status{name=\"prod\"} 0",
            "ecsbeat_ha_lease_remaining_seconds 0.0",
            "ecsbeat_ha_cluster_unlocked 1",
        ],
    );
}

#[test]
fn what_a_standby_does_not_have_is_absent() {
    let status = Status::new(Timestamp::UNIX_EPOCH);
    status.enter(State::Standby, Timestamp::UNIX_EPOCH);
    let text = observed(&status, Some("prod"), NOW);
    has(
        &text,
        &[
            "ecsbeat_ha_state 1",
            "ecsbeat_ha_is_leader 0",
            "ecsbeat_ha_cluster_unlocked 1",
        ],
    );
    for absent in ["lease_remaining", "dcs_last_seen", "ha_members", "last_renew"] {
        assert!(!text.contains(absent), "{absent}\n{text}");
    }
}

#[test]
fn a_single_node_leads_and_has_no_cluster() {
    let status = Status::new(Timestamp::UNIX_EPOCH);
    status.enter(State::Single, Timestamp::UNIX_EPOCH);
    let text = observed(&status, None, NOW);
    has(&text, &["ecsbeat_ha_state 6", "ecsbeat_ha_is_leader 1"]);
    for absent in [
        "leader_election_master_status",
        "cluster_unlocked",
        "ha_term",
        "ha_members",
        "dcs_last_seen",
        "etcd_",
        "ha_priority",
    ] {
        assert!(!text.contains(absent), "{absent}\n{text}");
    }
}

#[test]
fn what_is_counted_has_the_names_that_were_promised() {
    let metrics = Metrics::new();
    let ha = &metrics.ha;
    let ok = ResultLabels { result: "ok" };
    ha.transitions
        .get_or_create(&TransitionLabels {
            from: State::Candidate.as_str(),
            to: State::Leader.as_str(),
            reason: "expired",
        })
        .inc();
    ha.renewals.get_or_create(&ok).inc();
    ha.renew_duration.observe(0.002);
    ha.last_renew
        .tell(Some(seconds(Timestamp::UNIX_EPOCH + Duration::from_secs(9))));
    ha.gate_denied.get_or_create(&WhyLabels { why: "deadline" }).inc();
    ha.fenced_writes.inc();
    ha.clock_jumps
        .get_or_create(&KindLabels { kind: "suspend" })
        .inc();
    ha.failover_gap
        .get_or_create(&CauseLabels { reason: "graceful" })
        .observe(0.012);
    ha.loop_duration.observe(0.2);
    ha.priority.tell(Some(2));
    let figures = EtcdFigures {
        size: 25_000,
        in_use: 20_000,
        quota: 1 << 31,
        alarms: 1,
    };
    ha.etcd_told("http://etcd1:2379", Some(figures));
    ha.etcd_told("http://etcd2:2379", Some(figures));
    ha.etcd_told("http://etcd2:2379", None);
    ha.etcd_version_outdated.tell(Some(0));
    ha.count_checkpoint("ok");
    ha.checkpoint_bytes.tell(Some(4096));
    let text = metrics.prometheus().unwrap();
    assert!(
        !text.contains("db_size_bytes{endpoint=\"http://etcd2:2379\"}"),
        "what a silent server said before is not told: {text}"
    );
    has(
        &text,
        &[
            "ecsbeat_ha_transitions_total{from=\"candidate\",to=\"leader\",reason=\"expired\"} 1",
            "ecsbeat_ha_renewals_total{result=\"ok\"} 1",
            "ecsbeat_ha_renew_duration_seconds_count 1",
            "ecsbeat_ha_renew_duration_seconds_bucket{le=\"0.001\"} 0",
            "ecsbeat_ha_renew_duration_seconds_bucket{le=\"0.0025\"} 1",
            "ecsbeat_ha_last_renew_timestamp_seconds 9.0",
            "ecsbeat_ha_gate_denied_total{why=\"deadline\"} 1",
            "ecsbeat_ha_fenced_writes_total 1",
            "ecsbeat_ha_clock_jumps_total{kind=\"suspend\"} 1",
            "ecsbeat_ha_failover_gap_seconds_count{reason=\"graceful\"} 1",
            "ecsbeat_ha_loop_duration_seconds_count 1",
            "ecsbeat_ha_priority 2",
            "ecsbeat_etcd_db_size_bytes{endpoint=\"http://etcd1:2379\"} 25000",
            "ecsbeat_etcd_db_in_use_bytes{endpoint=\"http://etcd1:2379\"} 20000",
            "ecsbeat_etcd_db_quota_bytes{endpoint=\"http://etcd1:2379\"} 2147483648",
            "ecsbeat_etcd_alarms{endpoint=\"http://etcd1:2379\"} 1",
            "ecsbeat_etcd_up{endpoint=\"http://etcd1:2379\"} 1",
            "ecsbeat_etcd_up{endpoint=\"http://etcd2:2379\"} 0",
            "ecsbeat_etcd_version_outdated 0",
            "ecsbeat_checkpoint_commits_total{result=\"ok\"} 1",
            "ecsbeat_checkpoint_commits_total{result=\"failed\"} 0",
            "ecsbeat_checkpoint_bytes 4096",
        ],
    );
}

#[test]
fn names_are_as_prometheus_wants_them_and_none_is_there_twice() {
    let status = leading();
    let text = observed(&status, Some("prod"), NOW);
    let mut names = std::collections::BTreeSet::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("# TYPE ") else {
            continue;
        };
        let (name, kind) = rest.split_once(' ').unwrap();
        assert!(names.insert(name), "{name} twice");
        assert_eq!(
            name.ends_with("_total"),
            kind == "counter",
            "{name}: counters end so, and only they"
        );
        assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
        assert!(
            name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_'),
            "{name}: lower case and underscores"
        );
    }
    assert!(names.contains("ecsbeat_ha_state"), "{text}");
}
