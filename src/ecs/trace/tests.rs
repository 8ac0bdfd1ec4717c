//! Tests of [`super`]: what an exchange looks like in the file.

use serde_json::Value;

use super::*;

const BODY: &str = r#"{"vdcId":"urn:1","secretKeys":"CANARY-keys","name":"VDC1"}"#;

fn content(text: &str) -> Content {
    let mut content = Content::default();
    content.add(text.as_bytes(), usize::MAX);
    content
}

fn exchange() -> Exchange {
    let mut request_headers = HeaderMap::new();
    request_headers.insert("x-sds-auth-token", "CANARY-token".parse().unwrap());
    request_headers.insert("accept", "application/json".parse().unwrap());
    let mut response_headers = HeaderMap::new();
    response_headers.append("set-cookie", "CANARY-cookie".parse().unwrap());
    response_headers.append("set-cookie", "CANARY-other".parse().unwrap());
    response_headers.insert("content-type", "application/json".parse().unwrap());
    Exchange {
        at: "2026-03-02T10:41:00Z".parse().unwrap(),
        customer: "EMC".to_owned(),
        vdc: "VDC1".to_owned(),
        node: "10.0.0.1:4443".to_owned(),
        method: "POST".to_owned(),
        url: "https://10.0.0.1:4443/x?limit=5".to_owned(),
        request_headers,
        request: content("{\"id\":[\"ns1\"]}"),
        status: Some(200),
        response_headers,
        response: content(BODY),
        answered: Some(Duration::from_micros(1500)),
        took: Duration::from_millis(2),
        error: None,
        hidden: vec![Secret::new("CANARY-token")],
        max_body: 1000,
    }
}

fn line(exchange: Exchange) -> Value {
    let line = exchange.line();
    let text = String::from_utf8(line).unwrap();
    assert!(!text.contains("CANARY") && !text.contains('\n'), "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn an_exchange_is_one_line_without_secrets() {
    assert_eq!(
        line(exchange()),
        json!({
            "@timestamp": "2026-03-02T10:41:00.000Z",
            "customer": "EMC",
            "vdc": "VDC1",
            "node": "10.0.0.1:4443",
            "url": "https://10.0.0.1:4443/x?limit=5",
            "request": {
                "method": "POST",
                "headers": {"x-sds-auth-token": "xxxxx", "accept": "application/json"},
                "body": {"bytes": 14, "truncated": false, "content": "{\"id\":[\"ns1\"]}"},
            },
            "response": {
                "status": 200,
                "after_ms": 1.5,
                "headers": {"set-cookie": "xxxxx, xxxxx", "content-type": "application/json"},
                "body": {
                    "bytes": BODY.len(),
                    "truncated": false,
                    "content": BODY.replace("CANARY-keys", "xxxxx"),
                },
            },
            "took_ms": 2.0,
        })
    );
}

#[test]
fn an_exchange_without_an_answer_tells_why() {
    let line = line(Exchange {
        status: None,
        request: Content::default(),
        error: Some("refused, token=CANARY".to_owned()),
        ..exchange()
    });
    assert_eq!(line["error.message"], "refused, token=xxxxx");
    assert!(line.get("response").is_none() && line["request"].get("body").is_none());
}

#[test]
fn a_long_body_is_cut_and_a_secret_at_the_cut_is_not_shown() {
    let max_body = 1000;
    for lead in max_body - 20..max_body + MARGIN + 20 {
        let mut response = Content::default();
        let text = format!("{}CANARY-token{}", "x".repeat(lead), "y".repeat(4000));
        for piece in text.as_bytes().chunks(100) {
            response.add(piece, max_body + MARGIN);
        }
        let line = line(Exchange {
            response,
            max_body,
            ..exchange()
        });
        let body = &line["response"]["body"];
        assert_eq!(
            (&body["bytes"], &body["truncated"]),
            (&json!(text.len()), &json!(true))
        );
        let content = body["content"].as_str().unwrap();
        assert!(
            content.len() <= max_body && content.len() + 20 >= max_body,
            "{}",
            content.len()
        );
        assert!(!content.contains("CANA"), "{lead}: {content}");
    }
}

#[tokio::test]
async fn exchanges_are_recorded_however_they_end() {
    let directory = tempfile::tempdir().unwrap();
    let config = Trace {
        files: crate::config::LogFiles {
            path: directory.path().to_owned(),
            name: "trace".to_owned(),
            rotate_every_bytes: 1 << 20,
            interval: None,
            keep_files: 2,
            permissions: 0o600,
            rotate_on_startup: false,
        },
        max_body: 1000,
    };
    let tracer = Arc::new(Tracer::start(&config, Clock::system(), &Metrics::new()).unwrap());
    let url = "https://10.0.0.1:4443/x".parse().unwrap();
    let request = reqwest::Request::new(reqwest::Method::GET, url);
    let peer = Peer {
        customer: "EMC",
        vdc: "VDC1",
        node: "10.0.0.1:4443",
    };
    drop(Tracing::begin(&tracer, peer, &request, Vec::new()));
    let mut failed = Tracing::begin(&tracer, peer, &request, Vec::new());
    failed.failed(&io::Error::other("gone"));
    drop(failed);
    drop(Tracing::none());
    drop(tracer);
    let path = std::fs::read_dir(directory.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("gone"), "{text}");
}
