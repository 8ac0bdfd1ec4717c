//! The page in every state: what is said, what is escaped, what the headers allow.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use axum::response::Response;
use jiff::Timestamp;

use super::{SCRIPT, STYLE, hash};
use crate::clock::since_boot;
use crate::cluster::{HistoryRecord, Reason, SCHEMA, SwitchoverRecord};
use crate::http::Endpoints;
use crate::http::cluster_tests::three;
use crate::http::tests::{ask, replica, send, single, text, unit};
use crate::status::{Cluster, Leadership, OutputStatus, State, UnitKey, UnitStatus};
use crate::telemetry::metrics::OutputLabels;

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn answer(endpoints: &Endpoints, method: Method, path: &str, accept: Option<&str>) -> Response {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(accept) = accept {
        request = request.header("accept", accept);
    }
    send(endpoints, request.body(Body::empty()).unwrap()).await
}

/// The page as a browser gets it.
async fn page(endpoints: &Endpoints) -> String {
    let response = answer(endpoints, Method::GET, "/", Some(BROWSER)).await;
    assert_eq!(response.status(), 200);
    text(response).await
}

/// The page without tags, style, script and runs of blanks: what one reads.
async fn read(endpoints: &Endpoints) -> String {
    let page = page(endpoints).await.replace(STYLE, "").replace(SCRIPT, "");
    let mut text = String::new();
    let mut inside = false;
    for letter in page.chars() {
        match letter {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            letter if !inside => text.push(letter),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn has(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "{part:?} is not in {page}");
    }
}

#[track_caller]
fn lacks(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(!page.contains(part), "{part:?} is in {page}");
    }
}

/// One of three replicas.
fn member(state: State) -> Endpoints {
    let endpoints = replica(state);
    endpoints.status.tell_cluster(three());
    endpoints
}

fn change(endpoints: &Endpoints, change: impl FnOnce(&mut Leadership)) {
    let mut leadership = Leadership::clone(&endpoints.status.leadership());
    change(&mut leadership);
    endpoints.status.tell_leadership(leadership);
}

#[tokio::test]
async fn browsers_get_the_page_and_programs_what_a_beat_says() {
    let endpoints = single();
    for (path, accept, html) in [
        ("/", Some(BROWSER), true),
        ("/", Some("text/html"), true),
        ("/", Some("*/*"), false),
        ("/", Some("application/json"), false),
        ("/", None, false),
        ("/?pretty", Some(BROWSER), false),
    ] {
        let response = answer(&endpoints, Method::GET, path, accept).await;
        let headers = response.headers();
        assert_eq!(headers["vary"], "Accept", "{path} {accept:?}");
        assert_eq!(headers["cache-control"], "no-store");
        let kind = headers["content-type"].to_str().unwrap();
        assert_eq!(kind.starts_with("text/html"), html, "{path} {accept:?}");
        let body = text(response).await;
        assert_eq!(body.starts_with("<!DOCTYPE html>"), html);
        assert_eq!(body.contains("\"beat\""), !html);
    }
    let head = answer(&endpoints, Method::HEAD, "/", Some(BROWSER)).await;
    assert_eq!(head.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(text(head).await, "");
}

#[tokio::test]
async fn only_the_pages_own_style_and_script_may_run() {
    let response = answer(&single(), Method::GET, "/", Some(BROWSER)).await;
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    lacks(&policy, &["unsafe", "http:", "https:", "*"]);
    has(
        &policy,
        &[
            "default-src 'none'",
            "frame-ancestors 'none'",
            "connect-src 'self'",
        ],
    );
    let page = text(response).await;
    for (tag, source) in [("style", "style-src"), ("script", "script-src")] {
        let content = page.split(&format!("<{tag}>")).nth(1).unwrap();
        let content = content.split(&format!("</{tag}>")).next().unwrap();
        has(&policy, &[&format!("{source} '{}'", hash(content))]);
        assert_eq!(page.matches(&format!("<{tag}")).count(), 1);
    }
    // What the policy would refuse, and what would be asked of others.
    lacks(
        &page,
        &[
            " style=",
            " onclick=",
            " src=",
            "@import",
            "url(",
            "<link rel=\"stylesheet\"",
        ],
    );
}

#[tokio::test]
async fn every_answer_is_hardened() {
    let endpoints = single();
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, "/health"),
        (Method::GET, "/metrics"),
        (Method::OPTIONS, "/stats"),
        (Method::GET, "/nothing"),
        (Method::DELETE, "/"),
        (Method::POST, "/pause"),
    ] {
        let response = answer(&endpoints, method.clone(), path, None).await;
        let headers = response.headers();
        for (name, want) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(headers[name], want, "{method} {path}");
        }
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'"),
            "{method} {path}: {policy}"
        );
    }
}

