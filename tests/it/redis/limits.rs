//! Servers that take no more: full, read-only, loading, a list that is too long.

use ecsbeat::output::{DropReason, Outcome, RetryReason, Sink as _, SinkError};

use super::{deliver, event, events, numbers, output, permit, publish, refused};
use crate::support::redis::{Builder, Redis, Reply};

/// Busy, with this in the message.
#[track_caller]
fn busy(error: &SinkError, words: &str) {
    assert!(matches!(error, SinkError::Busy { .. }), "{error:?}");
    assert!(error.to_string().contains(words), "{error}");
}

#[tokio::test]
async fn a_list_that_is_too_long_is_left_alone_until_it_is_read() {
    let redis = Redis::start().await;
    let settings = format!(
        "hosts: ['{}'], max_list_len: 5, key: '%{{[ecs-event-type]}}'",
        redis.address()
    );
    let mut output = output(&settings);
    // What is there counts once a batch: it may go beyond.
    deliver(&mut output, &events(0..4)).await;
    deliver(&mut output, &events(4..8)).await;
    let error = refused(&mut output, &events(8..10)).await;
    busy(&error, "list \"nodes\" holds 8 entries and max_list_len is 5");
    let mixed = [event("nodes", 8, ""), event("disks", 0, "")];
    let outcomes = output.publish(&permit().await, &mixed).await.unwrap();
    assert_eq!(outcomes, [Outcome::Retry(RetryReason::TooMany), Outcome::Acked]);
    redis.command(&["LPOP", "nodes", "3"]).await;
    busy(&refused(&mut output, &events(8..10)).await, "holds 5 entries");
    redis.command(&["LPOP", "nodes", "1"]).await;
    deliver(&mut output, &events(8..10)).await;
    assert_eq!(numbers(&redis.list("nodes").await), [4, 5, 6, 7, 8, 9]);
}

#[tokio::test]
async fn a_full_server_is_waited_for() {
    let redis = Redis::start().await;
    let mut output = output(&format!("hosts: ['{}']", redis.address()));
    deliver(&mut output, &events(0..2)).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    busy(
        &refused(&mut output, &events(2..4)).await,
        "RPUSH to \"ecsbeat\": OOM",
    );
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    deliver(&mut output, &events(2..4)).await;
    assert_eq!(numbers(&redis.list("ecsbeat").await), [0, 1, 2, 3]);
}

/// Memory that runs out in the middle of a batch: what got in is acknowledged, the rest comes later, nothing twice.
#[tokio::test]
async fn a_server_that_becomes_full_within_a_batch_takes_a_part() {
    let redis = Redis::start().await;
    let mut output = output(&format!("hosts: ['{}']", redis.address()));
    let members = format!("\"text\":\"{}\",", "x".repeat(4000));
    let batch: Vec<_> = (0..1000).map(|number| event("nodes", number, &members)).collect();
    deliver(&mut output, &batch[..1]).await;
    let most = used_memory(&redis).await + 1_500_000;
    redis
        .command(&["CONFIG", "SET", "maxmemory", &most.to_string()])
        .await;
    let outcomes = output.publish(&permit().await, &batch[1..]).await.unwrap();
    let taken = outcomes
        .iter()
        .filter(|outcome| **outcome == Outcome::Acked)
        .count();
    assert!((10..900).contains(&taken), "{taken} of 999 fit");
    assert_eq!(redis.list("ecsbeat").await.len(), 1 + taken);
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    let left: Vec<_> = batch[1..]
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| **outcome == Outcome::Retry(RetryReason::TooMany))
        .map(|(event, _)| event.clone())
        .collect();
    assert_eq!(left.len(), 999 - taken, "no other outcome");
    deliver(&mut output, &left).await;
    let mut arrived = numbers(&redis.list("ecsbeat").await);
    arrived.sort_unstable();
    assert_eq!(arrived, (0..1000).collect::<Vec<u64>>());
}

async fn used_memory(redis: &Redis) -> u64 {
    let Reply::Bulk(Some(text)) = redis.command(&["INFO", "memory"]).await else {
        panic!("INFO gives a text");
    };
    let text = String::from_utf8(text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("used_memory:"));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn what_an_operator_can_set_right_is_waited_for() {
    let redis = Redis::start().await;
    let mut output = output(&format!("hosts: ['{}']", redis.address()));
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    busy(&refused(&mut output, &events(0..1)).await, "READONLY");
    redis.command(&["REPLICAOF", "NO", "ONE"]).await;
    redis
        .command(&["CONFIG", "SET", "min-replicas-to-write", "1"])
        .await;
    busy(
        &refused(&mut output, &events(0..1)).await,
        "min-replicas-to-write",
    );
    redis
        .command(&["CONFIG", "SET", "min-replicas-to-write", "0"])
        .await;
    redis.command(&["SET", "ecsbeat", "text"]).await;
    let error = refused(&mut output, &events(0..1)).await;
    assert!(
        matches!(&error, SinkError::Denied(text) if text.contains("RPUSH to \"ecsbeat\": WRONGTYPE")),
        "{error}"
    );
    redis.command(&["DEL", "ecsbeat"]).await;
    deliver(&mut output, &events(0..1)).await;
    assert_eq!(numbers(&redis.list("ecsbeat").await), [0]);
}

#[tokio::test]
async fn an_event_that_is_too_large_for_the_server_is_given_up_alone() {
    let redis = Builder::new().setting("proto-max-bulk-len", "1mb").start().await;
    let mut output = output(&format!("hosts: ['{}']", redis.address()));
    let large = format!("\"text\":\"{}\",", "x".repeat(1_500_000));
    let batch = [
        event("nodes", 0, ""),
        event("nodes", 1, &large),
        event("nodes", 2, ""),
        event("nodes", 3, &large),
    ];
    let outcomes = publish(&mut output, &batch).await.unwrap();
    assert_eq!(outcomes[0], Outcome::Acked, "{outcomes:?}");
    assert!(
        matches!(&outcomes[1], Outcome::Rejected { reason: DropReason::TooLarge, message }
            if message.contains("proto-max-bulk-len")),
        "{outcomes:?}"
    );
    let again = Outcome::Retry(RetryReason::Failed);
    assert_eq!(outcomes[2..], [again.clone(), again]);
    let outcomes = output.publish(&permit().await, &batch[2..]).await.unwrap();
    assert_eq!(outcomes[0], Outcome::Acked);
    assert!(matches!(outcomes[1], Outcome::Rejected { .. }), "{outcomes:?}");
    assert_eq!(numbers(&redis.list("ecsbeat").await), [0, 2]);
}
