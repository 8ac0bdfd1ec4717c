//! Processors in the real binary: what they drop counts as done, and what an event is known by they cannot change.
//!
//! A second collector without processors polls the same federation: what it delivers says what the first one must.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use ecs_sim::Sim;
use ecs_sim::bulk::{self, Bulk};
use serde_json::Value;

use crate::support::process::{Home, SOON, customers, eventually, get};
use crate::support::text;
use crate::support::windowed::busy;

/// Audit events in windows of a second; their stamps are of the minute.
fn commands(processors: &str) -> String {
    format!(
        "
  start_jitter: 0s
  commands:
  - type: auditevent
    interval: 1s
    window: {{step: 1s, lag: 1s, overlap: 65s, format: rfc3339}}
    processors: [{processors}]
"
    )
}

/// Logins are none of our business.
const DROP: &str = "{drop_event.when.equals: {serviceType: Authentication}}";
/// A processor that fails on every event, and two that go at what an event is known by.
const MORE: &str = r"
processors:
  - rename: {fields: [{from: nowhere, to: somewhere}], fail_on_error: false}
  - drop_fields.fields: ['/^(event|ecsbeat)$/', '/^@/']
  - convert: {fields: [{from: description, type: long}]}
";

struct Collector {
    home: Home,
    bulk: Bulk,
}

impl Collector {
    async fn new(sim: &Sim, commands: &str, more: &str) -> Self {
        let collector = Self {
            home: Home::new(),
            bulk: Bulk::start(bulk::Config::for_tests()).await.unwrap(),
        };
        collector.configure(sim, commands, more);
        collector
    }

    fn configure(&self, sim: &Sim, commands: &str, more: &str) {
        self.home.configure(&format!(
            "ecsbeat:\n{commands}{}queue.mem.flush.timeout: 20ms\nhttp: {{enabled: true, host: 127.0.0.1, port: 0}}\n\
             output.elasticsearch: {{hosts: ['{}'], backoff.init: 100ms}}\n{more}",
            customers(sim, &self.home),
            self.bulk.url()
        ));
    }

    /// What arrived, by urn: the id in Elasticsearch and the document.
    fn rows(&self) -> BTreeMap<String, (String, Value)> {
        let documents = self.bulk.documents();
        let rows = documents.iter().filter_map(|document| {
            let event: Value = serde_json::from_slice(&document.source).unwrap();
            let urn = event["id"].as_str()?.to_owned();
            Some((urn, (document.id.clone(), event)))
        });
        rows.collect()
    }

    /// Waits until the checkpoints of all audit events are past `to` (epoch seconds).
    async fn past(&self, sim: &Sim, to: i64) {
        eventually("the checkpoints move", SOON, || {
            let checkpoints = self.home.checkpoints();
            let until = |stream: &Value| -> Option<i64> {
                let until: jiff::Timestamp = stream["until"].as_str()?.parse().ok()?;
                Some(until.as_second())
            };
            let streams = checkpoints.as_object()?;
            (streams.len() == sim.vdcs()
                && streams
                    .values()
                    .all(|stream| until(stream).is_some_and(|at| at > to)))
            .then_some(())
        })
        .await;
    }
}