#[tokio::test]
async fn a_leader_tells_of_its_commands_and_outputs() {
    let endpoints = member(State::Leader);
    let now = Timestamp::now();
    let key = UnitKey {
        customer: "acme".into(),
        vdc: "north".into(),
        command: "auditevent".into(),
    };
    endpoints.status.unit(&key).store(Arc::new(UnitStatus {
        interval: Duration::from_secs(60),
        last_tick: Some(now - Duration::from_secs(12)),
        last_success: Some(now - Duration::from_secs(12)),
        last_duration: Duration::from_millis(345),
        last_events: 1234,
        events: 56_789,
        checkpoint: Some(now - Duration::from_secs(75)),
        missed_ticks: 3,
        ..UnitStatus::default()
    }));
    endpoints
        .status
        .output("elasticsearch")
        .store(Arc::new(OutputStatus {
            up: Some(true),
            last_ack: Some(now),
            ..OutputStatus::default()
        }));
    let labels = OutputLabels {
        output: "elasticsearch",
    };
    let metrics = &endpoints.source.metrics;
    metrics.output_acked.get_or_create(&labels).inc_by(4_000_000);
    metrics.queue_events.set(800);
    metrics.queue_max_events.set(3200);
    metrics.queue_bytes.set(1_500_000);
    metrics.queue_max_bytes.set(64_000_000);
    let page = read(&endpoints).await;
    has(
        &page,
        &[
            "node-a leads prod · ecsbeat on node-a",
            "term 7",
            "holds the lease",
            "healthy",
            "3 members",
            "acme / north",
            "auditevent every 1 min ok 12 s ago",
            "345 ms 1,234 56,789 1 min 15 s 3",
            "elasticsearch ok",
            "4,000,000",
            "800 of 3,200",
            "1.5 MB of 64 MB",
            "1 command",
        ],
    );
    lacks(&page, &["degraded", "not healthy", "Nobody leads:"]);
}

#[tokio::test]
async fn a_standby_names_the_leader_and_polls_nothing() {
    let endpoints = member(State::Standby);
    // What it did while it led says nothing about now.
    unit(&endpoints, "VDC1", "nodes", Some("refused"));
    let page = read(&endpoints).await;
    has(
        &page,
        &[
            "node-b leads prod · ecsbeat on node-a",
            "node-a stands by",
            "holds none",
            "The commands are on the page of node-b : http://node-b:5066",
            "This instance publishes nothing.",
            "node-c replica standby – 0 (never) bad differs output no ECS",
            "Configured differently from the leader: node-c",
        ],
    );
    lacks(&page, &["refused", "not healthy", "Events in the queue"]);
}

#[tokio::test]
async fn a_single_node_has_no_election() {
    let page = read(&single()).await;
    has(
        &page,
        &[
            "node-a works alone",
            "single node",
            "without a cluster",
            "node-a this one leader single",
        ],
    );
    lacks(&page, &["Elections", "Lease left", "etcd", "term"]);
}

#[tokio::test]
async fn an_output_that_fails_and_a_vdc_that_is_down_are_told_at_the_top() {
    let endpoints = member(State::Leader);
    unit(&endpoints, "VDC1", "nodes", Some("10.1.1.1: connection refused"));
    unit(&endpoints, "VDC2", "nodes", None);
    endpoints
        .status
        .output("elasticsearch")
        .store(Arc::new(OutputStatus {
            up: Some(false),
            last_error: Some("es1: timed out".to_owned()),
            failing_since: Some(Timestamp::now() - Duration::from_secs(90)),
            ..OutputStatus::default()
        }));
    let page = read(&endpoints).await;
    has(
        &page,
        &[
            "leader degraded",
            "output_down An output takes no events",
            "elasticsearch fails since 1 min 30 s ago",
            ": es1: timed out",
            "ecs_down Every command of a VDC fails. EMC / VDC1",
            "2 commands, 1 failing, 1 late",
            "Error of nodes: 10.1.1.1: connection refused",
            "last success never",
        ],
    );
    lacks(&page, &["Every command of a VDC fails. EMC / VDC2"]);
}

