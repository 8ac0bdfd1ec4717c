//! `/cluster` and `/history`: the replicas, and who led when.
//!
//! Both tell the view that the election last got out of etcd, whatever its age, and `/cluster` tells that age: with
//! etcd away, an old view is better than none. Only the row of this instance itself is as of now. A single node is a
//! cluster of one. Always 200.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::body::{LEADER, REPLICA, Reply, Snapshot, millis};
use super::query::Query;
use super::{Endpoints, Shared as SharedEndpoints};
use crate::cluster::{HistoryRecord, MemberRecord, Probe, SwitchoverRecord};

pub(super) async fn cluster(Shared(endpoints): Shared<SharedEndpoints>, query: Query) -> Reply {
    let snapshot = Snapshot::take(&endpoints);
    let view = endpoints.status.cluster();
    let leader = snapshot.leading();
    let name = leader.as_ref().map(|leader| &*leader.name);
    let rows = rows(&endpoints, &snapshot, name, &view.members);
    let body = json!({
        "cluster": endpoints.identity.cluster.as_deref(),
        "ha_enabled": snapshot.facts.ha_enabled,
        "cluster_unlocked": leader.is_none(),
        "leader": snapshot.leader(),
        "term": snapshot.leadership.term,
        "pause": snapshot.facts.paused,
        "switchover": view.switchover.as_ref().map(switchover),
        "stale_ms": view.seen.map(|seen| millis(snapshot.since_boot.saturating_sub(seen))),
        "members": rows,
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

/// A replica, as `/cluster` and the status page show it. What is not known is `None`, so that all rows have the same
/// fields.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) instance: String,
    pub(super) is_self: bool,
    pub(super) role: &'static str,
    pub(super) state: String,
    pub(super) address: String,
    pub(super) version: String,
    pub(super) config_hash: Option<String>,
    /// Whether it differs from the leader's; `None` where no leader is known.
    pub(super) config_mismatch: Option<bool>,
    /// As `config_mismatch`.
    pub(super) identity_mismatch: Option<bool>,
    pub(super) priority: Option<u32>,
    pub(super) since: Timestamp,
    pub(super) probe: Option<Probe>,
    pub(super) lag_s: Option<u64>,
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

/// The replicas, this instance among them; `leader` is the name of the one that leads.
pub(super) fn rows(
    endpoints: &Endpoints,
    snapshot: &Snapshot<'_>,
    leader: Option<&str>,
    members: &[MemberRecord],
) -> Vec<Row> {
    let leading = members
        .iter()
        .find(|member| Some(member.instance.as_str()) == leader);
    let table = Table {
        endpoints,
        snapshot,
        leader,
        leading,
    };
    table.rows(members)
}

impl Table<'_> {
    fn rows(&self, members: &[MemberRecord]) -> Vec<Row> {
        let own = &*self.endpoints.identity.instance;
        let mut rows: Vec<_> = members.iter().map(|member| self.row(member)).collect();
        // This instance answers, so it is there, even if etcd does not know it (yet, or any more).
        if !members.iter().any(|member| member.instance == own) {
            rows.push(self.own_row());
        }
        rows
    }

    /// A member as etcd knows it.
    fn row(&self, member: &MemberRecord) -> Row {
        let row = if member.instance == *self.endpoints.identity.instance {
            self.own_row()
        } else {
            self.any_row(
                &member.instance,
                &member.state,
                &member.address,
                &member.version,
                member.since,
            )
        };
        Row {
            config_hash: Some(member.config_hash.clone()),
            config_mismatch: self.differs(member, |member| &member.config_hash),
            identity_mismatch: self.differs(member, |member| &member.identity_hash),
            priority: Some(member.priority),
            probe: member.probe,
            ..row
        }
    }

    /// What this instance knows of itself, newer than what etcd does.
    fn own_row(&self) -> Row {
        let (identity, snapshot) = (&self.endpoints.identity, self.snapshot);
        let state = snapshot.facts.state().as_str();
        let since = self.endpoints.status.started();
        let lag = snapshot
            .facts
            .works()
            .then(|| self.endpoints.status.checkpoint_lag(snapshot.now))
            .flatten();
        Row {
            lag_s: lag.map(|lag| lag.as_secs()),
            ..self.any_row(
                &identity.instance,
                state,
                &identity.address,
                identity.version(),
                since,
            )
        }
    }

    /// What is known of every member.
    fn any_row(&self, instance: &str, state: &str, address: &str, version: &str, since: Timestamp) -> Row {
        let leads = self.leader == Some(instance);
        Row {
            instance: instance.to_owned(),
            is_self: instance == &*self.endpoints.identity.instance,
            role: if leads { LEADER } else { REPLICA },
            state: state.to_owned(),
            address: address.to_owned(),
            version: version.to_owned(),
            config_hash: None,
            config_mismatch: None,
            identity_mismatch: None,
            priority: None,
            since,
            probe: None,
            lag_s: None,
        }
    }

    /// Whether a hash differs from the leader's; `None` where no leader is known.
    fn differs(&self, member: &MemberRecord, hash: impl Fn(&MemberRecord) -> &String) -> Option<bool> {
        Some(hash(self.leading?) != hash(member))
    }
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
