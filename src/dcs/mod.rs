//! The distributed configuration store: etcd, as the election and the checkpoints see it.
//!
//! Owns the few requests that they make ([`Request`]), the answers, and the [`Dcs`] trait behind which stand the real
//! store ([`etcd`]) and a model of it for tests. Every request is answered by a quorum (no stale reads), within a
//! budget; keys are relative to `<prefix>/<cluster>/`. Decides nothing: what an answer means is the caller's.

pub mod etcd;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

/// The id of a lease. Never 0.
pub type LeaseId = i64;

/// Something to do, atomically.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A new lease for at least this time, whole seconds.
    Grant {
        /// The shortest time it shall last without a renewal.
        ttl: Duration,
    },
    /// Restarts the time of a lease.
    Renew(LeaseId),
    /// Ends a lease, and deletes every key on it in one revision. A lease that is gone already counts as revoked.
    Revoke(LeaseId),
    /// How long a lease lasts, if nobody renews it.
    TimeLeft(LeaseId),
    /// Reads and writes under conditions.
    Txn(Txn),
}

/// `then` where every condition of `when` holds, otherwise `or_else`; all in one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Txn {
    /// All must hold; none = `then`.
    pub when: Vec<Compare>,
    /// Done in this order; no key may be written twice.
    pub then: Vec<Operation>,
    /// Done in this order.
    pub or_else: Vec<Operation>,
}

/// A condition on one key. A key that is not there has revisions 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// It was created at this revision; 0 = it is not there.
    CreateRevision(String, i64),
    /// It was last written at this revision; 0 = it is not there.
    ModRevision(String, i64),
    /// It is on this lease; 0 = on none.
    Lease(String, LeaseId),
}

/// One step of a [`Txn`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Writes a key, on a lease if that is not 0.
    Put {
        /// Where.
        key: String,
        /// What.
        value: Vec<u8>,
        /// 0 = no lease.
        lease: LeaseId,
    },
    /// Deletes a key, if it is there.
    Delete(String),
    /// Reads a key.
    Get(String),
    /// Reads every key that begins so, in the order of keys.
    List(String),
    /// Reads the last key that begins so, in the order of keys.
    Last(String),
}

/// A key as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// Relative to the cluster.
    pub key: String,
    /// What was written.
    pub value: Vec<u8>,
    /// When it came into being.
    pub create_revision: i64,
    /// When it was last written.
    pub mod_revision: i64,
    /// The lease it is on; 0 = none.
    pub lease: LeaseId,
}

/// What the store did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// The new lease, and the time it was granted for, which may be longer than asked.
    Granted {
        /// Its id.
        lease: LeaseId,
        /// How long it lasts without a renewal.
        ttl: Duration,
    },
    /// The time the lease lasts from now on; `None` = there is no such lease (any more).
    Renewed(Option<Duration>),
    /// The lease is gone.
    Revoked,
    /// `None` = the lease is over, or there is none.
    TimeLeft(Option<TimeLeft>),
    /// The answer to a [`Txn`].
    Txn {
        /// Whether `then` was done.
        succeeded: bool,
        /// The store's revision after it: that of the writes, if there were any.
        revision: i64,
        /// For each step the keys it read; empty for writes.
        results: Vec<Vec<KeyValue>>,
    },
}

/// What is left of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLeft {
    /// Whole seconds, rounded down, on the clock of etcd's raft leader.
    pub left: Duration,
    /// What each renewal gives.
    pub granted: Duration,
}

/// Why there is no [`Response`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DcsError {
    /// Nobody answered in time, or the connection broke: it may have been done, or may still be done later.
    #[error("etcd does not answer: {0}")]
    Unanswered(String),
    /// A key was to be put on a lease that is gone. Nothing was done.
    #[error("the lease is gone")]
    NoLease,
    /// The store answered that it will not. Nothing was done.
    #[error("etcd refuses: {0}")]
    Refused(String),
}

/// An answer, and when it was asked for.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Time since boot ([`crate::clock`]) just before the attempt that was answered was sent. What was granted counts
    /// from there, however late the answer came.
    pub sent: Duration,
    /// Who answered, or was asked last.
    pub endpoint: Arc<str>,
    /// What came of it.
    pub result: Result<Response, DcsError>,
}

/// News of keys. Only a hint, possibly late: whoever acts on it asks the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// These keys were deleted, all in one revision.
    Deleted(Vec<String>),
    /// Something else changed, or something may have been missed.
    Changed,
}

/// The store.
pub trait Dcs: Send + Sync + 'static {
    /// Does `request`, trying one endpoint after the other until one answers or `budget` is used up. Dropping it
    /// midway leaves open whether it was done. A try that was not answered in time may still be done after the answer
    /// to a later one: what must not happen twice needs a condition.
    fn ask(&self, request: Request, budget: Duration) -> impl Future<Output = Answer> + Send;

    /// Tells news of `config`, `history/`, `leader`, `members/` and `switchover`, for ever; connects anew whenever
    /// that is needed and says [`Hint::Changed`] then. Ends when the receiver is gone.
    fn watch(&self, hints: mpsc::Sender<Hint>) -> impl Future<Output = ()> + Send;
}

#[cfg(test)]
pub(crate) mod model;
