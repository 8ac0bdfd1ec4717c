//! `/metrics`: every series, in the text format of Prometheus, or of `OpenMetrics` for whoever asks for it.

use axum::extract::State as Shared;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::Shared as Endpoints;
use super::body::Reply;

/// What an Accept header says.
const OPENMETRICS: &str = "application/openmetrics-text";
const OPENMETRICS_1: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn metrics(Shared(endpoints): Shared<Endpoints>, headers: HeaderMap) -> Response {
    let metrics = &endpoints.source.metrics;
    let now = endpoints.clock.since_boot();
    metrics.ha.observe(&endpoints.status, &endpoints.identity, now);
    metrics.commands.observe(&endpoints.status, endpoints.clock.now());
    metrics.process.observe(&endpoints.status);
    let (kind, text) = if wants_openmetrics(&headers) {
        (OPENMETRICS_1, metrics.openmetrics())
    } else {
        (PROMETHEUS, metrics.prometheus())
    };
    match text {
        Ok(text) => ([(CONTENT_TYPE, kind), (VARY, ACCEPT.as_str())], text).into_response(),
        Err(_) => Reply::error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the metrics cannot be written as text",
        )
        .into_response(),
    }
}

/// Whoever names the format can read it; by how much it is liked is of no consequence.
fn wants_openmetrics(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.to_ascii_lowercase().contains(OPENMETRICS))
}
