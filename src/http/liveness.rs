//! `/liveness`: does the main loop still come round?
//!
//! It depends on the loop's heartbeat alone, never on etcd, ECS or an output: a restart cures a stuck loop and
//! nothing else.

use axum::extract::State as Shared;

use super::Shared as Endpoints;
use super::body::Reply;
use super::query::Query;
use super::rules::Check;

pub(super) async fn liveness(Shared(endpoints): Shared<Endpoints>, query: Query) -> Reply {
    super::check(&endpoints, Check::Liveness, &query)
}
