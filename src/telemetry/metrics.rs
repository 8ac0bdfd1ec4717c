//! The counters and gauges of the process.
//!
//! Owns [`Metrics`], made once and handed to every part that counts. Counting is an atomic addition and never
//! blocks; reading (`/metrics`, `/stats`, the metrics line in the log) takes the same values. No labels of
//! unbounded number: a node or namespace is never a label.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::exposition;
use super::latency::Latency;
use super::metrics_certificates::CertificateMetrics;
use super::metrics_commands::CommandMetrics;
use super::metrics_ha::HaMetrics;
use super::metrics_process::ProcessMetrics;

/// Labels of one command of one VDC (`system` commands: the VDC that answered).
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CommandLabels {
    /// `customername`
    pub customer: String,
    /// `vdcname`
    pub vdc: String,
    /// The command's type.
    pub command: String,
}

/// Labels of one VDC.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct VdcLabels {
    /// `customername`
    pub customer: String,
    /// `vdcname`
    pub vdc: String,
}

/// Labels of something that failed or was given up for a reason.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabels {
    /// `customername`
    pub customer: String,
    /// `vdcname`
    pub vdc: String,
    /// The command's type.
    pub command: String,
    /// A word out of a closed set.
    pub reason: &'static str,
}

/// Labels of events that a processor dropped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FilterLabels {
    /// `customername`
    pub customer: String,
    /// `vdcname`
    pub vdc: String,
    /// The command's type.
    pub command: String,
    /// The processor's name: `drop_event`, `rate_limit`.
    pub processor: &'static str,
}

/// Labels of a kind of processor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProcessorLabels {
    /// Its name: `rename`, `convert`, …
    pub processor: &'static str,
}

/// Labels of an output.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutputLabels {
    /// `elasticsearch`, `file`, …
    pub output: &'static str,
}

/// Labels of events that an output gave up.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DropLabels {
    /// `elasticsearch`, `file`, …
    pub output: &'static str,
    /// [`crate::output::DropReason::as_str`]
    pub reason: &'static str,
}

/// Labels of what was asked of etcd.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DcsLabels {
    /// `grant`, `renew`, `revoke`, `time_left`, `txn`, `watch` or `status`.
    pub op: &'static str,
    /// `ok` or the word for what was wrong.
    pub result: &'static str,
    /// The member that was asked, out of `ha.etcd.hosts`.
    pub endpoint: String,
}

/// Labels of a kind of request to etcd.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DcsOpLabels {
    /// As in [`DcsLabels::op`].
    pub op: &'static str,
}

type HistogramFamily<L> = Family<L, Histogram, fn() -> Histogram>;

/// Bounds of the times of requests to etcd: a round trip is a millisecond, a try ends after a second.
const DCS_SECONDS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

