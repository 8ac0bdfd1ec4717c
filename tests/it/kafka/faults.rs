//! Brokers that are gone, or refuse: nothing is lost, and what is said is of use.

use std::collections::BTreeSet;
use std::time::Duration;

use ecsbeat::event::Event;
use ecsbeat::output::{DropReason, Outcome, Output, Sink as _, SinkError};
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Code};
use serde_json::json;

use super::{connected, deliver, event, numbered, numbers, output, permit, permit_for};
use crate::support::kafka::front::{self, Deed};
use crate::support::kafka::{Brokers, Read};
use crate::support::within;

const FENCINGS: [&str; 2] = ["idempotent", "transactional"];

/// What arrived, whether once or more often: the brokers behind these tests show what was aborted as well.
fn arrived(read: &[Read]) -> BTreeSet<usize> {
    numbers(read).into_iter().collect()
}

#[tokio::test]
async fn brokers_that_are_down_at_the_start_are_waited_for() {
    for fencing in FENCINGS {
        let brokers = Brokers::start(1).topic("ecs", 2);
        brokers.down(1);
        let mut output = output(&brokers.addresses(), &format!("topic: ecs\nfencing: {fencing}"));
        let error = output
            .connect(&permit_for(Duration::from_secs(2)).await)
            .await
            .unwrap_err();
        assert!(matches!(error, SinkError::Transport(_)), "{error:?}");
        assert!(error.to_string().contains("Connection refused"), "{error}");
        // Without a connection nothing is sent, and the publisher is told.
        let error = output
            .publish(&permit_for(Duration::from_secs(2)).await, &numbered(0..3))
            .await
            .unwrap_err();
        assert!(matches!(error, SinkError::Transport(_)), "{error:?}");
        brokers.up(1);
        output.connect(&permit().await).await.unwrap();
        assert_eq!(deliver(&mut output, &numbered(0..3), 3).await.len(), 0);
        assert_eq!(numbers(&brokers.read("ecs").await), [0, 1, 2], "{fencing}");
    }
}

#[tokio::test]
async fn a_broker_that_goes_down_holds_its_events_up_and_loses_none() {
    for fencing in FENCINGS {
        let brokers = Brokers::start(3).topic("ecs", 6);
        for partition in 0..6 {
            brokers.leader("ecs", partition, Some(partition % 3 + 1));
        }
        let mut output = connected(
            &brokers,
            &format!("topic: ecs\nkey: '%{{[host]}}'\nfencing: {fencing}"),
        )
        .await;
        deliver(&mut output, &numbered(0..100), 1).await;
        brokers.down(2);
        let result = output
            .publish(&permit_for(Duration::from_secs(3)).await, &numbered(100..200))
            .await;
        let left = match result {
            Err(SinkError::BrokenOff { outcomes, cause }) if fencing == "idempotent" => {
                // What the other brokers took is settled.
                assert!(matches!(*cause, SinkError::Transport(_)), "{cause:?}");
                assert!(outcomes.contains(&Outcome::Acked) && outcomes.len() == 100);
                let left = numbered(100..200).into_iter().zip(outcomes);
                left.filter(|(_, outcome)| *outcome != Outcome::Acked)
                    .map(|(event, _)| event)
                    .collect()
            }
            Err(SinkError::Transport(_)) if fencing == "transactional" => numbered(100..200),
            other => panic!("{fencing}: {other:?}"),
        };
        brokers.up(2);
        deliver(&mut output, &left, 5).await;
        deliver(&mut output, &numbered(200..300), 5).await;
        assert_eq!(
            arrived(&brokers.read("ecs").await),
            (0..300).collect(),
            "{fencing}"
        );
    }
}

#[tokio::test]
async fn errors_that_pass_are_not_even_noticed() {
    for fencing in FENCINGS {
        let brokers = Brokers::start(2).topic("ecs", 3);
        let mut output = connected(&brokers, &format!("topic: ecs\nfencing: {fencing}")).await;
        let mut sent = 0;
        for code in [
            Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            Code::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
            Code::RD_KAFKA_RESP_ERR__TRANSPORT,
        ] {
            brokers.fail(Api::Produce, &[code]);
            let errors = deliver(&mut output, &numbered(sent..sent + 30), 1).await;
            assert!(errors.is_empty(), "{fencing} {code:?}: {errors:?}");
            sent += 30;
            assert_eq!(
                arrived(&brokers.read("ecs").await),
                (0..sent).collect(),
                "{fencing} {code:?}"
            );
        }
    }
}

#[tokio::test]
async fn brokers_that_tell_no_id_of_their_cluster_are_reached() {
    let brokers = Brokers::start(1).topic("ecs", 1);
    let front = front::Builder::default()
        .nameless()
        .before(&brokers.addresses())
        .await;
    let mut output = output(front.addresses(), "topic: ecs");
    output
        .connect(&permit_for(Duration::from_secs(10)).await)
        .await
        .unwrap();
    deliver(&mut output, &numbered(0..10), 1).await;
    assert_eq!(arrived(&brokers.read("ecs").await), (0..10).collect());
}

