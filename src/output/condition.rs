//! Whether a `when` condition holds for an event.
//!
//! Owns the meaning of [`Condition`] as in Beats. A field that is missing or of the wrong kind makes a
//! condition false, never an error.

use serde_json::Value;

use crate::config::{Bounds, Condition};
use crate::event::value;

/// Whether `condition` holds for the JSON object `document`.
pub fn holds(condition: &Condition, document: &[u8]) -> bool {
    match condition {
        Condition::Equals(fields) => fields
            .iter()
            .all(|(path, wanted)| value(document, path).is_some_and(|found| equal(&found, wanted))),
        Condition::Contains(fields) => fields
            .iter()
            .all(|(path, wanted)| value(document, path).is_some_and(|found| contains(&found, wanted))),
        Condition::HasFields(paths) => paths.iter().all(|path| value(document, path).is_some()),
        Condition::Range(fields) => fields.iter().all(|(path, bounds)| {
            value(document, path)
                .and_then(|found| number(&found))
                .is_some_and(|number| within(number, bounds))
        }),
        Condition::And(conditions) => conditions.iter().all(|condition| holds(condition, document)),
        Condition::Or(conditions) => conditions.iter().any(|condition| holds(condition, document)),
        Condition::Not(condition) => !holds(condition, document),
    }
}

fn equal(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        // 2 and 2.0 are one number; two integers are compared exactly, also above 2^53.
        (Value::Number(a), Value::Number(b)) => {
            a == b || ((a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64())
        }
        _ => found == wanted,
    }
}

fn contains(found: &Value, wanted: &str) -> bool {
    match found {
        Value::String(text) => text.contains(wanted),
        Value::Array(list) => list
            .iter()
            .any(|entry| entry.as_str().is_some_and(|text| text.contains(wanted))),
        _ => false,
    }
}

fn number(found: &Value) -> Option<f64> {
    match found {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn within(number: f64, bounds: &Bounds) -> bool {
    bounds.lt.is_none_or(|bound| number < bound)
        && bounds.lte.is_none_or(|bound| number <= bound)
        && bounds.gt.is_none_or(|bound| number > bound)
        && bounds.gte.is_none_or(|bound| number >= bound)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    const DOCUMENT: &[u8] = br#"{"kind":"alert","http":{"code":404,"ok":false},"tags":["web-1","db"],
        "big":9007199254740993,"text":"5.5","object":{"x":1},"zero":0.0}"#;

    fn equals(path: &str, wanted: Value) -> Condition {
        Condition::Equals(BTreeMap::from([(path.to_owned(), wanted)]))
    }

    fn contains(path: &str, wanted: &str) -> Condition {
        Condition::Contains(BTreeMap::from([(path.to_owned(), wanted.to_owned())]))
    }

    fn range(path: &str, bounds: Bounds) -> Condition {
        Condition::Range(BTreeMap::from([(path.to_owned(), bounds)]))
    }

    #[test]
    fn each_kind_of_condition() {
        let has = |paths: &[&str]| Condition::HasFields(paths.iter().map(|&path| path.to_owned()).collect());
        let bounds = Bounds::default();
        let cases = [
            (equals("kind", json!("alert")), true),
            (equals("kind", json!("Alert")), false),
            (equals("http.code", json!(404)), true),
            (equals("http.code", json!("404")), false),
            (equals("http.ok", json!(false)), true),
            (equals("zero", json!(0)), true),
            (equals("big", json!(9_007_199_254_740_992_i64)), false),
            (equals("missing", json!(null)), false),
            (contains("kind", "ler"), true),
            (contains("tags", "web"), true),
            (contains("tags", "mail"), false),
            (contains("http.code", "4"), false),
            (has(&["kind", "object", "http.ok"]), true),
            (has(&["kind", "missing"]), false),
            (
                range(
                    "http.code",
                    Bounds {
                        gte: Some(404.0),
                        lt: Some(405.0),
                        ..bounds
                    },
                ),
                true,
            ),
            (
                range(
                    "http.code",
                    Bounds {
                        gt: Some(404.0),
                        ..bounds
                    },
                ),
                false,
            ),
            (
                range(
                    "http.code",
                    Bounds {
                        lte: Some(403.0),
                        ..bounds
                    },
                ),
                false,
            ),
            (
                range(
                    "http.code",
                    Bounds {
                        lt: Some(404.0),
                        ..bounds
                    },
                ),
                false,
            ),
            (
                range(
                    "text",
                    Bounds {
                        gt: Some(5.0),
                        lte: Some(5.5),
                        ..bounds
                    },
                ),
                true,
            ),
            (range("kind", bounds), false),
        ];
        for (condition, want) in cases {
            assert_eq!(holds(&condition, DOCUMENT), want, "{condition:?}");
            assert_eq!(
                holds(&Condition::Not(Box::new(condition.clone())), DOCUMENT),
                !want,
                "not {condition:?}"
            );
        }
    }

    #[test]
    fn and_or() {
        let (yes, no) = (equals("kind", json!("alert")), equals("kind", json!("x")));
        let and = |list: &[&Condition]| Condition::And(list.iter().copied().cloned().collect());
        let or = |list: &[&Condition]| Condition::Or(list.iter().copied().cloned().collect());
        for (condition, want) in [
            (and(&[&yes, &yes]), true),
            (and(&[&yes, &no]), false),
            (and(&[]), true),
            (or(&[&no, &yes]), true),
            (or(&[&no, &no]), false),
            (or(&[]), false),
        ] {
            assert_eq!(holds(&condition, DOCUMENT), want, "{condition:?}");
        }
        let both = Condition::Equals(BTreeMap::from([
            ("kind".to_owned(), json!("alert")),
            ("http.code".to_owned(), json!(1)),
        ]));
        assert!(!holds(&both, DOCUMENT));
    }
}
