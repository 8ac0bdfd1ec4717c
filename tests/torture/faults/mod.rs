//! What is done to a cluster.
//!
//! Owns the list of faults, which of them a cluster can suffer, and the order in which they come, drawn from a seed.
//! Each fault undoes itself before it ends; whether the cluster recovers is looked at by the caller.

mod members;
mod network;
mod operator;
mod replica;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use fastrand::Rng;

use crate::cluster::{Cluster, Struck};
use crate::record::{Class, Expect, Micros};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The leader is stopped in order and started again.
    Sigterm,
    /// The leader is killed, and started again at once by a supervisor.
    Crash,
    /// The leader's host is gone; a new one comes when another leads.
    HostCrash,
    /// The leader's process stands still for half a lease to three.
    Pause,
    /// A standby's process stands still.
    PauseStandby,
    /// All replicas are restarted in order, one after the other.
    Rolling,
    /// The leader's clock jumps by an hour and back.
    Clock,
    /// The leader's connections to etcd turn into black holes.
    CutEtcd,
    /// The leader's connections to etcd are reset.
    ResetEtcd,
    /// What the leader sends to etcd arrives when its lease is over.
    LateEtcd,
    /// The leader does not reach the output.
    CutOutput,
    /// The leader does not reach the output, and then its host is gone.
    BlindCrash,
    /// The output takes longer than a lease to answer.
    SlowOutput,
    /// The leader does not reach any node.
    CutEcs,
    /// A member of etcd that does not lead is killed.
    EtcdKill,
    /// A member of etcd stands still.
    EtcdPause,
    /// The leader of etcd is killed.
    EtcdLeader,
    /// etcd has no quorum for a while.
    Quorum,
    /// An administrator revokes the leader's lease.
    Revoke,
    /// An administrator deletes the leader's key.
    DeleteKey,
    /// An operator asks for a change of leader.
    Switchover,
    /// An operator asks the leader to step down.
    StepDown,
    /// An operator pauses the cluster; a standby crashes and comes back.
    PausedCrash,
    /// Two at once.
    Two,
}

const KINDS: [(&str, Kind); 24] = [
    ("sigterm", Kind::Sigterm),
    ("crash", Kind::Crash),
    ("host-crash", Kind::HostCrash),
    ("pause", Kind::Pause),
    ("pause-standby", Kind::PauseStandby),
    ("rolling", Kind::Rolling),
    ("clock", Kind::Clock),
    ("cut-etcd", Kind::CutEtcd),
    ("reset-etcd", Kind::ResetEtcd),
    ("late-etcd", Kind::LateEtcd),
    ("cut-output", Kind::CutOutput),
    ("blind-crash", Kind::BlindCrash),
    ("slow-output", Kind::SlowOutput),
    ("cut-ecs", Kind::CutEcs),
    ("etcd-kill", Kind::EtcdKill),
    ("etcd-pause", Kind::EtcdPause),
    ("etcd-leader", Kind::EtcdLeader),
    ("quorum", Kind::Quorum),
    ("revoke", Kind::Revoke),
    ("delete-key", Kind::DeleteKey),
    ("switchover", Kind::Switchover),
    ("step-down", Kind::StepDown),
    ("paused-crash", Kind::PausedCrash),
    ("two", Kind::Two),
];

impl Kind {
    /// Every kind.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        KINDS.into_iter().map(|(_, kind)| kind)
    }

    fn name(self) -> &'static str {
        let entry = KINDS.iter().find(|(_, kind)| *kind == self);
        entry.map_or("", |(name, _)| name)
    }

    /// Whether a cluster with so many members of etcd, and clocks that can be set or not, can suffer it.
    pub(crate) fn fits(self, members: usize, clocks: bool) -> bool {
        match self {
            Self::Clock => clocks,
            Self::EtcdKill | Self::EtcdPause | Self::EtcdLeader | Self::Two => members > 1,
            _ => true,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let entry = KINDS.iter().find(|(name, _)| *name == text);
        entry.map(|(_, kind)| *kind).ok_or_else(|| {
            let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
            format!("no such fault; there are {}", names.join(", "))
        })
    }
}

/// Draws `count` faults: every kind as often as every other, as far as the number goes, in an order of chance.
pub(crate) fn draw(kinds: &[Kind], count: usize, random: &mut Rng) -> Vec<Kind> {
    let mut drawn = Vec::new();
    while drawn.len() < count && !kinds.is_empty() {
        let mut round = kinds.to_vec();
        random.shuffle(&mut round);
        drawn.extend(round);
    }
    drawn.truncate(count);
    drawn
}

/// A fault that is being done.
pub(crate) struct Scene<'a> {
    pub(crate) cluster: &'a mut Cluster,
    /// Counts the faults of the whole run.
    pub(crate) number: usize,
    pub(crate) kind: Kind,
    pub(crate) random: Rng,
    /// How long etcd goes without a quorum.
    pub(crate) outage: Duration,
}

impl Scene<'_> {
    /// Does it and undoes it.
    pub(crate) async fn play(&mut self) -> anyhow::Result<()> {
        match self.kind {
            Kind::Sigterm => self.sigterm().await,
            Kind::Crash => self.crash().await,
            Kind::HostCrash => self.host_crash().await,
            Kind::Pause => self.pause().await,
            Kind::PauseStandby => self.pause_standby().await,
            Kind::Rolling => self.rolling().await,
            Kind::Clock => self.clock().await,
            Kind::CutEtcd => self.cut_etcd(crate::proxy::Verb::BlackHole).await,
            Kind::ResetEtcd => self.cut_etcd(crate::proxy::Verb::Reset).await,
            Kind::LateEtcd => self.late_etcd().await,
            Kind::CutOutput => self.cut_output().await,
            Kind::BlindCrash => self.blind_crash().await,
            Kind::SlowOutput => self.slow_output().await,
            Kind::CutEcs => self.cut_ecs().await,
            Kind::EtcdKill => self.etcd_kill().await,
            Kind::EtcdPause => self.etcd_pause().await,
            Kind::EtcdLeader => self.etcd_leader().await,
            Kind::Quorum => self.quorum().await,
            Kind::Revoke => self.revoke().await,
            Kind::DeleteKey => self.delete_key().await,
            Kind::Switchover => self.switchover().await,
            Kind::StepDown => self.step_down().await,
            Kind::PausedCrash => self.paused_crash().await,
            Kind::Two => self.two().await,
        }
    }

    fn strike(&mut self, class: Class, expect: Expect, replica: Option<usize>) -> Micros {
        let struck = Struck {
            number: self.number,
            name: self.kind.name(),
            class,
            expect,
        };
        self.cluster.strike(&struck, replica)
    }

    /// A time between two.
    fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let range = least.as_millis()..=most.as_millis();
        let drawn = self.random.u128(range);
        Duration::from_millis(u64::try_from(drawn).unwrap_or(u64::MAX))
    }

    /// Some replica that is not this one.
    fn other_than(&mut self, replica: usize) -> usize {
        let count = self.cluster.replicas.len();
        (replica + self.random.usize(1..count)) % count
    }
}

/// Lets a fault last.
async fn last(time: Duration) {
    tokio::time::sleep(time).await;
}
