//! What is done to hosts.
//!
//! Owns the list of faults and how each is done and undone. Whether the cluster recovers is looked at afterwards, by
//! the caller and by the checker. How long a fault lasts is part of it; nothing is hoped to have happened by then.

use std::fmt;
use std::time::Duration;

use crate::cluster::{Cluster, Struck};
use crate::ground::Net;
use crate::layout::TTL;
use crate::record::{Class, Expect};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The leader's host loses the network of etcd until another leads, and gets it back.
    CutEtcd,
    /// The leader's host stands still for longer than a lease, and goes on where it was.
    Pause,
    /// The leader's host is gone until another leads, and comes back.
    Kill,
    /// The leader's host loses the network of etcd for less than a lease.
    Flap,
    /// The leader's host loses the network where ECS and the output are for two leases; it keeps the lease.
    CutSite,
    /// The host of a member of etcd loses its network: its connections are there, nothing comes back.
    CutMember,
    /// The leader's host loses etcd, and a member's host is gone as well.
    Two,
}

impl Kind {
    /// What every run does to three members of etcd.
    pub(crate) const CORE: &[Self] = &[Self::CutEtcd, Self::Pause, Self::Kill];
    /// What else can be done to them.
    pub(crate) const MORE: &[Self] = &[
        Self::Flap,
        Self::CutMember,
        Self::CutSite,
        Self::Two,
        Self::Kill,
        Self::Pause,
        Self::CutEtcd,
    ];
    /// What is done to a single member.
    pub(crate) const SINGLE: &[Self] = &[Self::Kill, Self::CutEtcd, Self::Pause, Self::Flap];

    fn name(self) -> &'static str {
        match self {
            Self::CutEtcd => "cut-etcd",
            Self::Pause => "pause",
            Self::Kill => "kill",
            Self::Flap => "flap",
            Self::CutSite => "cut-site",
            Self::CutMember => "cut-member",
            Self::Two => "two",
        }
    }

    /// As the recording names it.
    pub(crate) fn struck(self, number: usize) -> Struck {
        let (class, expect) = match self {
            Self::CutEtcd | Self::Pause => (Class::Partition, Expect::Takeover),
            Self::Kill => (Class::Host, Expect::Takeover),
            Self::Two => (Class::Compound, Expect::Takeover),
            // A busy machine makes a short fault long.
            Self::Flap | Self::CutSite => (Class::Other, Expect::Either),
            Self::CutMember => (Class::Member, Expect::Same),
        };
        Struck {
            number,
            name: self.name(),
            class,
            expect,
        }
    }

    /// Does it and undoes it.
    pub(crate) async fn play(self, cluster: &mut Cluster, fault: &Struck) -> anyhow::Result<()> {
        let (leader, term) = cluster.leader().await?;
        let leader = cluster.replicas[leader].clone();
        cluster.strike(fault, term, &leader.name);
        match self {
            Self::CutEtcd => {
                cluster.ground().cut(&leader, Net::Etcd)?;
                cluster.succeeded(term).await?;
                // It has to notice, and to wait for its turn.
                last(TTL).await;
                cluster.ground().join(&leader, Net::Etcd)
            }
            Self::Pause => {
                cluster.ground().pause(&leader)?;
                cluster.succeeded(term).await?;
                // The new leader is at work when the old one goes on where it was.
                last(TTL).await;
                cluster.ground().resume(&leader)
            }
            Self::Kill => {
                cluster.ground().kill(&leader)?;
                cluster.succeeded(term).await?;
                cluster.ground().start(&leader)
            }
            Self::Flap => {
                cluster.ground().cut(&leader, Net::Etcd)?;
                last(TTL / 4).await;
                cluster.ground().join(&leader, Net::Etcd)
            }
            Self::CutSite => {
                cluster.link_site(&leader, false)?;
                last(TTL * 2).await;
                cluster.link_site(&leader, true)
            }
            Self::CutMember => {
                let member = cluster.members[fault.number % cluster.members.len()].clone();
                cluster.ground().cut(&member, Net::Etcd)?;
                last(TTL * 2).await;
                cluster.ground().join(&member, Net::Etcd)
            }
            Self::Two => {
                let member = cluster.members[fault.number % cluster.members.len()].clone();
                cluster.ground().kill(&member)?;
                cluster.ground().cut(&leader, Net::Etcd)?;
                cluster.succeeded(term).await?;
                cluster.ground().join(&leader, Net::Etcd)?;
                cluster.ground().start(&member)
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Lets a fault last.
async fn last(time: Duration) {
    tokio::time::sleep(time).await;
}
