//! When to poll, and when a checkpoint moves.
//!
//! Owns the running of units: gauge commands (the present state, once a tick) and windowed ones (spans of time,
//! without gap). A poll of a target never overlaps itself; a checkpoint moves only when every event up to it has
//! ended well. Knows nothing of how a poll is done.

mod gauge;
mod tick;
mod windowed;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::{Checkpoint, Store};
use crate::collect::Unit;
use crate::ecs::EcsError;
use crate::status::{Status, UnitKey, UnitStatus};

/// What all running units share.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where checkpoints are kept.
    pub store: Store,
    /// Where each unit tells how it fares.
    pub status: Arc<Status>,
    /// Each unit polls once and ends.
    pub once: bool,
    /// The span over which polls that are due together are spread.
    pub jitter: Duration,
    /// How far back a windowed command reaches.
    pub max_catch_up: Duration,
    /// No tick begins after this; running polls end, and acknowledgements are waited for.
    pub stop: CancellationToken,
}

/// How a unit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// No target failed and every event was acknowledged.
    pub well: bool,
}

/// Polls a unit until `plan.stop` (or once), and comes back when the last acknowledgement is in. Dropping it
/// midway loses nothing: what was not acknowledged is polled again after the next start.
pub async fn run(unit: Unit, plan: Plan) -> Ended {
    let unit = Arc::new(unit);
    windowed::begin_far_back(&unit, &plan).await;
    tokio::select! {
        () = unit.prepared() => {}
        () = plan.stop.cancelled() => return Ended { well: false },
    }
    let progress = Progress::new(Arc::clone(&unit), &plan);
    let slot = Arc::clone(&progress.slot);
    let ended = if unit.command.window.is_some() {
        windowed::run(unit, plan, progress).await
    } else {
        gauge::run(unit, plan, progress).await
    };
    slot.rcu(|now| UnitStatus {
        ended: true,
        ..UnitStatus::clone(now)
    });
    ended
}

/// A unit's status, metrics and log lines.
struct Progress {
    unit: Arc<Unit>,
    slot: Arc<arc_swap::ArcSwap<UnitStatus>>,
    now: UnitStatus,
}

impl Progress {
    fn new(unit: Arc<Unit>, plan: &Plan) -> Self {
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
        Self { unit, slot, now }
    }

    /// A poll has ended. An error is logged when it begins and when it changes.
    fn polled(&mut self, tick: Timestamp, took: Duration, events: u64, errors: &[EcsError]) {
        let unit = &self.unit;
        self.now.last_tick = Some(tick);
        self.now.last_duration = took;
        self.now.last_events = events;
        self.now.events += events;
        if let Some(error) = errors.first() {
            let text = error.to_string();
            let known = self.now.last_error.as_ref() == Some(&text);
            self.now.failures += 1;
            if known {
                tracing::debug!(stream = %unit.stream, error = text, failures = self.now.failures, "poll failed again");
            } else {
                tracing::warn!(stream = %unit.stream, error = text, errors = errors.len(), "poll failed");
            }
            self.now.last_error = Some(text);
        } else {
            if self.now.failures > 0 {
                tracing::info!(stream = %unit.stream, failures = self.now.failures, "polling works again");
            }
            self.now.failures = 0;
            self.now.last_error = None;
            self.now.last_success = Some(tick);
            let gauge = unit
                .context
                .metrics
                .last_success
                .get_or_create(&unit.labels())
                .clone();
            gauge.set(tick.as_millisecond() as f64 / 1000.0);
        }
        tracing::debug!(stream = %unit.stream, %tick, events, took_ms = took.as_millis(), "polled");
        self.show();
    }

    fn missed(&mut self, ticks: u64) {
        if ticks > 0 {
            self.now.missed_ticks += ticks;
            self.unit
                .context
                .metrics
                .missed_ticks
                .get_or_create(&self.unit.labels())
                .inc_by(ticks);
            tracing::warn!(stream = %self.unit.stream, ticks, "ticks were missed");
            self.show();
        }
    }

    fn delivered(&mut self, until: Timestamp) {
        self.now.checkpoint = Some(until);
        self.lag();
        self.show();
    }

    /// Keeps the lag of a windowed command up to date, also while nothing moves.
    fn lag(&self) {
        if let Some(until) = self.now.checkpoint {
            let unit = &self.unit;
            let lag = unit.context.clock.now().duration_since(until).as_secs_f64();
            unit.context
                .metrics
                .checkpoint_lag
                .get_or_create(&unit.labels())
                .set(lag);
        }
    }

    fn show(&self) {
        self.slot.store(Arc::new(self.now.clone()));
    }
}

/// Writes a checkpoint. A failure is told and gone over: the next one holds this one's progress too.
async fn save(plan: &Plan, unit: &Unit, checkpoint: Checkpoint) {
    // A deposed leader may not write.
    if !unit.context.tenure.is_live() {
        return;
    }
    if let Err(error) = plan.store.save(&unit.stream, checkpoint).await {
        tracing::error!(stream = %unit.stream, %error, "the checkpoint was not written");
    }
}
