//! Faults of etcd.

use std::time::Duration;

use anyhow::Context as _;

use super::{Scene, last};
use crate::cluster::bound;
use crate::record::{Class, Expect};
use crate::replica::TTL;

const START: Duration = Duration::from_secs(1);

impl Scene<'_> {
    async fn etcd_leads(&self) -> anyhow::Result<usize> {
        let leader = self.cluster.etcd.leader().await;
        leader.context("etcd has no leader")
    }

    /// Kills a member that does not lead.
    pub(super) async fn etcd_kill(&mut self) -> anyhow::Result<()> {
        let leader = self.etcd_leads().await?;
        let count = self.cluster.etcd.len();
        let member = (leader + self.random.usize(1..count)) % count;
        self.lose_member(member).await
    }

    /// Kills the member that leads.
    pub(super) async fn etcd_leader(&mut self) -> anyhow::Result<()> {
        let leader = self.etcd_leads().await?;
        self.lose_member(leader).await
    }

    async fn lose_member(&mut self, member: usize) -> anyhow::Result<()> {
        self.strike(Class::Member, Expect::Same, None);
        self.cluster.etcd.kill(member).await?;
        let time = self.between(TTL / 2, TTL * 2);
        last(time).await;
        self.cluster.etcd.start_member(member)?;
        self.cluster.etcd.ready().await
    }

    /// Lets some member stand still.
    pub(super) async fn etcd_pause(&mut self) -> anyhow::Result<()> {
        let member = self.random.usize(0..self.cluster.etcd.len());
        self.strike(Class::Member, Expect::Same, None);
        self.cluster.etcd.pause(member)?;
        let time = self.between(TTL / 2, TTL * 2);
        last(time).await;
        // From here on it may revoke leases: see the checker.
        self.cluster
            .step(self.number, self.kind.name(), "resumed", String::new());
        self.cluster.etcd.resume(member)?;
        self.cluster.etcd.ready().await
    }

    /// Takes the quorum away for a while, by killing members or by letting them stand still.
    pub(super) async fn quorum(&mut self) -> anyhow::Result<()> {
        let count = self.cluster.etcd.len();
        let first = self.random.usize(0..count);
        let lost: Vec<usize> = (0..=count / 2).map(|number| (first + number) % count).collect();
        let kills = self.random.bool();
        let from = self.cluster.recorder.now();
        for member in &lost {
            if kills {
                self.cluster.etcd.kill(*member).await?;
            } else {
                self.cluster.etcd.pause(*member)?;
            }
        }
        last(self.outage).await;
        // Measured from its return.
        self.strike(Class::Quorum, Expect::Either, None);
        for member in &lost {
            if kills {
                self.cluster.etcd.start_member(*member)?;
            } else {
                self.cluster.etcd.resume(*member)?;
            }
        }
        let span = self.outage + bound(Class::Quorum) + START;
        self.cluster.unable(from, span, "etcd has no quorum");
        self.cluster.etcd.ready().await
    }
}
