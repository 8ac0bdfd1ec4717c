//! etcd in memory, for tests: as it behaves towards the election, and as faithful as that needs.
//!
//! Owns the keys with their revisions, the leases on the clock of the raft leader, and the log of what happened to
//! keys ([`Happened`]). Plain state without I/O: whoever uses it brings the time ([`Model::apply`], [`Model::tick`])
//! and the faults of the network. What it does was measured at or read out of etcd 3.5; where it is free to choose,
//! it does what the real one might do at worst. Must never be part of the product.

mod drift;
pub(crate) mod store;
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(crate) use self::drift::Drift;
use super::{Compare, DcsError, KeyValue, LeaseId, Operation, Request, Response, TimeLeft, Txn};

/// How often the raft leader looks for leases that have expired.
pub(crate) const SCAN: Duration = Duration::from_millis(500);
/// The time after which raft members elect a leader anew.
pub(crate) const ELECTION: Duration = Duration::from_secs(1);
/// The shortest lease: one and a half times [`ELECTION`], rounded up to whole seconds.
pub(crate) const SHORTEST: Duration = Duration::from_secs(2);
/// The most steps of one kind in a transaction.
const MOST_STEPS: usize = 128;

/// What one revision did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Happened {
    /// Which.
    pub(crate) revision: i64,
    /// The keys that it wrote.
    pub(crate) put: Vec<String>,
    /// The keys that it deleted.
    pub(crate) deleted: Vec<String>,
}

#[derive(Debug, Clone)]
struct Lease {
    ttl: Duration,
    /// On the raft leader's clock.
    expires: Duration,
    keys: BTreeSet<String>,
}

/// The store.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    revision: i64,
    keys: BTreeMap<String, KeyValue>,
    leases: BTreeMap<LeaseId, Lease>,
    /// Leases that ran out, and when.
    expired: BTreeMap<LeaseId, Duration>,
    granted: LeaseId,
    /// The raft leader's clock.
    clock: Drift,
    /// On that clock.
    next_scan: Duration,
    /// No raft leader until then.
    leaderless_until: Duration,
    happened: Vec<Happened>,
}

impl Model {
    /// An empty store; its clock goes `ppm` parts in a million fast, or slow.
    pub(crate) fn new(ppm: i32) -> Self {
        Self {
            revision: 1,
            keys: BTreeMap::new(),
            leases: BTreeMap::new(),
            expired: BTreeMap::new(),
            granted: 7000,
            clock: Drift::new(Duration::ZERO, ppm),
            next_scan: SCAN,
            leaderless_until: Duration::ZERO,
            happened: Vec::new(),
        }
    }