#[tokio::test]
async fn without_etcd_the_view_is_old_and_says_so() {
    let endpoints = member(State::Standby);
    change(&endpoints, |leadership| leadership.dcs_reachable = false);
    let page = read(&endpoints).await;
    has(
        &page,
        &[
            "node-b led prod when etcd last answered",
            "standby not healthy",
            "dcs_unreachable etcd does not answer this instance",
            "what etcd told",
            "stale",
        ],
    );
    // An old view with etcd there is as bad.
    let endpoints = member(State::Standby);
    let mut view = three();
    view.seen = since_boot().checked_sub(endpoints.ttl);
    endpoints.status.tell_cluster(view);
    has(&read(&endpoints).await, &["node-b led prod", "10 s old stale"]);
    // A leader whose lease lives knows that it leads.
    let endpoints = member(State::Leader);
    change(&endpoints, |leadership| leadership.dcs_reachable = false);
    has(
        &read(&endpoints).await,
        &["node-a leads prod", "leader degraded", "dcs_unreachable"],
    );
}

#[tokio::test]
async fn who_has_lost_its_lease_leads_no_longer() {
    let endpoints = member(State::Leader);
    unit(&endpoints, "VDC1", "nodes", None);
    change(&endpoints, |leadership| leadership.deadline = Some(since_boot()));
    let page = read(&endpoints).await;
    has(
        &page,
        &[
            "Nobody leads prod",
            "lost not healthy",
            "lease_expired",
            "Lease left over",
            "Nobody leads: nothing is polled",
        ],
    );
    lacks(&page, &["VDC1", "node-a leads"]);
    let endpoints = replica(State::Starting);
    endpoints.status.tell_leadership(Leadership::default());
    has(
        &read(&endpoints).await,
        &[
            "Nobody is known to lead prod yet",
            "starting not healthy",
            "none yet",
            "etcd has not answered since the start",
        ],
    );
}

#[tokio::test]
async fn a_pause_a_switchover_and_who_never_leads_are_told() {
    let endpoints = member(State::Standby);
    change(&endpoints, |leadership| {
        leadership.paused = true;
        leadership.barred = Some("nofailover");
    });
    let order = |candidate: Option<&str>| {
        endpoints.status.tell_cluster(Cluster {
            switchover: Some(SwitchoverRecord {
                schema: SCHEMA,
                leader: "node-b".to_owned(),
                candidate: candidate.map(str::to_owned),
                by: "node-c".to_owned(),
                at: Timestamp::now(),
                reason: Reason::Switchover,
            }),
            ..three()
        });
    };
    order(Some("node-a"));
    let page = read(&endpoints).await;
    has(
        &page,
        &[
            "The cluster is paused",
            "from node-b to node-a , asked of node-c just now",
            "nofailover It never leads",
            "standby healthy",
        ],
    );
    order(None);
    has(&read(&endpoints).await, &["from node-b to whoever is ready"]);
}

#[tokio::test]
async fn the_history_tells_the_newest_first_and_how_long_each_led() {
    let endpoints = member(State::Standby);
    let now = Timestamp::now();
    let record = |term: u64, ago: u64, gap_ms| HistoryRecord {
        schema: SCHEMA,
        term,
        from: (term > 1).then(|| "node-a".to_owned()),
        to: "node-b".to_owned(),
        reason: if term > 1 {
            Reason::Expired
        } else {
            Reason::Startup
        },
        at: now - Duration::from_secs(ago),
        gap_ms,
        ending: None,
    };
    endpoints.status.tell_cluster(Cluster {
        history: vec![record(1, 4000, None), record(7, 100, Some(300_000))],
        ..three()
    });
    let page = read(&endpoints).await;
    let (newest, older) = (page.find("expired").unwrap(), page.find("startup").unwrap());
    assert!(newest < older);
    has(
        &page,
        &[
            "7 node-b node-a 1 min 40 s ago",
            "5 min 1 min 40 s so far",
            "there was no leader before – 1 h",
        ],
    );
    endpoints.status.tell_cluster(Cluster {
        history: (1..=40).map(|term| record(term, 4000 - term, None)).collect(),
        ..three()
    });
    let page = read(&endpoints).await;
    has(&page, &["the last 15, older ones at /history"]);
    assert_eq!(page.matches("the leader's lease ran out").count(), 15);
}

