//! Lists, channels, keys, databases.

use ecsbeat::output::{Outcome, Sink as _};
use serde_json::Value;
use tokio::net::TcpStream;

use super::{deliver, event, events, numbers, output, publish, refused};
use crate::support::eventually;
use crate::support::redis::{Client, Redis};

#[tokio::test]
async fn events_stand_in_the_list_in_their_order_with_metadata() {
    let redis = Redis::start().await;
    let mut output = output(&format!("hosts: ['{}']", redis.address()));
    let (first, second) = (events(0..3), events(3..6));
    deliver(&mut output, &first).await;
    deliver(&mut output, &second).await;
    let documents = redis.list("ecsbeat").await;
    assert_eq!(numbers(&documents), [0, 1, 2, 3, 4, 5]);
    for (event, document) in first.iter().chain(&second).zip(&documents) {
        let mut found: Value = serde_json::from_slice(document).unwrap();
        let metadata = found.as_object_mut().unwrap().remove("@metadata").unwrap();
        assert_eq!(
            metadata,
            serde_json::json!({
                "beat": "ecsbeat", "type": "_doc", "version": env!("CARGO_PKG_VERSION"), "_id": event.id.to_string()
            })
        );
        let own: Value = serde_json::from_slice(&event.body).unwrap();
        assert_eq!(found, own, "the rest is as it was");
    }
    output.close().await.unwrap();
}

/// More than fits into the buffers of a connection, in both directions.
#[tokio::test]
async fn a_batch_of_many_megabytes_arrives_whole() {
    let redis = Redis::start().await;
    let mut output = output(&format!("hosts: ['{}']", redis.address()));
    let members = format!("\"text\":\"{}\\r\\n\",", "x".repeat(4000));
    let batch: Vec<_> = (0..2048).map(|number| event("nodes", number, &members)).collect();
    deliver(&mut output, &batch).await;
    let documents = redis.list("ecsbeat").await;
    assert_eq!(numbers(&documents), (0..2048).collect::<Vec<u64>>());
    let bytes: usize = documents.iter().map(Vec::len).sum();
    assert!(bytes > 8_000_000, "{bytes}");
}

#[tokio::test]
async fn channels_are_heard_by_whoever_listens() {
    let redis = Redis::start().await;
    let mut output = output(&format!(
        "hosts: ['{}'], datatype: channel, key: events",
        redis.address()
    ));
    deliver(&mut output, &events(0..2)).await;
    let subscription = redis.subscribe("events").await;
    deliver(&mut output, &events(2..4)).await;
    eventually("messages arrive", || subscription.messages().len() == 2).await;
    assert_eq!(numbers(&subscription.messages()), [2, 3]);
    assert!(redis.keys().await.is_empty(), "a channel keeps nothing");
}

#[tokio::test]
async fn each_type_has_a_list_of_its_own() {
    let redis = Redis::start().await;
    let mut output = output(&format!(
        "hosts: ['{}'], index: Storage, key: 'ecsbeat-%{{[ecs-event-type]}}-%{{+yyyy.MM}}', keys: [{{key: \
         '%{{[severity]}}', mappings: {{ERROR: urgent}}, when.equals: {{ecs-event-type: alert}}}}]",
        redis.address()
    ));
    let batch = [
        event("nodes", 0, ""),
        event("alert", 1, "\"severity\":\"ERROR\","),
        event("disks", 2, ""),
        event("alert", 3, "\"severity\":\"INFO\","),
        event("nodes", 4, ""),
    ];
    deliver(&mut output, &batch).await;
    assert_eq!(
        redis.keys().await,
        [
            "ecsbeat-alert-2026.03",
            "ecsbeat-disks-2026.03",
            "ecsbeat-nodes-2026.03",
            "urgent"
        ]
    );
    let nodes = redis.list("ecsbeat-nodes-2026.03").await;
    assert_eq!(numbers(&nodes), [0, 4]);
    assert_eq!(numbers(&redis.list("urgent").await), [1]);
    let json: Value = serde_json::from_slice(&nodes[0]).unwrap();
    assert_eq!(json["@metadata"]["beat"], "storage");
}

#[tokio::test]
async fn an_event_without_a_key_is_given_up_alone() {
    let redis = Redis::start().await;
    let mut output = output(&format!("hosts: ['{}'], key: '%{{[place]}}'", redis.address()));
    let batch = [event("nodes", 0, "\"place\":\"here\","), event("nodes", 1, "")];
    let outcomes = publish(&mut output, &batch).await.unwrap();
    assert_eq!(outcomes[0], Outcome::Acked);
    assert!(matches!(outcomes[1], Outcome::Rejected { .. }), "{outcomes:?}");
    assert_eq!(redis.keys().await, ["here"]);
}

#[tokio::test]
async fn the_database_is_that_of_the_url_or_of_db() {
    let redis = Redis::start().await;
    let at = redis.address();
    deliver(&mut output(&format!("hosts: ['{at}'], db: 3")), &events(0..1)).await;
    deliver(
        &mut output(&format!("hosts: ['redis://{at}/5'], db: 3")),
        &events(1..3),
    )
    .await;
    let mut client = Client::over(TcpStream::connect(at).await.unwrap());
    for (db, length) in [("0", 0), ("3", 1), ("5", 2)] {
        client.ask(&["SELECT", db]).await.unwrap();
        let found = client.ask(&["LLEN", "ecsbeat"]).await.unwrap();
        assert_eq!(found.integer(), length, "database {db}");
    }
    let error = refused(&mut output(&format!("hosts: ['redis://{at}/16']")), &events(0..1)).await;
    assert!(
        error
            .to_string()
            .contains("SELECT: ERR DB index is out of range: check db"),
        "{error}"
    );
}