#[tokio::test]
async fn a_topic_that_is_not_there_does_not_hold_up_the_others() {
    for fencing in FENCINGS {
        let brokers = Brokers::start(1).topic("ecs", 2).topic("gone", 1);
        brokers.topic_error("gone", Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
        let mut output = connected(&brokers, &format!("topic: '%{{[to]}}'\nfencing: {fencing}")).await;
        let batch: Vec<_> = (0..20)
            .map(|n| event(&json!({"to": if n % 2 == 0 { "gone" } else { "ecs" }, "n": n})))
            .collect();
        let error = output.publish(&permit().await, &batch).await.unwrap_err();
        let SinkError::BrokenOff { outcomes, cause } = error else {
            panic!("{fencing}: {error:?}")
        };
        assert!(
            cause.to_string().starts_with("topic \"gone\": it is not there"),
            "{cause}"
        );
        for (number, outcome) in outcomes.iter().enumerate() {
            let is_acked = *outcome == Outcome::Acked;
            assert_eq!(is_acked, number % 2 == 1, "{fencing}: {outcomes:?}");
        }
        assert_eq!(brokers.read("ecs").await.len(), 10, "{fencing}");
        // It comes into being.
        brokers.topic_error("gone", Code::RD_KAFKA_RESP_ERR_NO_ERROR);
        let left: Vec<_> = batch.into_iter().step_by(2).collect();
        deliver(&mut output, &left, 1).await;
        assert_eq!(brokers.read("gone").await.len(), 10, "{fencing}");
    }
}

#[tokio::test]
async fn what_one_producer_writes_again_is_recognised() {
    let brokers = Brokers::start(1).topic("ecs", 1);
    let front = front::Builder::default().before(&brokers.addresses()).await;
    let mut output = output(front.addresses(), "topic: ecs\ntimeout: 6s");
    output.connect(&permit().await).await.unwrap();
    // The connection breaks before the answer, or no answer comes.
    for deed in [Deed::Cut, Deed::Swallow] {
        front.once(Api::Produce, deed);
        let outcomes = output.publish(&permit().await, &numbered(0..20)).await.unwrap();
        assert!(
            outcomes.iter().all(|outcome| *outcome == Outcome::Acked),
            "{deed:?}: {outcomes:?}"
        );
    }
    assert_eq!(front.recognised(), 2);
    assert_eq!(brokers.read("ecs").await.len(), 40);
}

#[tokio::test]
async fn a_right_that_is_missing_is_told_and_the_events_wait_for_it() {
    for (fencing, requests) in [
        ("idempotent", Api::Produce),
        ("transactional", Api::Produce),
        ("transactional", Api::AddPartitionsToTxn),
    ] {
        let brokers = Brokers::start(1).topic("ecs", 1);
        let mut output = connected(&brokers, &format!("topic: ecs\nfencing: {fencing}")).await;
        brokers.fail(requests, &[Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED]);
        let error = output
            .publish(&permit().await, &numbered(0..5))
            .await
            .unwrap_err();
        assert!(
            matches!(error, SinkError::Denied(_)),
            "{fencing} {requests:?}: {error:?}"
        );
        assert!(error.to_string().contains("\"ecs\""), "{error}");
        deliver(&mut output, &numbered(0..5), 3).await;
        assert_eq!(arrived(&brokers.read("ecs").await), (0..5).collect());
    }
    let brokers = Brokers::start(1);
    brokers.fail(
        Api::InitProducerId,
        &[Code::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED],
    );
    let mut output = output(
        &brokers.addresses(),
        "topic: ecs\nfencing: transactional\ntransactional_id: mine",
    );
    let error = output.connect(&permit().await).await.unwrap_err();
    assert!(matches!(error, SinkError::Denied(_)), "{error:?}");
    assert!(
        error.to_string().contains("\"mine\"") && error.to_string().contains("grant Write"),
        "{error}"
    );
    output.connect(&permit().await).await.unwrap();
}

#[tokio::test]
async fn what_is_too_large_together_is_sent_in_parts_and_what_is_too_large_alone_is_given_up() {
    for fencing in FENCINGS {
        let brokers = Brokers::start(1).topic("ecs", 1);
        let mut output = connected(&brokers, &format!("topic: ecs\nfencing: {fencing}")).await;
        brokers.fail(Api::Produce, &[Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
        let error = output
            .publish(&permit().await, &numbered(0..4))
            .await
            .unwrap_err();
        assert!(matches!(error, SinkError::TooLarge(_)), "{fencing}: {error:?}");
        // The publisher halves it.
        deliver(&mut output, &numbered(0..2), 1).await;
        brokers.fail(Api::Produce, &[Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
        let outcomes = output.publish(&permit().await, &numbered(2..3)).await.unwrap();
        assert!(
            matches!(
                &outcomes[..],
                [Outcome::Rejected {
                    reason: DropReason::TooLarge,
                    ..
                }]
            ),
            "{fencing}: {outcomes:?}"
        );
        deliver(&mut output, &numbered(3..4), 1).await;
        let read = arrived(&brokers.read("ecs").await);
        assert!([0, 1, 3].iter().all(|number| read.contains(number)), "{read:?}");
    }
}

#[tokio::test]
async fn what_the_brokers_refuse_for_good_is_rejected() {
    for fencing in FENCINGS {
        let brokers = Brokers::start(1).topic("ecs", 2).topic("other", 1);
        let mut output = connected(&brokers, &format!("topic: '%{{[to]}}'\nfencing: {fencing}")).await;
        brokers.fail(Api::Produce, &[Code::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP]);
        // One request for each topic; whichever is first is refused.
        let batch = [
            event(&json!({"to": "ecs", "n": 0})),
            event(&json!({"to": "other", "n": 1})),
        ];
        let outcomes = output.publish(&permit().await, &batch).await.unwrap();
        let acked = outcomes
            .iter()
            .filter(|outcome| **outcome == Outcome::Acked)
            .count();
        let rejected = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Outcome::Rejected { .. }))
            .count();
        assert_eq!(acked + rejected, 2, "{fencing}: {outcomes:?}");
        assert!(rejected >= 1, "{fencing}: {outcomes:?}");
    }
}

/// Publishes the events of these numbers as a publisher would, in halves where it has to be: the numbers that were
/// acknowledged, and those that were refused.
async fn settled(
    output: &mut Output,
    numbers: std::ops::Range<usize>,
    make: impl Fn(usize) -> Event,
) -> [BTreeSet<usize>; 2] {
    let [mut acked, mut refused] = [BTreeSet::new(), BTreeSet::new()];
    let mut parcels = vec![numbers.collect::<Vec<_>>()];
    for _ in 0..40 {
        let Some(mut parcel) = parcels.pop() else {
            return [acked, refused];
        };
        let events: Vec<_> = parcel.iter().map(|number| make(*number)).collect();
        let outcomes = match output.publish(&permit().await, &events).await {
            Ok(outcomes) => outcomes,
            Err(SinkError::TooLarge(_)) if parcel.len() > 1 => {
                let second = parcel.split_off(parcel.len() / 2);
                parcels.extend([second, parcel]);
                continue;
            }
            Err(error) => panic!("{error:?}"),
        };
        let mut left = Vec::new();
        for (number, outcome) in parcel.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Acked => assert!(acked.insert(number)),
                Outcome::Rejected {
                    reason: DropReason::Refused,
                    ..
                } => assert!(refused.insert(number)),
                Outcome::Retry(_) => left.push(number),
                other => panic!("{number}: {other:?}"),
            }
        }
        if !left.is_empty() {
            parcels.push(left);
        }
    }
    panic!("there is no end to it: {acked:?} acknowledged, {refused:?} refused");
}

#[tokio::test]
async fn one_message_that_is_refused_does_not_take_others_with_it_nor_hold_them_up() {
    let cases: [(bool, &[usize]); 3] = [(false, &[2]), (true, &[2]), (true, &[1, 2])];
    for fencing in FENCINGS {
        for (tells, bad) in cases {
            let case = format!("{fencing}, tells {tells}, bad {bad:?}");
            let brokers = Brokers::start(1).topic("ecs", 1);
            let front = front::Builder::default().before(&brokers.addresses()).await;
            // They wait for each other, so that they are sent at once.
            let mut output = output(
                front.addresses(),
                &format!("topic: ecs\nfencing: {fencing}\ncompression: none\nbulk_flush_frequency: 50ms"),
            );
            output.connect(&permit().await).await.unwrap();
            let marks: Vec<String> = bad.iter().map(|number| format!("\"h{number}\"")).collect();
            front.refuse(&marks.iter().map(String::as_str).collect::<Vec<_>>(), tells);
            let [acked, refused] =
                settled(&mut output, 0..4, |number| numbered(number..number + 1).remove(0)).await;
            assert_eq!(refused, bad.iter().copied().collect(), "{case}");
            let others: Vec<usize> = (0..4).filter(|number| !bad.contains(number)).collect();
            assert_eq!(acked, others.iter().copied().collect(), "{case}");
            assert_eq!(numbers(&brokers.read("ecs").await), others, "{case}");
            // They were together with others at first, and alone in the end.
            let refusals = front.refusals();
            assert!(refusals[0] > 1, "{case}: {refusals:?}");
            let alone = refusals.iter().filter(|messages| **messages == 1).count();
            assert!(alone >= bad.len(), "{case}: {refusals:?}");
        }
    }
}

#[tokio::test]
async fn what_was_on_its_way_behind_a_message_that_is_refused_is_not_waited_for() {
    // More than one request for a partition is on its way only where each has few messages.
    let large =
        |number: usize| event(&json!({"n": number, "host": format!("h{number}"), "text": "x".repeat(500)}));
    for fencing in FENCINGS {
        let brokers = Brokers::start(1).topic("ecs", 1);
        let front = front::Builder::default().before(&brokers.addresses()).await;
        let mut output = output(
            front.addresses(),
            &format!("topic: ecs\nfencing: {fencing}\ncompression: none\nmax_message_bytes: 1000"),
        );
        output.connect(&permit().await).await.unwrap();
        front.refuse(&["\"h0\""], false);
        front.once(Api::Produce, Deed::Hold);
        let begin = std::time::Instant::now();
        let ([acked, refused], ()) = tokio::join!(settled(&mut output, 0..8, large), async {
            front.holds().await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            front.release();
        });
        // Its time is 30 seconds.
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(15), "{fencing}: {took:?}");
        assert_eq!(refused, [0].into(), "{fencing}");
        assert_eq!(acked, (1..8).collect(), "{fencing}");
        assert_eq!(
            numbers(&brokers.read("ecs").await),
            (1..8).collect::<Vec<_>>(),
            "{fencing}"
        );
    }
}

