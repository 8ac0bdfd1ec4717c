//! What the election tells in the log and counts.
//!
//! Owns the words. The text of a line never changes, fields carry what differs, so that alerts can be built on them;
//! what repeats is told when it begins and then once a second at most. How things stand is told every five minutes
//! besides, so that a log that was rotated says it too.

use std::time::Duration;

use jiff::Timestamp;

use crate::clock::since_boot;
use crate::election::machine::Note;
use crate::status::{Leadership, State};
use crate::telemetry::metrics_ha::{CauseLabels, HaMetrics, ResultLabels, TransitionLabels, seconds};

/// Time between two lines about renewals that fail.
const REPEAT: Duration = Duration::from_secs(1);
/// Time between two lines about how things stand.
const SUMMARY: Duration = Duration::from_secs(300);

/// What was told last.
#[derive(Debug)]
pub(super) struct Notes {
    metrics: HaMetrics,
    /// The state that was told last, and why it is left.
    state: State,
    cause: &'static str,
    /// The lease was renewed since the last turn.
    renewed: bool,
    renewals_fail_since: Option<Duration>,
    told_at: Option<Duration>,
    attempts: u64,
    failing: Option<(&'static str, String)>,
    standing_by: Option<(u64, Option<String>)>,
    unreachable: bool,
    mismatch: bool,
    barred: Option<&'static str>,
    paused: bool,
    /// Since when work is being ended in order.
    draining_since: Option<Duration>,
    /// Time since boot of the next summary.
    summary_at: Duration,
}

impl Notes {
    pub(super) fn new(metrics: HaMetrics) -> Self {
        Self {
            metrics,
            state: State::Starting,
            cause: "none",
            renewed: false,
            renewals_fail_since: None,
            told_at: None,
            attempts: 0,
            failing: None,
            standing_by: None,
            unreachable: false,
            mismatch: false,
            barred: None,
            paused: false,
            draining_since: None,
            summary_at: since_boot() + SUMMARY,
        }
    }

    /// The loop has come round once.
    pub(super) fn turned(&self, took: Duration) {
        self.metrics.loop_duration.observe(took.as_secs_f64());
    }

    /// Counts what happened.
    fn count(&mut self, note: &Note) {
        let renewal = |result| {
            self.metrics
                .renewals
                .get_or_create(&ResultLabels { result })
                .inc()
        };
        match note {
            Note::Renewed { took } => {
                renewal("ok");
                self.renewed = true;
                self.metrics.renew_duration.observe(took.as_secs_f64());
            }
            Note::RenewalFailed { .. } => {
                renewal("failed");
            }
            Note::Acquired { reason, gap, .. } => {
                self.cause = reason.as_str();
                if let Some(gap) = gap {
                    let cause = CauseLabels {
                        reason: reason.as_str(),
                    };
                    self.metrics
                        .failover_gap
                        .get_or_create(&cause)
                        .observe(gap.as_secs_f64());
                }
            }
            Note::Released { reason, .. } => self.cause = reason.as_str(),
            Note::Lost { why, .. } => self.cause = why.as_str(),
            _ => {}
        }
    }

    /// Something happened.
    pub(super) fn tell(&mut self, note: &Note) {
        self.count(note);
        match note {
            Note::Joined(lease) => tracing::info!(lease_id = format!("{lease:x}"), "joined the cluster"),
            Note::NameHeld {
                incarnation,
                patience,
            } => tracing::warn!(
                incarnation,
                patience_s = patience.as_secs(),
                "ha.instance is held by another process; waiting for its lease to end, in case it is dead"
            ),
            Note::Acquired {
                term,
                lease,
                from,
                reason,
                gap,
            } => tracing::info!(
                term,
                lease_id = format!("{lease:x}"),
                previous = from.as_deref().unwrap_or("none"),
                reason = reason.as_str(),
                gap_ms = gap.map(|gap| gap.as_millis()),
                "acquired leadership"
            ),
            Note::Released { term, reason } => tracing::info!(
                term,
                reason = reason.as_str(),
                drain_ms =
                    (self.draining_since.take()).map(|since| since_boot().saturating_sub(since).as_millis()),
                "released leadership"
            ),
            Note::Lost { term, why, since_ack } => tracing::error!(
                term,
                reason = why.as_str(),
                since_last_ack_ms = since_ack.as_millis(),
                "lost leadership"
            ),
            Note::Renewed { .. } => {
                if let Some(since) = self.renewals_fail_since.take() {
                    let failed_for = since_boot().saturating_sub(since);
                    tracing::info!(
                        failed_for_ms = failed_for.as_millis(),
                        "lease renewal works again"
                    );
                }
                self.told_at = None;
                self.attempts = 0;
                self.failing = None;
            }
            Note::RenewalFailed { error, left } => self.renewal_failed(error, *left),
            Note::Failed { what, error } => {
                let failing = (*what, error.clone());
                if self.failing.as_ref() == Some(&failing) {
                    tracing::debug!(what, error, "etcd request failed again");
                } else {
                    tracing::warn!(what, error, "etcd request failed, retrying");
                    self.failing = Some(failing);
                }
            }
            Note::TermRegressed { term, known } => tracing::error!(
                term,
                known,
                "the term is lower than one that was known: etcd was restored from an older snapshot; this instance does not lead until it is restarted. Restore with `etcdutl snapshot restore --bump-revision`"
            ),
            Note::Vacant { term, wait } => tracing::warn!(
                term,
                wait_ms = wait.as_millis(),
                "nobody leads, and the former leader has not said that it has stopped: taken over when its lease has run out for certain"
            ),
            Note::SwitchoverDropped { candidate } => tracing::warn!(
                candidate = candidate.as_deref().unwrap_or("any"),
                "switchover taken back: there is no such member now"
            ),
        }
    }