/// Every series of the process.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Polls that were started.
    pub polls: Family<CommandLabels, Counter>,
    /// Polls of a target that failed after all attempts.
    pub poll_errors: Family<ReasonLabels, Counter>,
    /// Ticks of gauge commands that were not polled (overrun, blocked queue).
    pub missed_ticks: Family<CommandLabels, Counter>,
    /// Events made.
    pub events: Family<CommandLabels, Counter>,
    /// Events that a processor dropped, as it was told to.
    pub filtered_events: Family<FilterLabels, Counter>,
    /// Failures of processors on an event; the event went on.
    pub processor_errors: Family<ProcessorLabels, Counter>,
    /// Changes of fields that must stay, which processors were kept from.
    pub processor_protected_fields: Family<ProcessorLabels, Counter>,
    /// Records that were already delivered and therefore not sent again.
    pub repeated_records: Family<CommandLabels, Counter>,
    /// Requests to ECS.
    pub ecs_requests: Family<VdcLabels, Counter>,
    /// Bytes of answers of ECS, after decompression.
    pub ecs_response_bytes: Family<VdcLabels, Counter>,
    /// Logins.
    pub logins: Family<VdcLabels, Counter>,
    /// Logins that failed.
    pub login_errors: Family<VdcLabels, Counter>,
    /// Nodes left alone after failures.
    pub nodes_blocked: Family<VdcLabels, Gauge>,
    /// Events in the queue.
    pub queue_events: Gauge,
    /// Bytes in the queue.
    pub queue_bytes: Gauge,
    /// Bound of the queue, events.
    pub queue_max_events: Gauge,
    /// Bound of the queue, bytes.
    pub queue_max_bytes: Gauge,
    /// Events put into the queue.
    pub queue_added: Counter,
    /// Events that an output has taken; of several outputs the first one counts.
    pub queue_consumed: Counter,
    /// Events that left the queue's care: acknowledged or given up.
    pub queue_removed: Counter,
    /// Bytes put into the queue.
    pub queue_added_bytes: Counter,
    /// Their bytes.
    pub queue_consumed_bytes: Counter,
    /// Bytes that left the queue's care.
    pub queue_removed_bytes: Counter,
    /// Events handed to an output, each try counted.
    pub output_events: Family<OutputLabels, Counter>,
    /// Batches handed to an output.
    pub output_batches: Family<OutputLabels, Counter>,
    /// Events waiting for an output's answer.
    pub output_active: Family<OutputLabels, Gauge>,
    /// Events an output accepted.
    pub output_acked: Family<OutputLabels, Counter>,
    /// Events an output failed to take; they are sent again.
    pub output_failed: Family<OutputLabels, Counter>,
    /// Events an output had already.
    pub output_duplicates: Family<OutputLabels, Counter>,
    /// Events an output was too busy for (429); they are sent again.
    pub output_toomany: Family<OutputLabels, Counter>,
    /// Events in the dead-letter index or file.
    pub output_dead_letter: Family<OutputLabels, Counter>,
    /// Events given up.
    pub output_dropped: Family<DropLabels, Counter>,
    /// Batches split because they were too large.
    pub output_split: Family<OutputLabels, Counter>,
    /// Bytes written to an output.
    pub output_write_bytes: Family<OutputLabels, Counter>,
    /// Failed writes and connections.
    pub output_write_errors: Family<OutputLabels, Counter>,
    /// How long an output took for a batch, from the hand-over to its answer.
    pub output_write_latency: Family<OutputLabels, Latency>,
    /// As `output_write_latency`, of all outputs together; no series of its own.
    pub all_write_latency: Latency,
    /// Bytes of an output's answers.
    pub output_read_bytes: Family<OutputLabels, Counter>,
    /// Answers that did not come, or not whole.
    pub output_read_errors: Family<OutputLabels, Counter>,
    /// 1 while the output accepts batches, 0 while it fails.
    pub output_up: Family<OutputLabels, Gauge>,
    /// Exchanges with ECS that are not in the trace files.
    pub trace_dropped: Counter,
    /// Refused events that are not in the event data files.
    pub event_data_dropped: Counter,
    /// 1 while this instance works.
    pub leader: Gauge,
    /// Tries of requests to etcd, each at one member.
    pub dcs_requests: Family<DcsLabels, Counter>,
    /// How long such a try took, answered or not.
    pub dcs_request_duration: HistogramFamily<DcsOpLabels>,
    /// Until when the own certificates are valid.
    pub certificates: CertificateMetrics,
    /// How each command fares.
    pub commands: CommandMetrics,
    /// The series of the cluster.
    pub ha: HaMetrics,
    /// What every program tells.
    pub process: ProcessMetrics,
}

