//! `/` (but for browsers), `/stats` and `/state` in the shapes of Beats, for the tools that read those.
//!
//! Field names and nesting are theirs; what we do not have is empty or left out, never invented.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde_json::json;

use super::Shared as Endpoints;
use super::body::Reply;
use super::query::Query;
use crate::telemetry::identity::Identity;
use crate::telemetry::tree::Tree;
use crate::version;

/// What a Beat says of itself at `/`.
pub(super) fn beat(identity: &Identity, query: &Query) -> Reply {
    let body = json!({
        "beat": "ecsbeat",
        "binary_arch": version::arch(),
        "build_commit": version::COMMIT,
        "elastic_licensed": false,
        "ephemeral_id": identity.ephemeral_id.to_string(),
        "gid": rustix::process::getgid().as_raw().to_string(),
        "hostname": identity.host.hostname,
        "name": &*identity.name,
        "uid": rustix::process::getuid().as_raw().to_string(),
        "uuid": identity.id.to_string(),
        "version": identity.version(),
    });
    Reply::new(StatusCode::OK, body, query)
}

pub(super) async fn stats(Shared(endpoints): Shared<Endpoints>, query: Query) -> Reply {
    let tree = Tree::read(&endpoints.source);
    Reply::new(StatusCode::OK, tree.to_json(), &query)
}

pub(super) async fn state(Shared(endpoints): Shared<Endpoints>, query: Query) -> Reply {
    let identity = &endpoints.identity;
    let host = &identity.host;
    let body = json!({
        "service": {"id": identity.id.to_string(), "name": "ecsbeat", "version": identity.version()},
        "beat": {"name": &*identity.name},
        "host": {
            "architecture": host.architecture(),
            "containerized": host.containerized,
            "hostname": host.hostname,
            "id": host.id,
            "os": {
                "family": host.family,
                "kernel": host.kernel,
                "name": host.os_name,
                "platform": host.platform,
                "version": host.os_version,
            },
        },
        "management": {"enabled": false},
        "module": {"count": 0, "names": []},
        "output": {
            "name": endpoints.source.outputs.join(","),
            "batch_size": endpoints.batch_size,
            "clients": endpoints.clients,
        },
        "outputs": {"elasticsearch": {"cluster_uuid": ""}},
        "queue": {"name": "mem"},
        "monitoring": {"cluster_uuid": ""},
    });
    Reply::new(StatusCode::OK, body, &query)
}