    fn renewal_failed(&mut self, error: &str, left: Duration) {
        let now = since_boot();
        self.renewals_fail_since.get_or_insert(now);
        self.attempts += 1;
        if self.told_at.is_none_or(|at| now >= at + REPEAT) {
            self.told_at = Some(now);
            tracing::warn!(
                error,
                remaining_ms = left.as_millis(),
                attempt = self.attempts,
                "lease renewal failed, retrying"
            );
        }
    }

    /// How things stand now; told where it differs from before.
    pub(super) fn stand(&mut self, state: State, leadership: &Leadership, now: Timestamp) {
        if state != self.state {
            let labels = TransitionLabels {
                from: self.state.as_str(),
                to: state.as_str(),
                reason: self.cause,
            };
            self.metrics.transitions.get_or_create(&labels).inc();
            self.state = state;
            self.cause = "none";
            self.draining_since = (state == State::Draining).then(since_boot);
        }
        if std::mem::take(&mut self.renewed) {
            self.metrics.last_renew.tell(Some(seconds(now)));
        }
        let leader = leadership.leader.as_ref().map(|leader| leader.name.to_string());
        if state == State::Standby {
            let now = (leadership.term, leader.clone());
            // Between two leaders there is nothing to tell.
            let told = self.standing_by.is_some() && leader.is_none();
            if !told && self.standing_by.as_ref() != Some(&now) {
                tracing::info!(
                    leader = leader.as_deref().unwrap_or("none"),
                    term = leadership.term,
                    "standing by"
                );
                self.standing_by = Some(now);
            }
        } else if state != State::Candidate {
            self.standing_by = None;
        }
        let unreachable = !leadership.dcs_reachable && state != State::Starting;
        if unreachable != self.unreachable {
            self.unreachable = unreachable;
            if unreachable {
                tracing::warn!("etcd does not answer");
            } else {
                tracing::info!("etcd answers");
            }
        }
        if leader.is_some() && leadership.config_mismatch != self.mismatch {
            self.mismatch = leadership.config_mismatch;
            if self.mismatch {
                tracing::warn!(
                    leader = leader.as_deref().unwrap_or("none"),
                    "config differs from leader; give every replica the same file"
                );
            } else {
                tracing::info!("config is the same as the leader's");
            }
        }
        if leadership.barred != self.barred {
            self.barred = leadership.barred;
            if let Some(reason) = self.barred {
                tracing::warn!(reason, "this instance may not lead");
            } else {
                tracing::info!("this instance may lead");
            }
        }
        if leadership.paused != self.paused {
            self.paused = leadership.paused;
            if self.paused {
                tracing::warn!("the cluster is paused: nobody takes over until it is resumed");
            } else {
                tracing::info!("the cluster is resumed");
            }
        }
        if self.summary_is_due(since_boot()) {
            tracing::info!(
                state = state.as_str(),
                leader = leader.as_deref().unwrap_or("none"),
                term = leadership.term,
                remaining_ms = leadership.remaining(since_boot()).map(|left| left.as_millis()),
                etcd_answers = leadership.dcs_reachable,
                paused = leadership.paused,
                "the cluster as it stands"
            );
        }
    }

    /// Whether it is told how things stand; the next time after [`SUMMARY`].
    fn summary_is_due(&mut self, now: Duration) -> bool {
        let due = now >= self.summary_at;
        if due {
            self.summary_at = now + SUMMARY;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn how_things_stand_is_told_every_five_minutes() {
        let mut notes = Notes::new(Metrics::new().ha);
        let begin = notes.summary_at;
        let second = Duration::from_secs(1);
        assert!(begin > since_boot() + 290 * second);
        assert!(!notes.summary_is_due(begin.saturating_sub(second)));
        assert!(notes.summary_is_due(begin));
        assert!(!notes.summary_is_due(begin + 299 * second));
        // A machine that slept for long tells it once.
        assert!(notes.summary_is_due(begin + 3000 * second));
        assert!(!notes.summary_is_due(begin + 3001 * second));
    }
}
