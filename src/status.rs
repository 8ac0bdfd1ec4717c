//! What the process is doing, for those who ask: the HTTP endpoints and the other replicas.
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

    /// What is left of it at this moment: a leader whose tenure is over is none, even if its engine has not noticed
    /// yet. `remaining` is that of [`Leadership::remaining`].
    #[must_use]
    pub fn held(self, remaining: Option<Duration>) -> Self {
        if self == Self::Leader && remaining.is_none_or(|left| left.is_zero()) {
            Self::Lost
        } else {
            self
        }
    }

    /// Whether an instance in this state works, and not only winds up its work.
    pub fn leads(self) -> bool {
        matches!(self, Self::Leader | Self::Single)
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

impl UnitKey {
    /// Whether both are commands of the same VDC, or of the same customer at level `system`.
    pub fn of_one_vdc(&self, other: &Self) -> bool {
        (&self.customer, &self.vdc) == (&other.customer, &other.vdc)
    }
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
    /// The release of ECS has no such API. That is no failure, and nothing to wait for.
    pub unsupported: bool,
    /// Polls with an error since the last success.
    pub failures: u64,
    /// Ticks that were not polled, since start.
    pub missed_ticks: u64,
    /// Nothing more comes of it.
    pub ended: bool,
}

impl UnitStatus {
    /// How far delivery is behind the clock: to the checkpoint where there is one, else to the last success. What ECS
    /// does not have is not late.
    pub fn lag(&self, now: Timestamp) -> Option<Duration> {
        let done = self
            .checkpoint
            .or(self.last_success)
            .filter(|_| !self.unsupported)?;
        // A checkpoint ahead of the clock is no lag.
        Some(Duration::try_from(now.duration_since(done)).unwrap_or_default())
    }
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

impl Leadership {
    /// What is left of this instance's own tenure; zero = it is over, `None` = it has none.
    pub fn remaining(&self, since_boot: Duration) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_sub(since_boot))
    }

    /// Who leads, as far as `instance` knows at this moment. An instance leads only while its tenure lasts: what etcd
    /// said about itself before counts no longer.
    pub fn leader_at(&self, instance: &str, since_boot: Duration) -> Option<&Leader> {
        let live = || self.remaining(since_boot).is_some_and(|left| !left.is_zero());
        self.leader
            .as_ref()
            .filter(|leader| &*leader.name != instance || live())
    }
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
    started: Timestamp,
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
            started: now,
            state: ArcSwap::from_pointee((State::Starting, now)),
            leadership: ArcSwap::default(),
            cluster: ArcSwap::default(),
            units: ArcSwap::default(),
            outputs: ArcSwap::default(),
        }
    }

    /// When the process started.
    pub fn started(&self) -> Timestamp {
        self.started
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

    /// How far the windowed command that is furthest behind is behind `now`; `None` = none has delivered yet.
    pub fn checkpoint_lag(&self, now: Timestamp) -> Option<Duration> {
        let units = self.units.load();
        let checkpoint = |unit: Arc<UnitStatus>| unit.checkpoint.filter(|_| !unit.unsupported);
        let oldest = units
            .values()
            .filter_map(|slot| checkpoint(slot.load_full()))
            .min()?;
        // A checkpoint ahead of the clock is no lag.
        Some(Duration::try_from(now.duration_since(oldest)).unwrap_or_default())
    }

    /// A tenure is over: what its units did last would only mislead. Units that have not ended yet keep their slots,
    /// which nobody sees any more.
    pub fn forget_units(&self) {
        self.units.store(Arc::default());
    }

    /// A tenure is over: how its outputs fared last says nothing about now. As [`Status::forget_units`].
    pub fn forget_outputs(&self) {
        self.outputs.store(Arc::default());
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

    fn key(command: &str) -> UnitKey {
        UnitKey {
            customer: "EMC".into(),
            vdc: "VDC1".into(),
            command: command.into(),
        }
    }

    #[test]
    fn a_worker_of_a_former_tenure_does_not_show_in_the_next() {
        let status = Status::new(Timestamp::UNIX_EPOCH);
        let (unit, output) = (status.unit(&key("nodes")), status.output("file"));
        status.forget_units();
        status.forget_outputs();
        assert!(status.units().is_empty() && status.outputs().is_empty());
        // Its last words, after the end.
        unit.store(Arc::new(UnitStatus {
            events: 9,
            ..UnitStatus::default()
        }));
        output.store(Arc::new(OutputStatus {
            up: Some(false),
            ..OutputStatus::default()
        }));
        assert_eq!(status.unit(&key("nodes")).load().events, 0);
        assert_eq!(status.output("file").load().up, None);
    }

    #[test]
    fn the_lag_is_that_of_the_oldest_checkpoint() {
        let at = |second| Timestamp::UNIX_EPOCH + Duration::from_secs(second);
        let status = Status::new(at(0));
        assert_eq!(status.checkpoint_lag(at(100)), None);
        for (command, checkpoint, unsupported) in [
            ("alert", Some(at(70)), false),
            ("nodes", None, false),
            ("auditevent", Some(at(40)), false),
            ("future", Some(at(0)), true),
        ] {
            status.unit(&key(command)).store(Arc::new(UnitStatus {
                checkpoint,
                unsupported,
                ..UnitStatus::default()
            }));
        }
        assert_eq!(status.checkpoint_lag(at(100)), Some(Duration::from_secs(60)));
        assert_eq!(status.checkpoint_lag(at(10)), Some(Duration::ZERO));
    }

    #[test]
    fn an_instance_leads_until_its_deadline_and_another_until_it_is_told() {
        let of = |name: &str, deadline| Leadership {
            leader: Some(Leader {
                name: name.into(),
                address: "http://x:5066".into(),
                since: Timestamp::UNIX_EPOCH,
            }),
            deadline,
            ..Leadership::default()
        };
        let deadline = Some(Duration::from_secs(10));
        for (leadership, second, want) in [
            (of("node-a", deadline), 9, true),
            (of("node-a", deadline), 10, false),
            (of("node-a", None), 0, false),
            (of("node-b", None), 99, true),
            (Leadership::default(), 0, false),
        ] {
            let leader = leadership.leader_at("node-a", Duration::from_secs(second));
            assert_eq!(leader.is_some(), want, "{leadership:?}");
        }
        let second = Duration::from_secs(1);
        assert_eq!(State::Leader.held(Some(second)), State::Leader);
        for left in [Some(Duration::ZERO), None] {
            assert_eq!(State::Leader.held(left), State::Lost);
            assert_eq!(State::Single.held(left), State::Single);
            assert_eq!(State::Draining.held(left), State::Draining);
        }
    }
}
