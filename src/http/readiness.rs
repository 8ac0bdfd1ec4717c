//! `/readiness`: does this instance lead, or could it?

use axum::extract::State as Shared;

use super::Shared as Endpoints;
use super::body::Reply;
use super::query::Query;
use super::rules::Check;

pub(super) async fn readiness(Shared(endpoints): Shared<Endpoints>, query: Query) -> Reply {
    super::check(&endpoints, Check::Readiness, &query)
}
