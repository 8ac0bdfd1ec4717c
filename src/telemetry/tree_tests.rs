//! Tests of [`super`]: the names, the sums, the differences.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::telemetry::metrics::{CommandLabels, DropLabels, FilterLabels, ReasonLabels};

fn source() -> Source {
    Source {
        identity: Arc::new(Identity::new(
            "n1",
            Uuid::nil(),
            "n1",
            None,
            "http://localhost:5066",
        )),
        metrics: Metrics::new(),
        status: Arc::new(Status::new(Timestamp::UNIX_EPOCH)),
        outputs: vec!["elasticsearch"],
        started: Instant::now(),
        runtime: None,
    }
}

#[test]
fn fills_the_names_of_libbeat() {
    let source = source();
    let output = OutputLabels {
        output: "elasticsearch",
    };
    let command = CommandLabels {
        customer: "EMC".to_owned(),
        vdc: "VDC1".to_owned(),
        command: "local.nodes".to_owned(),
    };
    let metrics = &source.metrics;
    metrics.events.get_or_create(&command).inc_by(30);
    metrics.polls.get_or_create(&command).inc_by(6);
    let timeout = ReasonLabels {
        customer: "EMC".to_owned(),
        vdc: "VDC1".to_owned(),
        command: "local.nodes".to_owned(),
        reason: "timeout",
    };
    metrics.poll_errors.get_or_create(&timeout).inc();
    metrics.queue_added.inc_by(30);
    metrics.queue_consumed.inc_by(27);
    metrics.queue_removed.inc_by(22);
    metrics.queue_events.set(8);
    metrics.queue_max_events.set(3200);
    metrics.queue_added_bytes.inc_by(3000);
    metrics.queue_consumed_bytes.inc_by(2700);
    metrics.queue_removed_bytes.inc_by(2200);
    metrics.output_events.get_or_create(&output).inc_by(25);
    metrics.output_acked.get_or_create(&output).inc_by(20);
    metrics.output_failed.get_or_create(&output).inc_by(3);
    metrics.output_toomany.get_or_create(&output).inc_by(1);
    metrics.output_active.get_or_create(&output).set(3);
    metrics.output_read_bytes.get_or_create(&output).inc_by(70);
    for latency in [
        &*metrics.output_write_latency.get_or_create(&output),
        &metrics.all_write_latency,
    ] {
        latency.observe(Duration::from_millis(132));
        latency.observe(Duration::from_millis(260));
    }
    let filtered = FilterLabels {
        customer: "EMC".to_owned(),
        vdc: "VDC1".to_owned(),
        command: "local.nodes".to_owned(),
        processor: "drop_event",
    };
    metrics.filtered_events.get_or_create(&filtered).inc_by(4);
    for reason in ["refused", "max_retries"] {
        let labels = DropLabels {
            output: "elasticsearch",
            reason,
        };
        metrics.output_dropped.get_or_create(&labels).inc();
    }
    let tree = Tree::read(&source).to_json();
    let libbeat = &tree["libbeat"];
    assert_eq!(
        libbeat["output"],
        json!({
            "type": "elasticsearch",
            "events": {
                "total": 25, "batches": 0, "acked": 20, "failed": 3, "dropped": 2, "duplicates": 0,
                "toomany": 1, "dead_letter": 0, "active": 3
            },
            "batches": {"split": 0},
            "read": {"bytes": 70, "errors": 0},
            "write": {"bytes": 0, "errors": 0, "latency": {"histogram": {
                "count": 2, "max": 260, "mean": 196, "median": 196, "min": 132, "p75": 260, "p95": 260, "p99": 260,
                "p999": 260, "stddev": 64
            }}}
        })
    );
    assert!(libbeat.get("outputs").is_none(), "there is only one");
    assert_eq!(
        libbeat["pipeline"],
        json!({
            "clients": 0,
            "events": {
                "total": 30, "published": 30, "filtered": 4, "dropped": 2, "retry": 2, "failed": 0, "active": 8
            },
            "queue": {
                "added": {"events": 30, "bytes": 3000}, "consumed": {"events": 27, "bytes": 2700},
                "removed": {"events": 22, "bytes": 2200}, "acked": 22,
                "max_events": 3200, "max_bytes": 0, "filled": {"events": 8, "bytes": 0, "pct": 0.0025}
            }
        })
    );
    assert_eq!(
        tree["ecsbeat"]["commands"],
        json!({"local_nodes": {
            "events_total": 30, "filtered_events_total": 4, "polls_total": 6, "poll_errors_total": 1
        }})
    );
    assert_eq!(tree["ecsbeat"]["polls_total"], 6);
    assert!(tree["beat"]["memstats"]["rss"].as_u64().unwrap() > 0);
    assert!(tree["beat"]["handles"]["open"].as_u64().unwrap() > 0);
    assert!(tree["beat"]["cpu"]["total"]["value"].is_u64());
    assert_eq!(tree["beat"]["info"]["name"], "ecsbeat");
    assert!(tree["system"]["load"]["norm"]["15"].is_number());
}

