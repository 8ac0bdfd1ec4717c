//! A single node: one tenure from start to stop, checkpoints in a file.
//!
//! Owns the order of its stop: no new ticks, running polls end, the queue drains, checkpoints are written, ECS is
//! logged out of.

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::work::{LOGOUT, Work};
use super::{App, AppError, HEARTBEAT, Outcome, http_ended};
use crate::checkpoint::{FileStore, Store};
use crate::election;
use crate::http::ServerHandle;
use crate::status::State;

impl App {
    /// Works alone until `stop`, or until everything was collected once.
    pub(super) async fn run_single(
        &self,
        store: &FileStore,
        stop: CancellationToken,
        companions: &mut JoinSet<()>,
        http: &mut Option<ServerHandle>,
    ) -> Result<Outcome, AppError> {
        let config = &self.config;
        let heartbeat = self.heartbeat.clone();
        let working = CancellationToken::new();
        let _until_the_end = working.clone().drop_guard();
        companions.spawn(async move {
            while !working.is_cancelled() {
                heartbeat.beat();
                let _over = timeout(HEARTBEAT, working.cancelled()).await;
            }
        });
        let over = CancellationToken::new();
        let tenure = election::solo(&self.identity.instance, over.clone());
        let mut work = Work::begin(self, &tenure, &Store::File(store.clone()))?;
        self.status.enter(State::Single, self.clock.now());
        self.metrics.leader.set(1);

        let died = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            part = work.ended() => part,
            _ = companions.join_next() => Some("a background task"),
            () = http_ended(http) => Some("the HTTP server"),
        };
        self.status.enter(State::Draining, self.clock.now());
        let deadline = Instant::now() + config.shutdown_timeout;
        work.hush();
        if config.ecsbeat.once && !stop.is_cancelled() && died.is_none() {
            // Run once ends when all is delivered, however long that takes, or when it is stopped.
            tokio::select! {
                () = stop.cancelled() => {}
                () = work.delivered() => {}
            }
        }
        if !work.finish(deadline).await {
            tracing::warn!(
                timeout_s = config.shutdown_timeout.as_secs(),
                queued = self.metrics.queue_events.get(),
                "shutdown_timeout is over; what is queued is polled again after the next start"
            );
        }
        over.cancel();
        let (clients, well) = work.cut().await;
        self.metrics.leader.set(0);
        write_checkpoints(store, deadline).await;
        clients.log_out(deadline).await;
        match died {
            Some(part) => Err(AppError::Died(part)),
            None if config.ecsbeat.once && !well => Ok(Outcome::Incomplete),
            None => Ok(Outcome::Well),
        }
    }
}

/// A write may still be under way; it must not be cut off by the end of the process.
async fn write_checkpoints(store: &FileStore, deadline: Instant) {
    match timeout_at(deadline.max(Instant::now() + LOGOUT), store.flush()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "the checkpoints were not written"),
        Err(_) => tracing::error!("the checkpoints were not written: the disk does not answer"),
    }
}
