//! Every route: status, body, method, token.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use axum::response::Response;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Endpoints, router};
use crate::clock::{Clock, since_boot};
use crate::config::{Http, Secret};
use crate::heartbeat::Heartbeat;
use crate::status::{Leader, Leadership, OutputStatus, State, Status, UnitKey, UnitStatus};
use crate::telemetry::identity::Identity;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::tree::Source;

pub(super) const TOKEN: &str = "t0ken";

pub(super) fn http_config() -> Http {
    Http {
        enabled: true,
        host: "127.0.0.1".to_owned(),
        port: 0,
        ssl: None,
        token: None,
        timeout: Duration::from_secs(5),
    }
}

pub(super) fn endpoints() -> Endpoints {
    let identity = Arc::new(Identity::new(
        "name",
        Uuid::nil(),
        "node-a",
        None,
        "http://node-a:5066",
    ));
    let status = Arc::new(Status::new(Timestamp::UNIX_EPOCH));
    Endpoints {
        source: Source {
            identity: Arc::clone(&identity),
            metrics: Metrics::new(),
            status: Arc::clone(&status),
            outputs: vec!["elasticsearch"],
            started: Instant::now(),
            runtime: None,
        },
        identity,
        status,
        heartbeat: Heartbeat::new(),
        ttl: Duration::from_secs(10),
        clock: Clock::system(),
        token: Some(Secret::new(TOKEN)),
        desk: None,
        patience: Duration::from_secs(20),
        batch_size: 1600,
        clients: 1,
    }
}

pub(super) fn leader(name: &str) -> Leader {
    Leader {
        name: name.into(),
        address: format!("http://{name}:5066").into(),
        since: Timestamp::UNIX_EPOCH,
    }
}

/// One of three replicas, everything well.
pub(super) fn replica(state: State) -> Endpoints {
    let mut endpoints = endpoints();
    let mut identity = Identity::clone(&endpoints.identity);
    identity.cluster = Some("prod".into());
    endpoints.identity = Arc::new(identity);
    let own = matches!(state, State::Leader | State::Draining);
    let name = if own { "node-a" } else { "node-b" };
    endpoints.status.tell_leadership(Leadership {
        term: 7,
        leader: Some(leader(name)),
        deadline: own.then(|| since_boot() + Duration::from_secs(8)),
        dcs_reachable: true,
        dcs_last_seen: Some(Timestamp::UNIX_EPOCH),
        ..Leadership::default()
    });
    endpoints.status.enter(state, Timestamp::UNIX_EPOCH);
    endpoints
}

pub(super) fn single() -> Endpoints {
    let endpoints = endpoints();
    endpoints.status.enter(State::Single, Timestamp::UNIX_EPOCH);
    endpoints
}

pub(super) async fn send(endpoints: &Endpoints, request: Request<Body>) -> Response {
    let router = TowerToHyperService::new(router(Arc::new(endpoints.clone()), Arc::default()));
    router.call(request).await.unwrap()
}

pub(super) async fn ask(endpoints: &Endpoints, method: Method, path: &str) -> (StatusCode, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .unwrap();
    let response = send(endpoints, request).await;
    let status = response.status();
    (status, text(response).await)
}

