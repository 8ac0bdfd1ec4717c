//! Three replicas and all that they need, on this machine: etcd, a federation, a receiver, proxies.
//!
//! Owns the life of a cluster: it starts, faults are done to it one after the other, each until it is well again,
//! and at the end it is given time to deliver what is due. "Well" is a condition, never a span of time: somebody
//! leads, everybody is healthy, and ticks and windows of now arrive from the term that leads.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use ecs_sim::Sim;
use rustix::process::Signal;

use crate::etcd::Etcd;
use crate::probe::Prober;
use crate::receiver::Receiver;
use crate::record::{Class, Expect, Fault, Micros, Setup, Span, Strike, What};
use crate::recorder::{Recorder, Watch, micros};
use crate::replica::{Around, Launch, PREFIX, Replica, TTL};
use crate::source;

const REPLICAS: [&str; 3] = ["a", "b", "c"];
/// A cluster that is not well again by then has failed.
const RECOVERY: Duration = Duration::from_secs(60);
/// How long the replicas have at the end for what is due.
const DELIVERY: Duration = Duration::from_secs(60);

/// How long an orderly stop may take.
const STOP: Duration = Duration::from_secs(20);

/// A running cluster.
pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) recorder: Recorder,
    pub(crate) etcd: Etcd,
    pub(crate) sim: Sim,
    pub(crate) receiver: Receiver,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) prober: Prober,
    recording: PathBuf,
    /// Since when everything must be delivered, seconds since 1970.
    from: i64,
    strike: Option<(Micros, u64)>,
}

/// How a cluster is made.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) number: usize,
    pub(crate) seed: u64,
    pub(crate) directory: PathBuf,
    pub(crate) etcd: PathBuf,
    pub(crate) members: usize,
    pub(crate) launch: Launch,
    pub(crate) watch: Watch,
}

/// The longest takeovers that are allowed.
fn bounds() -> BTreeMap<Class, Micros> {
    let lease = micros(TTL + Duration::from_millis(700));
    BTreeMap::from([
        (Class::Orderly, 250_000),
        (Class::Crash, 1_500_000),
        (Class::Host, lease),
        (Class::Partition, lease),
        (Class::Administrator, lease),
        // A new leader of etcd lets every lease begin anew.
        (Class::Quorum, micros(TTL * 2 + Duration::from_secs(2))),
    ])
}

/// The bound of a class; for those without one, that of a lost lease.
pub(crate) fn bound(class: Class) -> Duration {
    let bounds = bounds();
    let longest = bounds.get(&class).or_else(|| bounds.get(&Class::Partition));
    Duration::from_micros(longest.copied().unwrap_or_default())
}

impl Cluster {
    /// Starts everything and waits until it works.
    pub(crate) async fn start(plan: &Plan) -> anyhow::Result<Self> {
        let directory = plan.directory.join(format!("cluster-{}", plan.number));
        std::fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        let recording = directory.join("recording.jsonl");
        let recorder = Recorder::create(&recording, plan.watch)?;
        let name = format!("torture-{}", plan.number);
        let sim = source::start(plan.seed.wrapping_add(plan.number as u64)).await?;
        recorder.note(What::Setup(Setup {
            cluster: name.clone(),
            seed: plan.seed,
            epoch: plan.watch.epoch(),
            ttl: micros(TTL),
            gauges: source::gauges(&sim),
            bounds: bounds(),
        }));
        let etcd = Etcd::start(&plan.etcd, &directory.join("etcd"), plan.members).await?;
        let receiver = Receiver::start(recorder.clone(), source::key).await?;
        let mut replicas = Vec::new();
        for replica in REPLICAS {
            let around = Around {
                cluster: &name,
                etcd: &etcd,
                receiver: &receiver,
                sim: &sim,
                recorder: &recorder,
            };
            replicas.push(Replica::prepare(replica, &directory, &plan.launch, &around).await?);
        }
        let addresses: Vec<_> = (replicas.iter())
            .map(|replica| (replica.name().to_owned(), replica.http()))
            .collect();
        let prober = Prober::start(&recorder, &addresses);
        let mut cluster = Self {
            name,
            recorder,
            etcd,
            sim,
            receiver,
            replicas,
            prober,
            recording,
            from: 0,
            strike: None,
        };
        for replica in &mut cluster.replicas {
            replica.start()?;
        }
        cluster
            .well()
            .await
            .context("the cluster does not work from the start")?;
        for replica in &mut cluster.replicas {
            replica.supervise();
        }
        // The next second is the first one that began while everything worked.
        cluster.from = plan.watch.wall() + 1;
        Ok(cluster)
    }

    /// The key that the leader holds.
    pub(crate) fn leader_key(&self) -> String {
        format!("{PREFIX}/{}/leader", self.name)
    }

    /// The replica that leads; waits for one.
    pub(crate) async fn leader(&mut self) -> anyhow::Result<usize> {
        let start = Instant::now();
        loop {
            if let Some((leader, _)) = self.prober.look(crate::probe::Views::leader) {
                return Ok(leader);
            }
            self.wait(start, "nobody leads").await?;
        }
    }