#[test]
fn several_outputs_are_summed_up_and_told_one_by_one() {
    let source = Source {
        outputs: vec!["file", "elasticsearch"],
        ..source()
    };
    let metrics = &source.metrics;
    for (output, acked, up) in [("file", 5, 1), ("elasticsearch", 2, 0)] {
        let labels = OutputLabels { output };
        metrics.output_acked.get_or_create(&labels).inc_by(acked);
        metrics.output_up.get_or_create(&labels).set(up);
        let refused = DropLabels {
            output,
            reason: "refused",
        };
        metrics.output_dropped.get_or_create(&refused).inc();
    }
    let file = OutputLabels { output: "file" };
    let latency = metrics.output_write_latency.get_or_create(&file).clone();
    latency.observe(Duration::from_millis(7));
    let libbeat = Tree::read(&source).to_json()["libbeat"].take();
    let output = &libbeat["output"];
    assert_eq!(output["type"], "file,elasticsearch");
    assert_eq!(
        (&output["events"]["acked"], &output["events"]["dropped"]),
        (&json!(7), &json!(2))
    );
    for (name, acked, up, sends) in [("file", 5, 1, 1), ("elasticsearch", 2, 0, 0)] {
        let own = &libbeat["outputs"][name];
        assert_eq!(
            (&own["events"]["acked"], &own["events"]["dropped"]),
            (&json!(acked), &json!(1)),
            "{name}"
        );
        assert_eq!(own["up"], up, "{name}");
        assert_eq!(own["write"]["latency"]["histogram"]["count"], sends, "{name}");
    }
}

#[test]
fn the_difference_has_grown_counters_all_gauges_and_new_texts() {
    let mut before = Tree::default();
    before.counter("a.grown", 5);
    before.counter("a.same", 7);
    before.gauge("g", 1u64);
    before.text("t.same", "x");
    before.text("t.new", "x");
    before.text("beat.info.version", "1");
    before.0.insert("c.same".to_owned(), Leaf::Constant(4.into()));
    let mut now = before.clone();
    now.counter("a.grown", 9);
    now.counter("b.first", 2);
    now.text("t.new", "y");
    now.0.insert("c.new".to_owned(), Leaf::Constant(5.into()));
    let (delta, counted) = now.since(&before);
    assert!(counted);
    assert_eq!(
        delta.to_json(),
        json!({
            "a": {"grown": 4}, "b": {"first": 2}, "beat": {"info": {"version": "1"}}, "c": {"new": 5}, "g": 1,
            "t": {"new": "y"}
        })
    );
    let (delta, counted) = now.since(&now);
    assert!(!counted);
    assert_eq!(
        delta.to_json(),
        json!({"beat": {"info": {"version": "1"}}, "g": 1})
    );
}
