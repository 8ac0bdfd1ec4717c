//! How a unit fares, for those who look.
//!
//! Owns a unit's status, its gauges and its lines in the log: a trouble is told when it begins, at growing intervals
//! while it lasts, and when it is over. Decides nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::Plan;
use super::unsupported::is_lack;
use crate::collect::Unit;
use crate::ecs::EcsError;
use crate::status::{UnitKey, UnitStatus};
use crate::telemetry::repeat::Lasting;

/// A unit's status, metrics and log lines.
pub(super) struct Progress {
    unit: Arc<Unit>,
    slot: Arc<ArcSwap<UnitStatus>>,
    now: UnitStatus,
    /// By the word for the reason: another reason is another trouble.
    troubles: HashMap<&'static str, Lasting>,
    missing: Lasting,
    /// Since the last success it was told that ECS lacks the API.
    told_unsupported: bool,
}

impl Progress {
    pub(super) fn new(unit: Arc<Unit>, plan: &Plan) -> Self {
        let stream = &unit.stream;
        let key = UnitKey {
            customer: Arc::clone(&stream.customer),
            vdc: Arc::clone(&stream.vdc),
            command: Arc::clone(&stream.command),
        };
        let slot = plan.status.unit(&key);
        let now = UnitStatus {
            interval: unit.command.interval,
            ..UnitStatus::default()
        };
        slot.store(Arc::new(now.clone()));
        // There from the start, at zero: what appears with its first miss would not be seen to have grown.
        drop(unit.context.metrics.missed_ticks.get_or_create(&unit.labels()));
        Self {
            unit,
            slot,
            now,
            troubles: HashMap::new(),
            missing: Lasting::default(),
            told_unsupported: false,
        }
    }

    /// A poll has ended.
    pub(super) fn polled(&mut self, tick: Timestamp, took: Duration, events: u64, errors: &[EcsError]) {
        self.now.last_tick = Some(tick);
        self.now.last_duration = took;
        self.now.last_events = events;
        self.now.events += events;
        self.now.unsupported = is_lack(errors);
        // What can be helped is more worth a line than what cannot.
        let lacks = |error: &&EcsError| matches!(error, EcsError::Unsupported { .. });
        match errors.iter().find(|error| !lacks(error)).or(errors.first()) {
            Some(error) => self.failed(error, errors),
            None => self.succeeded(tick),
        }
        tracing::debug!(stream = %self.unit.stream, %tick, events, took_ms = took.as_millis(), "polled");
        self.show();
    }

    /// Whether the last poll found that ECS lacks the API.
    pub(super) fn is_unsupported(&self) -> bool {
        self.now.unsupported
    }

    fn failed(&mut self, error: &EcsError, errors: &[EcsError]) {
        let stream = &self.unit.stream;
        let text = error.to_string();
        self.now.failures += 1;
        let failures = self.now.failures;
        let told = if self.now.unsupported {
            (!std::mem::replace(&mut self.told_unsupported, true)).then_some(failures)
        } else if *error == EcsError::Stopped {
            None
        } else {
            self.troubles.entry(error.reason()).or_default().happened()
        };
        match told {
            None => tracing::debug!(%stream, error = text, failures, "poll failed again"),
            Some(_) if self.now.unsupported => tracing::warn!(
                %stream,
                error = text,
                "this release of ECS has no such API: it is asked again less and less often, at last once an hour, and \
                 when the release changes; set `enabled: false` for the command to leave it out"
            ),
            Some(times) => {
                tracing::warn!(%stream, error = text, errors = errors.len(), times, "poll failed");
            }
        }
        self.now.last_error = Some(text);
    }

    fn succeeded(&mut self, tick: Timestamp) {
        let unit = &self.unit;
        let mut told = std::mem::take(&mut self.told_unsupported);
        for trouble in self.troubles.values() {
            told |= trouble.over().is_some();
        }
        if told {
            tracing::info!(stream = %unit.stream, failures = self.now.failures, "polling works again");
        }
        self.now.failures = 0;
        self.now.last_error = None;
        self.now.last_success = Some(tick);
    }

    /// Ticks that passed before the start, when nobody led or the process did not run.
    pub(super) fn unpolled(&mut self, ticks: u64) {
        if ticks > 0 {
            self.count_missed(ticks);
            tracing::info!(stream = %self.unit.stream, ticks, "ticks passed while nobody polled");
            self.show();
        }
    }

    fn count_missed(&mut self, ticks: u64) {
        self.now.missed_ticks += ticks;
        let metrics = &self.unit.context.metrics.missed_ticks;
        metrics.get_or_create(&self.unit.labels()).inc_by(ticks);
    }

    pub(super) fn missed(&mut self, ticks: u64) {
        if ticks > 0 {
            self.count_missed(ticks);
            if let Some(times) = self.missing.happened() {
                tracing::warn!(
                    stream = %self.unit.stream, ticks, times,
                    "ticks were missed: a poll took longer than the interval, or the queue was full"
                );
            } else {
                tracing::debug!(stream = %self.unit.stream, ticks, "ticks were missed again");
            }
            self.show();
        }
    }

    pub(super) fn delivered(&mut self, until: Timestamp) {
        self.now.checkpoint = Some(until);
        self.show();
    }

