//! `/health`: is this instance fit for its role?
//!
//! A failing output or VDC is told in `reasons` and changes the answer only with `?strict=true`: neither a restart
//! nor a change of leader would cure it. `standbycode`, `activecode` and `standbyok` give the healthy answers of
//! standbys and of the leader other codes, as in Vault. `outputs` tells of each output whether it works.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Shared as Endpoints;
use super::body::{Reply, Snapshot};
use super::query::{BadValue, Query};
use super::rules::{Check, judge};
use crate::status::{OutputStatus, State, Status};

/// How the asker wants it.
struct Wish {
    strict: bool,
    active: StatusCode,
    standby: StatusCode,
}

impl Wish {
    fn read(query: &Query) -> Result<Self, BadValue> {
        let active = query.code("activecode")?.unwrap_or(StatusCode::OK);
        let standby = query.code("standbycode")?.unwrap_or(StatusCode::OK);
        Ok(Self {
            strict: query.flag("strict")?,
            active,
            standby: if query.flag("standbyok")? { active } else { standby },
        })
    }
}

/// How each output fares; whoever only stands by has none.
fn outputs(status: &Status) -> Value {
    let fares = |(name, output): (&str, Arc<OutputStatus>)| {
        let told = json!({
            "up": output.up,
            "last_ack": output.last_ack.map(|time| time.to_string()),
            "failing_since": output.failing_since.map(|time| time.to_string()),
            "last_error": output.last_error,
        });
        (name.to_owned(), told)
    };
    Value::Object(status.outputs().into_iter().map(fares).collect())
}

pub(super) async fn health(Shared(endpoints): Shared<Endpoints>, query: Query) -> Response {
    let wish = match Wish::read(&query) {
        Ok(wish) => wish,
        Err(error) => return Reply::error(StatusCode::BAD_REQUEST, &error.to_string()).into_response(),
    };
    let snapshot = Snapshot::take(&endpoints);
    let verdict = judge(Check::Health, wish.strict, &snapshot.facts);
    let status = match snapshot.facts.state() {
        _ if !verdict.ok => StatusCode::SERVICE_UNAVAILABLE,
        State::Leader | State::Single => wish.active,
        State::Standby | State::Candidate => wish.standby,
        _ => StatusCode::OK,
    };
    let mut body = snapshot.common(&verdict.reasons);
    body.insert("outputs".to_owned(), outputs(&endpoints.status));
    Reply::new(status, body, &query).into_response()
}
