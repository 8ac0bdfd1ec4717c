//! What the replies of a server make of a batch.

use super::*;
use crate::config::SelectorRule;
use crate::output::{DropReason, RetryReason};

#[tokio::test]
async fn each_event_is_a_command_and_its_document_has_metadata() {
    let server = Server::healthy().await;
    let (written, read) = (Counter::default(), Counter::default());
    let mut config = server.config();
    config.index = "beats".to_owned();
    let mut sink = Redis::new(&config, &written, &read).unwrap().remove(0);
    let batch = events(2);
    assert_eq!(
        publish(&mut sink, &batch).await.unwrap(),
        [Outcome::Acked, Outcome::Acked]
    );
    let asked = server.asked();
    assert_eq!(server.verbs(), ["PING", "RPUSH", "RPUSH"]);
    for (event, (_, command)) in batch.iter().zip(&asked[1..]) {
        assert_eq!(command[1], "ecsbeat");
        let document: serde_json::Value = serde_json::from_str(&command[2]).unwrap();
        assert_eq!(document["@metadata"]["_id"], event.id.to_string());
        assert_eq!(document["@metadata"]["beat"], "beats");
        let n = serde_json::from_slice::<serde_json::Value>(&event.body).unwrap()["n"].clone();
        assert_eq!(document["n"], n);
    }
    let sent: usize = asked.iter().map(|(_, command)| packed(command)).sum();
    assert_eq!(written.get(), sent as u64);
    assert_eq!(read.get(), "+PONG\r\n:1\r\n:1\r\n".len() as u64);
}

/// Bytes of a command in RESP.
fn packed(command: &[String]) -> usize {
    let parts = command
        .iter()
        .map(|part| format!("${}\r\n{part}\r\n", part.len()).len());
    format!("*{}\r\n", command.len()).len() + parts.sum::<usize>()
}

