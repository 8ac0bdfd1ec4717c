//! `/commands`: how each command of each VDC fares on this instance.
//!
//! A replica polls nothing, so its list is empty; what it did while it led says nothing about now. Errors are shown as the engines stored them; what is secret never gets into a status.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Shared as Endpoints;
use super::body::{LEADER, REPLICA, Reply, Snapshot, millis};
use super::query::Query;
use crate::status::{UnitKey, UnitStatus};

pub(super) async fn commands(Shared(endpoints): Shared<Endpoints>, query: Query) -> Reply {
    let snapshot = Snapshot::take(&endpoints);
    let works = snapshot.facts.works();
    let units = if works {
        endpoints.status.units()
    } else {
        Vec::new()
    };
    let commands: Vec<_> = units
        .iter()
        .map(|(key, unit)| describe(key, unit, snapshot.now))
        .collect();
    let body = json!({
        "instance": &*endpoints.identity.instance,
        "role": if works { LEADER } else { REPLICA },
        "leader": snapshot.leader(),
        "state": snapshot.facts.state().as_str(),
        "commands": commands,
    });
    Reply::new(StatusCode::OK, body, &query)
}

fn describe(key: &UnitKey, unit: &UnitStatus, now: Timestamp) -> Value {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    json!({
        "customer": &*key.customer,
        "vdc": &*key.vdc,
        "command": &*key.command,
        "interval_ms": millis(unit.interval),
        "last_tick": time(unit.last_tick),
        "last_success": time(unit.last_success),
        "last_duration_ms": millis(unit.last_duration),
        "last_events": unit.last_events,
        "events": unit.events,
        "checkpoint": time(unit.checkpoint),
        "lag_ms": unit.lag(now).map(millis),
        "last_error": unit.last_error,
        "unsupported": unit.unsupported,
        "failures": unit.failures,
        "missed_ticks": unit.missed_ticks,
    })
}
