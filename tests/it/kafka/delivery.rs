//! Batches: what arrives, where, and in which form.

use ecsbeat::output::{DropReason, Outcome, Sink as _, SinkError};
use serde_json::{Value, json};

use super::{TIME, connected, event, numbered, numbers, permit};
use crate::support::kafka::Brokers;

#[tokio::test]
async fn a_message_has_all_that_was_asked_for() {
    let brokers = Brokers::start(1).topic("ecs-disks", 4);
    let mut output = connected(
        &brokers,
        "topic: 'ecs-%{[type]}'\nkey: '%{[host]}'\nheaders: [{key: site, value: north}, {key: x, value: ''}]",
    )
    .await;
    let written = json!({"type": "disks", "host": "node-1", "big": 12_345_678_901_234_567_890_u64});
    let outcomes = output.publish(&permit().await, &[event(&written)]).await.unwrap();
    assert_eq!(outcomes, [Outcome::Acked]);
    let read = brokers.read("ecs-disks").await;
    assert_eq!(read.len(), 1, "{read:?}");
    assert_eq!(read[0].key.as_deref(), Some("node-1"));
    // FNV-1a of "node-1" is 1422144387.
    assert_eq!(read[0].partition, 1_422_144_387 % 4);
    assert_eq!(read[0].timestamp, TIME);
    assert_eq!(read[0].headers["site"], "north");
    assert_eq!(read[0].headers["x"], "");
    let mut found: Value = serde_json::from_str(&read[0].payload).unwrap();
    let metadata = found.as_object_mut().unwrap().remove("@metadata").unwrap();
    assert_eq!(found, written);
    assert_eq!(metadata["beat"], "ecsbeat");
    assert_eq!(metadata["type"], "_doc");
    assert_eq!(metadata["_id"], event(&written).id.to_string());
    output.close().await.unwrap();
}

#[tokio::test]
async fn every_compression_and_every_fencing_delivers_once() {
    for (number, settings) in [
        "compression: none\nfencing: idempotent",
        "compression: gzip\ncompression_level: 9\nfencing: transactional",
        "compression: snappy\nfencing: transactional",
        "compression: lz4\ncompression_level: 3\nfencing: none",
        "compression: zstd\nfencing: idempotent",
        "required_acks: 1",
        "required_acks: 0\nfencing: none",
    ]
    .into_iter()
    .enumerate()
    {
        let brokers = Brokers::start(3).topic("ecs", 6);
        let mut output = connected(&brokers, &format!("topic: ecs\n{settings}")).await;
        for batch in numbered(0..600).chunks(250) {
            let outcomes = output.publish(&permit().await, batch).await.unwrap();
            assert!(
                outcomes.iter().all(|outcome| *outcome == Outcome::Acked),
                "{number}: {outcomes:?}"
            );
        }
        output.close().await.unwrap();
        assert_eq!(
            numbers(&brokers.read("ecs").await),
            (0..600).collect::<Vec<_>>(),
            "{settings}"
        );
    }
}

