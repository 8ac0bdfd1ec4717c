//! Whether a condition holds for an event.
//!
//! Owns the meaning of [`Condition`] as in Beats, for the `when` of processors as for that of an output's rules. A
//! field that is missing or of the wrong kind makes a condition false, never an error. Pure: what an event is made of
//! is behind [`Fields`].

mod network;

use bytes::Bytes;
use serde_json::Value;

use crate::config::{Bounds, Condition, IpNetwork};
use crate::json::{self, Found, Kind, Number};

/// What has fields.
pub trait Fields {
    /// The value at a path, see [`json::at`].
    fn find(&self, path: &str) -> Option<Found<'_>>;
}

impl Fields for [u8] {
    /// Of a document that is written already.
    fn find(&self, path: &str) -> Option<Found<'_>> {
        json::at(self, path).map(Found::Json)
    }
}

impl Fields for Bytes {
    fn find(&self, path: &str) -> Option<Found<'_>> {
        (**self).find(path)
    }
}

/// Whether `condition` holds.
pub fn holds<F: Fields + ?Sized>(condition: &Condition, event: &F) -> bool {
    let is = |path: &String, test: &dyn Fn(Found<'_>) -> bool| event.find(path).is_some_and(test);
    match condition {
        Condition::Equals(fields) => fields
            .iter()
            .all(|(path, wanted)| is(path, &|found| equal(found, wanted))),
        Condition::Contains(fields) => fields
            .iter()
            .all(|(path, wanted)| is(path, &|found| one_text(found, |text| text.contains(wanted)))),
        Condition::Regexp(fields) => fields
            .iter()
            .all(|(path, pattern)| is(path, &|found| one_text(found, |text| pattern.is_match(text)))),
        Condition::HasFields(paths) => paths.iter().all(|path| event.find(path).is_some()),
        Condition::Range(fields) => fields.iter().all(|(path, bounds)| {
            is(path, &|found| {
                number(found).is_some_and(|number| within(number, bounds))
            })
        }),
        Condition::Network(fields) => fields
            .iter()
            .all(|(path, networks)| is(path, &|found| one_text(found, |text| in_one(text, networks)))),
        Condition::And(conditions) => conditions.iter().all(|condition| holds(condition, event)),
        Condition::Or(conditions) => conditions.iter().any(|condition| holds(condition, event)),
        Condition::Not(condition) => !holds(condition, event),
    }
}

fn equal(found: Found<'_>, wanted: &Value) -> bool {
    match wanted {
        Value::String(wanted) => found.text().is_some_and(|text| text == wanted.as_str()),
        Value::Bool(wanted) => found.flag() == Some(*wanted),
        // 2 and 2.0 are one number; whole ones are compared exactly, also above 2^53.
        Value::Number(wanted) => match (found.number(), wanted.as_i128()) {
            (Some(found), Some(wanted)) => found == Number::Whole(wanted),
            _ => false,
        },
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// Whether the text, or a text of the list, passes.
fn one_text(found: Found<'_>, test: impl Fn(&str) -> bool) -> bool {
    if found.kind() == Kind::List {
        return found
            .items()
            .into_iter()
            .any(|item| item.text().is_some_and(|text| test(&text)));
    }
    found.text().is_some_and(|text| test(&text))
}

/// A number, or a text that is one.
fn number(found: Found<'_>) -> Option<Number> {
    match found.kind() {
        Kind::Text => Number::parse(&found.text()?),
        _ => found.number(),
    }
}

fn within(number: Number, bounds: &Bounds) -> bool {
    bounds.lt.is_none_or(|bound| number < bound)
        && bounds.lte.is_none_or(|bound| number <= bound)
        && bounds.gt.is_none_or(|bound| number > bound)
        && bounds.gte.is_none_or(|bound| number >= bound)
}

fn in_one(address: &str, networks: &[IpNetwork]) -> bool {
    address.parse().is_ok_and(|address| {
        networks
            .iter()
            .any(|network| network::contains(*network, address))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::config::{NamedNetwork, Pattern};

    const DOCUMENT: &[u8] = br#"{"kind":"alert","http":{"code":404,"ok":false},"tags":["web-1","db"],
        "big":9007199254740993,"text":"5.5","object":{"x":1},"zero":0.0,"ip":"10.1.83.51","ips":["::1","203.0.113.9",7,"x"]}"#;

    fn equals(path: &str, wanted: Value) -> Condition {
        Condition::Equals(BTreeMap::from([(path.to_owned(), wanted)]))
    }

    fn contains(path: &str, wanted: &str) -> Condition {
        Condition::Contains(BTreeMap::from([(path.to_owned(), wanted.to_owned())]))
    }

    fn bound(text: &str) -> Option<Number> {
        Number::parse(text)
    }

    fn range(path: &str, bounds: Bounds) -> Condition {
        Condition::Range(BTreeMap::from([(path.to_owned(), bounds)]))
    }

    fn regexp(path: &str, pattern: &str) -> Condition {
        Condition::Regexp(BTreeMap::from([(
            path.to_owned(),
            Pattern::new(pattern).unwrap(),
        )]))
    }

    fn network(path: &str, networks: &[IpNetwork]) -> Condition {
        Condition::Network(BTreeMap::from([(path.to_owned(), networks.to_vec())]))
    }

    #[test]
    #[allow(clippy::too_many_lines)]
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
            (equals("big", json!(9_007_199_254_740_993_i64)), true),
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
                        gte: bound("404.0"),
                        lt: bound("405.0"),
                        ..bounds
                    },
                ),
                true,
            ),
            (
                range(
                    "http.code",
                    Bounds {
                        gt: bound("404.0"),
                        ..bounds
                    },
                ),
                false,
            ),
            (
                range(
                    "http.code",
                    Bounds {
                        lte: bound("403.0"),
                        ..bounds
                    },
                ),
                false,
            ),
            (
                range(
                    "http.code",
                    Bounds {
                        lt: bound("404.0"),
                        ..bounds
                    },
                ),
                false,
            ),
            (
                range(
                    "text",
                    Bounds {
                        gt: bound("5.0"),
                        lte: bound("5.5"),
                        ..bounds
                    },
                ),
                true,
            ),
            (range("kind", bounds), false),
            (range("tags", bounds), false),
            (
                range(
                    "big",
                    Bounds {
                        gt: bound("9007199254740992"),
                        lt: bound("9007199254740994"),
                        ..bounds
                    },
                ),
                true,
            ),
        ];
        check(&cases);
    }

    #[test]
    fn expressions_and_networks() {
        let cases = [
            (regexp("kind", "^al.rt$"), true),
            (regexp("kind", "^ler"), false),
            (regexp("tags", "^web-[0-9]$"), true),
            (regexp("tags", "^b$"), false),
            (regexp("http.code", "404"), false),
            (regexp("missing", ".*"), false),
            (network("ip", &[IpNetwork::Named(NamedNetwork::Private)]), true),
            (network("ip", &[IpNetwork::Named(NamedNetwork::Public)]), false),
            (network("ips", &[IpNetwork::Named(NamedNetwork::Public)]), true),
            (
                network(
                    "ips",
                    &[
                        IpNetwork::Named(NamedNetwork::Private),
                        IpNetwork::Named(NamedNetwork::Multicast),
                    ],
                ),
                false,
            ),
            // What is no address lies nowhere, not even outside of the private ranges.
            (network("kind", &[IpNetwork::Named(NamedNetwork::Public)]), false),
        ];
        check(&cases);
    }

    #[track_caller]
    fn check(cases: &[(Condition, bool)]) {
        for (condition, want) in cases {
            assert_eq!(holds(condition, DOCUMENT), *want, "{condition:?}");
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
