//! Tests of [`super`]: the chain, conditions and failures in it, and what no processor can change.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::samples::{chain, chain_of, check, config, fails, run};
use super::*;
use crate::document::{Facts, Frame, Identity, Origin, PROTECTED};
use crate::event::EventId;

/// A document as events have it, around these members.
pub(super) fn event(members: &str) -> String {
    let identity = Identity {
        agent_id: "a".into(),
        ephemeral_id: "e".into(),
        name: "host1".into(),
        instance: "host1".into(),
        cluster: Some("prod".into()),
        tags: vec!["t".into()],
        fields: BTreeMap::new(),
        fields_under_root: false,
    };
    let tick = Timestamp::UNIX_EPOCH;
    let frame = Frame::new(&identity, &Origin::default(), "disks", "metric", 7, tick, tick);
    let facts = Facts {
        id: EventId::of([&b"x"[..]]),
        timestamp: tick,
        took: Duration::from_millis(5),
        node: None,
        error: None,
    };
    String::from_utf8(frame.document(&facts, members.as_bytes()).to_vec()).unwrap()
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn without_processors_a_document_is_the_very_same() {
    let chain = chain("");
    assert!(chain.is_empty());
    let body = Bytes::from(event(""));
    let mut notices = Vec::new();
    let Verdict::Keep(kept) = chain.run(body.clone(), &mut notices) else {
        panic!("dropped")
    };
    assert_eq!(kept.as_ptr(), body.as_ptr());
    // Nor is it written anew where no processor changes anything.
    let chain = super::samples::chain("  - drop_fields: {fields: [x], ignore_missing: true}");
    let Verdict::Keep(kept) = chain.run(body.clone(), &mut notices) else {
        panic!("dropped")
    };
    assert_eq!(kept.as_ptr(), body.as_ptr());
    // What is no object goes through as it is.
    let strange = Bytes::from_static(b"[1]");
    assert_eq!(chain.run(strange.clone(), &mut notices), Verdict::Keep(strange));
    assert_eq!(notices, []);
}

#[test]
fn those_of_the_command_are_first() {
    let config = config(
        "  - add_fields: {target: '', fields: {order: global}}\n  - rename.fields: [{from: order, to: last}]",
        "ecsbeat.commands: [{type: nodes, processors: [{add_fields: {target: '', fields: {order: own, own: 1}}}]}, \
         {type: disks}]",
    );
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _within = runtime.enter();
    let run_in = |command| {
        let chain = chain_of(&config, command, Clock::simulated(Timestamp::UNIX_EPOCH));
        run(&chain, "{}").0.unwrap()
    };
    assert_eq!(run_in("nodes"), r#"{"own":1,"last":"global"}"#);
    assert_eq!(run_in("disks"), r#"{"last":"global"}"#);
}

#[test]
fn a_condition_sees_what_came_before() {
    let processors = "  - add_fields: {target: a, fields: {b: 9007199254740993}}
  - add_tags: {tags: [big], when.range: {a.b.gt: 9007199254740992}}
  - drop_fields: {fields: [a], when.contains: {tags: ig}}
  - add_tags: {tags: [never], when.has_fields: ['a.b']}";
    check(processors, "{}", r#"{"tags":["big"]}"#);
}

#[test]
fn events_are_dropped_and_the_processor_is_told() {
    let chain = chain("  - drop_event.when.regexp.a.b: '^x[0-9]+$'\n  - add_tags.tags: [kept]");
    assert_eq!(run(&chain, r#"{"a":{"b":"x12"}}"#), (None, Vec::new()));
    assert_eq!(
        run(&chain, r#"{"a":{"b":"y12"}}"#).0.as_deref(),
        Some(r#"{"a":{"b":"y12"},"tags":["kept"]}"#)
    );
    let body = Bytes::from_static(br#"{"a.b":"x1"}"#);
    assert_eq!(chain.run(body, &mut Vec::new()), Verdict::Drop("drop_event"));
}

#[test]
fn one_of_two_blocks_is_run() {
    let processors = "  - if.equals.kind: alert
    then:
      - add_tags.tags: [yes]
      - if.has_fields: [x]
        then: {drop_event: ~}
    else:
      add_tags.tags: [no]";
    check(
        processors,
        r#"{"kind":"alert"}"#,
        r#"{"kind":"alert","tags":["yes"]}"#,
    );
    check(
        processors,
        r#"{"kind":"disk"}"#,
        r#"{"kind":"disk","tags":["no"]}"#,
    );
    assert_eq!(run(&chain(processors), r#"{"kind":"alert","x":1}"#).0, None);
}

#[test]
fn a_failure_ends_its_block_and_nothing_else() {
    let failure =
        "Failed to rename fields in processor: could not fetch value for key: x, Error: key not found";
    let processors = "  - rename.fields: [{from: x, to: y}]
  - if.has_fields: [a]
    then:
      - rename.fields: [{from: x, to: y}]
      - add_tags.tags: [left out]
  - add_tags.tags: [after]";
    fails(
        processors,
        r#"{"a":1}"#,
        &format!(r#"{{"a":1,"error":{{"message":"{failure}"}},"tags":["after"]}}"#),
        &[failure, failure],
    );
    let (_, notices) = run(&chain(processors), r#"{"a":1}"#);
    assert_eq!(
        (&*notices[0].place, notices[0].processor),
        ("processors.0.rename", "rename")
    );
    assert_eq!(&*notices[1].place, "processors.1.then.0.rename");
}

#[test]
fn a_failure_is_undone_and_noted_unless_told_otherwise() {
    let failure = "Failed to rename fields in processor: target field b already exists, drop or rename this field first";
    let before = r#"{"a":1,"b":2,"c":3}"#;
    fails(
        "  - rename: {fields: [{from: c, to: d}, {from: a, to: b}]}",
        before,
        &format!(r#"{{"a":1,"b":2,"c":3,"error":{{"message":"{failure}"}}}}"#),
        &[failure],
    );
    fails(
        "  - rename: {fields: [{from: a, to: b}, {from: c, to: d}], fail_on_error: false}",
        before,
        r#"{"a":1,"b":2,"d":3}"#,
        &[failure],
    );
    // Where there is no room for the message, the event is as it was.
    fails(
        "  - rename: {fields: [{from: a, to: b}]}",
        r#"{"a":1,"b":2,"error":"x"}"#,
        r#"{"a":1,"b":2,"error":"x"}"#,
        &[failure],
    );
}

#[test]
fn what_is_not_touched_keeps_its_bytes() {
    let members = r#""n":9007199254740993,"m":12345678901234567890123,"f":1.50,"e":1.2450503E8,"u":"\u00fc ü","l":[1.0,{"x":1e2}],"o":{"a.b":0.10}"#;
    let before = event(members);
    let (after, _) = run(&chain("  - add_fields: {target: o, fields: {c: 1}}"), &before);
    assert_eq!(
        after.unwrap(),
        before.replace(r#""o":{"a.b":0.10}"#, r#""o":{"a.b":0.10,"c":1}"#)
    );
}

#[test]
fn what_an_event_is_known_by_stays() {
    let before = event(r#""id":"5d","event.id":"of the record""#);
    let of = |text: &str| -> Vec<Option<Value>> {
        let event = parsed(text);
        PROTECTED
            .iter()
            .map(|path| {
                path.split('.')
                    .try_fold(&event, |value, name| value.get(name))
                    .cloned()
            })
            .collect()
    };
    assert!(of(&before).iter().all(Option::is_some));
    for (processors, stays) in [
        ("  - drop_fields.fields: ['/.*/']", "@timestamp"),
        ("  - drop_fields.fields: ['/^event$/']", "event.id"),
        ("  - drop_fields.fields: ['/^ecsbeat/']", "ecsbeat.cluster"),
        ("  - drop_fields.fields: ['/id$/']", "event.id"),
    ] {
        let (after, notices) = run(&chain(processors), &before);
        let after = after.unwrap();
        assert_eq!(of(&after), of(&before), "{processors}: {after}");
        let told: Vec<&Told> = notices.iter().map(|notice| &notice.event).collect();
        assert_eq!(told, [&Told::Protected(stays)], "{processors}");
    }
    let (after, _) = run(
        &chain("  - drop_fields.fields: ['/^event$/', '/^host/']"),
        &before,
    );
    let after = parsed(&after.unwrap());
    assert_eq!(
        after["event"],
        json!({"id": EventId::of([&b"x"[..]]).to_string()})
    );
    assert_eq!(after.get("host"), None);

    let (after, notices) = run(
        &chain("  - include_fields.fields: [ecs-event-type, event.kind]"),
        &before,
    );
    let after = parsed(&after.unwrap());
    assert_eq!(notices, []);
    let names: Vec<&String> = after.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "@timestamp",
            "ecs-event-type",
            "ecsbeat",
            "event",
            "event.id",
            "type"
        ]
    );
    assert_eq!(
        after["event"],
        json!({"id": EventId::of([&b"x"[..]]).to_string(), "kind": "metric"})
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_chain_changes_what_an_event_is_known_by(
        pattern in "[a-z@^.$]{0,6}\\.?[a-z*]{0,3}",
        kept in prop::collection::vec("(@timestamp|event|ecsbeat|event\\.[a-z]{2,4}|[a-z]{1,3})", 0..4),
    ) {
        let Ok(_) = regex::Regex::new(&pattern) else { return Ok(()) };
        prop_assume!(!pattern.is_empty());
        let before = event(r#""id":"5d""#);
        let list = kept.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
        let chain = chain(&format!(
            "  - drop_fields.fields: ['/{pattern}/']\n  - include_fields.fields: [{list}]"
        ));
        let (after, _) = run(&chain, &before);
        let (before, after) = (parsed(&before), parsed(&after.unwrap()));
        for path in PROTECTED {
            let of = |event: &Value| path.split('.').try_fold(event, |value, name| value.get(name)).cloned();
            prop_assert_eq!(of(&before), of(&after), "{}", path);
        }
    }
}
