//! What becomes of events.

use proptest::prelude::*;

use super::*;
use crate::config::SelectorRule;
use crate::output::{DropReason, RetryReason};

const RETRY: Outcome = Outcome::Retry(RetryReason::Failed);

fn numbered(count: usize) -> Vec<Event> {
    (0..count)
        .map(|number| event(&format!("{{\"n\":{number}}}")))
        .collect()
}

fn rejected(outcome: &Outcome) -> (DropReason, &str) {
    match outcome {
        Outcome::Rejected { reason, message } => (*reason, message),
        _ => panic!("not rejected: {outcome:?}"),
    }
}

#[tokio::test]
async fn the_body_is_the_batch_line_by_line_packed_or_not() {
    for level in [0, 1, 9] {
        let server = Server::bulks(|asked| items(asked, |_| 201)).await;
        let rule = |value: &str| SelectorRule {
            value: value.to_owned(),
            mappings: BTreeMap::new(),
            default: None,
            when: None,
        };
        let config = ElasticsearchOutput {
            compression_level: level,
            indices: vec![rule("Special-%{[i]}")],
            pipelines: vec![rule("P-%{[p]}")],
            ..config(&[&server.url])
        };
        let (written, read) = (Counter::default(), Counter::default());
        let mut sink = Elasticsearch::new(&config, &template(), &written, &read)
            .unwrap()
            .remove(0);
        let batch = [
            event(r#"{"n":12345678901234567890123.10}"#),
            event("{\"i\":\"A\",\n\"p\":\"Q\"}"),
        ];
        let outcomes = publish(&mut sink, &batch).await.unwrap();
        assert_eq!(outcomes, [Outcome::Acked, Outcome::Acked]);
        let asked = &server.bulks_asked()[0];
        let want = format!(
            "{{\"create\":{{\"_index\":\"test-2026.03.02\",\"_id\":\"{}\"}}}}\n\
             {{\"n\":12345678901234567890123.10}}\n\
             {{\"create\":{{\"_index\":\"special-a\",\"_id\":\"{}\",\"pipeline\":\"p-q\"}}}}\n\
             {{\"i\":\"A\", \"p\":\"Q\"}}\n",
            batch[0].id, batch[1].id
        );
        assert_eq!(asked.text(), want);
        assert_eq!(
            asked.header("content-encoding"),
            if level == 0 { "" } else { "gzip" }
        );
        assert_eq!(written.get(), asked.body.len() as u64);
        assert!(read.get() > 0);
    }
}

#[tokio::test]
async fn each_event_has_the_outcome_of_its_own_item() {
    let statuses = [201, 409, 429, 500, 503, 400, 200, 404];
    let server = Server::bulks(move |asked| {
        items(asked, |document| {
            let document: Value = serde_json::from_str(document).unwrap();
            statuses[usize::try_from(document["n"].as_u64().unwrap()).unwrap()]
        })
    })
    .await;
    let outcomes = publish(&mut sink(&config(&[&server.url])), &numbered(8))
        .await
        .unwrap();
    let too_many = Outcome::Retry(RetryReason::TooMany);
    assert_eq!(
        outcomes[..5],
        [Outcome::Acked, Outcome::Duplicate, too_many, RETRY, RETRY]
    );
    assert_eq!(outcomes[6], Outcome::Acked);
    for (position, status) in [(5, 400), (7, 404)] {
        let (reason, message) = rejected(&outcomes[position]);
        assert_eq!(reason, DropReason::Refused);
        assert_eq!(
            message,
            format!("mapper_parsing_exception on field size (status {status})")
        );
    }
    assert_eq!(server.bulks_asked().len(), 1);
}

#[tokio::test]
async fn items_out_of_order_or_missing_never_acknowledge_another_event() {
    let server = Server::bulks(|asked| {
        let mut ids: Vec<Value> = asked
            .bulk()
            .iter()
            .map(|(action, _)| action["_id"].clone())
            .collect();
        ids.remove(1);
        ids.reverse();
        let items: Vec<Value> = ids
            .iter()
            .enumerate()
            .map(|(n, id)| json!({"create": {"_id": id, "status": if n == 0 { 409 } else { 201 }}}))
            .collect();
        reply(200, &json!({"errors": false, "items": items}))
    })
    .await;
    let outcomes = publish(&mut sink(&config(&[&server.url])), &numbered(3))
        .await
        .unwrap();
    assert_eq!(outcomes, [Outcome::Acked, RETRY, Outcome::Duplicate]);
}

#[tokio::test]
async fn an_answer_that_says_nothing_is_an_error_of_the_batch() {
    for body in [
        "",
        "<html>ok</html>",
        "{}",
        r#"{"errors":false}"#,
        r#"{"errors":false,"items":[]}"#,
        r#"{"errors":false,"items":[{"create":{"_id":"00000000000000000000000000000000","status":201}}]}"#,
        r#"{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":201}}]}"#,
    ] {
        let server = Server::bulks(move |_| (200, Vec::new(), body.to_owned())).await;
        let error = publish(&mut sink(&config(&[&server.url])), &numbered(2))
            .await
            .unwrap_err();
        assert!(matches!(error, SinkError::Protocol(_)), "{body}: {error:?}");
    }
    // Cut off after a good beginning.
    let server = Server::bulks(|asked| {
        let (status, headers, mut body) = items(asked, |_| 201);
        body.truncate(body.len() - 1);
        (status, headers, body)
    })
    .await;
    let error = publish(&mut sink(&config(&[&server.url])), &numbered(2))
        .await
        .unwrap_err();
    assert!(matches!(error, SinkError::Protocol(_)), "{error:?}");
}

#[tokio::test]
async fn a_refused_request_fails_the_batch_as_its_status_says() {
    for status in [301, 400, 401, 403, 404, 429, 500, 503] {
        let server = Server::bulks(move |_| {
            let body = json!({"error": {"type": "some_exception", "reason": "because"}}).to_string();
            let headers = vec![
                ("retry-after", "7".to_owned()),
                ("location", "/elsewhere".to_owned()),
            ];
            (status, headers, body)
        })
        .await;
        let error = publish(&mut sink(&config(&[&server.url])), &numbered(2))
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&format!("{status} (some_exception: because)")),
            "{text}"
        );
        match (status, error) {
            (401 | 403, SinkError::Denied(_)) | (301 | 400 | 404, SinkError::Protocol(_)) => {}
            (429 | 500 | 503, SinkError::Busy { retry_after, .. }) => {
                assert_eq!(retry_after, Some(Duration::from_secs(7)));
            }
            (_, error) => panic!("{status}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_given_back_and_an_event_that_is_too_large_rejected() {
    let server = Server::bulks(|_| (413, Vec::new(), String::new())).await;
    let mut sink = sink(&config(&[&server.url]));
    let error = publish(&mut sink, &numbered(2)).await.unwrap_err();
    assert!(matches!(error, SinkError::TooLarge(_)), "{error:?}");
    let outcomes = publish(&mut sink, &numbered(1)).await.unwrap();
    let (reason, message) = rejected(&outcomes[0]);
    assert_eq!(reason, DropReason::TooLarge);
    assert!(
        message.contains("7 bytes") && message.contains("http.max_content_length"),
        "{message}"
    );
}

#[tokio::test]
async fn what_cannot_be_sent_is_rejected_and_the_rest_is_sent() {
    let server = Server::bulks(|asked| items(asked, |_| 201)).await;
    let config = ElasticsearchOutput {
        index: "%{[i]}".to_owned(),
        ..config(&[&server.url])
    };
    let mut sink = sink(&config);
    let batch = [event("{}"), event(r#"{"i":"a"}"#), event(r#"["i"]"#)];
    let outcomes = publish(&mut sink, &batch).await.unwrap();
    assert_eq!(rejected(&outcomes[0]).0, DropReason::NoDestination);
    assert_eq!(outcomes[1], Outcome::Acked);
    assert_eq!(rejected(&outcomes[2]).0, DropReason::NoDestination);
    assert_eq!(server.bulks_asked()[0].bulk().len(), 1);
    publish(&mut sink, &batch[..1]).await.unwrap();
    assert_eq!(server.bulks_asked().len(), 1, "an empty bulk is not sent");
    let mut sink = self::sink(&ElasticsearchOutput {
        index: "i".to_owned(),
        ..config
    });
    let outcomes = publish(&mut sink, &batch[1..]).await.unwrap();
    assert_eq!(outcomes[0], Outcome::Acked);
    assert_eq!(rejected(&outcomes[1]).0, DropReason::Refused, "not an object");
}

#[tokio::test]
async fn a_missing_right_or_a_blocked_index_drops_nothing() {
    let server =
        Server::bulks(|asked| items(asked, |document| if document.contains('0') { 201 } else { 403 })).await;
    let config = ElasticsearchOutput {
        non_indexable: NonIndexable::DeadLetterIndex("dead".to_owned()),
        ..config(&[&server.url])
    };
    let mut sink = sink(&config);
    let outcomes = publish(&mut sink, &numbered(3)).await.unwrap();
    assert_eq!(outcomes, [Outcome::Acked, RETRY, RETRY]);
    let error = publish(&mut sink, &numbered(3)[1..]).await.unwrap_err();
    assert!(
        matches!(&error, SinkError::Denied(text) if text.contains("create_doc") && !text.contains("SECRET")),
        "{error:?}"
    );
    assert_eq!(server.bulks_asked().len(), 2, "nothing went to the dead letters");
}

/// A server that refuses every event, and does with dead letters as told.
async fn refusing(letters: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> (Server, Elasticsearch) {
    let server = Server::bulks(move |asked| {
        if asked.bulk()[0].0["_index"] == "dead-2026" {
            letters(asked)
        } else {
            items(asked, |document| if document.contains('0') { 201 } else { 400 })
        }
    })
    .await;
    let config = ElasticsearchOutput {
        non_indexable: NonIndexable::DeadLetterIndex("Dead-%{+yyyy}".to_owned()),
        ..config(&[&server.url])
    };
    let sink = sink(&config);
    (server, sink)
}

#[tokio::test]
async fn refused_events_go_to_the_dead_letter_index_once() {
    let (server, mut sink) = refusing(|asked| items(asked, |_| 201)).await;
    let batch = numbered(3);
    let outcomes = publish(&mut sink, &batch).await.unwrap();
    assert_eq!(
        outcomes,
        [Outcome::Acked, Outcome::DeadLettered, Outcome::DeadLettered]
    );
    let asked = server.bulks_asked();
    assert_eq!(asked.len(), 2);
    let letters = asked[1].bulk();
    assert_eq!(
        letters[0].0,
        json!({"_index": "dead-2026", "_id": batch[1].id.to_string()})
    );
    let letter: Value = serde_json::from_str(&letters[0].1).unwrap();
    assert_eq!(
        letter,
        json!({
            "@timestamp": "2026-03-02T10:41:00.000Z",
            "message": "{\"n\":1}",
            "error": {
                "type": "mapper_parsing_exception",
                "message": "failed to parse field [size] of type [long]. Preview: 'SECRET'",
            },
            "event": {"id": batch[1].id.to_string()},
        })
    );
}

#[tokio::test]
async fn the_dead_letter_index_may_refuse_delay_or_have_letters_already() {
    for (status, want) in [
        (409, Some(Outcome::DeadLettered)),
        (429, Some(Outcome::Retry(RetryReason::TooMany))),
        (500, Some(RETRY)),
        (403, Some(RETRY)),
        (400, None),
    ] {
        let (_server, mut sink) = refusing(move |asked| items(asked, |_| status)).await;
        let outcomes = publish(&mut sink, &numbered(2)).await.unwrap();
        assert_eq!(outcomes[0], Outcome::Acked);
        if let Some(want) = want {
            assert_eq!(outcomes[1], want, "{status}");
        } else {
            let (reason, message) = rejected(&outcomes[1]);
            assert_eq!(reason, DropReason::Refused);
            assert!(
                message.contains("the dead-letter index refuses it too"),
                "{message}"
            );
            assert!(!message.contains("SECRET"), "{message}");
        }
    }
}

#[tokio::test]
async fn when_dead_letters_cannot_be_sent_the_others_still_count() {
    let (_server, mut sink) = refusing(|_| reply(503, &json!({}))).await;
    let outcomes = publish(&mut sink, &numbered(2)).await.unwrap();
    assert_eq!(outcomes, [Outcome::Acked, RETRY]);
    let error = publish(&mut sink, &numbered(2)[1..]).await.unwrap_err();
    assert!(
        matches!(error, SinkError::Busy { .. }),
        "nothing came of it: {error:?}"
    );
}

#[tokio::test]
async fn dead_letters_that_are_too_large_together_are_sent_in_parts() {
    let (server, mut sink) = refusing(|asked| {
        if asked.bulk().len() > 1 || asked.text().contains("{\\\"n\\\":3}") {
            (413, Vec::new(), String::new())
        } else {
            items(asked, |_| 201)
        }
    })
    .await;
    let outcomes = publish(&mut sink, &numbered(6)).await.unwrap();
    for (position, outcome) in outcomes.iter().enumerate() {
        match position {
            0 => assert_eq!(*outcome, Outcome::Acked),
            3 => assert_eq!(rejected(outcome).0, DropReason::TooLarge),
            _ => assert_eq!(*outcome, Outcome::DeadLettered),
        }
    }
    assert!(server.bulks_asked().len() < 12);
}

#[tokio::test]
async fn refused_and_oversized_events_go_to_the_dead_letter_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("below/dead.ndjson");
    let server = Server::bulks(|asked| {
        if asked.text().contains("huge") {
            return (413, Vec::new(), String::new());
        }
        items(asked, |document| if document.contains('0') { 201 } else { 400 })
    })
    .await;
    let config = ElasticsearchOutput {
        non_indexable: NonIndexable::DeadLetterFile(path.clone()),
        ..config(&[&server.url])
    };
    let mut sink = sink(&config);
    connect(&mut sink).await.unwrap();
    let outcomes = publish(&mut sink, &numbered(3)).await.unwrap();
    assert_eq!(
        outcomes,
        [Outcome::Acked, Outcome::DeadLettered, Outcome::DeadLettered]
    );
    let outcomes = publish(&mut sink, &[event(r#"{"huge":1}"#)]).await.unwrap();
    assert_eq!(outcomes, [Outcome::DeadLettered]);
    let text = std::fs::read_to_string(&path).unwrap();
    let letters: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(letters.len(), 3);
    assert_eq!(letters[0]["message"], "{\"n\":1}");
    assert_eq!(letters[2]["message"], "{\"huge\":1}");
    assert_eq!(letters[2]["error"]["type"], "too_large");
}

#[tokio::test]
async fn a_dead_letter_file_that_fails_drops_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dead");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let server =
        Server::bulks(|asked| items(asked, |document| if document.contains('0') { 201 } else { 400 })).await;
    let config = ElasticsearchOutput {
        non_indexable: NonIndexable::DeadLetterFile(path),
        ..config(&[&server.url])
    };
    let mut sink = sink(&config);
    let outcomes = publish(&mut sink, &numbered(2)).await.unwrap();
    assert_eq!(outcomes, [Outcome::Acked, RETRY]);
    let error = publish(&mut sink, &numbered(2)[1..]).await.unwrap_err();
    assert!(
        matches!(&error, SinkError::Io(text) if text.contains("No space left")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_batch_with_one_event_twice_is_answered_twice() {
    let server = Server::bulks(|asked| {
        let items: Vec<Value> = asked
            .bulk()
            .iter()
            .enumerate()
            .map(|(n, (action, _))| json!({"create": {"_id": action["_id"], "status": if n == 0 { 201 } else { 409 }}}))
            .collect();
        reply(200, &json!({ "items": items }))
    })
    .await;
    let outcomes = publish(&mut sink(&config(&[&server.url])), &[event("{}"), event("{}")])
        .await
        .unwrap();
    assert_eq!(outcomes, [Outcome::Acked, Outcome::Duplicate]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the server answers: one outcome for each event, and none acknowledged without a good status of its
    /// own.
    #[test]
    fn no_answer_acknowledges_what_it_does_not_name(
        statuses in proptest::collection::vec(proptest::option::of(0_u16..600), 1..12),
        reverse: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let result = runtime.block_on(async {
            let answered = statuses.clone();
            let server = Server::bulks(move |asked| {
                let mut items: Vec<Value> = asked.bulk().iter().zip(&answered)
                    .filter_map(|((action, _), status)| {
                        let status = (*status)?;
                        Some(json!({"create": {"_id": action["_id"], "status": status}}))
                    })
                    .collect();
                if reverse {
                    items.reverse();
                }
                reply(200, &json!({"errors": false, "items": items}))
            })
            .await;
            publish(&mut sink(&config(&[&server.url])), &numbered(statuses.len())).await
        });
        if let Ok(outcomes) = result {
            prop_assert_eq!(outcomes.len(), statuses.len());
            for (outcome, status) in outcomes.iter().zip(&statuses) {
                let good = status.is_some_and(|status| (200..300).contains(&status));
                prop_assert_eq!(*outcome == Outcome::Acked, good);
                prop_assert_eq!(*outcome == Outcome::Duplicate, *status == Some(409));
            }
        } else {
            let settled = |status: u16| {
                (200..300).contains(&status)
                    || ((400..500).contains(&status) && !matches!(status, 401 | 403 | 429))
            };
            let any = statuses.iter().flatten().any(|&status| settled(status));
            prop_assert!(!any, "the batch failed although something came of it");
        }
    }
}