pub(super) async fn text(response: Response) -> String {
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

pub(super) async fn get(endpoints: &Endpoints, path: &str) -> (u16, Value) {
    let (status, body) = ask(endpoints, Method::GET, path).await;
    (
        status.as_u16(),
        serde_json::from_str(&body).unwrap_or(Value::Null),
    )
}

#[tokio::test]
async fn the_health_paths_of_a_single_node() {
    for (state, health, leader, standby, readiness) in [
        (State::Starting, 503, 503, 503, 503),
        (State::Single, 200, 200, 503, 200),
        (State::Draining, 200, 503, 503, 503),
        (State::Stopped, 503, 503, 503, 503),
    ] {
        let endpoints = endpoints();
        endpoints.status.enter(state, Timestamp::UNIX_EPOCH);
        for (path, want) in [
            ("/health", health),
            ("/leader", leader),
            ("/primary", leader),
            ("/standby", standby),
            ("/replica", standby),
            ("/readiness", readiness),
            ("/liveness", 200),
        ] {
            let (status, body) = get(&endpoints, path).await;
            assert_eq!(status, want, "{path} {state:?}");
            assert_eq!(body["state"], state.as_str());
            assert_eq!(body["reasons"] == json!([]), want == 200, "{path} {body}");
            for method in [Method::HEAD, Method::OPTIONS] {
                let (status, body) = ask(&endpoints, method.clone(), path).await;
                assert_eq!((status.as_u16(), body.as_str()), (want, ""), "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn the_body_of_a_single_node() {
    let (_, body) = get(&single(), "/leader").await;
    assert_eq!(
        body,
        json!({
            "instance": "node-a", "cluster": null, "state": "single", "role": "leader", "is_self": true,
            "ha_enabled": false, "term": 0,
            "leader": {"name": "node-a", "address": "http://node-a:5066", "since": "1970-01-01T00:00:00Z"},
            "lease_remaining_ms": null, "dcs": null, "pause": false, "config_mismatch": false, "reasons": [],
            "version": crate::version::VERSION,
        })
    );
}

#[tokio::test]
async fn the_body_of_a_leader_counts_its_lease_down() {
    let (status, mut body) = get(&replica(State::Leader), "/leader").await;
    assert_eq!(status, 200);
    let left = body["lease_remaining_ms"].take().as_u64().unwrap();
    assert!((6_000..=8_000).contains(&left), "{left}");
    assert_eq!(body["role"], "leader");
    assert_eq!(body["is_self"], true);
    assert_eq!(body["term"], 7);
    assert_eq!(body["dcs"], json!({"reachable": true, "last_seen": 0}));
}

#[tokio::test]
async fn a_standby_names_the_leader_and_where_it_answers() {
    let (status, body) = get(&replica(State::Standby), "/leader").await;
    assert_eq!(status, 503);
    assert_eq!(body["role"], "replica");
    assert_eq!(body["is_self"], false);
    assert_eq!(body["reasons"], json!(["not_leader"]));
    assert_eq!(body["leader"]["name"], "node-b");
    assert_eq!(body["leader"]["address"], "http://node-b:5066");
    assert_eq!(get(&replica(State::Standby), "/standby").await.0, 200);
}

#[tokio::test]
async fn a_leader_stops_saying_so_at_its_deadline_without_being_told() {
    let endpoints = replica(State::Leader);
    assert_eq!(get(&endpoints, "/leader").await.0, 200);
    endpoints.status.tell_leadership(Leadership {
        deadline: Some(since_boot() + Duration::from_millis(500)),
        dcs_reachable: true,
        ..Leadership::default()
    });
    assert_eq!(get(&endpoints, "/leader").await.0, 200);
    tokio::time::sleep(Duration::from_millis(520)).await;
    let (status, body) = get(&endpoints, "/leader").await;
    assert_eq!((status, &body["state"]), (503, &json!("lost")));
    assert_eq!(body["reasons"], json!(["lease_expired"]));
    assert_eq!(body["is_self"], false);
}

#[tokio::test]
async fn health_takes_wishes() {
    for (state, query, want) in [
        (State::Leader, "standbycode=429", 200),
        (State::Standby, "standbycode=429", 429),
        (State::Candidate, "standbycode=429", 429),
        (State::Leader, "activecode=210&standbycode=429", 210),
        (State::Standby, "activecode=210&standbycode=429", 429),
        (
            State::Standby,
            "standbyok=true&activecode=210&standbycode=429",
            210,
        ),
        (State::Lost, "standbycode=429&activecode=210", 503),
        (State::Draining, "standbycode=429&activecode=210", 200),
        (State::Leader, "unknown=1", 200),
        (State::Leader, "standbycode=abc", 400),
        (State::Leader, "standbycode=99", 400),
        (State::Leader, "strict=perhaps", 400),
    ] {
        let (status, _) = get(&replica(state), &format!("/health?{query}")).await;
        assert_eq!(status, want, "{state:?} {query}");
    }
    assert_eq!(get(&single(), "/health?activecode=210").await.0, 210);
}

pub(super) fn unit(endpoints: &Endpoints, vdc: &str, command: &str, error: Option<&str>) {
    let key = UnitKey {
        customer: "EMC".into(),
        vdc: vdc.into(),
        command: command.into(),
    };
    endpoints.status.unit(&key).store(Arc::new(UnitStatus {
        interval: Duration::from_secs(60),
        last_tick: Some(Timestamp::UNIX_EPOCH),
        last_error: error.map(str::to_owned),
        ..UnitStatus::default()
    }));
}

#[tokio::test]
async fn a_failing_output_is_told_and_counts_when_strict() {
    let endpoints = single();
    endpoints
        .status
        .output("elasticsearch")
        .store(Arc::new(OutputStatus {
            up: Some(false),
            ..OutputStatus::default()
        }));
    let (status, body) = get(&endpoints, "/health").await;
    assert_eq!((status, &body["reasons"]), (200, &json!(["output_down"])));
    assert_eq!(get(&endpoints, "/health?strict=true").await.0, 503);
    assert_eq!(get(&endpoints, "/leader?strict=true").await.0, 200);
}

#[tokio::test]
async fn a_vdc_is_down_when_all_of_its_commands_fail() {
    let endpoints = single();
    // Units that were not polled yet say nothing.
    let unpolled = |vdc: &str| UnitKey {
        customer: "EMC".into(),
        vdc: vdc.into(),
        command: "zz".into(),
    };
    endpoints.status.unit(&unpolled("VDC0"));
    unit(&endpoints, "VDC1", "nodes", Some("refused"));
    unit(&endpoints, "VDC1", "disks", None);
    unit(&endpoints, "VDC2", "nodes", None);
    assert_eq!(get(&endpoints, "/health").await.1["reasons"], json!([]));
    unit(&endpoints, "VDC1", "disks", Some("refused"));
    assert_eq!(get(&endpoints, "/health").await.1["reasons"], json!(["ecs_down"]));
    assert_eq!(get(&endpoints, "/health?strict").await.0, 503);
    endpoints.status.unit(&unpolled("VDC1"));
    assert_eq!(get(&endpoints, "/health").await.1["reasons"], json!(["ecs_down"]));
    // What ECS does not have is no failure, and where nothing else is polled nothing is known.
    for command in ["nodes", "disks"] {
        let key = UnitKey {
            customer: "EMC".into(),
            vdc: "VDC1".into(),
            command: command.into(),
        };
        let slot = endpoints.status.unit(&key);
        let mut lacking = UnitStatus::clone(&slot.load());
        lacking.unsupported = true;
        slot.store(Arc::new(lacking));
    }
    assert_eq!(get(&endpoints, "/health?strict").await.0, 200);
}

#[tokio::test]
async fn commands_tell_how_each_unit_fares() {
    let mut endpoints = single();
    endpoints.clock = Clock::simulated(Timestamp::UNIX_EPOCH + Duration::from_secs(100));
    let key = UnitKey {
        customer: "EMC".into(),
        vdc: "VDC1".into(),
        command: "auditevents".into(),
    };
    endpoints.status.unit(&key).store(Arc::new(UnitStatus {
        interval: Duration::from_secs(60),
        last_tick: Some(Timestamp::UNIX_EPOCH),
        last_success: Some(Timestamp::UNIX_EPOCH + Duration::from_secs(90)),
        last_duration: Duration::from_millis(1234),
        last_events: 5,
        events: 50,
        checkpoint: Some(Timestamp::UNIX_EPOCH + Duration::from_secs(40)),
        last_error: Some("node 1: timed out".to_owned()),
        unsupported: false,
        failures: 2,
        missed_ticks: 1,
        ended: false,
    }));
    tokio::time::pause();
    let (status, body) = get(&endpoints, "/commands").await;
    assert_eq!(status, 200);
    let mut command = body["commands"][0].clone();
    let lag = command["lag_ms"].take().as_u64().unwrap();
    assert!((60_000..61_000).contains(&lag), "{lag}");
    // Without a checkpoint the last success counts, without that nothing is known.
    let slot = endpoints.status.unit(&key);
    let mut other = UnitStatus::clone(&slot.load());
    for want in [Some(10), None] {
        (other.checkpoint, other.last_success) = (None, want.and(other.last_success));
        slot.store(Arc::new(other.clone()));
        let (_, body) = get(&endpoints, "/commands").await;
        let lag = body["commands"][0]["lag_ms"].as_u64().map(|lag| lag / 1000);
        assert_eq!(lag, want);
    }
    assert_eq!(
        command,
        json!({
            "customer": "EMC", "vdc": "VDC1", "command": "auditevents", "interval_ms": 60_000,
            "last_tick": "1970-01-01T00:00:00Z", "last_success": "1970-01-01T00:01:30Z", "last_duration_ms": 1234,
            "last_events": 5, "events": 50, "checkpoint": "1970-01-01T00:00:40Z", "lag_ms": null,
            "last_error": "node 1: timed out", "unsupported": false, "failures": 2, "missed_ticks": 1
        })
    );
}

#[tokio::test]
async fn commands_of_a_replica_are_none_even_if_it_led_before() {
    let endpoints = replica(State::Leader);
    unit(&endpoints, "VDC1", "nodes", Some("refused"));
    let (_, body) = get(&endpoints, "/commands").await;
    assert_eq!((body["role"].as_str(), commands(&body)), (Some("leader"), 1));
    endpoints.status.enter(State::Draining, Timestamp::UNIX_EPOCH);
    let (_, body) = get(&endpoints, "/commands").await;
    assert_eq!((body["role"].as_str(), commands(&body)), (Some("leader"), 1));
    // Its tenure is over. What its workers did last is neither shown nor held against it.
    for state in [State::Draining, State::Lost, State::Standby] {
        endpoints.status.tell_leadership(Leadership {
            dcs_reachable: true,
            leader: Some(leader("node-b")),
            ..Leadership::default()
        });
        endpoints.status.enter(state, Timestamp::UNIX_EPOCH);
        let (status, body) = get(&endpoints, "/commands").await;
        assert_eq!(
            (status, body["role"].as_str()),
            (200, Some("replica")),
            "{state:?}"
        );
        assert_eq!((commands(&body), &body["leader"]["name"]), (0, &json!("node-b")));
        let reasons = get(&endpoints, "/health?strict=true").await.1["reasons"].clone();
        assert!(!reasons.to_string().contains("ecs_down"), "{reasons}");
    }
    endpoints.status.forget_units();
    let again = Leadership::clone(&replica(State::Leader).status.leadership());
    endpoints.status.tell_leadership(again);
    endpoints.status.enter(State::Leader, Timestamp::UNIX_EPOCH);
    let (_, body) = get(&endpoints, "/commands").await;
    assert_eq!((body["role"].as_str(), commands(&body)), (Some("leader"), 0));
}

fn commands(body: &Value) -> usize {
    body["commands"].as_array().unwrap().len()
}

#[tokio::test]
async fn the_pages_of_beats_have_their_shapes() {
    let endpoints = single();
    endpoints.status.output("elasticsearch");
    let (status, root) = get(&endpoints, "/").await;
    assert_eq!((status, &root["beat"]), (200, &json!("ecsbeat")));
    for key in [
        "hostname",
        "name",
        "uuid",
        "version",
        "ephemeral_id",
        "binary_arch",
        "uid",
        "gid",
    ] {
        assert!(root[key].as_str().is_some_and(|text| !text.is_empty()), "{key}");
    }
    let (_, state) = get(&endpoints, "/state").await;
    assert_eq!(
        state["output"],
        json!({"name": "elasticsearch", "batch_size": 1600, "clients": 1})
    );
    assert_eq!(state["queue"], json!({"name": "mem"}));
    assert_eq!(state["service"]["name"], "ecsbeat");
    assert!(state["host"]["os"]["kernel"].is_string());
    let (_, tree) = get(&endpoints, "/stats").await;
    assert_eq!(tree["libbeat"]["output"]["type"], "elasticsearch");
    assert!(tree["beat"]["memstats"]["rss"].is_u64());
    let (_, pretty) = ask(&endpoints, Method::GET, "/?pretty").await;
    assert!(pretty.contains("\n  \"beat\": \"ecsbeat\""), "{pretty}");
    let (_, plain) = ask(&endpoints, Method::GET, "/").await;
    assert!(!plain.contains('\n'), "{plain}");
}

#[tokio::test]
async fn metrics_are_text_for_prometheus() {
    let endpoints = single();
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    for (accept, wanted, polls, end) in [
        (
            "",
            "text/plain; version=0.0.4",
            "counter ecsbeat_queue_added_events_total",
            false,
        ),
        (
            "*/*",
            "text/plain; version=0.0.4",
            "counter ecsbeat_queue_added_events_total",
            false,
        ),
        (
            accept,
            "application/openmetrics-text; version=1.0.0",
            "counter ecsbeat_queue_added_events",
            true,
        ),
    ] {
        let mut request = Request::builder().uri("/metrics");
        if !accept.is_empty() {
            request = request.header("accept", accept);
        }
        let response = send(&endpoints, request.body(Body::empty()).unwrap()).await;
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(kind.starts_with(wanted), "{accept}: {kind}");
        let text = text(response).await;
        assert!(text.contains("\necsbeat_ha_state 6\n"), "{text}");
        assert!(text.contains("ecsbeat_build_info{version="), "{text}");
        assert!(text.contains("\necsbeat_queue_added_events_total 0\n"), "{text}");
        let (kind, name) = polls.split_once(' ').unwrap();
        assert!(text.contains(&format!("\n# TYPE {name} {kind}\n")), "{text}");
        assert_eq!(text.ends_with("# EOF\n"), end);
    }
}

#[tokio::test]
async fn json_is_neither_cached_nor_of_another_type() {
    let request = Request::builder().uri("/health").body(Body::empty()).unwrap();
    let response = send(&single(), request).await;
    assert_eq!(
        response.headers()["content-type"],
        "application/json; charset=utf-8"
    );
    assert_eq!(response.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused_in_json() {
    let endpoints = single();
    let (status, body) = get(&endpoints, "/nothing").await;
    assert_eq!((status, body), (404, json!({"error": "no such path: /nothing"})));
    for (method, path) in [
        (Method::POST, "/leader"),
        (Method::DELETE, "/"),
        (Method::GET, "/pause"),
    ] {
        let (status, body) = ask(&endpoints, method.clone(), path).await;
        assert_eq!(status, 405, "{method} {path}");
        assert!(body.starts_with("{\"error\":"), "{body}");
    }
    let request = Request::builder()
        .method("PUT")
        .uri("/health")
        .body(Body::empty())
        .unwrap();
    let response = send(&endpoints, request).await;
    let allow = response.headers()["allow"].to_str().unwrap();
    assert!(allow.contains("GET") && allow.contains("HEAD"), "{allow}");
}

#[tokio::test]
async fn what_changes_something_needs_the_token() {
    for path in ["/switchover", "/pause", "/resume", "/step-down"] {
        for (configured, header, want) in [
            (None, None, 403),
            (None, Some("Bearer t0ken"), 403),
            (Some(TOKEN), None, 401),
            (Some(TOKEN), Some("Bearer t0ken2"), 401),
            (Some(TOKEN), Some("Bearer t0ke"), 401),
            (Some(TOKEN), Some("Basic t0ken"), 401),
            (Some(TOKEN), Some("t0ken"), 401),
            (Some(TOKEN), Some("Bearer "), 401),
            (Some(""), Some("Bearer "), 401),
            (Some("\n"), Some("Bearer "), 401),
            (Some("t0ken\n"), Some("Bearer t0ken"), 501),
            (Some(TOKEN), Some("Bearer t0ken"), 501),
            (Some(TOKEN), Some("bearer t0ken"), 501),
        ] {
            let mut endpoints = single();
            endpoints.token = configured.map(Secret::new);
            let mut request = Request::builder().method("POST").uri(path);
            if let Some(header) = header {
                request = request.header("authorization", header);
            }
            let response = send(&endpoints, request.body(Body::empty()).unwrap()).await;
            assert_eq!(
                response.status().as_u16(),
                want,
                "{path} {configured:?} {header:?}"
            );
            assert_eq!(response.headers().contains_key("www-authenticate"), want == 401);
        }
    }
}

#[tokio::test]
async fn no_answer_holds_the_token() {
    let endpoints = single();
    for path in [
        "/",
        "/stats",
        "/state",
        "/health",
        "/leader",
        "/commands",
        "/metrics",
        "/liveness",
        "/readiness",
        "/cluster",
        "/history",
    ] {
        let (_, body) = ask(&endpoints, Method::GET, path).await;
        assert!(!body.contains(TOKEN), "{path}");
    }
}
