//! What an event is known by, under every processor that writes.
//!
//! Owns the search for a configuration that is accepted and changes one of these fields all the same. Where such a
//! change is refused, and with which words, is tested with the configuration.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::samples::{chain, chain_in, read, run};
use super::tests::event;
use crate::document::PROTECTED;
use crate::json;

/// The protected fields as they are written.
fn protected_in(document: &str) -> Vec<Option<&str>> {
    let of = |path: &&str| json::exactly(document.as_bytes(), &path.split('.').collect::<Vec<_>>());
    PROTECTED.iter().map(of).collect()
}

/// A part of a path: of those that protected fields are made of, and others.
fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "@timestamp",
        "event",
        "id",
        "kind",
        "ecsbeat",
        "cluster",
        "instance",
        "term",
        "tick",
        "a",
    ])
}

/// A protected field, or one above, beside, below or far from it.
fn path() -> impl Strategy<Value = String> {
    let random = prop::collection::vec(name(), 1..4).prop_map(|names| names.join("."));
    let below = (prop::sample::select(PROTECTED.to_vec()), name())
        .prop_map(|(field, name)| format!("{field}.{name}"));
    let field = prop::sample::select(PROTECTED.to_vec()).prop_map(str::to_owned);
    prop_oneof![random, field, below]
}

/// A mapping that may be empty, at any depth.
fn fields() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        Just(json!("x")),
        Just(json!([{}])),
        Just(json!({})),
        Just(Value::Null)
    ];
    let value = value.prop_recursive(2, 6, 2, |inner| {
        prop::collection::btree_map(name(), inner, 0..3).prop_map(object)
    });
    prop::collection::btree_map(name(), value, 0..3).prop_map(object)
}

fn object(members: std::collections::BTreeMap<&'static str, Value>) -> Value {
    let members = members.into_iter().map(|(name, value)| (name.to_owned(), value));
    Value::Object(members.collect::<Map<_, _>>())
}

/// One processor that writes. JSON is YAML.
fn processor() -> impl Strategy<Value = Value> {
    let target = prop_oneof![4 => path(), 1 => Just(String::new())];
    let kind = prop::sample::select(vec!["string", "long", "ip"]);
    let add_fields = (target, fields())
        .prop_map(|(target, fields)| json!({"add_fields": {"target": target, "fields": fields}}));
    let convert = (path(), kind)
        .prop_map(|(from, kind)| json!({"convert": {"fields": [{"from": from, "type": kind}]}}));
    let convert_to = (path(), path(), any::<bool>()).prop_map(|(from, to, moved)| {
        let mode = if moved { "rename" } else { "copy" };
        json!({"convert": {"fields": [{"from": from, "to": to}], "mode": mode, "fail_on_error": false}})
    });
    let from_to = |name: &'static str| {
        (path(), path()).prop_map(move |(from, to)| json!({name: {"fields": [{"from": from, "to": to}]}}))
    };
    let named = |name: &'static str| path().prop_map(move |field| json!({name: {"fields": [field]}}));
    let fingerprint = (path(), path()).prop_map(|(field, target)| {
        json!({"fingerprint": {"fields": [field], "target_field": target, "ignore_missing": true}})
    });
    let replace = path()
        .prop_map(|field| json!({"replace.fields": [{"field": field, "pattern": ".", "replacement": "x"}]}));
    prop_oneof![
        3 => add_fields,
        1 => fields().prop_map(|fields| json!({"add_labels": {"labels": fields}})),
        1 => path().prop_map(|target| json!({"add_tags": {"tags": ["x"], "target": target}})),
        1 => any::<bool>().prop_map(|netinfo| json!({"add_host_metadata": {"netinfo.enabled": netinfo}})),
        1 => convert,
        2 => convert_to,
        2 => from_to("copy_fields"),
        2 => from_to("rename"),
        1 => named("drop_fields"),
        1 => path().prop_map(|field| json!({"drop_fields": {"fields": [format!("/{field}/")]}})),
        1 => named("include_fields"),
        1 => fingerprint,
        1 => replace,
        1 => path().prop_map(|field| json!({"truncate_fields": {"fields": [field], "max_bytes": 1}})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn no_accepted_configuration_changes_what_an_event_is_known_by(
        processors in prop::collection::vec(processor(), 1..3),
    ) {
        let before = event(r#""a":{"kind":"5","id":{"a":1}},"kind":"y""#);
        let fields = protected_in(&before);
        prop_assert!(fields.iter().all(Option::is_some));
        let list = processors.iter().map(|one| format!("  - {one}")).collect::<Vec<_>>().join("\n");
        let Ok(config) = read(&list, "") else { return Ok(()) };
        let (after, _) = run(&chain_in(&config), &before);
        let after = after.unwrap();
        prop_assert_eq!(protected_in(&after), fields, "{}\n{}", list, after);
    }
}

#[test]
fn an_empty_object_that_is_added_takes_nothing_away() {
    let before = event("");
    for refused in [
        "{target: event.id, fields: {}}",
        "{target: event.id.x, fields: {}}",
        "{target: '', fields: {'@timestamp': {}}}",
        "{target: event, fields: {id: {x: {}}}}",
        "{target: ecsbeat, fields: {x: 1, term: {}}}",
    ] {
        let errors = read(&format!("  - add_fields: {refused}"), "").unwrap_err();
        assert!(
            errors.to_string().contains("must stay as it is"),
            "{refused}: {errors}"
        );
    }
    for accepted in [
        "{target: '', fields: {}}",
        "{target: a, fields: {}}",
        "{target: event, fields: {x: {}}}",
    ] {
        let (after, notices) = run(&chain(&format!("  - add_fields: {accepted}")), &before);
        assert_eq!(protected_in(&after.unwrap()), protected_in(&before), "{accepted}");
        assert_eq!(notices, [], "{accepted}");
    }
}
