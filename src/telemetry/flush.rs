//! Waiting for a thread that writes what comes through a queue.
//!
//! Owns [`through`]. Never waits for ever: a writer that is stuck costs the limit.

use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

/// Waits until everything that is in the queue has been worked off, at most `limit`. `job` makes what tells so.
pub(super) fn through<J>(jobs: &SyncSender<J>, limit: Duration, job: impl FnOnce(SyncSender<()>) -> J) {
    let (done, end) = sync_channel(1);
    // A full queue means that the writer is stuck: its time is the limit's.
    let begin = Instant::now();
    let mut job = job(done);
    while let Err(TrySendError::Full(back)) = jobs.try_send(job) {
        if begin.elapsed() >= limit {
            return;
        }
        job = back;
        std::thread::sleep(Duration::from_millis(5));
    }
    let _too_late_or_gone = end.recv_timeout(limit.saturating_sub(begin.elapsed()));
}
