//! Items 6 to 9: representations, broken bodies, statuses, connections.

use std::time::{Duration, Instant};

use ecs_sim::{Config, Fault, FaultRule, Sim};

use crate::client::{Session, parse, raw};

const PATH: &str = "/dashboard/zones/localzone?dataType=current";

async fn start() -> (Sim, Session) {
    let sim = Sim::start(Config {
        nodes_per_vdc: 1,
        vdcs: 1,
        ..Config::for_tests()
    })
    .await
    .unwrap();
    let session = Session::open(&sim).await;
    (sim, session)
}

/// One answer under one fault.
async fn under(fault: Fault) -> (Sim, Session, reqwest::Result<reqwest::Response>) {
    let (sim, session) = start().await;
    sim.faults().set(FaultRule::everywhere(fault));
    let answer = session.try_get(PATH).await;
    (sim, session, answer)
}

#[tokio::test]
async fn xml_is_the_default_and_dashboards_are_always_json() {
    let (sim, session) = start().await;
    assert!(
        session
            .get("/vdc/nodes")
            .await
            .text()
            .await
            .unwrap()
            .starts_with("<?xml")
    );
    assert!(
        session
            .get("/vdc/nodes.json")
            .await
            .text()
            .await
            .unwrap()
            .starts_with('{')
    );
    assert!(session.json("/vdc/nodes").await["node"].is_array());
    assert!(session.get(PATH).await.text().await.unwrap().starts_with('{'));
    sim.shutdown().await;
}

#[tokio::test]
async fn types_and_bodies_are_wrong() {
    let (sim, _, answer) = under(Fault::ContentType {
        value: Some("text/html".to_owned()),
    })
    .await;
    assert_eq!(answer.unwrap().headers()["content-type"], "text/html");
    sim.shutdown().await;
    let (sim, _, answer) = under(Fault::ContentType { value: None }).await;
    assert!(!answer.unwrap().headers().contains_key("content-type"));
    sim.shutdown().await;
    let (sim, _, answer) = under(Fault::Gzip).await;
    assert_eq!(parse(answer.unwrap()).await["id"], "localzone");
    sim.shutdown().await;
    let (sim, _, answer) = under(Fault::HtmlPage).await;
    assert!(answer.unwrap().text().await.unwrap().contains("<html>"));
    sim.shutdown().await;
    let (sim, _, answer) = under(Fault::EmptyBody).await;
    assert_eq!(answer.unwrap().text().await.unwrap(), "");
    sim.shutdown().await;
}

#[tokio::test]
async fn bodies_break_off() {
    let faults = [
        Fault::Truncate {
            chunked: false,
            percent: 50,
        },
        Fault::Truncate {
            chunked: true,
            percent: 50,
        },
        Fault::ResetMidBody,
    ];
    for fault in faults {
        let (sim, _, answer) = under(fault.clone()).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.bytes().await.is_err(), "{fault:?}");
        sim.shutdown().await;
    }
    let (sim, _, answer) = under(Fault::Reset).await;
    assert!(answer.is_err());
    assert_eq!(sim.requests().last().unwrap().status, 0);
    sim.shutdown().await;
}

