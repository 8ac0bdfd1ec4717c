//! The metrics in the shape that Beats give them.
//!
//! Owns [`Tree`]: the names of libbeat's metric tree, filled from [`Metrics`] and `/proc`, below them our own
//! `ecsbeat.*`. `/stats` shows it and the metrics line in the log takes the differences of two of them: one
//! source, so that the two never disagree. Names are a promise to dashboards and never change.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Map, Number, Value};

use super::identity::Identity;
use super::metrics::Metrics;
use super::process::ProcessStats;
use super::series::Series;
use crate::status::Status;

/// Where the numbers come from.
#[derive(Debug, Clone)]
pub struct Source {
    /// Who counts.
    pub identity: std::sync::Arc<Identity>,
    /// What was counted.
    pub metrics: Metrics,
    /// The outputs in use.
    pub status: std::sync::Arc<Status>,
    /// When the process started.
    pub started: Instant,
    /// The pipeline's runtime, for its number of tasks.
    pub runtime: Option<tokio::runtime::Handle>,
}

/// One value and how it changes.
#[derive(Debug, Clone, PartialEq)]
pub enum Leaf {
    /// Only grows; the log shows by how much.
    Counter(u64),
    /// Goes up and down; the log shows it as it is.
    Gauge(Number),
    /// Stays; the log shows it once.
    Text(String),
}

/// All values under their dotted names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tree(BTreeMap<String, Leaf>);

impl Tree {
    /// The values now.
    pub fn read(source: &Source) -> Self {
        let mut tree = Self::default();
        tree.take_beat(source);
        tree.take_process(&ProcessStats::read(), source.runtime.as_ref());
        let series = Series::read(&source.metrics);
        tree.take_output(&series, &source.status);
        tree.take_pipeline(&series);
        tree.take_own(&series);
        tree
    }

    /// What changed since `before`: counters that grew by how much they did, gauges as they are, texts that are
    /// new. The flag tells whether anything was counted at all.
    pub fn since(&self, before: &Self) -> (Self, bool) {
        let mut counted = false;
        let mut delta = Self::default();
        for (name, leaf) in &self.0 {
            let leaf = match (leaf, before.0.get(name)) {
                (Leaf::Counter(now), old) => {
                    let old = if let Some(Leaf::Counter(old)) = old {
                        *old
                    } else {
                        0
                    };
                    let grown = now.saturating_sub(old);
                    if grown == 0 {
                        continue;
                    }
                    counted = true;
                    Leaf::Counter(grown)
                }
                (Leaf::Text(_), old) if old == Some(leaf) => continue,
                (leaf, _) => leaf.clone(),
            };
            delta.0.insert(name.clone(), leaf);
        }
        (delta, counted)
    }

    /// Nested objects, one level for each part of a name.
    pub fn to_json(&self) -> Value {
        let mut root = Map::new();
        for (name, leaf) in &self.0 {
            let value = match leaf {
                Leaf::Counter(number) => Value::from(*number),
                Leaf::Gauge(number) => Value::Number(number.clone()),
                Leaf::Text(text) => Value::from(text.as_str()),
            };
            insert(&mut root, name, value);
        }
        Value::Object(root)
    }

    fn counter(&mut self, name: impl Into<String>, value: u64) {
        self.0.insert(name.into(), Leaf::Counter(value));
    }

    fn gauge(&mut self, name: &str, value: impl Into<Number>) {
        self.0.insert(name.to_owned(), Leaf::Gauge(value.into()));
    }

    fn ratio(&mut self, name: &str, value: f64) {
        if let Some(number) = Number::from_f64(value) {
            self.gauge(name, number);
        }
    }

