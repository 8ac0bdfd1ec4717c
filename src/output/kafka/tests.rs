//! Choices and settings, without a broker: what is sent is in `tests/it/kafka`.

use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode as Code;
use serde_json::json;

use super::message::{Message, Messages};
use super::partition::{Chooser, Partitions};
use super::producer::told;
use super::properties::properties;
use super::verdict::Fate;
use super::{LEFT, whole};
use crate::config::{
    Acks, BackoffConfig, Codec, Compression, Fencing, Hash, HostPort, KafkaOutput, Mechanism, Partition,
    Sasl, Secret, Ssl, Strategy, VerificationMode,
};
use crate::event::EventId;
use crate::output::samples::event;
use crate::output::{DropReason, Outcome, SinkError};

const SECOND: Duration = Duration::from_secs(1);

fn config() -> KafkaOutput {
    KafkaOutput {
        hosts: vec![HostPort {
            host: "::1".to_owned(),
            port: 9092,
        }],
        topic: Some("ecs".to_owned()),
        topics: Vec::new(),
        key: None,
        headers: Vec::new(),
        partition: partition(Strategy::Hash {
            fields: Vec::new(),
            random: true,
            algorithm: Hash::Fnv1a,
        }),
        fencing: Fencing::Idempotent,
        acks: Acks::All,
        compression: Compression::Gzip,
        compression_level: Some(4),
        max_message_bytes: 1_000_000,
        dead_letter_file: None,
        bulk_max_size: 2048,
        bulk_flush_frequency: Duration::ZERO,
        max_retries: None,
        backoff: BackoffConfig {
            init: SECOND,
            max: 60 * SECOND,
        },
        timeout: 30 * SECOND,
        broker_timeout: 10 * SECOND,
        client_id: "beats".to_owned(),
        sasl: None,
        metadata_refresh: 600 * SECOND,
        codec: Codec::default(),
        ssl: Ssl::default(),
    }
}

fn partition(strategy: Strategy) -> Partition {
    Partition {
        strategy,
        reachable_only: false,
    }
}

fn message(topic: &str, name: &str, hash: Option<u32>) -> Message {
    Message {
        id: EventId::of([name.as_bytes()]),
        topic: topic.to_owned(),
        key: None,
        hash,
        value: Vec::new(),
        timestamp: 1,
    }
}

fn partitions(count: usize, without_leader: &[i32]) -> Partitions {
    let all = 0..i32::try_from(count).unwrap();
    Partitions {
        count,
        reachable: all.filter(|id| !without_leader.contains(id)).collect(),
    }
}

#[test]
fn round_robin_goes_on_from_event_to_event_topic_by_topic() {
    let mut chooser = Chooser::new(&partition(Strategy::RoundRobin { group_events: 2 }));
    let three = partitions(3, &[]);
    let mut choose = |topic: &str, name: usize| {
        let message = message(topic, &format!("{topic}{name}"), None);
        chooser.choose(&message, &three).unwrap()
    };
    let first: Vec<i32> = (0..8).map(|name| choose("a", name)).collect();
    let other = choose("b", 0);
    assert_eq!(choose("b", 1), other, "topics have a turn each");
    for pair in first.chunks(2) {
        assert_eq!(pair[0], pair[1]);
    }
    let turns: Vec<i32> = first
        .iter()
        .step_by(2)
        .map(|id| (id - first[0]).rem_euclid(3))
        .collect();
    assert_eq!(turns, [0, 1, 2, 0]);
}

#[test]
fn what_is_sent_again_goes_where_it_went_unless_the_topic_has_grown() {
    let mut chooser = Chooser::new(&partition(Strategy::Random { group_events: 1 }));
    let many = partitions(10_000, &[]);
    let again = message("a", "again", None);
    let first = chooser.choose(&again, &many).unwrap();
    for name in 0..20 {
        chooser
            .choose(&message("a", &name.to_string(), None), &many)
            .unwrap();
        assert_eq!(chooser.choose(&again, &many), Some(first));
    }
    let few = partitions(1, &[]);
    assert_eq!(chooser.choose(&again, &few), Some(0));
    chooser.forget(again.id);
    let chosen: Vec<_> = (0..5)
        .map(|_| {
            chooser.forget(again.id);
            chooser.choose(&again, &many)
        })
        .collect();
    assert!(chosen.windows(2).any(|pair| pair[0] != pair[1]), "{chosen:?}");
}

