//! What the process is doing, for those who ask: the HTTP endpoints and, later, other replicas.
//!
//! Owns [`Status`]: snapshots that the engines replace and readers load. Neither side ever waits for the
//! other, so that an answer comes while everything else hangs. Nothing here decides anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::cluster::{HistoryRecord, MemberRecord, SwitchoverRecord};

/// What the instance as a whole is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Configuration is read, nothing runs yet.
    Starting = 0,
    /// Ready to take over.
    Standby = 1,
    /// Racing for the lease.
    Candidate = 2,
    /// Polls and publishes.
    Leader = 3,
    /// Ends its work in order.
    Draining = 4,
    /// Lost its tenure and cleans up.
    Lost = 5,
    /// Polls and publishes, without etcd.
    Single = 6,
    /// Nothing runs any more.
    Stopped = 7,
}

impl State {
    /// The word in answers and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Standby => "standby",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
            Self::Draining => "draining",
            Self::Lost => "lost",
            Self::Single => "single",
            Self::Stopped => "stopped",
        }
    }
}

/// One command of one VDC (or of the customer, at level `system`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitKey {
    /// `customername`
    pub customer: Arc<str>,
    /// `vdcname`; empty at level `system`.
    pub vdc: Arc<str>,
    /// The command's type.
    pub command: Arc<str>,
}

/// How a unit fares.
#[derive(Debug, Clone, Default)]
pub struct UnitStatus {
    /// Time between ticks.
    pub interval: Duration,
    /// The last tick that was polled.
    pub last_tick: Option<Timestamp>,
    /// The tick of the last poll without an error.
    pub last_success: Option<Timestamp>,
    /// How long the last poll took, acknowledgement not included.
    pub last_duration: Duration,
    /// Events of the last poll.
    pub last_events: u64,
    /// Events since start.
    pub events: u64,
    /// Up to when a windowed command is delivered.
    pub checkpoint: Option<Timestamp>,
    /// The error of the last poll; `None` after a success.
    pub last_error: Option<String>,
    /// Polls with an error since the last success.
    pub failures: u64,
    /// Ticks that were not polled, since start.
    pub missed_ticks: u64,
}

/// How an output fares.
#[derive(Debug, Clone, Default)]
pub struct OutputStatus {
    /// Whether the last try succeeded; `None` before the first.
    pub up: Option<bool>,
    /// When a batch was last acknowledged.
    pub last_ack: Option<Timestamp>,
    /// Why it fails, while it does.
    pub last_error: Option<String>,
    /// Since when it fails.
    pub failing_since: Option<Timestamp>,
}

/// Who leads, as far as this instance knows. Stays at its default on a single node.
#[derive(Debug, Clone, Default)]
pub struct Leadership {
    /// The term of the known leader.
    pub term: u64,
    /// The known leader, this instance included.
    pub leader: Option<Leader>,
    /// When this instance's own tenure ends, as time since boot ([`crate::clock::since_boot`]). `None` = it has
    /// none.
    pub deadline: Option<Duration>,
    /// Whether etcd answered last time.
    pub dcs_reachable: bool,
    /// When etcd last answered.
    pub dcs_last_seen: Option<Timestamp>,
    /// Why this instance may not lead, a word out of a closed set (`nofailover`, `identity_mismatch`,
    /// `schema_too_new`); `None` = it may.
    pub barred: Option<&'static str>,
    /// Nobody races for the lease while this is set.
    pub paused: bool,
    /// The configuration differs from the leader's.
    pub config_mismatch: bool,
}

/// The instance that holds the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Its `ha.instance`.
    pub name: Arc<str>,
    /// Where its HTTP endpoints answer.
    pub address: Arc<str>,
    /// Since when it leads.
    pub since: Timestamp,
}

/// The cluster as etcd last told it. Stays at its default on a single node.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    /// The replicas whose leases live, by name.
    pub members: Vec<MemberRecord>,
    /// The last terms, oldest first.
    pub history: Vec<HistoryRecord>,
    /// A change of leader that is under way.
    pub switchover: Option<SwitchoverRecord>,
    /// When etcd told so, as time since boot; `None` = never yet.
    pub seen: Option<Duration>,
}

/// The snapshots.
#[derive(Debug)]
pub struct Status {
    state: ArcSwap<(State, Timestamp)>,
    leadership: ArcSwap<Leadership>,
    cluster: ArcSwap<Cluster>,
    units: ArcSwap<BTreeMap<UnitKey, Arc<ArcSwap<UnitStatus>>>>,
    outputs: ArcSwap<BTreeMap<&'static str, Arc<ArcSwap<OutputStatus>>>>,
}

impl Status {
    /// A process that starts at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            state: ArcSwap::from_pointee((State::Starting, now)),
            leadership: ArcSwap::default(),
            cluster: ArcSwap::default(),
            units: ArcSwap::default(),
            outputs: ArcSwap::default(),
        }
    }

    /// The state and since when.
    pub fn state(&self) -> (State, Timestamp) {
        **self.state.load()
    }

    /// Enters a state.
    pub fn enter(&self, state: State, now: Timestamp) {
        self.state.store(Arc::new((state, now)));
    }

    /// Who leads, as the election last told.
    pub fn leadership(&self) -> Arc<Leadership> {
        self.leadership.load_full()
    }

    /// The election tells anew.
    pub fn tell_leadership(&self, leadership: Leadership) {
        self.leadership.store(Arc::new(leadership));
    }

    /// The cluster, as the election last told.
    pub fn cluster(&self) -> Arc<Cluster> {
        self.cluster.load_full()
    }

    /// The election tells the cluster anew.
    pub fn tell_cluster(&self, cluster: Cluster) {
        self.cluster.store(Arc::new(cluster));
    }

    /// The slot of a unit, made on first use. The caller keeps it and stores each new status into it.
    pub fn unit(&self, key: &UnitKey) -> Arc<ArcSwap<UnitStatus>> {
        let slot = Arc::new(ArcSwap::default());
        self.units.rcu(|units| {
            let mut units = BTreeMap::clone(units);
            units.entry(key.clone()).or_insert_with(|| Arc::clone(&slot));
            units
        });
        self.units.load().get(key).map_or(slot, Arc::clone)
    }

    /// All units.
    pub fn units(&self) -> Vec<(UnitKey, Arc<UnitStatus>)> {
        self.units
            .load()
            .iter()
            .map(|(key, slot)| (key.clone(), slot.load_full()))
            .collect()
    }

    /// The slot of an output, made on first use.
    pub fn output(&self, name: &'static str) -> Arc<ArcSwap<OutputStatus>> {
        let slot = Arc::new(ArcSwap::default());
        self.outputs.rcu(|outputs| {
            let mut outputs = BTreeMap::clone(outputs);
            outputs.entry(name).or_insert_with(|| Arc::clone(&slot));
            outputs
        });
        self.outputs.load().get(name).map_or(slot, Arc::clone)
    }

    /// All outputs.
    pub fn outputs(&self) -> Vec<(&'static str, Arc<OutputStatus>)> {
        self.outputs
            .load()
            .iter()
            .map(|(name, slot)| (*name, slot.load_full()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_has_one_slot_however_often_it_is_asked_for() {
        let status = Status::new(Timestamp::UNIX_EPOCH);
        let key = UnitKey {
            customer: "EMC".into(),
            vdc: "VDC1".into(),
            command: "nodes".into(),
        };
        status.unit(&key).store(Arc::new(UnitStatus {
            events: 3,
            ..UnitStatus::default()
        }));
        assert_eq!(status.unit(&key).load().events, 3);
        assert_eq!(status.units().len(), 1);
    }
}
