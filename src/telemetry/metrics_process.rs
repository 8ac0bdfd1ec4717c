//! The series that every program tells under the same names: `process_*`.
//!
//! Owns [`ProcessMetrics`]. The kernel is asked when somebody reads; what it does not say is absent.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::known::Known;
use super::metrics_ha::seconds;
use super::process::ProcessStats;
use crate::status::Status;

/// What is told of the process.
#[derive(Debug, Clone)]
pub struct ProcessMetrics {
    start_time: Known<f64>,
}

/// Asks the kernel.
#[derive(Debug)]
struct Kernel;

impl ProcessMetrics {
    /// All series, registered with `root`, which has no prefix.
    pub(super) fn register(root: &mut Registry) -> Self {
        root.register_collector(Box::new(Kernel));
        let start_time = Known::default();
        root.register_with_unit(
            "process_start_time",
            "When the process started",
            Unit::Seconds,
            start_time.clone(),
        );
        Self { start_time }
    }

    /// Takes what the snapshots say. For whoever is about to read.
    pub fn observe(&self, status: &Status) {
        self.start_time.tell(Some(seconds(status.started())));
    }
}

impl Collector for Kernel {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let stats = ProcessStats::read();
        if let (Some(user), Some(system)) = (stats.user_ms, stats.system_ms) {
            let cpu = ConstCounter::new((user + system) as f64 / 1000.0);
            let help = "CPU time, of the program and of the kernel for it.";
            let seconds = Some(&Unit::Seconds);
            cpu.encode(encoder.encode_descriptor("process_cpu", help, seconds, cpu.metric_type())?)?;
        }
        for (name, unit, help, value) in [
            (
                "process_resident_memory",
                Some(&Unit::Bytes),
                "Memory in use.",
                stats.rss,
            ),
            ("process_open_fds", None, "Open files and sockets.", stats.handles),
            (
                "process_max_fds",
                None,
                "Most files and sockets that may be open.",
                stats.handles_soft,
            ),
        ] {
            if let Some(value) = value {
                let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
                gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn the_names_are_those_of_all_programs() {
        let metrics = Metrics::new();
        let status = Status::new(Timestamp::UNIX_EPOCH + Duration::from_secs(5));
        metrics.process.observe(&status);
        let text = metrics.prometheus().unwrap();
        for name in [
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_max_fds",
            "process_start_time_seconds",
        ] {
            assert!(text.contains(&format!("# TYPE {name} ")), "{name}\n{text}");
            assert!(
                text.lines().any(|line| line.starts_with(&format!("{name} "))),
                "{name}\n{text}"
            );
        }
        assert!(text.contains("process_start_time_seconds 5.0\n"), "{text}");
    }
}
