//! `/health`: is this instance fit for its role?
//!
//! A failing output or VDC is told in `reasons` and changes the answer only with `?strict=true`: neither a restart
//! nor a change of leader would cure it. `standbycode`, `activecode` and `standbyok` give the healthy answers of
//! standbys and of the leader other codes, as in Vault.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Shared as Endpoints;
use super::body::{Reply, Snapshot};
use super::query::{BadValue, Query};
use super::rules::{Check, judge};
use crate::status::State;

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
    Reply::new(status, snapshot.common(&verdict.reasons), &query).into_response()
}
