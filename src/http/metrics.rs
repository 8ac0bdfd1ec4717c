//! `/metrics`: every series, in the text format of Prometheus (`OpenMetrics`).

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::Shared as Endpoints;
use super::body::Reply;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn metrics(Shared(endpoints): Shared<Endpoints>) -> Response {
    let metrics = &endpoints.source.metrics;
    let now = endpoints.clock.since_boot();
    metrics.ha.observe(&endpoints.status, &endpoints.identity, now);
    match metrics.prometheus() {
        Ok(text) => ([(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(_) => Reply::error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the metrics cannot be written as text",
        )
        .into_response(),
    }
}