#[tokio::test]
async fn a_commit_that_is_not_answered_is_found_out_and_nothing_is_doubled() {
    for deed in [Deed::Cut, Deed::Hold] {
        let brokers = Brokers::start(1).topic("ecs", 2);
        let front = front::Builder::default().before(&brokers.addresses()).await;
        let mut output = output(front.addresses(), "topic: ecs\nfencing: transactional");
        output.connect(&permit().await).await.unwrap();
        front.once(Api::EndTxn, deed);
        let first = output
            .publish(&permit_for(Duration::from_secs(3)).await, &numbered(0..20))
            .await;
        if deed == Deed::Cut {
            // It is asked for again on the next connection, and that is answered.
            assert!(first.unwrap().iter().all(|outcome| *outcome == Outcome::Acked));
        } else {
            let error = first.unwrap_err();
            assert!(error.to_string().contains("commit"), "{error}");
            front.release();
            output.connect(&permit().await).await.unwrap();
            let outcomes = output.publish(&permit().await, &numbered(0..20)).await.unwrap();
            assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Acked));
        }
        deliver(&mut output, &numbered(20..30), 1).await;
        assert_eq!(
            numbers(&brokers.read("ecs").await),
            (0..30).collect::<Vec<_>>(),
            "{deed:?}"
        );
    }
}

