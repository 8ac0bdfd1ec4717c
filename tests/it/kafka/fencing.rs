//! Two that believe they lead: the brokers take from the newer one only.

use std::time::Duration;

use ecsbeat::config::{Fencing, OutputConfig};
use ecsbeat::output::{Outcome, Output, Sink as _, SinkError};
use rdkafka::types::RDKafkaApiKey as Api;

use super::{configured, deliver, numbered, numbers, of, permit};
use crate::support::kafka::Brokers;
use crate::support::kafka::front::{self, Deed, Front};

const REPLICAS: &str = "ha: {cluster: north, etcd.hosts: localhost}\nhttp: {enabled: true, host: 0.0.0.0}";

/// The output of a replica.
fn replica(front: &Front, settings: &str) -> Output {
    of(&configured(
        front.addresses(),
        &format!("topic: ecs\n{settings}"),
        REPLICAS,
    ))
}

#[tokio::test]
async fn a_leader_that_was_replaced_midway_is_refused_and_told_so() {
    let brokers = Brokers::start(1).topic("ecs", 2);
    let front = front::Builder::default()
        .fencing()
        .before(&brokers.addresses())
        .await;
    let (mut older, mut newer) = (replica(&front, ""), replica(&front, ""));
    older.connect(&permit().await).await.unwrap();
    deliver(&mut older, &numbered(0..10), 1).await;

    // Paused between its last message and the commit.
    front.once(Api::EndTxn, Deed::Hold);
    let (batch, permit_of_older) = (numbered(10..20), permit().await);
    let (refused, ()) = tokio::join!(older.publish(&permit_of_older, &batch), async {
        front.holds().await;
        newer.connect(&permit().await).await.unwrap();
        deliver(&mut newer, &numbered(20..30), 1).await;
        front.release();
    });
    let error = refused.unwrap_err();
    assert!(matches!(error, SinkError::Denied(_)), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("\"ecsbeat-north\": a newer leader has taken over"),
        "{error}"
    );

    // It does not come back at once: it would shut out the one who leads.
    for _ in 0..3 {
        let error = older.connect(&permit().await).await.unwrap_err();
        assert!(matches!(error, SinkError::Denied(_)), "{error:?}");
        assert!(error.to_string().contains("comes back 10s after"), "{error}");
    }
    deliver(&mut newer, &numbered(30..40), 1).await;
    // The two commits of the newer one and the first of the older one; what was held was refused.
    assert_eq!(front.passed(Api::EndTxn), 3);
}

#[tokio::test]
async fn one_that_was_refused_before_its_first_message_is_told_as_well() {
    let brokers = Brokers::start(1).topic("ecs", 2);
    let front = front::Builder::default()
        .fencing()
        .before(&brokers.addresses())
        .await;
    let (mut older, mut newer) = (replica(&front, ""), replica(&front, ""));
    older.connect(&permit().await).await.unwrap();
    newer.connect(&permit().await).await.unwrap();
    let error = older
        .publish(&permit().await, &numbered(0..10))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("a newer leader has taken over"),
        "{error}"
    );
    deliver(&mut newer, &numbered(10..20), 1).await;
    assert_eq!(numbers(&brokers.read("ecs").await), (10..20).collect::<Vec<_>>());
}

/// What fencing is for: without it the older one is acknowledged, whatever happened meanwhile.
#[tokio::test]
async fn without_transactions_the_older_one_is_not_refused() {
    let brokers = Brokers::start(1).topic("ecs", 1);
    let front = front::Builder::default()
        .fencing()
        .before(&brokers.addresses())
        .await;
    let (mut older, mut newer) = (
        replica(&front, "fencing: idempotent"),
        replica(&front, "fencing: idempotent"),
    );
    older.connect(&permit().await).await.unwrap();
    front.once(Api::Produce, Deed::Hold);
    let (batch, permit_of_older) = (numbered(0..10), permit().await);
    let (acked, ()) = tokio::join!(older.publish(&permit_of_older, &batch), async {
        front.holds().await;
        newer.connect(&permit().await).await.unwrap();
        deliver(&mut newer, &numbered(10..20), 1).await;
        front.release();
    });
    assert!(acked.unwrap().iter().all(|outcome| *outcome == Outcome::Acked));
    assert_eq!(numbers(&brokers.read("ecs").await), (0..20).collect::<Vec<_>>());
}

#[test]
fn what_is_shut_out_follows_from_who_there_is() {
    let fencing = |settings: &str, more: &str| {
        let config = configured("localhost:9092", &format!("topic: ecs\n{settings}"), more);
        let Some(OutputConfig::Kafka(kafka)) = config.outputs.into_iter().next() else {
            panic!("no Kafka output");
        };
        (
            kafka.fencing,
            config
                .warnings
                .iter()
                .filter(|warning| warning.contains("output.kafka"))
                .count(),
        )
    };
    let transactional = |id: &str, seconds| Fencing::Transactional {
        id: id.to_owned(),
        stay_away: Duration::from_secs(seconds),
    };
    assert_eq!(fencing("", ""), (Fencing::Idempotent, 0));
    assert_eq!(fencing("", REPLICAS), (transactional("ecsbeat-north", 10), 0));
    assert_eq!(
        fencing("fencing: transactional", ""),
        (transactional("ecsbeat-tester", 0), 0)
    );
    assert_eq!(
        fencing("transactional_id: mine", REPLICAS),
        (transactional("mine", 10), 0)
    );
    assert_eq!(fencing("fencing: idempotent", REPLICAS), (Fencing::Idempotent, 1));
    assert_eq!(fencing("fencing: none", ""), (Fencing::None, 0));
    assert_eq!(fencing("required_acks: 1", ""), (Fencing::None, 1));
    assert_eq!(fencing("required_acks: 0", REPLICAS), (Fencing::None, 1));
}
