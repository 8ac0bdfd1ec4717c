//! The fake Elasticsearch.

use std::io::Write as _;
use std::time::Duration;

use ecs_sim::bulk::{Bulk, BulkFault, BulkRule, Config};
use reqwest::Response;
use serde_json::{Value, json};

use crate::client::parse;
use crate::tls::eventually;

const BODY: &str = "{\"create\":{\"_index\":\"ecs-a\",\"_id\":\"1\"}}\n{\"ecs-event-type\":\"alert\",\"v\":1}\n\
                    {\"create\":{\"_index\":\"ecs-a\",\"_id\":\"2\"}}\n{\"ecs-event-type\":\"disks\",\"v\":2}\n";

fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap()
}

async fn send(bulk: &Bulk, path: &str, body: &str) -> reqwest::Result<Response> {
    http()
        .post(format!("{}{path}", bulk.url()))
        .body(body.to_owned())
        .send()
        .await
}

async fn start() -> Bulk {
    Bulk::start(Config::for_tests()).await.unwrap()
}

#[tokio::test]
async fn documents_are_recorded_once() {
    let bulk = start().await;
    let first = parse(send(&bulk, "/_bulk", BODY).await.unwrap()).await;
    assert_eq!(
        (&first["errors"], &first["items"][0]["create"]["status"]),
        (&json!(false), &json!(201))
    );
    let again = parse(
        send(&bulk, "/_bulk?filter_path=errors,items.*.status", BODY)
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(
        again,
        json!({"errors": true, "items": [{"create": {"status": 409}}, {"create": {"status": 409}}]})
    );
    assert_eq!(bulk.len(), 2);
    assert_eq!(bulk.count_by_type()["alert"], 1);
    assert!(bulk.duplicates().is_empty());
    assert_eq!((bulk.repeated().len(), bulk.conflicts()), (2, 2));
    send(&bulk, "/_bulk", &BODY.replace("ecs-a", "ecs-b"))
        .await
        .unwrap();
    assert_eq!(bulk.duplicates().len(), 2);
    assert_eq!(bulk.count_by_index()["ecs-b"], 2);
    assert_eq!(bulk.documents()[3].json()["v"], 2);
    let counts = parse(
        http()
            .get(format!("{}/_recorded/counts", bulk.url()))
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(
        (&counts["documents"], &counts["conflicts"]),
        (&json!(4), &json!(2))
    );
    bulk.clear();
    assert!(bulk.is_empty());
    bulk.shutdown().await;
}

#[tokio::test]
async fn compressed_bodies_are_read() {
    let bulk = start().await;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder
        .write_all(BODY.replace("\"_index\":\"ecs-a\",", "").as_bytes())
        .unwrap();
    let request = http()
        .post(format!("{}/ecs-c/_bulk", bulk.url()))
        .header("Content-Encoding", "gzip");
    assert_eq!(
        request
            .body(encoder.finish().unwrap())
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    assert_eq!(bulk.count_by_index()["ecs-c"], 2);
    assert!(bulk.requests()[0].gzip);
    bulk.shutdown().await;
}

#[tokio::test]
async fn start_up_calls_are_known() {
    let config = Config {
        opensearch: true,
        version: "2.11.0".to_owned(),
        account: Some("elastic:x".to_owned()),
        ..Config::for_tests()
    };
    let bulk = Bulk::start(config).await.unwrap();
    assert_eq!(send(&bulk, "/_bulk", BODY).await.unwrap().status(), 401);
    let ask = async |method: &str, path: &str, body: &str| {
        let request = http().request(method.parse().unwrap(), format!("{}{path}", bulk.url()));
        request
            .basic_auth("elastic", Some("x"))
            .body(body.to_owned())
            .send()
            .await
            .unwrap()
    };
    let greeting = parse(ask("GET", "/", "").await).await;
    assert_eq!(
        (
            &greeting["version"]["distribution"],
            &greeting["version"]["number"]
        ),
        (&json!("opensearch"), &json!("2.11.0"))
    );
    assert_eq!(ask("HEAD", "/_index_template/ecs", "").await.status(), 404);
    let template = r#"{"index_patterns":["ecs-*"],"data_stream":{}}"#;
    assert_eq!(ask("PUT", "/_index_template/ecs", template).await.status(), 200);
    assert_eq!(ask("HEAD", "/_index_template/ecs", "").await.status(), 200);
    let found = parse(ask("GET", "/_index_template/ecs", "").await).await;
    assert_eq!(
        found["index_templates"][0]["index_template"]["index_patterns"][0],
        "ecs-*"
    );
    assert_eq!(bulk.resources().len(), 1);
    let indexing = BODY.replace("create", "index");
    let refused = parse(ask("POST", "/_bulk", &indexing).await).await;
    assert_eq!(
        refused["items"][0]["index"]["status"], 400,
        "data streams take create only"
    );
    bulk.shutdown().await;
}

#[tokio::test]
async fn whole_requests_go_wrong() {
    let bulk = start().await;
    for status in [503, 429, 401] {
        bulk.set(
            BulkRule::always(BulkFault::Status {
                status,
                retry_after: Some(1),
            })
            .times(1),
        );
        let answer = send(&bulk, "/_bulk", BODY).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"]),
            (status, &"1".parse().unwrap())
        );
    }
    bulk.set(BulkRule::always(BulkFault::TooLarge { bytes: 10 }));
    assert_eq!(send(&bulk, "/_bulk", BODY).await.unwrap().status(), 413);
    bulk.clear_faults();
    assert!(bulk.is_empty());
    bulk.set(BulkRule::always(BulkFault::LostAnswer).times(1));
    assert!(send(&bulk, "/_bulk", BODY).await.is_err());
    assert_eq!(bulk.len(), 2, "carried out all the same");
    bulk.set(BulkRule::always(BulkFault::ResetMidAnswer).times(1));
    assert!(send(&bulk, "/_bulk", BODY).await.unwrap().bytes().await.is_err());
    bulk.set(BulkRule::always(BulkFault::WrongJson).times(1));
    let text = send(&bulk, "/_bulk", BODY).await.unwrap().text().await.unwrap();
    assert!(serde_json::from_str::<Value>(&text).is_err());
    bulk.set(BulkRule::always(BulkFault::Refuse));
    eventually(|| async { send(&bulk, "/_bulk", BODY).await.is_err() }).await;
    bulk.clear_faults();
    eventually(|| async { send(&bulk, "/_bulk", BODY).await.is_ok() }).await;
    bulk.shutdown().await;
}

#[tokio::test]
async fn single_items_go_wrong() {
    let bulk = start().await;
    let rule = json!({"fault": {"kind": "mapping_error", "marker": "alert"}});
    let set = http()
        .post(format!("{}/_faults", bulk.url()))
        .body(rule.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(set.status(), 200);
    bulk.set(
        BulkRule::always(BulkFault::RejectItems {
            every: 2,
            status: 429,
        })
        .times(1),
    );
    let answer = parse(send(&bulk, "/_bulk", BODY).await.unwrap()).await;
    assert_eq!(
        answer["items"][0]["create"]["error"]["type"],
        "mapper_parsing_exception"
    );
    assert_eq!(answer["items"][1]["create"]["status"], 429);
    bulk.clear_faults();
    bulk.set(BulkRule::always(BulkFault::ReorderedItems));
    let answer = parse(send(&bulk, "/_bulk", BODY).await.unwrap()).await;
    assert_eq!(answer["items"][0]["create"]["_id"], "2");
    bulk.shutdown().await;
}

#[tokio::test]
async fn it_speaks_tls() {
    let bulk = Bulk::start(Config {
        tls: true,
        keep_all: true,
        ..Config::for_tests()
    })
    .await
    .unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = reqwest::Certificate::from_pem(bulk.ca_pem().unwrap().as_bytes()).unwrap();
    let http = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([ca])
        .build()
        .unwrap();
    for _ in 0..2 {
        let indexing = BODY.replace("create", "index");
        assert_eq!(
            http.post(format!("{}/_bulk", bulk.url()))
                .body(indexing)
                .send()
                .await
                .unwrap()
                .status(),
            200
        );
    }
    assert_eq!(bulk.len(), 4);
    bulk.shutdown().await;
}

/// Status and answer.
async fn ask(bulk: &Bulk, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let method = method.parse().unwrap();
    let request = http().request(method, format!("{}{path}", bulk.url()));
    let request = if body.is_null() {
        request
    } else {
        request.body(body.to_string())
    };
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), parse(answer).await)
}

#[tokio::test]
async fn what_is_held_is_given_back_index_by_index_and_removed() {
    let bulk = start().await;
    let template = |pattern: &str, priority: u64, kind: &str| {
        json!({ "index_patterns": [pattern], "priority": priority,
                "template": { "mappings": { "properties": { "v": { "type": kind } } } } })
    };
    ask(
        &bulk,
        "PUT",
        "/_index_template/any",
        &template("ecs-*", 1, "text"),
    )
    .await;
    ask(&bulk, "PUT", "/_index_template/a", &template("ecs-a", 2, "long")).await;
    send(&bulk, "/_bulk", BODY).await.unwrap();
    send(&bulk, "/_bulk", &BODY.replace("ecs-a", "ecs-b"))
        .await
        .unwrap();

    assert_eq!(ask(&bulk, "POST", "/ecs-a/_refresh", &Value::Null).await.0, 200);
    let query = json!({ "size": 1, "query": { "match_all": {} } });
    let (status, found) = ask(&bulk, "POST", "/ecs-*/_search", &query).await;
    assert_eq!((status, &found["hits"]["total"]["value"]), (200, &json!(4)));
    assert_eq!(
        found["hits"]["hits"],
        json!([{ "_index": "ecs-a", "_id": "1", "_version": 1, "_source": { "ecs-event-type": "alert", "v": 1 } }])
    );
    let less = json!({ "query": { "term": { "v": 1 } } });
    assert_eq!(ask(&bulk, "POST", "/ecs-a/_search", &less).await.0, 400);
    let (_, mapping) = ask(&bulk, "GET", "/ecs-*/_mapping", &Value::Null).await;
    let kind = |index: &str| mapping[index]["mappings"]["properties"]["v"]["type"].clone();
    assert_eq!((kind("ecs-a"), kind("ecs-b")), (json!("long"), json!("text")));
    assert_eq!(ask(&bulk, "POST", "/ecs-c/_search", &query).await.0, 404);

    assert_eq!(ask(&bulk, "DELETE", "/ecs-*", &Value::Null).await.0, 400);
    assert_eq!(ask(&bulk, "DELETE", "/ecs-a", &Value::Null).await.0, 200);
    assert_eq!(
        ask(&bulk, "GET", "/ecs-*", &Value::Null).await.1,
        json!({ "ecs-b": {} })
    );
    // What is gone can come again.
    let again = parse(send(&bulk, "/_bulk", BODY).await.unwrap()).await;
    assert_eq!(again["errors"], false);
    ask(&bulk, "DELETE", "/_index_template/*", &Value::Null).await;
    assert!(bulk.resources().is_empty());
}

#[tokio::test]
async fn data_streams_come_to_be_with_their_first_document() {
    let bulk = start().await;
    let template = json!({ "index_patterns": ["ecs-*"], "data_stream": {} });
    ask(&bulk, "PUT", "/_index_template/ecs", &template).await;
    assert_eq!(
        ask(&bulk, "GET", "/_data_stream/ecs-a", &Value::Null).await.0,
        404
    );
    send(&bulk, "/_bulk", BODY).await.unwrap();
    let (status, found) = ask(&bulk, "GET", "/_data_stream/ecs-a", &Value::Null).await;
    assert_eq!(
        (status, &found["data_streams"][0]["name"]),
        (200, &json!("ecs-a"))
    );
    assert_eq!(ask(&bulk, "DELETE", "/ecs-a", &Value::Null).await.0, 400);
    assert_eq!(
        ask(&bulk, "DELETE", "/_data_stream/ecs-*", &Value::Null).await.0,
        200
    );
    assert!(bulk.is_empty());
}