    /// Tells, once it is called, that the unit has ended.
    pub(super) fn ending(&self) -> impl FnOnce() + Send + use<> {
        let slot = Arc::clone(&self.slot);
        move || {
            slot.rcu(|now| UnitStatus {
                ended: true,
                ..UnitStatus::clone(now)
            });
        }
    }

    fn show(&self) {
        self.slot.store(Arc::new(self.now.clone()));
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::checkpoint::{Checkpoint, FileStore, Store};
    use crate::config::Level;
    use crate::schedule::gauge::tests::{lack, unit};
    use crate::schedule::save;
    use crate::status::Status;
    use crate::telemetry::log::tests::lines;

    fn plan(directory: &std::path::Path) -> Plan {
        Plan {
            store: Store::File(FileStore::open(directory).unwrap().0),
            status: Arc::new(Status::new(Timestamp::UNIX_EPOCH)),
            once: false,
            jitter: Duration::ZERO,
            max_catch_up: Duration::from_secs(3600),
            stop: CancellationToken::new(),
            unwritten: Arc::default(),
        }
    }

    /// What these lines say, in a word each.
    fn messages(lines: &[serde_json::Value]) -> Vec<&'static str> {
        const WORDS: [(&str, &str); 5] = [
            ("this release of ECS has no such API", "unsupported"),
            ("poll failed", "failed"),
            ("polling works again", "works"),
            ("the checkpoint was not written", "unwritten"),
            ("checkpoints are written again", "written"),
        ];
        let word = |line: &serde_json::Value| {
            let message = line["message"].as_str().unwrap();
            let found = WORDS.iter().find(|(begin, _)| message.starts_with(begin));
            found.unwrap_or_else(|| panic!("{line}")).1
        };
        lines.iter().map(word).collect()
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    #[test]
    fn a_failure_is_told_once_and_an_api_that_is_not_there_is_none() {
        let runtime = runtime();
        let _entered = runtime.enter();
        let directory = tempfile::tempdir().unwrap();
        let plan = plan(directory.path());
        let (unit, _line) = unit(Level::Vdc);
        let mut progress = Progress::new(Arc::clone(&unit), &plan);
        let slot = Arc::clone(&progress.slot);
        let transport = |node: &str| EcsError::Transport {
            node: node.to_owned(),
            message: "refused".to_owned(),
        };
        let mut polled = |errors: &[EcsError]| {
            progress.polled(Timestamp::UNIX_EPOCH, Duration::ZERO, 0, errors);
        };
        let told = lines(|| {
            polled(&[transport("a")]);
            polled(&[transport("b")]);
            polled(&[]);
            polled(&[lack()]);
            polled(&[lack()]);
            assert!(slot.load().unsupported);
            // One node has it and fails, another does not have it.
            polled(&[lack(), transport("a")]);
            assert!(!slot.load().unsupported);
            polled(&[lack()]);
            polled(&[]);
        });
        assert_eq!(
            messages(&told),
            ["failed", "works", "unsupported", "works"],
            "{told:#?}"
        );
        assert_eq!(told[1]["failures"], 2);
        assert!(!slot.load().unsupported && slot.load().last_error.is_none());
    }

    #[test]
    fn what_is_not_there_is_neither_late_nor_fails() {
        let runtime = runtime();
        let _entered = runtime.enter();
        let directory = tempfile::tempdir().unwrap();
        let (unit, _line) = unit(Level::Vdc);
        let metrics = unit.context.metrics.clone();
        let plan = plan(directory.path());
        let mut progress = Progress::new(unit, &plan);
        progress.polled(Timestamp::UNIX_EPOCH, Duration::ZERO, 0, &[]);
        progress.delivered(Timestamp::UNIX_EPOCH);
        let series = || {
            metrics.commands.observe(&plan.status, Timestamp::UNIX_EPOCH);
            metrics.prometheus().unwrap()
        };
        let told = || {
            [
                "checkpoint_lag_seconds{",
                "last_success_timestamp_seconds{",
                "consecutive_failed_polls{",
            ]
            .map(|name| series().contains(name))
        };
        assert_eq!(told(), [true; 3], "{}", series());
        progress.polled(Timestamp::UNIX_EPOCH, Duration::ZERO, 0, &[lack()]);
        assert_eq!(told(), [false; 3], "{}", series());
        // What else goes wrong with it does count.
        let error = EcsError::Transport {
            node: "a".to_owned(),
            message: "refused".to_owned(),
        };
        progress.polled(Timestamp::UNIX_EPOCH, Duration::ZERO, 0, &[lack(), error]);
        assert_eq!(told(), [true; 3], "{}", series());
    }

    #[test]
    fn checkpoints_that_cannot_be_written_are_told_once_for_all_streams() {
        let runtime = runtime();
        let _entered = runtime.enter();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        let plan = plan(&path);
        let (unit, _line) = unit(Level::Vdc);
        let write = |times: usize| {
            for _ in 0..times {
                runtime.block_on(save(&plan, &unit, Checkpoint::default()));
            }
        };
        let told = lines(|| {
            write(1);
            std::fs::remove_dir_all(&path).unwrap();
            write(5);
            std::fs::create_dir(&path).unwrap();
            write(2);
        });
        assert_eq!(messages(&told), ["unwritten", "written"], "{told:#?}");
        assert_eq!(told[1]["failures"], 5);
    }
}
