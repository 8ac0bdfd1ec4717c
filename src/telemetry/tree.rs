//! The metrics in the shape that Beats give them.
//!
//! Owns [`Tree`]: the names of libbeat's metric tree, filled from [`Metrics`] and `/proc`, below them our own
//! `ecsbeat.*`. `/stats` shows it and the metrics line in the log takes the differences of two of them: one
//! source, so that the two never disagree. Names are a promise to dashboards and never change.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Map, Number, Value};

use super::identity::Identity;
use super::latency::Distribution;
use super::metrics::{Metrics, OutputLabels};
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
    /// The units that work.
    pub status: std::sync::Arc<Status>,
    /// The outputs that are configured, by their names.
    pub outputs: Vec<&'static str>,
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
    Constant(Number),
    /// Stays; the log shows it once, but for those that tell whose line it is.
    Text(String),
}

/// What every line of the log shows.
const WHOSE: [&str; 2] = ["beat.info.ephemeral_id", "beat.info.version"];

/// Events that were given up.
const DROPPED: &str = "output_dropped_events_total";

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
        tree.take_outputs(&series, source);
        tree.take_pipeline(&series, &source.status);
        tree.take_own(&series);
        tree
    }

    /// What changed since `before`: counters that grew by how much they did, gauges as they are, constants and texts
    /// that are new. The flag tells whether anything was counted at all.
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
                (Leaf::Text(_), old) if old == Some(leaf) && !WHOSE.contains(&name.as_str()) => continue,
                (Leaf::Constant(_), old) if old == Some(leaf) => continue,
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
                Leaf::Gauge(number) | Leaf::Constant(number) => Value::Number(number.clone()),
                Leaf::Text(text) => Value::from(text.as_str()),
            };
            insert(&mut root, name, value);
        }
        Value::Object(root)
    }

    fn counter(&mut self, name: impl Into<String>, value: u64) {
        self.0.insert(name.into(), Leaf::Counter(value));
    }

    fn gauge(&mut self, name: impl Into<String>, value: impl Into<Number>) {
        self.0.insert(name.into(), Leaf::Gauge(value.into()));
    }

    /// A whole number is written as one, as Beats do.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it is whole and far from the limits"
    )]
    fn ratio(&mut self, name: impl Into<String>, value: f64) {
        if value.fract() == 0.0 && value.abs() < 1e15 {
            self.gauge(name, value as i64);
        } else if let Some(number) = Number::from_f64(value) {
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
                self.gauge(format!("beat.cpu.{name}.ticks"), ms);
                self.counter(format!("beat.cpu.{name}.time.ms"), ms);
            }
            self.gauge("beat.cpu.total.value", user + system);
        }
        for (name, value) in [
            ("beat.handles.open", process.handles),
            ("beat.handles.limit.soft", process.handles_soft),
            ("beat.handles.limit.hard", process.handles_hard),
        ] {
            if let Some(value) = value {
                self.gauge(name, value);
            }
        }
        if let Some(cores) = process.cores {
            self.0
                .insert("system.cpu.cores".to_owned(), Leaf::Constant(cores.into()));
        }
        if let Some(runtime) = runtime {
            self.gauge(
                "beat.runtime.goroutines",
                runtime.metrics().num_alive_tasks() as u64,
            );
        }
        if let Some(load) = process.load {
            for (name, value) in ["1", "5", "15"].into_iter().zip(load) {
                self.ratio(format!("system.load.{name}"), value);
                if let Some(cores) = process.cores.filter(|cores| *cores > 0) {
                    let norm = (value / cores as f64 * 10_000.0).round() / 10_000.0;
                    self.ratio(format!("system.load.norm.{name}"), norm);
                }
            }
        }
    }

    /// The sums over all outputs under the names of libbeat, which knows only one; where there are several, each by
    /// itself as well.
    fn take_outputs(&mut self, series: &Series, source: &Source) {
        let (metrics, outputs) = (&source.metrics, &source.outputs);
        self.text("libbeat.output.type", outputs.join(","));
        self.take_output("libbeat.output", series, &[]);
        self.take_latency("libbeat.output", metrics.all_write_latency.distribution());
        if outputs.len() < 2 {
            return;
        }
        let up = series.by("output_up", "output");
        for &output in outputs {
            let prefix = format!("libbeat.outputs.{output}");
            self.take_output(&prefix, series, &[("output", output)]);
            let latency = metrics.output_write_latency.get(&OutputLabels { output });
            self.take_latency(
                &prefix,
                latency.map(|latency| latency.distribution()).unwrap_or_default(),
            );
            // An output that was not tried yet is neither up nor down.
            if let Some(up) = up.get(output) {
                self.gauge(format!("{prefix}.up"), *up);
            }
        }
    }

    /// The series with these labels, summed up.
    fn take_output(&mut self, prefix: &str, series: &Series, labels: &[(&str, &str)]) {
        let sum = |name| series.sum_of(name, labels);
        for (name, from) in [
            ("events.total", "output_events_total"),
            ("events.batches", "output_batches_total"),
            ("events.acked", "output_acked_events_total"),
            ("events.failed", "output_failed_events_total"),
            ("events.duplicates", "output_duplicate_events_total"),
            ("events.toomany", "output_toomany_events_total"),
            ("events.dead_letter", "output_dead_letter_events_total"),
            ("batches.split", "output_split_batches_total"),
            ("read.bytes", "output_read_bytes_total"),
            ("read.errors", "output_read_errors_total"),
            ("write.bytes", "output_write_bytes_total"),
            ("write.errors", "output_write_errors_total"),
        ] {
            self.counter(format!("{prefix}.{name}"), sum(from));
        }
        self.counter(format!("{prefix}.events.dropped"), sum(DROPPED));
        self.gauge(format!("{prefix}.events.active"), sum("output_active_events"));
    }

    fn take_latency(&mut self, prefix: &str, seen: Distribution) {
        let name = |part: &str| format!("{prefix}.write.latency.histogram.{part}");
        for (part, value) in [("count", seen.count), ("min", seen.min), ("max", seen.max)] {
            self.gauge(name(part), value);
        }
        for (part, value) in [
            ("mean", seen.mean),
            ("stddev", seen.stddev),
            ("median", seen.median),
            ("p75", seen.p75),
            ("p95", seen.p95),
            ("p99", seen.p99),
            ("p999", seen.p999),
        ] {
            self.ratio(name(part), value);
        }
    }

    fn take_pipeline(&mut self, series: &Series, status: &Status) {
        let added = series.sum("queue_added_events_total");
        let removed = series.sum("queue_removed_events_total");
        // Who failed is sent again, unless that was the last try.
        let retried = series
            .sum("output_failed_events_total")
            .saturating_sub(series.sum_of(DROPPED, &[("reason", "max_retries")]));
        let filled = series.sum("queue_filled_events");
        let bound = series.sum("queue_max_events");
        for (name, value) in [
            ("events.total", series.sum("events_total")),
            ("events.published", added),
            ("events.filtered", series.sum("filtered_events_total")),
            ("events.dropped", series.sum("output_dropped_events_total")),
            ("events.retry", retried),
            // A full queue slows polling and refuses nothing.
            ("events.failed", 0),
            ("queue.added.events", added),
            ("queue.added.bytes", series.sum("queue_added_bytes_total")),
            ("queue.consumed.events", series.sum("queue_consumed_events_total")),
            ("queue.consumed.bytes", series.sum("queue_consumed_bytes_total")),
            ("queue.removed.events", removed),
            ("queue.removed.bytes", series.sum("queue_removed_bytes_total")),
            ("queue.acked", removed),
        ] {
            self.counter(format!("libbeat.pipeline.{name}"), value);
        }
        self.gauge("libbeat.pipeline.clients", status.units().len() as u64);
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
            ("filtered_events", "filtered_events_total"),
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
        for (name, from) in [
            ("errors_total", "processor_errors_total"),
            ("protected_fields_total", "processor_protected_fields_total"),
        ] {
            self.counter(format!("ecsbeat.processors.{name}"), series.sum(from));
        }
        self.gauge("ecsbeat.leader", series.sum("leader"));
    }
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
#[path = "tree_tests.rs"]
mod tests;
