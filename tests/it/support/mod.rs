//! What the tests share: the collector against the simulator, in this process, and waiting for conditions.

#![allow(dead_code, reason = "each group of tests uses a part")]
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]
#![allow(clippy::panic, reason = "a wait that is over fails its test")]

/// Private certificate authorities.
pub(crate) mod authority;
pub(crate) mod bench;
/// A real browser.
pub(crate) mod chromium;
/// Replicas of one cluster, with all that they need.
pub(crate) mod cluster;
/// Real etcd clusters.
pub(crate) mod etcd;
/// Texts in files.
pub(crate) mod golden;
/// Kafka brokers, what stands before them, and a reader.
pub(crate) mod kafka;
/// A recording server of the Lumberjack protocol.
pub(crate) mod lumberjack;
/// A host name whose address changes.
pub(crate) mod names;
/// The real binary as a process of its own, and the directory it lives in.
pub(crate) mod process;
/// Real Redis servers.
pub(crate) mod redis;
mod rig;
/// A SOCKS5 proxy.
pub(crate) mod socks;
/// A federation whose clock stands still.
pub(crate) mod still;
/// A proxy that loses connections.
pub(crate) mod swallower;
/// A terminal, and who sits there.
pub(crate) mod terminal;
/// What of the logs must have been delivered, and what was.
pub(crate) mod windowed;

use std::time::{Duration, Instant};

use serde_json::Value;

#[allow(unused_imports, reason = "each group of tests uses a part")]
pub(crate) use rig::{Builder, Rig, every};

/// How long anything that must happen is waited for. Far more than it takes, so that a busy machine fails nothing.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until `done` holds, at most [`DEADLINE`]; what was waited for is in the message of the failure.
pub(crate) async fn eventually(what: &str, done: impl FnMut() -> bool) {
    within(DEADLINE, what, done).await;
}

/// Waits until `done` holds, at most `deadline`. By the machine's clock: that of Tokio may be moved by a test.
pub(crate) async fn within(deadline: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < deadline, "{what}: not within {deadline:?}");
        tokio::time::sleep(LOOK).await;
    }
}

/// The text of a member of an event, dots leading into objects; empty where there is none.
pub(crate) fn text<'e>(event: &'e Value, path: &str) -> &'e str {
    path.split('.')
        .try_fold(event, |value, name| value.get(name))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Moves Tokio's clock, and with it the collector's where that is [`ecsbeat::clock::Clock::simulated`]. Requests in
/// flight find their time is over, so none should be.
pub(crate) async fn jump(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}
