//! `/leader` and `/standby`: who works, and who could.
//!
//! `/leader` is 200 only while this instance holds a live tenure at the moment of the answer, or runs single. It
//! never answers from what was true a moment ago: load balancers route by it.

use axum::extract::State as Shared;

use super::Shared as Endpoints;
use super::body::Reply;
use super::query::Query;
use super::rules::Check;

pub(super) async fn leader(Shared(endpoints): Shared<Endpoints>, query: Query) -> Reply {
    super::check(&endpoints, Check::Leader, &query)
}

pub(super) async fn standby(Shared(endpoints): Shared<Endpoints>, query: Query) -> Reply {
    super::check(&endpoints, Check::Standby, &query)
}
