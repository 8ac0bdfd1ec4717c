//! Faults of a replica's process and of the host under it.

use std::time::Duration;

use rustix::process::Signal;

use super::{Scene, last};
use crate::cluster::bound;
use crate::proxy::Verb;
use crate::record::{Class, Expect};
use crate::replica::{TTL, Target};

const STOP: Duration = Duration::from_secs(20);
/// What a new leader needs until its first poll, beyond the time that a takeover may take.
const START: Duration = Duration::from_secs(1);
/// The same after an orderly handover: there is no slack.
const HANDED_OVER: Duration = Duration::from_millis(200);
/// The furthest a clock is set.
const HOUR: i64 = 3600;

impl Scene<'_> {
    /// Stops the leader in order and starts it again.
    pub(super) async fn sigterm(&mut self) -> anyhow::Result<()> {
        let leader = self.cluster.leader().await?;
        self.restart_in_order(leader, true).await
    }

    async fn restart_in_order(&mut self, replica: usize, leads: bool) -> anyhow::Result<()> {
        if leads {
            let at = self.strike(Class::Orderly, Expect::Takeover, Some(replica));
            let span = bound(Class::Orderly) + HANDED_OVER;
            self.cluster.unable(at, span, "orderly handover");
        }
        let replica = &mut self.cluster.replicas[replica];
        replica.signal(Signal::TERM)?;
        replica.ended(STOP).await?;
        replica.start()
    }

    /// Kills the leader and starts it again at once.
    pub(super) async fn crash(&mut self) -> anyhow::Result<()> {
        let leader = self.cluster.leader().await?;
        let at = self.strike(Class::Crash, Expect::Takeover, Some(leader));
        self.cluster
            .unable(at, bound(Class::Crash) + START, "crash under a supervisor");
        let replica = &mut self.cluster.replicas[leader];
        replica.kill().await?;
        replica.start()
    }

    /// Kills the leader; it comes back without what it kept on disk when another leads.
    pub(super) async fn host_crash(&mut self) -> anyhow::Result<()> {
        let leader = self.cluster.leader().await?;
        let term = self.cluster.prober.look(crate::probe::Views::newest);
        let at = self.strike(Class::Host, Expect::Takeover, Some(leader));
        self.cluster.unable(at, bound(Class::Host) + START, "host crash");
        self.cluster.replicas[leader].kill().await?;
        self.cluster.succeeded(term).await?;
        let replica = &mut self.cluster.replicas[leader];
        replica.lose_host();
        replica.start()
    }

    /// Takes the output away from the leader, and then the host: what it had polled and not delivered is to be
    /// polled again by another.
    pub(super) async fn blind_crash(&mut self) -> anyhow::Result<()> {
        let leader = self.cluster.leader().await?;
        let at = self.cluster.recorder.now();
        let time = self.between(Duration::from_secs(1), TTL);
        // The ticks of the blind are lost with it.
        self.cluster
            .unable(at, time + bound(Class::Host) + START, "crash without an output");
        self.die_blind(leader, time).await
    }

    async fn die_blind(&mut self, leader: usize, time: Duration) -> anyhow::Result<()> {
        let term = self.cluster.prober.look(crate::probe::Views::newest);
        let verbs = [Verb::BlackHole, Verb::Refuse];
        let verb = verbs[self.random.usize(0..verbs.len())];
        self.cluster.replicas[leader].link(Target::Output, verb);
        last(time).await;
        self.strike(Class::Host, Expect::Takeover, Some(leader));
        self.cluster.replicas[leader].kill().await?;
        self.cluster.replicas[leader].link(Target::Output, Verb::Pass);
        self.cluster.succeeded(term).await?;
        let replica = &mut self.cluster.replicas[leader];
        replica.lose_host();
        replica.start()
    }

    /// Lets the leader's process stand still for half a lease to three.
    pub(super) async fn pause(&mut self) -> anyhow::Result<()> {
        let leader = self.cluster.leader().await?;
        let time = self.between(TTL / 2, TTL * 3);
        self.freeze(leader, time, Class::Partition).await
    }

    async fn freeze(&mut self, leader: usize, time: Duration, class: Class) -> anyhow::Result<()> {
        // A standby needs the lease to end, and then some time.
        let certain = bound(Class::Partition) + START;
        let expect = if time > certain {
            Expect::Takeover
        } else {
            Expect::Either
        };
        let at = self.strike(class, expect, Some(leader));
        self.cluster.unable(at, certain, "the leader stands still");
        self.cluster.replicas[leader].signal(Signal::STOP)?;
        last(time).await;
        self.cluster.replicas[leader].signal(Signal::CONT)
    }

    /// Lets a standby's process stand still.
    pub(super) async fn pause_standby(&mut self) -> anyhow::Result<()> {
        let leader = self.cluster.leader().await?;
        let standby = self.other_than(leader);
        let time = self.between(TTL / 2, TTL * 2);
        self.cluster.replicas[standby].signal(Signal::STOP)?;
        last(time).await;
        self.cluster.replicas[standby].signal(Signal::CONT)
    }

    /// Restarts all in order, as an upgrade does.
    pub(super) async fn rolling(&mut self) -> anyhow::Result<()> {
        for replica in 0..self.cluster.replicas.len() {
            let leads = self.cluster.leader().await? == replica;
            self.cluster.replicas[replica].change_release();
            self.restart_in_order(replica, leads).await?;
            // What is asked may be answered by the old process still.
            last(Duration::from_millis(500)).await;
            self.cluster.healthy(replica).await?;
            self.cluster.well().await?;
        }
        Ok(())
    }

    /// Sets the leader's clock off by an hour, and right again.
    pub(super) async fn clock(&mut self) -> anyhow::Result<()> {
        let leader = self.cluster.leader().await?;
        let seconds = if self.random.bool() { HOUR } else { -HOUR };
        let at = self.strike(Class::Other, Expect::Either, Some(leader));
        self.cluster.replicas[leader].set_clock(seconds)?;
        let time = self.between(Duration::from_secs(3), TTL * 2);
        last(time).await;
        self.cluster.replicas[leader].set_clock(0)?;
        // Its ticks are other ones meanwhile. The new time is seen within a second, ticks begin with the next.
        let span = time + Duration::from_secs(4);
        self.cluster.unable(at, span, "the leader's clock is wrong");
        last(Duration::from_secs(2)).await;
        Ok(())
    }

    /// Two faults at once: a member of etcd and the leader, or the output and the leader, or two replicas.
    pub(super) async fn two(&mut self) -> anyhow::Result<()> {
        let leader = self.cluster.leader().await?;
        let time = self.between(TTL, TTL * 2);
        let at = self.cluster.recorder.now();
        // Several leases may have to end one after the other.
        self.cluster
            .unable(at, time + TTL * 2 + START, "two faults at once");
        match self.random.u8(0..4) {
            0 => {
                let member = self.random.usize(0..self.cluster.etcd.len());
                self.cluster.etcd.kill(member).await?;
                self.strike(Class::Compound, Expect::Takeover, Some(leader));
                self.cluster.replicas[leader].kill().await?;
                self.cluster.replicas[leader].start()?;
                last(time).await;
                self.cluster.etcd.start_member(member)?;
            }
            1 => {
                let member = self.random.usize(0..self.cluster.etcd.len());
                self.cluster.etcd.pause(member)?;
                let frozen = self.freeze(leader, time, Class::Compound).await;
                self.cluster.etcd.resume(member)?;
                frozen?;
            }
            2 => self.die_blind(leader, time).await?,
            _ => {
                let standby = self.other_than(leader);
                self.cluster.replicas[standby].kill().await?;
                let frozen = self.freeze(leader, time, Class::Compound).await;
                self.cluster.replicas[standby].start()?;
                frozen?;
            }
        }
        self.cluster.etcd.ready().await
    }
}