    fn text(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), Leaf::Text(value.into()));
    }

    fn take_beat(&mut self, source: &Source) {
        self.text("beat.info.name", "ecsbeat");
        self.text("beat.info.version", source.identity.version());
        self.text("beat.info.ephemeral_id", source.identity.ephemeral_id.to_string());
        let uptime = u64::try_from(source.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.gauge("beat.info.uptime.ms", uptime);
    }

    fn take_process(&mut self, process: &ProcessStats, runtime: Option<&tokio::runtime::Handle>) {
        if let Some(rss) = process.rss {
            self.gauge("beat.memstats.rss", rss);
        }
        if let (Some(user), Some(system)) = (process.user_ms, process.system_ms) {
            for (name, ms) in [("user", user), ("system", system), ("total", user + system)] {
                self.gauge(&format!("beat.cpu.{name}.ticks"), ms);
                self.counter(format!("beat.cpu.{name}.time.ms"), ms);
            }
            self.gauge("beat.cpu.total.value", user + system);
        }
        for (name, value) in [
            ("beat.handles.open", process.handles),
            ("beat.handles.limit.soft", process.handles_soft),
            ("beat.handles.limit.hard", process.handles_hard),
            ("system.cpu.cores", process.cores),
        ] {
            if let Some(value) = value {
                self.gauge(name, value);
            }
        }
        if let Some(runtime) = runtime {
            self.gauge(
                "beat.runtime.goroutines",
                runtime.metrics().num_alive_tasks() as u64,
            );
        }
        if let Some(load) = process.load {
            for (name, value) in ["1", "5", "15"].into_iter().zip(load) {
                self.ratio(&format!("system.load.{name}"), value);
                if let Some(cores) = process.cores.filter(|cores| *cores > 0) {
                    let norm = (value / cores as f64 * 10_000.0).round() / 10_000.0;
                    self.ratio(&format!("system.load.norm.{name}"), norm);
                }
            }
        }
    }

    fn take_output(&mut self, series: &Series, status: &Status) {
        let names: Vec<_> = status.outputs().into_iter().map(|(name, _)| name).collect();
        self.text("libbeat.output.type", names.join(","));
        for (name, from) in [
            ("events.total", "output_events_total"),
            ("events.batches", "output_batches_total"),
            ("events.acked", "output_acked_events_total"),
            ("events.failed", "output_failed_events_total"),
            ("events.duplicates", "output_duplicate_events_total"),
            ("events.toomany", "output_toomany_events_total"),
            ("events.dead_letter", "output_dead_letter_events_total"),
            ("batches.split", "output_split_batches_total"),
            ("write.bytes", "output_write_bytes_total"),
            ("write.errors", "output_write_errors_total"),
        ] {
            self.counter(format!("libbeat.output.{name}"), series.sum(from));
        }
        let (dropped, _) = given_up(series);
        self.counter("libbeat.output.events.dropped", dropped);
        self.gauge("libbeat.output.events.active", series.sum("output_active_events"));
    }

    fn take_pipeline(&mut self, series: &Series) {
        let added = series.sum("queue_added_events_total");
        let removed = series.sum("queue_removed_events_total");
        let (dropped, filtered) = given_up(series);
        let retried = series.sum("output_failed_events_total") + series.sum("output_toomany_events_total");
        let filled = series.sum("queue_filled_events");
        let bound = series.sum("queue_max_events");
        for (name, value) in [
            ("events.total", series.sum("events_total")),
            ("events.published", added),
            ("events.filtered", filtered),
            ("events.dropped", dropped),
            ("events.retry", retried),
            // A full queue slows polling and refuses nothing.
            ("events.failed", 0),
            ("queue.added.events", added),
            ("queue.removed.events", removed),
            ("queue.acked", removed),
        ] {
            self.counter(format!("libbeat.pipeline.{name}"), value);
        }
        self.gauge("libbeat.pipeline.events.active", added.saturating_sub(removed));
        self.gauge("libbeat.pipeline.queue.max_events", bound);
        self.gauge("libbeat.pipeline.queue.max_bytes", series.sum("queue_max_bytes"));
        self.gauge("libbeat.pipeline.queue.filled.events", filled);
        self.gauge(
            "libbeat.pipeline.queue.filled.bytes",
            series.sum("queue_filled_bytes"),
        );
        if bound > 0 {
            self.ratio("libbeat.pipeline.queue.filled.pct", filled as f64 / bound as f64);
        }
        // There are no modules; dashboards of Beats look for the names all the same.
        self.gauge("libbeat.config.module.running", 0u64);
        self.counter("libbeat.config.module.starts", 0);
        self.counter("libbeat.config.module.stops", 0);
        self.counter("libbeat.config.reloads", 0);
        self.counter("libbeat.config.scans", 0);
    }

    fn take_own(&mut self, series: &Series) {
        for (name, from) in [
            ("polls", "polls_total"),
            ("poll_errors", "poll_errors_total"),
            ("missed_ticks", "missed_ticks_total"),
            ("events", "events_total"),
            ("repeated_records", "repeated_records_total"),
        ] {
            self.counter(format!("ecsbeat.{name}_total"), series.sum(from));
            for (command, value) in series.by(from, "command") {
                // A dot in a type would make two levels of it.
                let command = command.replace('.', "_");
                self.counter(format!("ecsbeat.commands.{command}.{name}_total"), value);
            }
        }
        for (name, from) in [
            ("requests_total", "ecs_requests_total"),
            ("response_bytes", "ecs_response_bytes_total"),
            ("login_total", "logins_total"),
            ("login_errors_total", "login_errors_total"),
        ] {
            self.counter(format!("ecsbeat.ecs.{name}"), series.sum(from));
        }
        self.gauge("ecsbeat.ecs.nodes_blocked", series.sum("nodes_blocked"));
        self.gauge("ecsbeat.leader", series.sum("leader"));
    }
}