impl Metrics {
    /// All series, at zero.
    #[expect(clippy::too_many_lines, reason = "one line of registration for each series")]
    pub fn new() -> Self {
        let mut root = Registry::default();
        let ha = HaMetrics::register(&mut root);
        let certificates = CertificateMetrics::register(&mut root);
        let commands = CommandMetrics::register(&mut root);
        let process = ProcessMetrics::register(&mut root);
        let registry = root.sub_registry_with_prefix("ecsbeat");
        macro_rules! register {
            ($name:literal, $help:literal) => {{
                let metric = Default::default();
                registry.register($name, $help, Clone::clone(&metric));
                metric
            }};
            ($name:literal, $unit:expr, $help:literal) => {{
                let metric = Default::default();
                registry.register_with_unit($name, $help, $unit, Clone::clone(&metric));
                metric
            }};
        }
        let polls: Family<CommandLabels, Counter> = register!("polls", "Polls that were started");
        let poll_errors: Family<ReasonLabels, Counter> =
            register!("poll_errors", "Polls of a target that failed after all attempts");
        let missed_ticks: Family<CommandLabels, Counter> =
            register!("missed_ticks", "Ticks of gauge commands that were not polled");
        let events: Family<CommandLabels, Counter> = register!("events", "Events made");
        let filtered_events: Family<FilterLabels, Counter> =
            register!("filtered_events", "Events that a processor dropped");
        let processor_errors: Family<ProcessorLabels, Counter> =
            register!("processor_errors", "Failures of processors on an event");
        let processor_protected_fields: Family<ProcessorLabels, Counter> = register!(
            "processor_protected_fields",
            "Changes of fields that must stay, which processors were kept from"
        );
        let repeated_records: Family<CommandLabels, Counter> = register!(
            "repeated_records",
            "Records that were delivered before and not sent again"
        );
        let ecs_requests: Family<VdcLabels, Counter> = register!("ecs_requests", "Requests to ECS");
        let ecs_response_bytes: Family<VdcLabels, Counter> =
            register!("ecs_response", Unit::Bytes, "Bytes of answers of ECS");
        let logins: Family<VdcLabels, Counter> = register!("logins", "Logins at ECS");
        let login_errors: Family<VdcLabels, Counter> = register!("login_errors", "Failed logins at ECS");
        let nodes_blocked: Family<VdcLabels, Gauge> =
            register!("nodes_blocked", "Nodes left alone after failures");
        let queue_events: Gauge = register!("queue_filled_events", "Events in the queue");
        let queue_bytes: Gauge = register!("queue_filled", Unit::Bytes, "Bytes in the queue");
        let queue_max_events: Gauge = register!("queue_max_events", "Most events the queue holds");
        let queue_max_bytes: Gauge = register!("queue_max", Unit::Bytes, "Most bytes the queue holds");
        let queue_added: Counter = register!("queue_added_events", "Events put into the queue");
        let queue_consumed: Counter = register!("queue_consumed_events", "Events that an output has taken");
        let queue_removed: Counter = register!("queue_removed_events", "Events that left the queue");
        let queue_added_bytes: Counter = register!("queue_added", Unit::Bytes, "Bytes put into the queue");
        let queue_consumed_bytes: Counter =
            register!("queue_consumed", Unit::Bytes, "Bytes that an output has taken");
        let queue_removed_bytes: Counter =
            register!("queue_removed", Unit::Bytes, "Bytes that left the queue");
        let output_events: Family<OutputLabels, Counter> =
            register!("output_events", "Events handed to an output");
        let output_batches: Family<OutputLabels, Counter> =
            register!("output_batches", "Batches handed to an output");
        let output_active: Family<OutputLabels, Gauge> =
            register!("output_active_events", "Events waiting for an output's answer");
        let output_acked: Family<OutputLabels, Counter> =
            register!("output_acked_events", "Events an output accepted");
        let output_failed: Family<OutputLabels, Counter> =
            register!("output_failed_events", "Events that are sent again");
        let output_duplicates: Family<OutputLabels, Counter> =
            register!("output_duplicate_events", "Events an output had already");
        let output_toomany: Family<OutputLabels, Counter> =
            register!("output_toomany_events", "Events an output was too busy for");
        let output_dead_letter: Family<OutputLabels, Counter> = register!(
            "output_dead_letter_events",
            "Events in the dead-letter index or file"
        );
        let output_dropped: Family<DropLabels, Counter> =
            register!("output_dropped_events", "Events given up: lost to the output");
        let output_split: Family<OutputLabels, Counter> = register!(
            "output_split_batches",
            "Batches split because they were too large"
        );
        let output_write_bytes: Family<OutputLabels, Counter> =
            register!("output_write", Unit::Bytes, "Bytes written to an output");
        let output_write_errors: Family<OutputLabels, Counter> =
            register!("output_write_errors", "Failed writes and connections");
        let output_write_latency: Family<OutputLabels, Latency> = register!(
            "output_write_latency",
            Unit::Seconds,
            "How long an output took for a batch"
        );
        let output_read_bytes: Family<OutputLabels, Counter> =
            register!("output_read", Unit::Bytes, "Bytes of an output's answers");
        let output_read_errors: Family<OutputLabels, Counter> =
            register!("output_read_errors", "Answers that did not come, or not whole");
        let output_up: Family<OutputLabels, Gauge> =
            register!("output_up", "1 while the output accepts batches");
        let trace_dropped: Counter = register!(
            "trace_dropped_exchanges",
            "Exchanges with ECS that are not in the trace files"
        );
        let event_data_dropped: Counter = register!(
            "event_data_dropped_events",
            "Refused events that are not in the event data files"
        );
        let leader: Gauge = register!("leader", "1 while this instance works");
        let dcs_requests: Family<DcsLabels, Counter> =
            register!("dcs_requests", "Tries of requests to etcd, each at one member");
        let dcs_request_duration: HistogramFamily<DcsOpLabels> =
            Family::new_with_constructor(|| Histogram::new(DCS_SECONDS));
        registry.register_with_unit(
            "dcs_request_duration",
            "How long a try of a request to etcd took",
            Unit::Seconds,
            dcs_request_duration.clone(),
        );
        let build = Info::new([
            ("version", crate::version::VERSION),
            ("commit", crate::version::COMMIT),
        ]);
        registry.register("build", "Which build this is", build);
        Self {
            polls,
            poll_errors,
            missed_ticks,
            events,
            filtered_events,
            processor_errors,
            processor_protected_fields,
            repeated_records,
            ecs_requests,
            ecs_response_bytes,
            logins,
            login_errors,
            nodes_blocked,
            queue_events,
            queue_bytes,
            queue_max_events,
            queue_max_bytes,
            queue_added,
            queue_consumed,
            queue_removed,
            queue_added_bytes,
            queue_consumed_bytes,
            queue_removed_bytes,
            output_events,
            output_batches,
            output_active,
            output_acked,
            output_failed,
            output_duplicates,
            output_toomany,
            output_dead_letter,
            output_dropped,
            output_split,
            output_write_bytes,
            output_write_errors,
            output_write_latency,
            all_write_latency: Latency::default(),
            output_read_bytes,
            output_read_errors,
            output_up,
            trace_dropped,
            event_data_dropped,
            leader,
            dcs_requests,
            dcs_request_duration,
            certificates,
            commands,
            ha,
            process,
            registry: Arc::new(root),
        }
    }

