//! The HTTP endpoints: what the process tells to those outside.
//!
//! Owns the routes and the listener. Answers come from snapshots: a handler does no I/O (`/stats` reads a few
//! numbers from `/proc`) and waits for nobody, and the listener runs on a thread of its own ([`Bound`]), so that
//! an answer comes while everything else hangs. No secret is ever part of an answer.
//!
//! GET, HEAD and OPTIONS; the latter two give the status without a body.
//!
//! | path | 200 when |
//! |---|---|
//! | `/leader`, `/primary` | this instance holds a live tenure at this moment, or runs single; else 503 |
//! | `/standby`, `/replica` | it is a healthy standby that may take over; else 503 |
//! | `/health` | it is fit for its role; else 503. `?strict=true`, `?standbycode=`, `?activecode=`, `?standbyok=` |
//! | `/liveness` | the main loop's heartbeat is younger than `ha.ttl` (leader) or twice that; else 503 |
//! | `/readiness` | it leads, runs single, or may lead; else 503 |
//! | `/cluster` | always: the replicas, who leads, what is pending; with the age of that view |
//! | `/history` | always: the last terms |
//! | `/commands` | always: each command of each VDC |
//! | `/metrics` | always: Prometheus text |
//! | `/`, `/stats`, `/state` | always: the JSON of Beats, indented with `?pretty`; `/` is a status page for browsers |
//!
//! `POST /switchover`, `/pause`, `/resume`, `/step-down` need `http.auth.token`: 403 where none is configured, 401
//! where it is wrong, 501 on a single node; they alone wait, for what comes of the order. Any other path is 404, any
//! other method 405, both in JSON.

mod accept;
mod body;
mod cluster;
#[cfg(test)]
mod cluster_tests;
mod commands;
mod health;
mod leader;
mod liveness;
mod metrics;
mod operate;
#[cfg(test)]
mod operate_tests;
mod order;
mod page;
pub mod probe;
mod query;
mod readiness;
mod rules;
mod security;
mod server;
mod stats;
mod stream;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod tests;
mod throughput;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on, post};
use axum::{Extension, Router};

use crate::clock::Clock;
use crate::config::Secret;
use crate::election::order::Desk;
use crate::heartbeat::Heartbeat;
use crate::status::Status;
use crate::telemetry::identity::Identity;
use crate::telemetry::tree::Source;

use order::Kind;
pub use server::{BindError, Bound, ServeError, ServerHandle, bind};
use throughput::Throughput;

/// Largest request body, bytes.
const MAX_BODY: usize = 16 * 1024;

/// What the answers are made of.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// Who answers.
    pub identity: Arc<Identity>,
    /// What the engines tell.
    pub status: Arc<Status>,
    /// The metrics for `/metrics` and `/stats`.
    pub source: Source,
    /// Stamped by the main loop.
    pub heartbeat: Heartbeat,
    /// `ha.ttl`: how long the main loop may be silent.
    pub ttl: Duration,
    /// Tells the time of day.
    pub clock: Clock,
    /// `http.auth.token`
    pub token: Option<Secret>,
    /// Where orders are handed in; `None` = a single node, which takes none.
    pub desk: Option<Desk>,
    /// How long an order may take. A switchover needs time for the drain, and for the other to win.
    pub patience: Duration,
    /// `bulk_max_size` of the output.
    pub batch_size: usize,
    /// Connections to the output.
    pub clients: usize,
}

type Shared = Arc<Endpoints>;

/// All routes. `throughput` is filled by the listener.
fn router(endpoints: Shared, throughput: Arc<Throughput>) -> Router {
    Router::new()
        .route("/leader", read(leader::leader))
        .route("/primary", read(leader::leader))
        .route("/standby", read(leader::standby))
        .route("/replica", read(leader::standby))
        .route("/health", read(health::health))
        .route("/liveness", read(liveness::liveness))
        .route("/readiness", read(readiness::readiness))
        .route("/cluster", read(cluster::cluster))
        .route("/history", read(cluster::history))
        .route("/commands", read(commands::commands))
        .route("/metrics", read(metrics::metrics))
        .route("/", read(page::root))
        .route("/stats", read(stats::stats))
        .route("/state", read(stats::state))
        .route("/switchover", operate(Kind::Switchover))
        .route("/pause", operate(Kind::Pause))
        .route("/resume", operate(Kind::Resume))
        .route("/step-down", operate(Kind::StepDown))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(Extension(throughput))
        .layer(from_fn(frame))
        .with_state(endpoints)
}

/// GET, HEAD and OPTIONS.
fn read<H, T>(handler: H) -> MethodRouter<Shared>
where
    H: axum::handler::Handler<T, Shared>,
    T: 'static,
{
    on(MethodFilter::GET.or(MethodFilter::OPTIONS), handler)
}

/// POST of an order.
fn operate(kind: Kind) -> MethodRouter<Shared> {
    post(move |asked| operate::operate(kind, asked))
}

/// A check that takes no wishes.
fn check(endpoints: &Endpoints, check: rules::Check, query: &query::Query) -> body::Reply {
    let snapshot = body::Snapshot::take(endpoints);
    let verdict = rules::judge(check, false, &snapshot.facts);
    let status = if verdict.ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    body::Reply::new(status, snapshot.common(&verdict.reasons), query)
}

/// What holds for every request: no large body is ever waited for, and OPTIONS gives the same status as GET, as
/// load balancers expect, but no body.
async fn frame(request: Request, next: Next) -> Response {
    let announced = request.headers().get(CONTENT_LENGTH);
    let too_large = announced
        .and_then(|length| length.to_str().ok()?.parse().ok())
        .is_some_and(|length: u64| length > MAX_BODY as u64);
    let options = request.method() == Method::OPTIONS;
    let mut response = if too_large {
        let message = format!("the body is larger than {MAX_BODY} bytes");
        body::Reply::error(StatusCode::PAYLOAD_TOO_LARGE, &message).into_response()
    } else {
        next.run(request).await
    };
    if options && response.status() != StatusCode::METHOD_NOT_ALLOWED && !too_large {
        *response.body_mut() = Body::empty();
        let headers = response.headers_mut();
        headers.remove(CONTENT_TYPE);
        headers.remove(CONTENT_LENGTH);
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    }
    security::harden(&mut response);
    response
}

async fn not_found(uri: Uri) -> body::Reply {
    body::Reply::error(StatusCode::NOT_FOUND, &format!("no such path: {}", uri.path()))
}

async fn method_not_allowed(method: Method) -> body::Reply {
    body::Reply::error(
        StatusCode::METHOD_NOT_ALLOWED,
        &format!("{method} is not possible here"),
    )
}
