//! The series of the commands: when each succeeded, how far behind it is.
//!
//! Owns [`CommandMetrics`]. Nothing of it is kept up to date by anybody: [`CommandMetrics::observe`] takes it from
//! [`Status`] when somebody is about to read, so that the lag grows also while a poll, or an output, hangs. On an
//! instance that does not work there are none.

use jiff::Timestamp;
use prometheus_client::registry::{Registry, Unit};

use super::metrics::CommandLabels;
use super::metrics_ha::seconds;
use super::snapshot::Snapshot;
use crate::status::{Status, UnitStatus};

/// What is told of each command of each VDC.
#[derive(Debug, Clone, Default)]
pub struct CommandMetrics {
    interval: Snapshot<CommandLabels>,
    last_success: Snapshot<CommandLabels>,
    last_duration: Snapshot<CommandLabels>,
    failures: Snapshot<CommandLabels>,
    lag: Snapshot<CommandLabels>,
}

impl CommandMetrics {
    /// All series, registered below `root`, which has no prefix.
    pub(super) fn register(root: &mut Registry) -> Self {
        let registry = root.sub_registry_with_prefix("ecsbeat");
        let metrics = Self::default();
        for (name, help, gauge) in [
            (
                "poll_interval",
                "Time between two ticks of a command",
                &metrics.interval,
            ),
            (
                "last_success_timestamp",
                "The last tick that a command was polled for without an error",
                &metrics.last_success,
            ),
            (
                "last_poll_duration",
                "How long the last poll of a command took, acknowledgement not included",
                &metrics.last_duration,
            ),
            (
                "checkpoint_lag",
                "How far the checkpoint of a windowed command is behind the clock",
                &metrics.lag,
            ),
        ] {
            registry.register_with_unit(name, help, Unit::Seconds, gauge.clone());
        }
        registry.register(
            "consecutive_failed_polls",
            "Polls of a command that failed since the last one that did not",
            metrics.failures.clone(),
        );
        metrics
    }

    /// Takes how the commands fare at this moment. For whoever is about to read.
    pub fn observe(&self, status: &Status, now: Timestamp) {
        let units = status.units();
        let tell = |gauge: &Snapshot<CommandLabels>, value: &dyn Fn(&UnitStatus) -> Option<f64>| {
            let values = units.iter().filter_map(|(key, unit)| {
                let labels = CommandLabels {
                    customer: key.customer.to_string(),
                    vdc: key.vdc.to_string(),
                    command: key.command.to_string(),
                };
                Some((labels, value(unit)?))
            });
            gauge.tell(values.collect());
        };
        tell(&self.interval, &|unit| Some(unit.interval.as_secs_f64()));
        // What ECS does not have is not late.
        tell(&self.last_success, &|unit| {
            unit.last_success.filter(|_| !unit.unsupported).map(seconds)
        });
        tell(&self.last_duration, &|unit| {
            unit.last_tick.map(|_| unit.last_duration.as_secs_f64())
        });
        // Nor does it fail: absent and not 0, which would say of a VDC that is away that something of it works.
        tell(&self.failures, &|unit| {
            (!unit.unsupported).then_some(unit.failures as f64)
        });
        tell(&self.lag, &|unit| {
            let lag = now
                .duration_since(unit.checkpoint.filter(|_| !unit.unsupported)?)
                .as_secs_f64();
            Some(lag.max(0.0))
        });
    }

    /// A tenure is over.
    pub(super) fn forget(&self) {
        for gauge in [
            &self.interval,
            &self.last_success,
            &self.last_duration,
            &self.failures,
            &self.lag,
        ] {
            gauge.tell(Vec::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::status::UnitKey;
    use crate::telemetry::metrics::Metrics;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn told(metrics: &Metrics, name: &str) -> Vec<String> {
        let text = metrics.prometheus().unwrap();
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn the_lag_grows_while_nothing_moves() {
        let (metrics, status) = (Metrics::new(), Status::new(at(0)));
        let key = UnitKey {
            customer: "EMC".into(),
            vdc: "VDC1".into(),
            command: "alert".into(),
        };
        let slot = status.unit(&key);
        metrics.commands.observe(&status, at(10));
        let labels = "{customer=\"EMC\",vdc=\"VDC1\",command=\"alert\"}";
        for absent in ["checkpoint_lag", "last_success_timestamp", "last_poll_duration"] {
            assert!(
                told(&metrics, &format!("ecsbeat_{absent}_seconds")).is_empty(),
                "{absent}"
            );
        }
        slot.store(Arc::new(UnitStatus {
            interval: Duration::from_secs(60),
            last_tick: Some(at(120)),
            last_success: Some(at(60)),
            last_duration: Duration::from_millis(1500),
            checkpoint: Some(at(40)),
            failures: 2,
            ..UnitStatus::default()
        }));
        for (now, lag) in [(130, "90.0"), (190, "150.0"), (39, "0.0")] {
            metrics.commands.observe(&status, at(now));
            let name = "ecsbeat_checkpoint_lag_seconds";
            assert_eq!(told(&metrics, name), [format!("{name}{labels} {lag}")]);
        }
        for (name, value) in [
            ("poll_interval_seconds", "60.0"),
            ("last_success_timestamp_seconds", "60.0"),
            ("last_poll_duration_seconds", "1.5"),
            ("consecutive_failed_polls", "2.0"),
        ] {
            let name = format!("ecsbeat_{name}");
            assert_eq!(told(&metrics, &name), [format!("{name}{labels} {value}")]);
        }
        metrics.forget_work();
        assert!(
            told(&metrics, "ecsbeat_checkpoint_lag").is_empty(),
            "a former leader has no lag"
        );
        status.forget_units();
        metrics.commands.observe(&status, at(200));
        assert!(told(&metrics, "ecsbeat_poll_interval").is_empty());
    }
}
