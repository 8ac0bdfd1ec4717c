//! `max_list_len`: lists whose reader does not keep up.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::output::RetryReason;

/// A server with a list `slow` of this length; all others are empty.
async fn with_slow_list(length: &Arc<AtomicI64>) -> Server {
    let length = Arc::clone(length);
    Server::start(
        move |_, command| match (command[0].as_str(), command.get(1).map(String::as_str)) {
            ("LLEN", Some("slow")) => line(&format!(":{}", length.load(Ordering::Relaxed))),
            ("LLEN", Some("text")) => {
                line("-WRONGTYPE Operation against a key holding the wrong kind of value")
            }
            _ => healthy(command),
        },
    )
    .await
}

fn limited(server: &Server) -> Redis {
    let mut config = server.config();
    config.key = "%{[k]}".to_owned();
    config.max_list_len = Some(10);
    sink(&config)
}

fn to(keys: &[&str]) -> Vec<Event> {
    keys.iter()
        .map(|key| event(&format!(r#"{{"k":"{key}"}}"#)))
        .collect()
}

#[tokio::test]
async fn nothing_is_pushed_to_a_list_that_is_too_long_until_it_is_shorter() {
    let length = Arc::new(AtomicI64::new(10));
    let server = with_slow_list(&length).await;
    let mut sink = limited(&server);
    let batch = to(&["slow", "slow"]);
    let text = |error: SinkError| {
        assert!(matches!(error, SinkError::Busy { .. }), "{error:?}");
        error.to_string()
    };
    let said = text(publish(&mut sink, &batch).await.unwrap_err());
    assert_eq!(
        said,
        format!(
            "{}: list \"slow\" holds 10 entries and max_list_len is 10: nothing is pushed until its reader has taken \
             some",
            server.at
        )
    );
    // It does not seem to work again before it does.
    assert_eq!(text(sink.connect(&permit(LONG)).await.unwrap_err()), said);
    assert!(!server.verbs().contains(&"RPUSH".to_owned()));
    length.store(9, Ordering::Relaxed);
    sink.connect(&permit(LONG)).await.unwrap();
    let outcomes = sink.publish(&permit(LONG), &batch).await.unwrap();
    assert_eq!(outcomes, [Outcome::Acked, Outcome::Acked]);
}

#[tokio::test]
async fn other_lists_go_on_and_each_is_asked_once() {
    let server = with_slow_list(&Arc::new(AtomicI64::new(99))).await;
    let mut sink = limited(&server);
    let batch = to(&["slow", "fast", "text", "slow", "fast"]);
    let outcomes = publish(&mut sink, &batch).await.unwrap();
    let busy = Outcome::Retry(RetryReason::TooMany);
    assert_eq!(
        outcomes,
        [
            busy.clone(),
            Outcome::Acked,
            Outcome::Retry(RetryReason::Failed),
            busy,
            Outcome::Acked
        ]
    );
    assert_eq!(server.verbs(), ["PING", "LLEN", "LLEN", "LLEN", "RPUSH", "RPUSH"]);
    let error = sink.publish(&permit(LONG), &batch[2..3]).await.unwrap_err();
    assert!(
        error.to_string().contains("LLEN of \"text\": WRONGTYPE"),
        "{error}"
    );
}

#[tokio::test]
async fn a_length_that_was_not_told_keeps_everything_back() {
    let server = Server::start(|connection, command| match (connection, command[0].as_str()) {
        (0, "LLEN") => Answer::HangUp,
        (1, "LLEN") => line("+OK"),
        _ => healthy(command),
    })
    .await;
    let mut sink = limited(&server);
    for words in ["hung up", "in between"] {
        let error = publish(&mut sink, &to(&["a"])).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!(publish(&mut sink, &to(&["a"])).await.unwrap(), [Outcome::Acked]);
    assert_eq!(server.verbs().iter().filter(|verb| *verb == "RPUSH").count(), 1);
}