    /// Does what is asked, at `now`.
    pub(crate) fn apply(&mut self, now: Duration, request: &Request) -> Result<Response, DcsError> {
        self.tick(now);
        if now < self.leaderless_until {
            return Err(DcsError::Unanswered("etcdserver: no leader".to_owned()));
        }
        let shown = self.clock.shows(now);
        match request {
            Request::Grant { ttl } => {
                let whole = Duration::from_secs(ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0));
                let ttl = whole.max(SHORTEST);
                self.granted += 1;
                let lease = Lease {
                    ttl,
                    expires: shown + ttl,
                    keys: BTreeSet::new(),
                };
                self.leases.insert(self.granted, lease);
                Ok(Response::Granted {
                    lease: self.granted,
                    ttl,
                })
            }
            Request::Renew(id) => {
                // etcd lets a renewal of an expired lease wait until the scan has revoked it.
                if self.leases.get(id).is_some_and(|lease| lease.expires <= shown) {
                    self.expire(&[*id]);
                }
                Ok(Response::Renewed(self.leases.get_mut(id).map(|lease| {
                    lease.expires = shown + lease.ttl;
                    lease.ttl
                })))
            }
            Request::Revoke(id) => {
                if let Some(lease) = self.leases.remove(id) {
                    self.delete(lease.keys);
                }
                Ok(Response::Revoked)
            }
            Request::TimeLeft(id) => {
                let lease = self.leases.get(id).filter(|lease| lease.expires > shown);
                Ok(Response::TimeLeft(lease.map(|lease| TimeLeft {
                    left: Duration::from_secs(lease.expires.saturating_sub(shown).as_secs()),
                    granted: lease.ttl,
                })))
            }
            Request::Txn(txn) => self.txn(txn),
        }
    }

    /// Lets the raft leader look for expired leases as often as it has by `now`.
    pub(crate) fn tick(&mut self, now: Duration) {
        let shown = self.clock.shows(now);
        while self.next_scan <= shown {
            let scan = self.next_scan;
            self.next_scan += SCAN;
            if self.clock.when(scan) < self.leaderless_until {
                continue;
            }
            let over: Vec<LeaseId> = self
                .leases
                .iter()
                .filter(|(_, lease)| lease.expires <= scan)
                .map(|(id, _)| *id)
                .collect();
            self.expire(&over);
        }
    }

    /// When [`Model::tick`] has something to look for next.
    pub(crate) fn next_tick(&self) -> Duration {
        self.clock.when(self.next_scan)
    }

    /// Another raft member leads from `back` on, by a clock of its own. Every lease starts anew, and gets the time of
    /// an election on top; what is asked before `back` fails.
    pub(crate) fn change_leader(&mut self, now: Duration, back: Duration, ppm: i32) {
        self.tick(now);
        self.clock = Drift::new(Duration::ZERO, ppm);
        self.leaderless_until = back;
        let shown = self.clock.shows(back);
        self.next_scan = shown + SCAN;
        for lease in self.leases.values_mut() {
            lease.expires = shown + lease.ttl + ELECTION;
        }
    }

    /// A key as it is.
    pub(crate) fn key(&self, key: &str) -> Option<&KeyValue> {
        self.keys.get(key)
    }

    /// The keys that begin so, in order.
    pub(crate) fn list<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a KeyValue> {
        self.keys
            .range(prefix.to_owned()..)
            .map(|(_, found)| found)
            .take_while(move |found| found.key.starts_with(prefix))
    }

    /// The true time at which a lease runs out, or ran out, if it is not renewed. `None`: there is none, or it was
    /// revoked.
    pub(crate) fn expires(&self, lease: LeaseId) -> Option<Duration> {
        let lives = self.leases.get(&lease);
        lives
            .map(|lease| self.clock.when(lease.expires))
            .or_else(|| self.expired.get(&lease).copied())
    }

    /// The store's revision.
    pub(crate) fn revision(&self) -> i64 {
        self.revision
    }

    /// What happened to keys, oldest first; grows for ever.
    pub(crate) fn happened(&self) -> &[Happened] {
        &self.happened
    }

    fn expire(&mut self, over: &[LeaseId]) {
        for id in over {
            if let Some(lease) = self.leases.remove(id) {
                self.expired.insert(*id, self.clock.when(lease.expires));
                self.delete(lease.keys);
            }
        }
    }

    /// Deletes all keys of a lease in one revision.
    fn delete(&mut self, keys: BTreeSet<String>) {
        if keys.is_empty() {
            return;
        }
        self.revision += 1;
        for key in &keys {
            self.keys.remove(key);
        }
        self.happened.push(Happened {
            revision: self.revision,
            put: Vec::new(),
            deleted: keys.into_iter().collect(),
        });
    }

    fn holds(&self, compare: &Compare) -> bool {
        let of = |key: &String| {
            self.keys.get(key).map_or((0, 0, 0), |key| {
                (key.create_revision, key.mod_revision, key.lease)
            })
        };
        match compare {
            Compare::CreateRevision(key, revision) => of(key).0 == *revision,
            Compare::ModRevision(key, revision) => of(key).1 == *revision,
            Compare::Lease(key, lease) => of(key).2 == *lease,
        }
    }

    fn txn(&mut self, txn: &Txn) -> Result<Response, DcsError> {
        for steps in [txn.when.len(), txn.then.len(), txn.or_else.len()] {
            if steps > MOST_STEPS {
                return Err(DcsError::Refused(
                    "etcdserver: too many operations in txn request".to_owned(),
                ));
            }
        }
        for branch in [&txn.then, &txn.or_else] {
            let mut written = BTreeSet::new();
            if !branch
                .iter()
                .filter_map(written_by)
                .all(|key| written.insert(key))
            {
                return Err(DcsError::Refused(
                    "etcdserver: duplicate key given in txn request".to_owned(),
                ));
            }
        }
        let succeeded = txn.when.iter().all(|compare| self.holds(compare));
        let steps = if succeeded { &txn.then } else { &txn.or_else };
        let leased = |step: &Operation| match step {
            Operation::Put { lease, .. } => *lease == 0 || self.leases.contains_key(lease),
            _ => true,
        };
        if !steps.iter().all(leased) {
            return Err(DcsError::NoLease);
        }
        let revision = self.revision + 1;
        let mut happened = Happened {
            revision,
            put: Vec::new(),
            deleted: Vec::new(),
        };
        let results = steps
            .iter()
            .map(|step| self.step(step, revision, &mut happened))
            .collect();
        if !happened.put.is_empty() || !happened.deleted.is_empty() {
            self.revision = revision;
            self.happened.push(happened);
        }
        Ok(Response::Txn {
            succeeded,
            revision: self.revision,
            results,
        })
    }

    fn step(&mut self, step: &Operation, revision: i64, happened: &mut Happened) -> Vec<KeyValue> {
        match step {
            Operation::Put { key, value, lease } => {
                let old = self.take(key);
                if let Some(lease) = self.leases.get_mut(lease) {
                    lease.keys.insert(key.clone());
                }
                let new = KeyValue {
                    key: key.clone(),
                    value: value.clone(),
                    create_revision: old.map_or(revision, |old| old.create_revision),
                    mod_revision: revision,
                    lease: *lease,
                };
                self.keys.insert(key.clone(), new);
                happened.put.push(key.clone());
                Vec::new()
            }
            Operation::Delete(key) => {
                if self.take(key).is_some() {
                    happened.deleted.push(key.clone());
                }
                Vec::new()
            }
            Operation::Get(key) => self.keys.get(key).into_iter().cloned().collect(),
            Operation::List(prefix) => self.list(prefix).cloned().collect(),
            Operation::Last(prefix) => self.list(prefix).last().into_iter().cloned().collect(),
        }
    }

    /// Removes a key, from its lease too.
    fn take(&mut self, key: &str) -> Option<KeyValue> {
        let old = self.keys.remove(key)?;
        if let Some(lease) = self.leases.get_mut(&old.lease) {
            lease.keys.remove(key);
        }
        Some(old)
    }
}

fn written_by(step: &Operation) -> Option<&String> {
    match step {
        Operation::Put { key, .. } | Operation::Delete(key) => Some(key),
        _ => None,
    }
}