#[test]
fn a_hash_is_a_position_among_those_that_count() {
    let by_hash = config().partition;
    let mut chooser = Chooser::new(&by_hash);
    let hashed = message("a", "x", Some(11));
    assert_eq!(
        chooser.choose(&hashed, &partitions(4, &[3])),
        Some(3),
        "it waits for its leader"
    );
    let mut chooser = Chooser::new(&Partition {
        reachable_only: true,
        ..by_hash
    });
    assert_eq!(
        chooser.choose(&hashed, &partitions(4, &[3])),
        Some(2),
        "the third of those with a leader"
    );
    assert_eq!(chooser.choose(&hashed, &partitions(2, &[0, 1])), None);
    // Without anything to hash every partition comes up.
    let mut seen = [false; 3];
    for name in 0..200 {
        let message = message("a", &name.to_string(), None);
        let chosen = chooser.choose(&message, &partitions(3, &[])).unwrap();
        seen[usize::try_from(chosen).unwrap()] = true;
    }
    assert_eq!(seen, [true; 3]);
}

#[test]
fn keys_and_fields_are_hashed() {
    let hash_of = |key: Option<&str>, fields: &[&str], algorithm, document: &str| {
        let messages = Messages::new(&KafkaOutput {
            key: key.map(str::to_owned),
            partition: partition(Strategy::Hash {
                fields: fields.iter().map(|&field| field.to_owned()).collect(),
                random: true,
                algorithm,
            }),
            ..config()
        });
        let message = messages.unwrap().of(&event(document)).unwrap();
        (message.key, message.hash)
    };
    let document = r#"{"a":{"b":"disk"},"n":-7,"f":0.25,"list":[1]}"#;
    let (key, hash) = hash_of(Some("%{[a.b]}"), &[], Hash::Fnv1a, r#"{"a":{"b":"node-1"}}"#);
    assert_eq!((key.as_deref(), hash), (Some("node-1"), Some(1_422_144_387)));
    assert_eq!(hash_of(Some("%{[x]}"), &[], Hash::Fnv1a, document), (None, None));
    assert_eq!(
        hash_of(None, &["a.b", "n", "f"], Hash::Fnv1a, document),
        (None, Some(1_484_326_409))
    );
    assert_eq!(
        hash_of(None, &["a.b", "list"], Hash::Fnv1a, document),
        (None, None)
    );
    assert_eq!(
        hash_of(Some("kafka"), &[], Hash::Murmur2, document).1,
        Some(0xd067_cf64 & 0x7fff_ffff)
    );
}

#[test]
fn a_message_is_measured_with_all_its_parts() {
    let messages = |most| {
        Messages::new(&KafkaOutput {
            key: Some("0123456789".to_owned()),
            headers: vec![("name".to_owned(), Secret::new("value"))],
            codec: Codec::Format("%{[a]}".to_owned()),
            max_message_bytes: most,
            ..config()
        })
        .unwrap()
    };
    // 100 of the value, 10 of the key, 9 + 10 of the header, 36 around them.
    let document = json!({"a": "x".repeat(100)}).to_string();
    assert_eq!(messages(165).of(&event(&document)).unwrap().value.len(), 100);
    let refused = messages(164).of(&event(&document)).unwrap_err();
    let Outcome::Rejected { reason, message } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(reason, DropReason::TooLarge);
    assert_eq!(message, "the message has 165 bytes, max_message_bytes are 164");
}

#[test]
fn settings_in_the_words_of_librdkafka() {
    let plain = properties(&config()).unwrap();
    for (key, value) in [
        ("bootstrap.servers", "[::1]:9092"),
        ("security.protocol", "plaintext"),
        ("enable.idempotence", "true"),
        ("acks", "-1"),
        ("message.timeout.ms", "30000"),
        ("request.timeout.ms", "10000"),
        ("queue.buffering.max.ms", "5"),
        ("compression.codec", "gzip"),
        ("compression.level", "4"),
    ] {
        assert_eq!(plain.get(key), Some(value), "{key}");
    }
    assert_eq!(plain.get("transactional.id"), None);
    let secured = properties(&KafkaOutput {
        fencing: Fencing::Transactional {
            id: "ecsbeat-north".to_owned(),
            stay_away: 10 * SECOND,
        },
        sasl: Some(Sasl {
            username: "beat".to_owned(),
            password: Secret::new("CANARY"),
            mechanism: Mechanism::ScramSha512,
        }),
        ssl: Ssl {
            enabled: Some(true),
            verification_mode: VerificationMode::None,
            ..Ssl::default()
        },
        ..config()
    })
    .unwrap();
    for (key, value) in [
        ("security.protocol", "sasl_ssl"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("transactional.id", "ecsbeat-north"),
        ("transaction.timeout.ms", "40000"),
        ("enable.ssl.certificate.verification", "false"),
    ] {
        assert_eq!(secured.get(key), Some(value), "{key}");
    }
    assert!(!format!("{secured:?}").contains("CANARY"));
}

/// What is told of these fates, and of this error.
fn told_of(fates: &[Fate], failed: Option<SinkError>) -> Result<Vec<Outcome>, SinkError> {
    let messages: Vec<Message> = (0..fates.len())
        .map(|name| message("ecs", &name.to_string(), None))
        .collect();
    told(&messages.iter().collect::<Vec<_>>(), fates, failed)
}

#[test]
fn a_batch_is_halved_only_where_all_of_it_is_in_doubt() {
    let in_doubt = || Fate::InDoubt(Code::InvalidTimestamp);
    for fates in [[in_doubt(), in_doubt()], [Fate::Spared, in_doubt()]] {
        let halved = told_of(&fates, None).unwrap_err();
        let SinkError::TooLarge(text) = halved else {
            panic!("{halved:?}");
        };
        assert!(text.starts_with("topic \"ecs\": "), "{text}");
        assert!(text.ends_with("not known yet for which message"), "{text}");
    }
    let large = Fate::InDoubt(Code::MessageSizeTooLarge);
    let halved = told_of(&[large.clone(), large], None).unwrap_err();
    assert!(
        halved
            .to_string()
            .ends_with("raise max.message.bytes of the topic")
    );

    let fates = [Fate::Arrived, in_doubt(), Fate::Spared];
    assert_eq!(told_of(&fates, None).unwrap(), [Outcome::Acked, LEFT, LEFT]);
    assert_eq!(told_of(&[], None).unwrap(), []);
}

#[test]
fn a_refusal_is_told_whatever_became_of_the_rest() {
    let fates = [
        Fate::Refused(Code::InvalidTimestamp),
        Fate::InDoubt(Code::InvalidTimestamp),
        Fate::Failed(Code::NotEnoughReplicas),
    ];
    let is_told = |outcomes: &[Outcome]| {
        assert!(
            matches!(
                &outcomes[0],
                Outcome::Rejected {
                    reason: DropReason::Refused,
                    ..
                }
            ),
            "{outcomes:?}"
        );
        assert!(outcomes[1..].iter().all(|outcome| *outcome == LEFT));
    };
    is_told(&told_of(&fates[..2], None).unwrap());
    let denied = || Some(SinkError::Denied("no".to_owned()));
    let error = told_of(&fates, denied()).unwrap_err();
    let SinkError::BrokenOff { outcomes, cause } = error else {
        panic!("{error:?}");
    };
    is_told(&outcomes);
    assert!(matches!(*cause, SinkError::Denied(_)), "{cause:?}");
    // Where nothing has ended there is nothing but the error, be the rest in doubt or not.
    let error = told_of(&fates[1..], denied()).unwrap_err();
    assert!(matches!(error, SinkError::Denied(_)), "{error:?}");
}

#[test]
fn what_is_settled_is_told_whatever_became_of_the_rest() {
    let rejected = || Outcome::Rejected {
        reason: DropReason::NoDestination,
        message: String::new(),
    };
    let settled = || vec![None, Some(rejected()), None];
    assert_eq!(
        whole(settled(), Ok(vec![Outcome::Acked, LEFT])).unwrap(),
        [Outcome::Acked, rejected(), LEFT]
    );
    let Err(SinkError::BrokenOff { outcomes, cause }) =
        whole(settled(), Err(SinkError::Denied("no".to_owned())))
    else {
        panic!();
    };
    assert_eq!(outcomes, [LEFT, rejected(), LEFT]);
    assert!(matches!(*cause, SinkError::Denied(_)));
    let plain = whole(vec![None, None], Err(SinkError::Denied("no".to_owned())));
    assert!(matches!(plain, Err(SinkError::Denied(_))));
}