#[tokio::test]
async fn whatever_others_say_stays_text() {
    const EVIL: &str = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&amp;";
    let endpoints = member(State::Leader);
    unit(&endpoints, EVIL, EVIL, Some(EVIL));
    let labels = UnitKey {
        customer: EVIL.into(),
        vdc: EVIL.into(),
        command: EVIL.into(),
    };
    endpoints.status.unit(&labels).store(Arc::new(UnitStatus {
        last_tick: Some(Timestamp::UNIX_EPOCH),
        last_error: Some(EVIL.to_owned()),
        ..UnitStatus::default()
    }));
    endpoints
        .status
        .output("elasticsearch")
        .store(Arc::new(OutputStatus {
            up: Some(false),
            last_error: Some(EVIL.to_owned()),
            ..OutputStatus::default()
        }));
    let mut view = three();
    let evil = &mut view.members[2];
    evil.instance = EVIL.to_owned();
    evil.state = EVIL.to_owned();
    evil.version = EVIL.to_owned();
    evil.config_hash = EVIL.to_owned();
    evil.address = format!("javascript:{EVIL}");
    view.switchover = Some(SwitchoverRecord {
        schema: SCHEMA,
        leader: EVIL.to_owned(),
        candidate: Some(EVIL.to_owned()),
        by: EVIL.to_owned(),
        at: Timestamp::UNIX_EPOCH,
        reason: Reason::Switchover,
    });
    view.history = vec![HistoryRecord {
        schema: SCHEMA,
        term: 1,
        from: Some(EVIL.to_owned()),
        to: EVIL.to_owned(),
        reason: Reason::Lost,
        at: Timestamp::UNIX_EPOCH,
        gap_ms: None,
        ending: None,
    }];
    endpoints.status.tell_cluster(view);
    let page = page(&endpoints).await;
    assert_eq!(page.matches("<script").count(), 1, "{page}");
    lacks(&page, &["<img", "onerror=alert(1)>", "href=\"javascript:"]);
    assert!(
        page.matches("&lt;script&gt;alert('x')&lt;/script&gt;&quot;&gt;&lt;img")
            .count()
            >= 12
    );
    assert!(page.contains("&amp;amp;"));
}

#[tokio::test]
async fn every_table_has_a_caption_and_every_heading_cell_a_scope() {
    let endpoints = member(State::Leader);
    unit(&endpoints, "VDC1", "nodes", Some("refused"));
    let page = page(&endpoints).await;
    assert_eq!(
        page.matches("<table>").count(),
        page.matches("<table><caption>").count()
    );
    assert_eq!(page.matches("<table>").count(), 3);
    assert_eq!(
        page.matches("<th").count() - page.matches("<thead").count(),
        page.matches(" scope=\"").count()
    );
    assert_eq!(page.matches("<h1").count(), 1);
    has(
        &page,
        &[
            "<html lang=\"en\"",
            "<main>",
            "<header>",
            "<footer>",
            "<noscript><meta http-equiv=\"refresh\" content=\"10\">",
        ],
    );
}

#[tokio::test]
async fn the_page_comes_in_every_state_and_holds_no_secret() {
    for state in [
        State::Starting,
        State::Standby,
        State::Candidate,
        State::Leader,
        State::Draining,
        State::Lost,
        State::Stopped,
    ] {
        let page = read(&member(state)).await;
        has(&page, &[&format!("State {}", state.as_str()), "Instances"]);
        lacks(&page, &[crate::http::tests::TOKEN]);
    }
    let (status, _) = ask(&single(), Method::GET, "/").await;
    assert_eq!(status, 200);
}
