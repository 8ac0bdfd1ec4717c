//! `/cluster` and `/history`: the replicas, and who led when.
//!
//! Both tell the view that the election last got out of etcd, whatever its age, and `/cluster` tells that age: with
//! etcd away, an old view is better than none. Only the row of this instance itself is as of now. A single node is a
//! cluster of one. Always 200.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::body::{LEADER, REPLICA, Reply, Snapshot, millis};
use super::query::Query;
use super::{Endpoints, Shared as SharedEndpoints};
use crate::cluster::{HistoryRecord, MemberRecord, Probe, SwitchoverRecord};

pub(super) async fn cluster(Shared(endpoints): Shared<SharedEndpoints>, query: Query) -> Reply {
    let snapshot = Snapshot::take(&endpoints);
    let view = endpoints.status.cluster();
    let leader = snapshot.leader();
    let table = Table::new(&endpoints, &snapshot, &leader, &view.members);
    let body = json!({
        "cluster": endpoints.identity.cluster.as_deref(),
        "ha_enabled": snapshot.facts.ha_enabled,
        "cluster_unlocked": leader.is_null(),
        "leader": leader,
        "term": snapshot.leadership.term,
        "pause": snapshot.facts.paused,
        "switchover": view.switchover.as_ref().map(switchover),
        "stale_ms": view.seen.map(|seen| millis(snapshot.since_boot.saturating_sub(seen))),
        "members": table.rows(&view.members),
    });
    Reply::new(StatusCode::OK, body, &query)
}

pub(super) async fn history(Shared(endpoints): Shared<SharedEndpoints>, query: Query) -> Reply {
    let view = endpoints.status.cluster();
    let body = json!({
        "cluster": endpoints.identity.cluster.as_deref(),
        "history": view.history.iter().map(term).collect::<Vec<_>>(),
    });
    Reply::new(StatusCode::OK, body, &query)
}

/// What the rows of members need to know of each other.
struct Table<'a> {
    endpoints: &'a Endpoints,
    snapshot: &'a Snapshot<'a>,
    /// Name of the known leader.
    leader: Option<&'a str>,
    /// Its record, if it has one.
    leading: Option<&'a MemberRecord>,
}

impl<'a> Table<'a> {
    fn new(
        endpoints: &'a Endpoints,
        snapshot: &'a Snapshot<'a>,
        leader: &'a Value,
        members: &'a [MemberRecord],
    ) -> Self {
        let leader = leader["name"].as_str();
        Self {
            endpoints,
            snapshot,
            leader,
            leading: members
                .iter()
                .find(|member| Some(member.instance.as_str()) == leader),
        }
    }

    fn rows(&self, members: &[MemberRecord]) -> Vec<Value> {
        let own = &*self.endpoints.identity.instance;
        let mut rows: Vec<_> = members.iter().map(|member| self.row(member)).collect();
        // This instance answers, so it is there, even if etcd does not know it (yet, or any more).
        if !members.iter().any(|member| member.instance == own) {
            rows.push(Value::Object(self.own_row()));
        }
        rows
    }

    /// A member as etcd knows it.
    fn row(&self, member: &MemberRecord) -> Value {
        let mut row = if member.instance == *self.endpoints.identity.instance {
            self.own_row()
        } else {
            self.other_row(member)
        };
        let mut put = |key: &str, value: Value| {
            row.insert(key.to_owned(), value);
        };
        put("config_hash", json!(member.config_hash));
        put(
            "config_mismatch",
            self.differs(member, |member| &member.config_hash),
        );
        put(
            "identity_mismatch",
            self.differs(member, |member| &member.identity_hash),
        );
        put("priority", json!(member.priority));
        put("probe", json!(member.probe.map(probe)));
        Value::Object(row)
    }

    fn other_row(&self, member: &MemberRecord) -> Map<String, Value> {
        let mut row = self.any_row(&member.instance, &member.state, &member.address, &member.version);
        row.insert("lag_s".to_owned(), json!(member.lag_s));
        row.insert("since".to_owned(), json!(member.since.to_string()));
        row
    }

    /// What this instance knows of itself, newer than what etcd does.
    fn own_row(&self) -> Map<String, Value> {
        let (identity, snapshot) = (&self.endpoints.identity, self.snapshot);
        let state = snapshot.facts.state().as_str();
        let mut row = self.any_row(&identity.instance, state, &identity.address, identity.version());
        let lag = snapshot
            .facts
            .works()
            .then(|| self.endpoints.status.checkpoint_lag(snapshot.now))
            .flatten();
        row.insert("lag_s".to_owned(), json!(lag.map(|lag| lag.as_secs())));
        row.insert(
            "since".to_owned(),
            json!(self.endpoints.status.started().to_string()),
        );
        row
    }

    /// What is known of every member; the rest is `null`, so that all rows have the same fields.
    fn any_row(&self, instance: &str, state: &str, address: &str, version: &str) -> Map<String, Value> {
        let leads = self.leader == Some(instance);
        let is_self = instance == &*self.endpoints.identity.instance;
        [
            ("instance", json!(instance)),
            ("is_self", json!(is_self)),
            ("role", json!(if leads { LEADER } else { REPLICA })),
            ("state", json!(state)),
            ("address", json!(address)),
            ("version", json!(version)),
            ("config_hash", Value::Null),
            ("config_mismatch", Value::Null),
            ("identity_mismatch", Value::Null),
            ("priority", Value::Null),
            ("since", Value::Null),
            ("probe", Value::Null),
            ("lag_s", Value::Null),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    /// Whether a hash differs from the leader's; `null` where no leader is known.
    fn differs(&self, member: &MemberRecord, hash: impl Fn(&MemberRecord) -> &String) -> Value {
        json!(self.leading.map(|leading| hash(leading) != hash(member)))
    }
}

fn probe(probe: Probe) -> Value {
    json!({
        "output": probe.output,
        "ecs": probe.ecs,
        "at": probe.at.to_string(),
    })
}

fn switchover(record: &SwitchoverRecord) -> Value {
    json!({
        "leader": record.leader,
        "candidate": record.candidate,
        "by": record.by,
        "at": record.at.to_string(),
        "reason": record.reason.as_str(),
    })
}

fn term(record: &HistoryRecord) -> Value {
    let mut row = json!({
        "term": record.term,
        "from": record.from,
        "to": record.to,
        "reason": record.reason.as_str(),
        "at": record.at.to_string(),
        "gap_ms": record.gap_ms,
    });
    if let (Some(ending), Value::Object(row)) = (record.ending, &mut row) {
        row.insert("ending".to_owned(), json!(ending.as_str()));
    }
    row
}
