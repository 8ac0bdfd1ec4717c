//! Metrics, alerts and dashboards, held against what the real binary tells.
//!
//! Owns the promise that nothing which watches ecsbeat looks at a name that does not exist: every series in the alerts,
//! the Grafana dashboard and the documentation is in a real answer of `/metrics`, every field in the Kibana objects in
//! a real event. What that costs is paid once for all of these tests: see [`told`].

/// The Grafana dashboard.
mod grafana;
/// The saved objects of Kibana: their shape, and the fields they ask for.
mod kibana;
/// How the index template maps a field of an event.
mod mapping;
/// What an expression of Prometheus asks for.
mod promql;
/// Prometheus' own checks.
mod promtool;
/// The alerts.
mod rules;
/// `/metrics` against the conventions and the documentation.
mod series;
/// What the real binary told, and its events.
mod told;

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the project.
fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// The text of a file of the project.
fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}
