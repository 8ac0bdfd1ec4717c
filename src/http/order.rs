//! Orders as they come in, and what came of them as it goes out.
//!
//! Owns the bodies of `POST /switchover`, `/step-down`, `/pause` and `/resume`, and the answers' codes. A body that
//! is not understood whole is refused: an order must never mean something else than its sender meant. Decides nothing.

use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::body::{Reply, millis};
use super::query::Query;
use crate::election::order::{Done, Order, Refused};

/// What was asked for, by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `/switchover`
    Switchover,
    /// `/step-down`
    StepDown,
    /// `/pause`
    Pause,
    /// `/resume`
    Resume,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switchover {
    leader: String,
    candidate: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// The order in a request; the error says what is wrong with it.
pub(super) fn read(kind: Kind, body: &[u8]) -> Result<Order, String> {
    let plain = |order| match body.trim_ascii() {
        b"" => Ok(order),
        _ => object::<Nothing>(body, "nothing, or {}").map(|Nothing {}| order),
    };
    match kind {
        Kind::Switchover => switchover(body),
        Kind::StepDown => plain(Order::StepDown),
        Kind::Pause => plain(Order::Pause),
        Kind::Resume => plain(Order::Resume),
    }
}

fn switchover(body: &[u8]) -> Result<Order, String> {
    let wanted = r#"{"leader": "…", "candidate": "…"}, where candidate may be left out"#;
    let Switchover { leader, candidate } = object(body, wanted)?;
    if leader.trim().is_empty() {
        return Err("leader is empty; name the instance that leads now, as /cluster shows it".to_owned());
    }
    match &candidate {
        Some(name) if name.trim().is_empty() => {
            Err("candidate is empty; name an instance, or leave it out for whoever is ready".to_owned())
        }
        Some(name) if *name == leader => Err(format!(
            "candidate and leader are both '{name}'; the candidate must be another instance"
        )),
        _ => Ok(Order::Switchover { leader, candidate }),
    }
}

/// An object, and only that: the library would also take an array for one.
fn object<T: DeserializeOwned>(body: &[u8], wanted: &str) -> Result<T, String> {
    let wrong = |what: &str| format!("the body is {what}; it must be {wanted}");
    match body.trim_ascii().first() {
        None => Err(wrong("empty")),
        Some(b'{') => serde_json::from_slice(body).map_err(|error| wrong(&format!("not right: {error}"))),
        Some(_) => Err(wrong("no JSON object")),
    }
}

/// The answer to an order.
pub(super) fn reply(outcome: &Result<Done, Refused>) -> Reply {
    let (status, body) = match outcome {
        Ok(Done::Switched { from, to, gap }) => (
            StatusCode::OK,
            json!({"status": "switched", "from": from, "to": to, "gap_ms": gap.map(millis)}),
        ),
        Ok(Done::Paused) => (StatusCode::OK, json!({"status": "paused"})),
        Ok(Done::Resumed) => (StatusCode::OK, json!({"status": "resumed"})),
        Err(Refused::Conflict(message)) => (StatusCode::CONFLICT, json!({"error": message})),
        Err(Refused::Impossible { reason, message }) => (
            StatusCode::PRECONDITION_FAILED,
            json!({"error": message, "reasons": [reason]}),
        ),
        Err(Refused::Unknown(message)) => (StatusCode::SERVICE_UNAVAILABLE, json!({"error": message})),
    };
    Reply::new(status, body, &Query::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(leader: &str, candidate: Option<&str>) -> Order {
        Order::Switchover {
            leader: leader.to_owned(),
            candidate: candidate.map(str::to_owned),
        }
    }

    #[test]
    fn a_switchover_names_who_leads_and_perhaps_who_shall() {
        for (body, want) in [
            (r#"{"leader":"a"}"#, order("a", None)),
            (r#" {"leader": "a", "candidate": null}"#, order("a", None)),
            (
                "\n{\"candidate\":\"b\",\"leader\":\"a\"}\n",
                order("a", Some("b")),
            ),
        ] {
            assert_eq!(read(Kind::Switchover, body.as_bytes()), Ok(want), "{body}");
        }
    }

    #[test]
    fn a_switchover_that_is_not_understood_is_refused_with_words() {
        for (body, words) in [
            ("", "is empty"),
            (" \n", "is empty"),
            ("a", "no JSON object"),
            (r#"["a","b"]"#, "no JSON object"),
            (r#""a""#, "no JSON object"),
            ("{", "EOF"),
            (r#"{"leader":"a"} x"#, "trailing"),
            ("{}", "missing field `leader`"),
            (r#"{"candidate":"b"}"#, "missing field `leader`"),
            (r#"{"leader":null}"#, "expected a string"),
            (r#"{"leader":1}"#, "expected a string"),
            (r#"{"leader":"a","candidate":["b"]}"#, "expected a string"),
            (
                r#"{"leader":"a","scheduled_at":"x"}"#,
                "unknown field `scheduled_at`",
            ),
            (r#"{"leader":"a","leader":"b"}"#, "duplicate field `leader`"),
            (r#"{"leader":""}"#, "leader is empty"),
            (r#"{"leader":"a","candidate":" "}"#, "candidate is empty"),
            (r#"{"leader":"a","candidate":"a"}"#, "both 'a'"),
        ] {
            let error = read(Kind::Switchover, body.as_bytes()).unwrap_err();
            assert!(error.contains(words), "{body}: {error}");
        }
        assert!(read(Kind::Switchover, b"{\"leader\":\"\xff\"}").is_err());
    }

    #[test]
    fn the_others_take_no_words() {
        for (kind, want) in [
            (Kind::StepDown, Order::StepDown),
            (Kind::Pause, Order::Pause),
            (Kind::Resume, Order::Resume),
        ] {
            for body in ["", "\n", "{}", " { } "] {
                assert_eq!(read(kind, body.as_bytes()), Ok(want.clone()), "{body:?}");
            }
            for body in ["[]", "null", r#"{"leader":"a"}"#, "{} {}"] {
                let error = read(kind, body.as_bytes()).unwrap_err();
                assert!(error.contains("nothing, or {}"), "{body:?}: {error}");
            }
        }
    }
}