fn is_login(event: &Value) -> bool {
    text(event, "serviceType") == "Authentication"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_is_done_with_and_does_not_come_again() {
    let sim = Sim::start(busy()).await.unwrap();
    let plain = Collector::new(&sim, &commands(""), "").await;
    let filtered = Collector::new(&sim, &commands(DROP), MORE).await;
    filtered.home.run(&["test", "config"]).await.expect(0);
    let started = Instant::now();
    let mut plain_process = plain.home.start(&[]);
    let mut process = filtered.home.start(&[]);
    let address = process.http().await;
    // From here on both have a checkpoint and must not miss anything.
    for collector in [&plain, &filtered] {
        collector.past(&sim, 0).await;
    }
    let from = sim.now() + 1;
    let rows_until = |to: i64| -> BTreeSet<String> {
        let truth = sim.truth_between(from, to).vdcs.into_iter();
        truth
            .flat_map(|vdc| vdc.audit_events)
            .filter(|row| row.visible_at <= to)
            .map(|row| row.id)
            .collect()
    };
    let enough = || {
        let mut rows = plain.rows();
        let since = rows_until(sim.now());
        rows.retain(|urn, _| since.contains(urn));
        let logins = rows.values().filter(|(_, event)| is_login(event)).count();
        (logins >= 5 && rows.len() > logins + 5).then_some(())
    };
    eventually("logins and others", SOON, enough).await;
    let to = sim.now();
    plain.past(&sim, to).await;
    filtered.past(&sim, to).await;

    // Exactly the logins are missing, and what arrived has the id it has without processors.
    let known = rows_until(to);
    let (all, kept) = (plain.rows(), filtered.rows());
    let logins: BTreeSet<String> = known
        .iter()
        .filter(|urn| is_login(&all[*urn].1))
        .cloned()
        .collect();
    assert!(!logins.is_empty() && logins.len() < known.len());
    for urn in &known {
        assert_eq!(kept.contains_key(urn), !logins.contains(urn), "{urn}");
    }
    for (urn, (id, event)) in &kept {
        assert_eq!(text(event, "event.id"), id, "{event}");
        if let Some((plain_id, plain_event)) = all.get(urn) {
            assert_eq!(id, plain_id, "{urn}");
            for field in ["@timestamp", "ecs-customer", "description"] {
                assert_eq!(event[field], plain_event[field], "{field} of {urn}");
            }
        }
        assert_eq!(
            event["event"].as_object().unwrap().len(),
            1,
            "all but the id was dropped"
        );
        assert!(!text(event, "ecsbeat.instance").is_empty() && event["ecsbeat"]["tick"].is_string());
        let error = text(event, "error.message");
        assert_eq!(
            error,
            "failed in processor.convert: conversion of field [description] to type [long] failed: unable to convert \
             value: it is no whole number of 64 bits"
        );
    }

    // It is counted, and told without a word of what is in an event.
    let metrics = get(address, "/metrics").await;
    let filtered_by = |vdc: usize| {
        metrics.metric(&format!(
            "ecsbeat_filtered_events_total{{customer=\"sim\",vdc=\"{}\",command=\"auditevent\",processor=\"drop_event\"}}",
            sim.vdc(vdc).name()
        ))
    };
    let dropped: f64 = (0..sim.vdcs()).filter_map(filtered_by).sum();
    assert!(dropped >= logins.len() as f64, "{dropped} of {}", logins.len());
    for (name, processor) in [
        ("errors", "rename"),
        ("errors", "convert"),
        ("protected_fields", "drop_fields"),
    ] {
        let name = format!("ecsbeat_processor_{name}_total{{processor=\"{processor}\"}}");
        assert!(metrics.metric(&name).is_some_and(|count| count >= 10.0), "{name}");
    }
    let stats = get(address, "/stats").await.json();
    let events = &stats["libbeat"]["pipeline"]["events"];
    assert!(events["filtered"].as_f64().unwrap() >= dropped, "{events}");
    assert_eq!(events["dropped"], 0, "{events}");
    assert!(
        events["total"].as_u64() >= events["published"].as_u64(),
        "{events}"
    );
    let ended = process.stopped().await;
    ended.expect(0);
    // Once a minute for each of them, however many events there were.
    let most = 2 + usize::try_from(started.elapsed().as_secs() / 60).unwrap();
    for place in [
        "processors.0.rename",
        "processors.1.drop_fields",
        "processors.2.convert",
    ] {
        let told = ended
            .stderr
            .matches(&format!("\"processor\":\"{place}\""))
            .count();
        assert!(
            (1..=most).contains(&told),
            "{place} was told {told} times:\n{}",
            ended.stderr
        );
    }
    for content in ["logged in", "größe", "Secret key", "Bucket"] {
        assert!(!ended.stderr.contains(content), "{content} was logged");
    }

    // Without the processor, after a restart: what was dropped is known, though it is asked for again.
    let stopped = sim.now();
    let before = filtered.rows();
    filtered.configure(&sim, &commands(""), "");
    let mut process = filtered.home.start(&[]);
    eventually("logins arrive now", SOON, || {
        let new = filtered.rows();
        new.values().any(|(_, event)| is_login(event)).then_some(())
    })
    .await;
    filtered.past(&sim, stopped + 2).await;
    let after = filtered.rows();
    for urn in &logins {
        assert!(!after.contains_key(urn), "{urn} was dropped, and came again");
    }
    assert!(before.keys().all(|urn| after.contains_key(urn)));
    assert_eq!(filtered.bulk.conflicts(), 0, "nothing was sent twice");
    process.stopped().await.expect(0);
    plain_process.stopped().await.expect(0);
}