    /// Waits until a term after `term` has begun.
    pub(crate) async fn succeeded(&mut self, term: u64) -> anyhow::Result<()> {
        let start = Instant::now();
        while self.prober.look(|views| views.after(term)).is_none() {
            self.wait(start, "nobody takes over").await?;
        }
        Ok(())
    }

    /// Waits until a replica is healthy.
    pub(crate) async fn healthy(&mut self, replica: usize) -> anyhow::Result<()> {
        let start = Instant::now();
        while self.prober.look(|views| views.replica(replica).health) != 200 {
            let what = format!("replica {} is not healthy", self.replicas[replica].name());
            self.wait(start, &what).await?;
        }
        Ok(())
    }

    async fn wait(&mut self, since: Instant, what: &str) -> anyhow::Result<()> {
        if since.elapsed() > RECOVERY {
            bail!("{what}, for {} s", since.elapsed().as_secs());
        }
        for replica in &mut self.replicas {
            replica.tend()?;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok(())
    }

    /// Waits until it works: somebody leads, all are healthy, and what is of now arrives.
    pub(crate) async fn well(&mut self) -> anyhow::Result<()> {
        let (start, since) = (Instant::now(), self.recorder.watch().wall() + 1);
        loop {
            let (leader, sick) = self.prober.look(|views| {
                let sick = (0..self.replicas.len())
                    .find(|number| !self.replicas[*number].is_up() || views.replica(*number).health != 200);
                (views.leader(), sick)
            });
            let what = match (leader, sick) {
                (None, _) => "nobody leads".to_owned(),
                (_, Some(sick)) => format!("replica {} is not healthy", self.replicas[sick].name()),
                (Some((_, term)), None) => {
                    let missing = self.receiver.look(|progress| {
                        ["capacity", "localzone", "alert"]
                            .into_iter()
                            .find(|kind| !progress.reached(kind, term, since))
                    });
                    match missing {
                        None => return Ok(()),
                        Some(kind) => format!("no new {kind} arrives from term {term}"),
                    }
                }
            };
            self.wait(start, &what).await?;
        }
    }

    /// Notes that a fault takes the leadership from `replica`, or may.
    pub(crate) fn strike(&mut self, fault: &Struck<'_>, replica: Option<usize>) -> Micros {
        let term = self.prober.look(crate::probe::Views::newest);
        let at = self.recorder.note(What::Strike(Strike {
            fault: fault.number,
            name: fault.name.to_owned(),
            class: fault.class,
            expect: fault.expect,
            term,
            replica: replica
                .map(|number| self.replicas[number].name().to_owned())
                .unwrap_or_default(),
        }));
        self.strike = Some((at, term));
        at
    }

    /// Notes that nobody could work from `from` on, for so long.
    pub(crate) fn unable(&self, from: Micros, span: Duration, why: &str) {
        self.recorder.note(What::Unable(Span {
            from,
            to: from + micros(span),
            why: why.to_owned(),
        }));
    }

    /// Notes a step of a fault.
    pub(crate) fn step(&self, number: usize, name: &str, step: &str, detail: String) {
        self.recorder.note(What::Fault(Fault {
            number,
            name: name.to_owned(),
            step: step.to_owned(),
            detail,
        }));
    }

    /// How long after the last strike somebody else led; forgets the strike.
    pub(crate) fn takeover(&mut self) -> Option<Duration> {
        let (at, term) = self.strike.take()?;
        let led = self.prober.look(|views| views.after(term))?;
        Some(Duration::from_micros(led.saturating_sub(at)))
    }

    /// Gives the replicas time for what is due, writes down what had to be delivered, and stops everything in order.
    pub(crate) async fn finish(mut self) -> anyhow::Result<PathBuf> {
        let to = self.recorder.watch().wall();
        let due = source::truth(&self.sim, self.from, to);
        let start = Instant::now();
        let is_there = |cluster: &Self| {
            cluster.receiver.look(|progress| {
                let mut due = due.records.iter().filter(|record| record.due);
                due.all(|record| progress.has(&record.kind, &record.key))
            })
        };
        while !is_there(&self) && start.elapsed() < DELIVERY {
            for replica in &mut self.replicas {
                replica.tend()?;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for replica in &mut self.replicas {
            replica.signal(Signal::TERM)?;
        }
        for replica in &mut self.replicas {
            replica.stopped(STOP).await?;
        }
        self.prober.stop().await;
        // What was stored by now may be younger than what was due.
        let truth = source::truth(&self.sim, self.from, to);
        self.recorder.note(What::Truth(truth));
        self.recorder.finish()?;
        Ok(self.recording)
    }
}

/// The fault that strikes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Struck<'a> {
    pub(crate) number: usize,
    pub(crate) name: &'a str,
    pub(crate) class: Class,
    pub(crate) expect: Expect,
}
