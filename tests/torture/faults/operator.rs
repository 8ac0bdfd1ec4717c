//! What people do to a cluster: orders to replicas, and interventions in etcd.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::json;

use super::{Scene, last};
use crate::cluster::bound;
use crate::record::{Class, Expect};
use crate::replica::TOKEN;
use crate::wire;

/// An order is answered when it has been carried out.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a new leader needs until its first poll, beyond the time that a takeover may take.
const START: Duration = Duration::from_secs(1);
/// The same after an orderly handover: there is no slack.
const HANDED_OVER: Duration = Duration::from_millis(200);

impl Scene<'_> {
    async fn order(&self, replica: usize, path: &str, body: &str) -> anyhow::Result<()> {
        let replica = &self.cluster.replicas[replica];
        let header = format!("Authorization: Bearer {TOKEN}\r\n");
        let reply = wire::ask(replica.http(), "POST", path, &header, body, PATIENCE).await;
        let reply = reply.with_context(|| format!("POST {path} to replica {}", replica.name()))?;
        if reply.status != 200 {
            let name = replica.name();
            bail!(
                "POST {path} to replica {name} answered {}: {}",
                reply.status,
                reply.body
            );
        }
        Ok(())
    }

    /// Orders a change of leader, half of the time to a certain candidate, at some replica.
    pub(super) async fn switchover(&mut self) -> anyhow::Result<()> {
        let leader = self.cluster.leader().await?;
        let mut body = json!({"leader": self.cluster.replicas[leader].name()});
        if self.random.bool() {
            let candidate = self.other_than(leader);
            body["candidate"] = json!(self.cluster.replicas[candidate].name());
        }
        let asked = self.random.usize(0..self.cluster.replicas.len());
        self.handed_over(leader, asked, "/switchover", &body.to_string())
            .await
    }

    /// Orders the leader to step down.
    pub(super) async fn step_down(&mut self) -> anyhow::Result<()> {
        let leader = self.cluster.leader().await?;
        self.handed_over(leader, leader, "/step-down", "{}").await
    }

    async fn handed_over(
        &mut self,
        leader: usize,
        asked: usize,
        path: &str,
        body: &str,
    ) -> anyhow::Result<()> {
        let at = self.strike(Class::Orderly, Expect::Takeover, Some(leader));
        let span = bound(Class::Orderly) + HANDED_OVER;
        self.cluster.unable(at, span, "orderly handover");
        self.order(asked, path, body).await
    }

    /// Pauses the cluster; a standby is killed and comes back meanwhile.
    pub(super) async fn paused_crash(&mut self) -> anyhow::Result<()> {
        let leader = self.cluster.leader().await?;
        self.order(leader, "/pause", "{}").await?;
        let standby = self.other_than(leader);
        let killed = self.cluster.replicas[standby].kill().await;
        let started = killed.and_then(|()| self.cluster.replicas[standby].start());
        last(Duration::from_secs(2)).await;
        self.order(leader, "/resume", "{}").await?;
        started
    }

    /// Revokes the leader's lease.
    pub(super) async fn revoke(&mut self) -> anyhow::Result<()> {
        let leader = self.cluster.leader().await?;
        let key = self.cluster.leader_key();
        let lease = self.cluster.etcd.lease_of(&key).await?;
        let lease = lease.with_context(|| format!("{key} is on no lease, or is not there"))?;
        self.taken_away(leader);
        self.cluster.etcd.revoke(&lease).await
    }

    /// Deletes the leader's key.
    pub(super) async fn delete_key(&mut self) -> anyhow::Result<()> {
        let leader = self.cluster.leader().await?;
        let key = self.cluster.leader_key();
        self.taken_away(leader);
        if self.cluster.etcd.delete(&key).await? != 1 {
            bail!("there was no key {key} to delete");
        }
        Ok(())
    }

    fn taken_away(&mut self, leader: usize) {
        let at = self.strike(Class::Administrator, Expect::Takeover, Some(leader));
        let span = bound(Class::Administrator) + START;
        self.cluster.unable(at, span, "the lease was taken away");
    }
}