#[tokio::test]
async fn what_cannot_become_a_message_is_rejected_and_the_rest_arrives() {
    let brokers = Brokers::start(1).topic("ecs", 1);
    let mut output = connected(
        &brokers,
        "topic: '%{[to]}'\nmax_message_bytes: 2000\nfencing: transactional\npartition.hash: {hash: [host], random: false}",
    )
    .await;
    let batch = [
        event(&json!({"to": "ecs", "host": "a", "n": 0})),
        event(&json!({"host": "a"})),
        event(&json!({"to": "no topic", "host": "a"})),
        event(&json!({"to": "ecs", "host": "a", "text": "x".repeat(2000)})),
        event(&json!({"to": "ecs"})),
        event(&json!({"to": "ecs", "host": "b", "n": 1})),
    ];
    let outcomes = output.publish(&permit().await, &batch).await.unwrap();
    let reasons: Vec<Option<DropReason>> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Acked => None,
            Outcome::Rejected { reason, message } => {
                assert!(!message.contains("xxx"), "{message}");
                Some(*reason)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let nowhere = Some(DropReason::NoDestination);
    assert_eq!(
        reasons,
        [None, nowhere, nowhere, Some(DropReason::TooLarge), nowhere, None]
    );
    assert_eq!(numbers(&brokers.read("ecs").await), [0, 1]);
}

#[tokio::test]
async fn a_codec_of_its_own_and_an_empty_batch() {
    let brokers = Brokers::start(1).topic("ecs", 1);
    let mut output = connected(&brokers, "topic: ecs\ncodec.format.string: '%{[host]} is %{[n]}'").await;
    assert_eq!(output.publish(&permit().await, &[]).await.unwrap(), []);
    output.publish(&permit().await, &numbered(4..5)).await.unwrap();
    assert_eq!(brokers.read("ecs").await[0].payload, "h4 is 4");
}

#[tokio::test]
async fn partitions_are_chosen_as_asked() {
    let brokers = Brokers::start(2)
        .topic("robin", 3)
        .topic("reach", 3)
        .topic("java", 8);
    let mut output = connected(&brokers, "topic: robin\npartition.round_robin.group_events: 4").await;
    output.publish(&permit().await, &numbered(0..24)).await.unwrap();
    let read = brokers.read("robin").await;
    for partition in 0..3 {
        assert_eq!(read.iter().filter(|read| read.partition == partition).count(), 8);
    }

    // One partition has no leader: it would block.
    brokers.leader("reach", 1, None);
    let mut output = connected(&brokers, "topic: reach\npartition.random.reachable_only: true").await;
    output.publish(&permit().await, &numbered(0..60)).await.unwrap();
    brokers.leader("reach", 1, Some(1));
    let read = brokers.read("reach").await;
    let used: std::collections::BTreeSet<i64> = read.iter().map(|read| read.partition).collect();
    assert_eq!((read.len(), used), (60, [0, 2].into()));

    // Murmur2 of "kafka" is 0xd067cf64.
    let mut output = connected(
        &brokers,
        "topic: java\nkey: kafka\npartition.hash.algorithm: murmur2",
    )
    .await;
    output.publish(&permit().await, &numbered(0..1)).await.unwrap();
    assert_eq!(
        brokers.read("java").await[0].partition,
        (0xd067_cf64_i64 & 0x7fff_ffff) % 8
    );
}

#[tokio::test]
async fn what_is_refused_for_good_is_filed_with_the_reason() {
    let brokers = Brokers::start(1).topic("ecs", 1);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("letters.ndjson");
    let mut output = connected(
        &brokers,
        &format!(
            "topic: ecs\nmax_message_bytes: 1000\ndead_letter_file.path: '{}'",
            file.display()
        ),
    )
    .await;
    let large = event(&json!({"text": "x".repeat(2000)}));
    let batch = [numbered(0..1).remove(0), large.clone()];
    let outcomes = output.publish(&permit().await, &batch).await.unwrap();
    assert_eq!(outcomes, [Outcome::Acked, Outcome::DeadLettered]);
    let text = std::fs::read_to_string(&file).unwrap();
    let letter: Value = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!(letter["event"]["id"], large.id.to_string());
    assert_eq!(letter["error"]["type"], "too_large");
    let kept: Value = serde_json::from_str(letter["message"].as_str().unwrap()).unwrap();
    assert_eq!(kept["text"].as_str().unwrap().len(), 2000);
    assert_eq!(numbers(&brokers.read("ecs").await), [0]);

    // A file that takes nothing holds the event back, and nothing else.
    drop(output);
    std::fs::remove_dir_all(directory.path()).unwrap();
    std::fs::write(directory.path(), "no directory").unwrap();
    let mut output = super::output(
        &brokers.addresses(),
        &format!(
            "topic: ecs\nmax_message_bytes: 1000\ndead_letter_file.path: '{}'",
            file.display()
        ),
    );
    let batch = [numbered(1..2).remove(0), large];
    let error = output.publish(&permit().await, &batch).await.unwrap_err();
    let SinkError::BrokenOff { outcomes, cause } = error else {
        panic!("{error:?}")
    };
    assert!(matches!(*cause, SinkError::Io(_)), "{cause:?}");
    assert!(
        matches!(&outcomes[..], [Outcome::Acked, Outcome::Retry(_)]),
        "{outcomes:?}"
    );
    std::fs::remove_file(directory.path()).unwrap();
}