#[tokio::test]
async fn nothing_is_sent_when_nobody_waits_or_the_permit_is_over() {
    for dropped in [true, false] {
        let brokers = Brokers::start(1).topic("ecs", 2);
        let front = front::Builder::default().before(&brokers.addresses()).await;
        let mut output = output(front.addresses(), "topic: ecs\nfencing: transactional");
        output.connect(&permit().await).await.unwrap();
        // Messages follow only when the transaction knows of their partitions.
        front.once(Api::AddPartitionsToTxn, Deed::Hold);
        let events = numbered(0..20);
        let permit = permit_for(if dropped {
            Duration::from_secs(30)
        } else {
            Duration::from_secs(1)
        })
        .await;
        let publish = output.publish(&permit, &events);
        if dropped {
            tokio::select! {
                result = publish => panic!("{result:?}"),
                () = front.holds() => {}
            }
        } else {
            let error = publish.await.unwrap_err();
            assert!(matches!(error, SinkError::Transport(_)), "{error:?}");
        }
        // The thread gives up by itself, and every connection with it; only then what was held is passed on.
        within(Duration::from_secs(20), "connections are closed", || {
            brokers_left(&front)
        })
        .await;
        front.release();
        within(Duration::from_secs(20), "the last one too", || front.open() == 0).await;
        assert_eq!(
            (front.passed(Api::Produce), front.passed(Api::EndTxn)),
            (0, 0),
            "dropped: {dropped}"
        );
        assert_eq!(brokers.read("ecs").await.len(), 0);
        // The next permit begins anew, and what was left open does not count.
        output.connect(&super::permit().await).await.unwrap();
        deliver(&mut output, &events, 1).await;
        assert_eq!(numbers(&brokers.read("ecs").await), (0..20).collect::<Vec<_>>());
    }
}

/// Whether only the connection is left whose request is held: it does not notice that the client hung up.
fn brokers_left(front: &front::Front) -> bool {
    front.open() <= 1
}
