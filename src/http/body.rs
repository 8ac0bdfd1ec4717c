//! What answers have in common.
//!
//! Owns the snapshot that an answer is made of ([`Snapshot`]), the fields that every health answer carries, and
//! the way JSON goes out ([`Reply`]). No field is ever made of a setting: what is not put in here by name, a
//! secret least of all, cannot get out.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Endpoints;
use super::query::Query;
use super::rules::Facts;
use crate::status::{Leader, Leadership, Status, UnitKey, UnitStatus};

/// The role of the one that leads.
pub(super) const LEADER: &str = "leader";
/// The role of all others.
pub(super) const REPLICA: &str = "replica";

/// One consistent view, taken when the answer is made.
pub(super) struct Snapshot<'a> {
    endpoints: &'a Endpoints,
    pub(super) facts: Facts,
    pub(super) now: Timestamp,
    /// The same moment as time since boot, in which deadlines are kept.
    pub(super) since_boot: Duration,
    pub(super) leadership: Arc<Leadership>,
}

impl<'a> Snapshot<'a> {
    pub(super) fn take(endpoints: &'a Endpoints) -> Self {
        // State before leadership: the engine tells the deadline first and enters `leader` then, so that whoever
        // sees the state sees a deadline at least as new. The deadline itself is held against the clock.
        let (told, _) = endpoints.status.state();
        let leadership = endpoints.status.leadership();
        let since_boot = endpoints.clock.since_boot();
        let ha_enabled = endpoints.identity.cluster.is_some();
        let facts = Facts {
            told,
            ha_enabled,
            lease_remaining: leadership.remaining(since_boot),
            dcs_reachable: leadership.dcs_reachable,
            barred: leadership.barred,
            paused: leadership.paused,
            output_down: output_down(&endpoints.status),
            ecs_down: !vdcs_down(&endpoints.status.units()).is_empty(),
            heartbeat_age: endpoints.heartbeat.age(),
            ttl: endpoints.ttl,
        };
        Self {
            endpoints,
            facts,
            now: endpoints.clock.now(),
            since_boot,
            leadership,
        }
    }

    /// The fields of every health answer.
    pub(super) fn common(&self, reasons: &[&'static str]) -> Map<String, Value> {
        let identity = &self.endpoints.identity;
        let leads = self.facts.leads();
        let role = if self.facts.works() { LEADER } else { REPLICA };
        let dcs = self.facts.ha_enabled.then(|| {
            json!({
                "reachable": self.facts.dcs_reachable,
                "last_seen": self.leadership.dcs_last_seen.map(Timestamp::as_second),
            })
        });
        let mut body = Map::new();
        let mut put = |key: &str, value: Value| {
            body.insert(key.to_owned(), value);
        };
        put("instance", json!(&*identity.instance));
        put("cluster", json!(identity.cluster.as_deref()));
        put("state", json!(self.facts.state().as_str()));
        put("role", json!(role));
        put("is_self", json!(leads));
        put("ha_enabled", json!(self.facts.ha_enabled));
        put("term", json!(self.leadership.term));
        put("leader", self.leader());
        put(
            "lease_remaining_ms",
            json!(self.facts.lease_remaining.map(millis)),
        );
        put("dcs", json!(dcs));
        put("pause", json!(self.facts.paused));
        put("config_mismatch", json!(self.leadership.config_mismatch));
        put("reasons", json!(reasons));
        put("version", json!(identity.version()));
        body
    }

    /// The known leader; a single node is its own.
    pub(super) fn leading(&self) -> Option<Leader> {
        let identity = &self.endpoints.identity;
        if !self.facts.ha_enabled && self.facts.works() {
            return Some(Leader {
                name: Arc::clone(&identity.instance),
                address: Arc::clone(&identity.address),
                since: self.endpoints.status.started(),
            });
        }
        let leader = self.leadership.leader_at(&identity.instance, self.since_boot);
        leader.cloned()
    }

    /// [`Snapshot::leading`] as it is told.
    pub(super) fn leader(&self) -> Value {
        let told = |leader: Leader| {
            json!({
                "name": &*leader.name,
                "address": &*leader.address,
                "since": leader.since.to_string(),
            })
        };
        self.leading().map_or(Value::Null, told)
    }
}

fn output_down(status: &Status) -> bool {
    status
        .outputs()
        .iter()
        .any(|(_, output)| output.up == Some(false))
}

/// The VDCs of which every command fails. One command that fails says something about that command only, and one that
/// ECS does not have says nothing.
pub(super) fn vdcs_down(units: &[(UnitKey, Arc<UnitStatus>)]) -> Vec<&UnitKey> {
    // Units come sorted, those of one VDC side by side.
    units
        .chunk_by(|(a, _), (b, _)| a.of_one_vdc(b))
        .filter(|vdc| {
            let counts = |unit: &UnitStatus| unit.last_tick.is_some() && !unit.unsupported;
            let mut polled = vdc.iter().filter(|(_, unit)| counts(unit)).peekable();
            polled.peek().is_some() && polled.all(|(_, unit)| unit.last_error.is_some())
        })
        .filter_map(|vdc| vdc.first())
        .map(|(key, _)| key)
        .collect()
}

/// Whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A JSON answer.
pub(super) struct Reply {
    status: StatusCode,
    body: Value,
    pretty: bool,
}

impl Reply {
    pub(super) fn new(status: StatusCode, body: impl Into<Value>, query: &Query) -> Self {
        Self {
            status,
            body: body.into(),
            pretty: query.pretty(),
        }
    }

    /// An answer that only says what is wrong with the question.
    pub(super) fn error(status: StatusCode, message: &str) -> Self {
        Self {
            status,
            body: json!({"error": message}),
            pretty: false,
        }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let text = if self.pretty {
            serde_json::to_string_pretty(&self.body).unwrap_or_default() + "\n"
        } else {
            self.body.to_string()
        };
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
