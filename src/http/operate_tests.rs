//! Orders over HTTP, against an election that answers as the test wants it.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Endpoints;
use super::tests::{TOKEN, replica, send, text};
use crate::election::order::{Desk, Done, Order, Refused, Slip};
use crate::status::State;

fn endpoints() -> (Endpoints, mpsc::Receiver<Slip>) {
    let (desk, orders) = Desk::new();
    let mut endpoints = replica(State::Standby);
    endpoints.desk = Some(desk);
    (endpoints, orders)
}

async fn post(endpoints: &Endpoints, path: &str, body: &str) -> (u16, Value) {
    let request = Request::post(path)
        .header("authorization", format!("Bearer {TOKEN}"))
        .body(Body::from(body.to_owned()))
        .unwrap();
    let response = send(endpoints, request).await;
    let status = response.status().as_u16();
    (status, serde_json::from_str(&text(response).await).unwrap())
}

/// Sends an order and has it answered with `outcome`: the order that came in, and the answer.
async fn carried_out(path: &str, body: &str, outcome: Result<Done, Refused>) -> (Order, u16, Value) {
    let (endpoints, mut orders) = endpoints();
    let ((status, answer), order) = tokio::join!(post(&endpoints, path, body), async {
        let (order, slip) = orders.recv().await.unwrap();
        slip.send(outcome).unwrap();
        order
    });
    (order, status, answer)
}

#[tokio::test]
async fn every_order_gets_to_the_election_as_it_was_meant() {
    let switchover = |candidate: Option<&str>| Order::Switchover {
        leader: "node-b".to_owned(),
        candidate: candidate.map(str::to_owned),
    };
    for (path, body, want) in [
        ("/switchover", r#"{"leader":"node-b"}"#, switchover(None)),
        (
            "/switchover",
            r#"{"leader":"node-b","candidate":"node-a"}"#,
            switchover(Some("node-a")),
        ),
        ("/step-down", "", Order::StepDown),
        ("/pause", "", Order::Pause),
        ("/resume", "{}", Order::Resume),
    ] {
        let (order, status, _) = carried_out(path, body, Ok(Done::Paused)).await;
        assert_eq!((order, status), (want, 200), "{path}");
    }
}

#[tokio::test]
async fn every_outcome_has_its_code_and_its_words() {
    let switched = |gap| {
        Ok(Done::Switched {
            from: "node-b".to_owned(),
            to: "node-a".to_owned(),
            gap,
        })
    };
    let impossible = Err(Refused::Impossible {
        reason: "candidate_unknown",
        message: "no instance 'x' in the cluster".to_owned(),
    });
    for (outcome, status, answer) in [
        (
            switched(Some(Duration::from_micros(12_900))),
            200,
            json!({"status": "switched", "from": "node-b", "to": "node-a", "gap_ms": 12}),
        ),
        (
            switched(None),
            200,
            json!({"status": "switched", "from": "node-b", "to": "node-a", "gap_ms": null}),
        ),
        (Ok(Done::Paused), 200, json!({"status": "paused"})),
        (Ok(Done::Resumed), 200, json!({"status": "resumed"})),
        (
            Err(Refused::Conflict("a switchover is pending".to_owned())),
            409,
            json!({"error": "a switchover is pending"}),
        ),
        (
            impossible,
            412,
            json!({"error": "no instance 'x' in the cluster", "reasons": ["candidate_unknown"]}),
        ),
        (
            Err(Refused::Unknown("etcd does not answer".to_owned())),
            503,
            json!({"error": "etcd does not answer"}),
        ),
    ] {
        for (path, body) in [("/switchover", r#"{"leader":"node-b"}"#), ("/step-down", "")] {
            let (_, got, said) = carried_out(path, body, outcome.clone()).await;
            assert_eq!((got, said), (status, answer.clone()), "{path}");
        }
    }
}

#[tokio::test]
async fn what_is_not_understood_never_gets_to_the_election() {
    let (endpoints, mut orders) = endpoints();
    for (path, body) in [
        ("/switchover", ""),
        ("/switchover", "{}"),
        ("/switchover", r#"{"leader":"node-b","candidate":""}"#),
        ("/switchover", r#"{"leader":"node-b","candidate":"node-b"}"#),
        ("/switchover", r#"{"leader":"node-b","force":true}"#),
        ("/pause", r#"{"for":"1h"}"#),
        ("/step-down", r#"{"leader":"node-b"}"#),
    ] {
        let (status, answer) = post(&endpoints, path, body).await;
        assert_eq!(status, 400, "{path} {body}");
        assert!(answer["error"].as_str().unwrap().contains(' '), "{answer}");
    }
    assert!(orders.try_recv().is_err());
}

#[tokio::test]
async fn without_the_token_nothing_gets_to_the_election() {
    let (mut endpoints, mut orders) = endpoints();
    for (token, want) in [(endpoints.token.clone(), 401), (None, 403)] {
        endpoints.token = token;
        let request = Request::post("/pause")
            .header("authorization", "Bearer wrong")
            .body(Body::empty());
        let response = send(&endpoints, request.unwrap()).await;
        assert_eq!(response.status().as_u16(), want);
    }
    assert!(orders.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn an_order_without_an_outcome_is_unknown_after_the_patience() {
    let (mut endpoints, orders) = endpoints();
    endpoints.patience = Duration::from_secs(20);
    let start = tokio::time::Instant::now();
    let (status, answer) = post(&endpoints, "/pause", "").await;
    assert_eq!((status, start.elapsed().as_secs()), (503, 20));
    assert!(answer["error"].as_str().unwrap().contains("/cluster"), "{answer}");
    // The election has ended: that is known at once.
    drop(orders);
    let (status, _) = post(&endpoints, "/pause", "").await;
    assert_eq!((status, start.elapsed().as_secs()), (503, 20));
}

#[tokio::test]
async fn more_orders_than_the_election_takes_are_refused_at_once() {
    let (endpoints, orders) = endpoints();
    let mut waiting = Vec::new();
    let refused = loop {
        let mut order = Box::pin(post(&endpoints, "/pause", ""));
        match futures_util::poll!(&mut order) {
            std::task::Poll::Ready((status, _)) => break status,
            std::task::Poll::Pending => waiting.push(order),
        }
        assert!(waiting.len() < 1000);
    };
    assert_eq!(refused, 503);
    assert!(!waiting.is_empty());
    drop(orders);
}
