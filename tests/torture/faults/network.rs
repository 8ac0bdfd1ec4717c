//! Faults between a replica and what it needs.

use std::time::Duration;

use super::{Scene, last};
use crate::cluster::bound;
use crate::proxy::Verb;
use crate::record::{Class, Expect};
use crate::replica::{TTL, Target};

/// What a new leader needs until its first poll, beyond the time that a takeover may take.
const START: Duration = Duration::from_secs(1);
/// How long a request that went into the void may still be waited for, and asked again.
const REQUEST: Duration = Duration::from_secs(5);

impl Scene<'_> {
    /// Cuts the leader off from etcd.
    pub(super) async fn cut_etcd(&mut self, verb: Verb) -> anyhow::Result<()> {
        let leader = self.cluster.leader().await?;
        let time = self.between(TTL / 2, TTL * 2);
        let certain = bound(Class::Partition) + START;
        let expect = if time > certain {
            Expect::Takeover
        } else {
            Expect::Either
        };
        let at = self.strike(Class::Partition, expect, Some(leader));
        self.cluster
            .unable(at, certain, "the leader is cut off from etcd");
        self.cluster.replicas[leader].link(Target::Etcd, verb);
        last(time).await;
        self.cluster.replicas[leader].link(Target::Etcd, Verb::Pass);
        Ok(())
    }

    /// Holds up what the leader sends to etcd, and what it is answered, until its lease is over: writes arrive that
    /// their sender has given up, checkpoints of a term that has ended among them.
    pub(super) async fn late_etcd(&mut self) -> anyhow::Result<()> {
        let leader = self.cluster.leader().await?;
        let delay = self.between(TTL + TTL / 2, TTL * 2);
        let at = self.strike(Class::Compound, Expect::Takeover, Some(leader));
        // A late write may win a race for a sender that does not know it: then another lease has to end.
        let span = bound(Class::Partition) + TTL + START;
        self.cluster
            .unable(at, span, "the leader's requests to etcd are late");
        self.cluster.replicas[leader].link(Target::Etcd, Verb::Delay(delay));
        last(delay + TTL).await;
        self.cluster.replicas[leader].link(Target::Etcd, Verb::Pass);
        Ok(())
    }

    /// Cuts the leader off from the output. What was polled is delivered later: no tick is excused.
    pub(super) async fn cut_output(&mut self) -> anyhow::Result<()> {
        let leader = self.cluster.leader().await?;
        self.strike(Class::Other, Expect::Either, Some(leader));
        let time = self.between(Duration::from_secs(1), TTL * 2);
        self.cut_output_of(leader, time).await
    }

    pub(super) async fn cut_output_of(&mut self, replica: usize, time: Duration) -> anyhow::Result<()> {
        let verbs = [
            Verb::BlackHole,
            Verb::Reset,
            Verb::Refuse,
            Verb::Delay(Duration::from_millis(300)),
            Verb::Slow(8_000),
        ];
        let verb = verbs[self.random.usize(0..verbs.len())];
        self.cluster.replicas[replica].link(Target::Output, verb);
        last(time).await;
        self.cluster.replicas[replica].link(Target::Output, Verb::Pass);
        Ok(())
    }

    /// Lets the output take longer for an answer than a lease lasts.
    pub(super) async fn slow_output(&mut self) -> anyhow::Result<()> {
        let leader = self.cluster.leader().await?;
        self.strike(Class::Other, Expect::Either, Some(leader));
        let answer = self.between(TTL, TTL * 2);
        self.cluster.receiver.slow(answer);
        last(TTL * 2).await;
        self.cluster.receiver.slow(Duration::ZERO);
        Ok(())
    }

    /// Cuts the leader off from every node.
    pub(super) async fn cut_ecs(&mut self) -> anyhow::Result<()> {
        let leader = self.cluster.leader().await?;
        let at = self.strike(Class::Other, Expect::Either, Some(leader));
        let verbs = [Verb::BlackHole, Verb::Reset, Verb::Refuse];
        let verb = verbs[self.random.usize(0..verbs.len())];
        let time = self.between(Duration::from_secs(1), TTL * 2);
        self.cluster.replicas[leader].link(Target::Ecs, verb);
        self.cluster
            .unable(at, time + REQUEST, "the leader is cut off from ECS");
        last(time).await;
        self.cluster.replicas[leader].link(Target::Ecs, Verb::Pass);
        Ok(())
    }
}
