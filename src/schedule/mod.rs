//! When to poll, and when a checkpoint moves.
//!
//! Owns the running of units: gauge commands (the present state, once a tick) and windowed ones (spans of time,
//! without gap). A poll of a target never overlaps itself; a checkpoint moves only when every event up to it has
//! ended well. Knows nothing of how a poll is done.

mod gauge;
mod progress;
mod tick;
mod unsupported;
mod windowed;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::checkpoint::{Checkpoint, Store};
use crate::collect::Unit;
use crate::status::Status;
use crate::telemetry::repeat::Lasting;
use progress::Progress;

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
    /// Checkpoints cannot be written: one trouble, whichever stream meets it.
    pub unwritten: Arc<Lasting>,
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
    let ending = progress.ending();
    let ended = if unit.command.window.is_some() {
        windowed::run(unit, plan, progress).await
    } else {
        gauge::run(unit, plan, progress).await
    };
    ending();
    ended
}

/// Writes a checkpoint. A failure is told, not at each try, and gone over: the next one holds this one's progress too.
async fn save(plan: &Plan, unit: &Unit, checkpoint: Checkpoint) {
    // A deposed leader may not write.
    if !unit.context.tenure.is_live() {
        return;
    }
    let saved = plan.store.save(&unit.stream, checkpoint).await;
    // In etcd they are only noted here, and counted when they are written.
    if let Store::File(_) = plan.store {
        let result = if saved.is_ok() { "ok" } else { "failed" };
        unit.context.metrics.ha.count_checkpoint(result);
    }
    match saved {
        Ok(()) => {
            if let Some(failures) = plan.unwritten.over() {
                tracing::info!(failures, "checkpoints are written again");
            }
        }
        Err(error) => {
            if let Some(times) = plan.unwritten.happened() {
                tracing::error!(
                    stream = %unit.stream, %error, times,
                    "the checkpoint was not written; polling goes on, and after a crash what was not noted is polled again"
                );
            } else {
                tracing::debug!(stream = %unit.stream, %error, "the checkpoint was not written again");
            }
        }
    }
}
