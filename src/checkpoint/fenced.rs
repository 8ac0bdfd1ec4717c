//! Checkpoints in etcd, written by the leader alone.
//!
//! Owns the task that carries out the [`Ledger`]'s transactions during one tenure. Saving only takes note: it comes
//! back at once, and what was noted is written within a second, several streams at a time. A crash between the two
//! costs a poll of the same span, whose records have the same ids.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::ledger::{Ledger, Verdict};
use super::{Checkpoint, Stream};
use crate::clock::Clock;
use crate::dcs::{Dcs, Request};
use crate::election::Tenure;
use crate::telemetry::metrics_ha::HaMetrics;
use crate::telemetry::repeat::Lasting;

/// The checkpoints of one tenure.
#[derive(Debug, Clone)]
pub struct FencedStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ledger: Mutex<Ledger>,
    changed: Notify,
    /// Somebody waits for everything to be written.
    hurry: watch::Sender<bool>,
    clean: watch::Sender<bool>,
}

/// The end of a tenure as the checkpoints see it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FencedError {
    /// The tenure is over.
    #[error("the tenure is over")]
    Over,
    /// Another leads.
    #[error("fenced write rejected: another instance leads")]
    Fenced,
    /// Somebody who does not lead writes checkpoints of this cluster.
    #[error(
        "the checkpoint {0} was written by somebody else in this very term; is another program using this prefix and cluster?"
    )]
    Foreign(String),
}

impl FencedStore {
    /// Reads what earlier terms have left, for as long as the tenure lasts.
    pub async fn take_over<D: Dcs>(dcs: &D, tenure: &Tenure, budget: Duration) -> Result<Self, FencedError> {
        let mut ledger = Ledger::new(tenure.term());
        let unread = Lasting::default();
        loop {
            let permit = tenure.permit(budget).await.map_err(|_| FencedError::Over)?;
            let request = Request::Txn(ledger.inventory());
            let answer = tokio::select! {
                answer = dcs.ask(request, permit.budget()) => answer,
                () = tenure.cancelled().cancelled() => return Err(FencedError::Over),
            };
            match answer.result {
                Ok(response) => {
                    let complaints = ledger.take_over(response).ok_or(FencedError::Fenced)?;
                    for (key, why) in complaints {
                        tracing::error!(
                            key,
                            why,
                            "a checkpoint cannot be read; its command goes back as far as ecsbeat.max_catch_up"
                        );
                    }
                    let (clean, hurry) = (watch::Sender::new(true), watch::Sender::new(false));
                    return Ok(Self(Arc::new(Shared {
                        ledger: Mutex::new(ledger),
                        changed: Notify::new(),
                        hurry,
                        clean,
                    })));
                }
                Err(error) => {
                    if let Some(times) = unread.happened() {
                        tracing::warn!(%error, times, "the checkpoints cannot be read yet, retrying");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Whether something could not be read.
    pub fn is_after_damage(&self) -> bool {
        self.ledger().is_after_damage()
    }

    /// The checkpoint of a stream, if it has one.
    pub fn load(&self, stream: &Stream) -> Option<Checkpoint> {
        self.ledger().get(stream)
    }

    /// Takes note of a stream's new checkpoint.
    pub fn save(&self, stream: &Stream, checkpoint: Checkpoint) {
        {
            let mut ledger = self.ledger();
            ledger.put(stream, checkpoint);
            self.0.clean.send_replace(false);
        }
        self.0.changed.notify_one();
    }

    /// Comes back when everything that was noted is written. Drop it when the tenure is over.
    pub async fn flush(&self) {
        self.0.hurry.send_replace(true);
        self.0.changed.notify_one();
        let mut clean = self.0.clean.subscribe();
        // The sender lives as long as this store.
        let _ = clean.wait_for(|clean| *clean).await;
        self.0.hurry.send_replace(false);
    }

    /// Writes what is noted, until the tenure is over or something is wrong with the cluster. `budget`: of one
    /// request.
    pub async fn commit<D: Dcs>(
        &self,
        dcs: &D,
        tenure: &Tenure,
        clock: &Clock,
        budget: Duration,
        metrics: &HaMetrics,
    ) -> FencedError {
        let mut failing = false;
        loop {
            let now = clock.since_boot();
            let hurry = *self.0.hurry.borrow();
            let (txn, wake) = {
                let mut ledger = self.ledger();
                (ledger.next(now, hurry), ledger.wake_at())
            };
            let Some(txn) = txn else {
                let wait = wake.map_or(Duration::MAX, |at| at.saturating_sub(now));
                tokio::select! {
                    () = self.0.changed.notified() => {}
                    () = tokio::time::sleep(wait.min(Duration::from_secs(3600))) => {}
                    () = tenure.cancelled().cancelled() => return FencedError::Over,
                }
                continue;
            };
            let Ok(permit) = tenure.permit(budget).await else {
                return FencedError::Over;
            };
            let answer = tokio::select! {
                answer = dcs.ask(Request::Txn(txn), permit.budget()) => answer,
                () = tenure.cancelled().cancelled() => return FencedError::Over,
            };
            let verdict = {
                let mut ledger = self.ledger();
                let verdict = ledger.answered(clock.since_boot(), answer.result);
                // Under the lock, so that a save at this moment is not passed over.
                self.0.clean.send_replace(ledger.is_clean());
                let bytes = i64::try_from(ledger.bytes()).unwrap_or(i64::MAX);
                metrics.checkpoint_bytes.tell(Some(bytes));
                verdict
            };
            match verdict {
                Verdict::Written(_) => {
                    metrics.count_checkpoint("ok");
                    if failing {
                        tracing::info!("checkpoints are written again");
                    }
                    failing = false;
                }
                Verdict::Again => {
                    metrics.count_checkpoint("again");
                }
                Verdict::Failed(error) => {
                    metrics.count_checkpoint("failed");
                    if !failing {
                        tracing::warn!(error, "checkpoints are not written, retrying");
                    }
                    failing = true;
                }
                Verdict::Fenced => {
                    metrics.count_checkpoint("fenced");
                    return FencedError::Fenced;
                }
                Verdict::Foreign(key) => return FencedError::Foreign(key),
            }
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