    /// A tenure is over: what its units and outputs did last says nothing about now, and would start alarms.
    pub fn forget_work(&self) {
        self.commands.forget();
        self.output_up.clear();
        self.nodes_blocked.clear();
    }

    /// All series in the text format of `OpenMetrics`.
    pub fn openmetrics(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// All series in the text format of Prometheus, version 0.0.4.
    pub fn prometheus(&self) -> Result<String, std::fmt::Error> {
        Ok(exposition::classic(&self.openmetrics()?))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_former_leader_has_no_outputs_or_nodes_and_keeps_its_counts() {
        let metrics = Metrics::new();
        let command = CommandLabels {
            customer: "EMC".to_owned(),
            vdc: "VDC1".to_owned(),
            command: "alert".to_owned(),
        };
        metrics.events.get_or_create(&command).inc();
        let file = OutputLabels { output: "file" };
        metrics.output_up.get_or_create(&file).set(0);
        let vdc = VdcLabels {
            customer: "EMC".to_owned(),
            vdc: "VDC1".to_owned(),
        };
        metrics.nodes_blocked.get_or_create(&vdc).set(1);
        metrics.forget_work();
        let text = metrics.prometheus().unwrap();
        for absent in ["output_up", "nodes_blocked"] {
            assert!(!text.contains(absent), "{text}");
        }
        assert!(text.contains("ecsbeat_events_total{"), "{text}");
    }

    #[test]
    fn renders_counters_with_their_labels() {
        let metrics = Metrics::new();
        metrics
            .output_acked
            .get_or_create(&OutputLabels { output: "file" })
            .inc_by(3);
        let text = metrics.prometheus().unwrap();
        assert!(
            text.contains("ecsbeat_output_acked_events_total{output=\"file\"} 3"),
            "{text}"
        );
        assert!(text.contains("ecsbeat_queue_filled_bytes 0"), "{text}");
    }
}