#[tokio::test]
async fn answers_are_slow() {
    let faults = [
        Fault::Latency { ms: 150, p99_ms: 0 },
        Fault::SlowHeaders { ms: 150 },
        Fault::Dribble {
            bytes: 500,
            pause_ms: 20,
        },
    ];
    for fault in faults {
        let (sim, session) = start().await;
        sim.faults().set(FaultRule::everywhere(fault.clone()));
        let begun = Instant::now();
        assert_eq!(session.json(PATH).await["id"], "localzone");
        assert!(begun.elapsed() > Duration::from_millis(100), "{fault:?}");
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn hanging_answers_and_connections_end_with_the_simulator() {
    let (sim, session) = start().await;
    for fault in [Fault::Hang, Fault::AcceptHang] {
        sim.faults().set(FaultRule::everywhere(fault));
        let fresh = Session {
            http: crate::client::http(&sim),
            ..session.clone()
        };
        let waiting = tokio::time::timeout(Duration::from_millis(150), fresh.try_get(PATH));
        assert!(waiting.await.is_err());
        assert!(sim.in_flight(0) <= 1);
        sim.faults().clear();
    }
    let begun = Instant::now();
    sim.shutdown().await;
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_huge_answer_is_made_while_it_is_sent() {
    let (sim, session) = start().await;
    sim.faults()
        .set(FaultRule::everywhere(Fault::Big { bytes: 20_000_000 }));
    let answer = session.get(PATH).await;
    assert!(answer.content_length().unwrap() > 20_000_000);
    assert_eq!(parse(answer).await["id"], "localzone");
    sim.shutdown().await;
}

#[tokio::test]
async fn framings_and_header_cases_differ() {
    let (sim, session) = start().await;
    let host = session.host.clone();
    let request = format!(
        "GET /user/whoami.json HTTP/1.1\r\nHost: {host}\r\nX-SDS-AUTH-TOKEN: {}\r\nConnection: close\r\n\r\n",
        session.token
    );
    for (fault, expected) in [
        (Fault::Chunked, "Transfer-Encoding: chunked"),
        (Fault::LowerCaseHeaders, "\r\ncontent-length: "),
        (Fault::UpperCaseHeaders, "\r\nCONTENT-LENGTH: "),
        (Fault::DateSkew { secs: -86_400 * 365 }, "\r\nDate: "),
    ] {
        sim.faults().clear();
        sim.faults().set(FaultRule::everywhere(fault));
        let text = String::from_utf8(raw(&sim, &host, &request).await.0).unwrap();
        assert!(text.contains(expected), "{text}");
    }
    sim.faults().clear();
    sim.faults().set(FaultRule::everywhere(Fault::UntilClose));
    let text = String::from_utf8(raw(&sim, &host, &request).await.0).unwrap();
    assert!(!text.contains("Content-Length") && text.ends_with('}'));
    sim.shutdown().await;
}

#[tokio::test]
async fn statuses_follow_a_script() {
    let (sim, session) = start().await;
    let script = Fault::Status {
        codes: vec![503, 429, 500, 200],
        retry_after: Some(7),
        retryable: Some(false),
        code: None,
        details: None,
    };
    sim.faults()
        .set(FaultRule::everywhere(script).on_path("/vdc/nodes"));
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let answer = session.get("/vdc/nodes.json").await;
        statuses.push(answer.status().as_u16());
        if answer.status() == 503 {
            assert_eq!(answer.headers()["retry-after"], "7");
            assert_eq!(parse(answer).await["retryable"], false);
        }
    }
    assert_eq!(statuses, [503, 429, 500, 200, 200]);
    sim.shutdown().await;
}

#[tokio::test]
async fn the_log_has_the_full_body_of_a_retried_post() {
    let (sim, session) = start().await;
    let path = "/object/billing/namespace/info.json";
    let refusal = Fault::Status {
        codes: vec![503],
        retry_after: None,
        retryable: None,
        code: None,
        details: None,
    };
    sim.faults()
        .set(FaultRule::everywhere(refusal).on_method("POST").times(1));
    let body = r#"{"id":["ns1","ns2"]}"#;
    assert_eq!(session.post(path, body).await.status(), 503);
    assert_eq!(session.post(path, body).await.status(), 200);
    let posts: Vec<_> = sim
        .requests()
        .into_iter()
        .filter(|request| request.method == "POST")
        .collect();
    assert_eq!(posts.len(), 2);
    assert!(
        posts
            .iter()
            .all(|post| post.body == body && post.body_length == body.len())
    );
    assert_eq!(posts[0].user, None);
    assert_eq!(posts[1].user.as_deref(), Some("monitor"));
    sim.shutdown().await;
}

#[tokio::test]
async fn connections_close_after_some_requests() {
    let (sim, session) = start().await;
    sim.faults().set(FaultRule::everywhere(Fault::CloseAfter {
        requests: 3,
        announce: true,
    }));
    let before = sim.handshakes(0);
    for _ in 0..9 {
        assert_eq!(session.status("/user/whoami").await, 200);
    }
    assert!(sim.handshakes(0) >= before + 2, "{} {before}", sim.handshakes(0));
    assert!(
        sim.requests()
            .iter()
            .all(|request| request.nth_on_connection <= 3)
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn redirects_lead_anywhere() {
    let (sim, session) = start().await;
    let location = "https://127.0.0.1:1/login".to_owned();
    sim.faults().set(FaultRule::everywhere(Fault::Redirect {
        location: location.clone(),
        status: 307,
    }));
    let answer = session.get("/login").await;
    assert_eq!(
        (
            answer.status().as_u16(),
            answer.headers()["location"].to_str().unwrap()
        ),
        (307, &*location)
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn silent_connections_are_closed() {
    let sim = Sim::start(Config {
        vdcs: 1,
        keep_alive_secs: 1,
        ..Config::for_tests()
    })
    .await
    .unwrap();
    let session = Session::open(&sim).await;
    assert_eq!(session.status("/user/whoami").await, 200);
    let before = sim.handshakes(0);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(session.status("/user/whoami").await, 200);
    assert_eq!(sim.handshakes(0), before + 1);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_batch_can_be_refused_for_good() {
    let (sim, session) = start().await;
    for code in [405, 501] {
        let fault = Fault::Status {
            codes: vec![code],
            retry_after: None,
            retryable: None,
            code: None,
            details: None,
        };
        let id = sim.faults().set(
            FaultRule::everywhere(fault)
                .on_method("POST")
                .on_path("/object/billing"),
        );
        assert_eq!(
            session
                .post("/object/billing/namespace/info.json", "{}")
                .await
                .status(),
            code
        );
        assert_eq!(
            session.status("/object/billing/namespace/ns1/info.json").await,
            200
        );
        assert!(sim.faults().remove(id));
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn nonsense_does_no_harm() {
    let (sim, session) = start().await;
    let far = i64::MAX;
    for path in [
        format!("{PATH}&startTime=-{far}&endTime={far}&interval={far}"),
        format!("/dashboard/zones/localzone?startTime={far}&endTime=-{far}"),
        "/vdc/events?start_time=9999-12-31T23:59&end_time=9999-12-31T23:59".to_owned(),
        "/vdc/events?start_time=-009999-01-02T00:00:00Z&limit=18446744073709551616".to_owned(),
        "/object/namespaces?limit=0&marker=%FF%00".to_owned(),
        "/dashboard/nodes/%2F%2e%2e/disks".to_owned(),
        "/%".to_owned(),
    ] {
        let status = session.status(&path).await;
        assert!((200..500).contains(&status), "{path}: {status}");
    }
    let flux = r#"{"query":"from(bucket: \"x\") |> range(start: -99999999999999999é) |> last()"}"#;
    sim.vdc(0).node(0).upgrade(ecs_sim::Profile::V4_3).unwrap();
    assert_eq!(
        session.post("/flux/api/external/v2/query", flux).await.status(),
        200
    );
    let sample =
        "/object/billing/namespace/sample.json?start_time=-009000-01-01T00:00:00Z&end_time=9000-01-01T00:00";
    assert_eq!(session.post(sample, r#"{"id":["ns1"]}"#).await.status(), 200);
    sim.advance_clock(Duration::from_secs(u64::MAX / 1000));
    assert!(session.status("/login").await >= 400);
    sim.shutdown().await;
}