/// Events lost to an output, and events that a processor removed on purpose.
fn given_up(series: &Series) -> (u64, u64) {
    let filtered = series.sum_where("output_dropped_events_total", "reason", "processor");
    let all = series.sum("output_dropped_events_total");
    (all.saturating_sub(filtered), filtered)
}

fn insert(object: &mut Map<String, Value>, name: &str, value: Value) {
    match name.split_once('.') {
        None => {
            object.insert(name.to_owned(), value);
        }
        Some((first, rest)) => {
            let child = object.entry(first).or_insert_with(|| Value::Object(Map::new()));
            // Names are chosen so that none is both a value and a branch.
            if let Value::Object(child) = child {
                insert(child, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::telemetry::metrics::{CommandLabels, DropLabels, OutputLabels, ReasonLabels};

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
            started: Instant::now(),
            runtime: None,
        }
    }

    #[test]
    fn fills_the_names_of_libbeat() {
        let source = source();
        source.status.output("elasticsearch");
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
        metrics
            .poll_errors
            .get_or_create(&ReasonLabels {
                customer: "EMC".to_owned(),
                vdc: "VDC1".to_owned(),
                command: "local.nodes".to_owned(),
                reason: "timeout",
            })
            .inc();
        metrics.queue_added.inc_by(30);
        metrics.queue_removed.inc_by(22);
        metrics.queue_events.set(8);
        metrics.queue_max_events.set(3200);
        metrics.output_events.get_or_create(&output).inc_by(25);
        metrics.output_acked.get_or_create(&output).inc_by(20);
        metrics.output_failed.get_or_create(&output).inc_by(2);
        metrics.output_toomany.get_or_create(&output).inc_by(1);
        metrics.output_active.get_or_create(&output).set(3);
        for (reason, count) in [("refused", 1), ("processor", 4)] {
            let labels = DropLabels {
                output: "elasticsearch",
                reason,
            };
            metrics.output_dropped.get_or_create(&labels).inc_by(count);
        }
        let tree = Tree::read(&source).to_json();
        let libbeat = &tree["libbeat"];
        assert_eq!(
            libbeat["output"],
            json!({
                "type": "elasticsearch",
                "events": {
                    "total": 25, "batches": 0, "acked": 20, "failed": 2, "dropped": 1, "duplicates": 0,
                    "toomany": 1, "dead_letter": 0, "active": 3
                },
                "batches": {"split": 0},
                "write": {"bytes": 0, "errors": 0}
            })
        );
        assert_eq!(
            libbeat["pipeline"],
            json!({
                "events": {
                    "total": 30, "published": 30, "filtered": 4, "dropped": 1, "retry": 3, "failed": 0, "active": 8
                },
                "queue": {
                    "added": {"events": 30}, "removed": {"events": 22}, "acked": 22,
                    "max_events": 3200, "max_bytes": 0, "filled": {"events": 8, "bytes": 0, "pct": 0.0025}
                }
            })
        );
        assert_eq!(
            tree["ecsbeat"]["commands"],
            json!({"local_nodes": {"events_total": 30, "polls_total": 6, "poll_errors_total": 1}})
        );
        assert_eq!(tree["ecsbeat"]["polls_total"], 6);
        assert!(tree["beat"]["memstats"]["rss"].as_u64().unwrap() > 0);
        assert!(tree["beat"]["handles"]["open"].as_u64().unwrap() > 0);
        assert!(tree["beat"]["cpu"]["total"]["value"].is_u64());
        assert_eq!(tree["beat"]["info"]["name"], "ecsbeat");
        assert!(tree["system"]["load"]["norm"]["15"].is_f64());
    }

    #[test]
    fn the_difference_has_grown_counters_all_gauges_and_new_texts() {
        let mut before = Tree::default();
        before.counter("a.grown", 5);
        before.counter("a.same", 7);
        before.gauge("g", 1u64);
        before.text("t.same", "x");
        before.text("t.new", "x");
        let mut now = before.clone();
        now.counter("a.grown", 9);
        now.counter("b.first", 2);
        now.text("t.new", "y");
        let (delta, counted) = now.since(&before);
        assert!(counted);
        assert_eq!(
            delta.to_json(),
            json!({"a": {"grown": 4}, "b": {"first": 2}, "g": 1, "t": {"new": "y"}})
        );
        let (delta, counted) = now.since(&now);
        assert!(!counted);
        assert_eq!(delta.to_json(), json!({"g": 1}));
    }
}