#[tokio::test]
async fn channels_are_published_on_by_rules_and_an_event_without_a_key_is_given_up() {
    let server = Server::healthy().await;
    let mut config = server.config();
    config.datatype = RedisType::Channel;
    config.key = "%{[place]}".to_owned();
    config.keys = vec![SelectorRule {
        value: "kind-%{[kind]}".to_owned(),
        mappings: [].into(),
        default: None,
        when: None,
    }];
    let batch = [r#"{"kind":"a"}"#, r#"{"place":"b"}"#, "{}", "[]"].map(event);
    let outcomes = publish(&mut sink(&config), &batch).await.unwrap();
    assert_eq!(outcomes[..2], [Outcome::Acked, Outcome::Acked]);
    let reason = |outcome: &Outcome| match outcome {
        Outcome::Rejected { reason, message } => (*reason, message.clone()),
        other => panic!("{other:?}"),
    };
    let (without, why) = reason(&outcomes[2]);
    assert_eq!(without, DropReason::NoDestination);
    assert!(why.contains("neither a rule of keys nor key"), "{why}");
    assert_eq!(reason(&outcomes[3]).0, DropReason::Refused);
    let asked = server.asked();
    let sent: Vec<[&str; 2]> = (asked[1..].iter())
        .map(|(_, command)| [command[0].as_str(), command[1].as_str()])
        .collect();
    assert_eq!(sent, [["PUBLISH", "kind-a"], ["PUBLISH", "b"]]);
}

#[tokio::test]
async fn a_format_string_makes_the_message_and_an_event_without_its_field_is_given_up() {
    let server = Server::healthy().await;
    let mut config = server.config();
    config.codec = Codec::Format("%{[a]} in %{+yyyy}".to_owned());
    let batch = [r#"{"a":"x\ny"}"#, "{}", r#"{"a":1}"#].map(event);
    let outcomes = publish(&mut sink(&config), &batch).await.unwrap();
    assert!(
        matches!(&outcomes[..], [Outcome::Acked, Outcome::Rejected { reason, .. }, Outcome::Acked]
            if *reason == DropReason::Encoding),
        "{outcomes:?}"
    );
    let asked = server.asked();
    let sent: Vec<&str> = asked[1..]
        .iter()
        .map(|(_, command)| command[2].as_str())
        .collect();
    assert_eq!(sent, ["x\ny in 2026", "1 in 2026"]);
}

/// The kind of error, its text.
fn told(error: SinkError) -> (&'static str, String) {
    match error {
        SinkError::Transport(text) => ("transport", text),
        SinkError::Denied(text) => ("denied", text),
        SinkError::Busy { message, .. } => ("busy", message),
        SinkError::TooLarge(text) => ("too large", text),
        SinkError::Protocol(text) => ("protocol", text),
        SinkError::Unanswered(text) => ("unanswered", text),
        SinkError::Io(text) => ("io", text),
        SinkError::BrokenOff { cause, .. } => ("broken off", cause.to_string()),
    }
}

#[tokio::test]
async fn error_replies_are_sorted_and_say_what_to_do() {
    for (reply, kind, words) in [
        (
            "-OOM command not allowed when used memory > 'maxmemory'.",
            "busy",
            "raise maxmemory",
        ),
        (
            "-LOADING Redis is loading the dataset in memory",
            "busy",
            "after a start",
        ),
        (
            "-MISCONF Redis is configured to save RDB snapshots",
            "busy",
            "see its log",
        ),
        (
            "-READONLY You can't write against a read only replica.",
            "busy",
            "list the primary",
        ),
        ("-MASTERDOWN Link with MASTER is down", "busy", "list the primary"),
        (
            "-NOREPLICAS Not enough good replicas to write.",
            "busy",
            "min-replicas-to-write",
        ),
        (
            "-BUSY Redis is busy running a script",
            "busy",
            "BUSY Redis is busy running a script",
        ),
        ("-CLUSTERDOWN The cluster is down", "busy", "CLUSTERDOWN"),
        ("-NOAUTH Authentication required.", "denied", "set password"),
        (
            "-NOPERM No permissions to access a key",
            "denied",
            "grant the user",
        ),
        (
            "-WRONGTYPE Operation against a key holding the wrong kind of value",
            "denied",
            "no list",
        ),
        ("-MOVED 3999 127.0.0.1:6381", "protocol", "Redis Cluster"),
        (
            "-NOSCRIPT No matching script. Please use EVAL.",
            "protocol",
            "proxy",
        ),
        ("-ERR max number of clients reached", "busy", "maxclients"),
        (
            "-ERR unknown command 'RPUSH', with args beginning with: 'x' '{\"n\":0}'",
            "denied",
            "renamed",
        ),
        ("-ERR whatever", "protocol", "ERR whatever"),
        ("-ODD", "protocol", ": ODD"),
        ("+OK", "protocol", "in between"),
        ("$-1", "protocol", "in between"),
    ] {
        let server = Server::saying(reply).await;
        let mut sink = server.sink();
        let (found, text) = told(publish(&mut sink, &events(2)).await.unwrap_err());
        assert_eq!(found, kind, "{reply}: {text}");
        let begin = format!("{}: RPUSH to \"ecsbeat\": ", server.at);
        assert!(
            text.starts_with(&begin) && text.contains(words),
            "{reply}: {text}"
        );
        assert!(!text.contains("\"n\""), "{text} shows an event");
        assert!(sink.connection.is_none(), "{reply}: another one is to be made");
    }
}

#[tokio::test]
async fn what_was_accepted_stays_so_whatever_becomes_of_the_others() {
    let server = Server::start(|_, command| match command.get(1).map(String::as_str) {
        Some("bad") => line("-WRONGTYPE Operation against a key holding the wrong kind of value"),
        Some("busy") => line("-OOM command not allowed when used memory > 'maxmemory'."),
        _ => healthy(command),
    })
    .await;
    let mut config = server.config();
    config.key = "%{[k]}".to_owned();
    let mut sink = sink(&config);
    let batch = ["good", "bad", "good", "busy"].map(|key| event(&format!(r#"{{"k":"{key}"}}"#)));
    let outcomes = publish(&mut sink, &batch).await.unwrap();
    assert_eq!(
        outcomes,
        [
            Outcome::Acked,
            Outcome::Retry(RetryReason::Failed),
            Outcome::Acked,
            Outcome::Retry(RetryReason::TooMany)
        ]
    );
    assert!(sink.connection.is_some(), "the connection is in order");
    let error = sink.publish(&permit(LONG), &batch[1..2]).await.unwrap_err();
    assert!(
        error.to_string().contains("RPUSH to \"bad\": WRONGTYPE"),
        "{error}"
    );
}

#[tokio::test]
async fn an_event_that_is_larger_than_a_string_may_be_is_given_up_alone() {
    let server = Server::start(|connection, command| {
        let large = command
            .get(2)
            .is_some_and(|document| document.contains("\"n\":1"));
        match (connection, large) {
            // The server closes the connection after this error; the rest of the batch stays unread.
            (0, true) => line("-ERR Protocol error: invalid bulk length"),
            (0, false) if command[0] == "RPUSH" && command[2].contains("\"n\":2") => Answer::HangUp,
            _ => healthy(command),
        }
    })
    .await;
    let mut sink = server.sink();
    let batch = events(4);
    let outcomes = publish(&mut sink, &batch).await.unwrap();
    assert_eq!(outcomes[0], Outcome::Acked);
    assert!(
        matches!(&outcomes[1], Outcome::Rejected { reason: DropReason::TooLarge, message }
            if message.contains("proto-max-bulk-len") && message.contains("7 bytes")),
        "{outcomes:?}"
    );
    assert_eq!(
        outcomes[2..],
        [
            Outcome::Retry(RetryReason::Failed),
            Outcome::Retry(RetryReason::Failed)
        ]
    );
    assert!(sink.connection.is_none());
    let outcomes = sink.publish(&permit(LONG), &batch[2..]).await.unwrap();
    assert_eq!(outcomes, [Outcome::Acked, Outcome::Acked]);
}

#[tokio::test]
async fn what_has_no_reply_is_sent_again_over_another_connection() {
    let server = Server::start(|connection, command| {
        let lost = command
            .get(2)
            .is_some_and(|document| document.contains("\"n\":2"));
        match (connection, lost) {
            (0, true) => Answer::HangUp,
            _ => healthy(command),
        }
    })
    .await;
    let mut sink = server.sink();
    let batch = events(4);
    let Err(SinkError::BrokenOff { outcomes, cause }) = publish(&mut sink, &batch).await else {
        panic!("it broke off");
    };
    let again = Outcome::Retry(RetryReason::Failed);
    assert_eq!(outcomes, [Outcome::Acked, Outcome::Acked, again.clone(), again]);
    assert!(cause.to_string().contains("hung up"), "{cause}");
    assert!(sink.connection.is_none());
    let outcomes = sink.publish(&permit(LONG), &batch[2..]).await.unwrap();
    assert_eq!(outcomes, [Outcome::Acked, Outcome::Acked]);
    let pushed = |connection: usize| {
        let asked = server.asked().into_iter();
        let pushed = asked.filter(|(number, command)| *number == connection && command[0] == "RPUSH");
        pushed
            .map(|(_, mut command)| command.pop().unwrap())
            .collect::<Vec<_>>()
    };
    // The third is there twice, as the same document: the server may have carried it out before it hung up.
    assert_eq!(pushed(0)[2], pushed(1)[0]);
    assert_eq!((pushed(0).len(), pushed(1).len()), (3, 2));
}

#[tokio::test]
async fn a_batch_without_any_reply_is_an_error_and_the_next_host_is_tried() {
    let lost = Server::start(|_, command| match command[0].as_str() {
        "RPUSH" => Answer::HangUp,
        _ => healthy(command),
    })
    .await;
    let well = Server::healthy().await;
    let mut config = config(vec![lost.host(), well.host()]);
    config.network.loadbalance = false;
    let mut sink = sink(&config);
    while sink.host.now() == 1 {
        sink.host.leave(1);
    }
    let (kind, text) = told(publish(&mut sink, &events(1)).await.unwrap_err());
    assert_eq!(kind, "unanswered");
    assert!(
        text.starts_with(&lost.at.to_string()) && text.contains("hung up"),
        "{text}"
    );
    assert_eq!(publish(&mut sink, &events(1)).await.unwrap(), [Outcome::Acked]);
    assert_eq!(well.verbs(), ["PING", "RPUSH"]);
}
