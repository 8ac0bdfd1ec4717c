//! Three replicas and an etcd on hosts of their own, and what they collect from and publish to.
//!
//! Owns the life of the cluster, and what of it goes into the recording: the torture's checker judges that. "Well" is a condition, never a span of time.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use ecs_sim::Sim;

use crate::gateway::Gateway;
use crate::ground::{Ground, Host, Net};
use crate::layout::{self, PORT, TTL};
use crate::probe::{Prober, Views};
use crate::receiver::Receiver;
use crate::record::{Class, Expect, Fault, Link, Micros, Process, Setup, Strike, What};
use crate::recorder::{Recorder, Watch, micros};
use crate::source;

/// By then somebody else leads, when nothing else takes time: the lease, and the race for it.
pub(crate) const USUAL: Duration = Duration::from_millis(5_700);
/// A takeover that takes longer is a failure on the busiest machine.
const BOUND: Duration = Duration::from_secs(15);
/// A cluster that is not well again by then has failed.
const RECOVERY: Duration = Duration::from_secs(90);
/// How long the replicas have at the end for what is due.
const DELIVERY: Duration = Duration::from_secs(60);

/// A running cluster.
pub(crate) struct Cluster {
    ground: Box<dyn Ground>,
    pub(crate) recorder: Recorder,
    pub(crate) replicas: Vec<Host>,
    pub(crate) members: Vec<Host>,
    sim: Sim,
    receiver: Receiver,
    _gateway: Gateway,
    prober: Prober,
    /// Since when everything must be delivered, seconds since 1970.
    from: i64,
    struck: Option<(Micros, u64)>,
}

fn bounds() -> BTreeMap<Class, Micros> {
    let all = [Class::Host, Class::Partition, Class::Compound];
    all.map(|class| (class, micros(BOUND))).into()
}

impl Cluster {
    /// Starts everything and waits until it works.
    pub(crate) async fn start(
        mut ground: Box<dyn Ground>,
        recording: &Path,
        watch: Watch,
        count: u8,
        control: Option<&str>,
    ) -> anyhow::Result<Self> {
        let recorder = Recorder::create(recording, watch)?;
        recorder.note(What::Setup(Setup {
            cluster: "hosts".to_owned(),
            seed: 0,
            epoch: watch.epoch(),
            ttl: micros(TTL),
            // Ticks of seconds are the torture's affair: machines that run tests over hosts are busy.
            gauges: Vec::new(),
            bounds: bounds(),
        }));
        let sim = source::start(1).await?;
        let receiver = Receiver::start(recorder.clone(), source::key).await?;
        let mut gateway = Gateway::new(ground.here(Net::Site));
        let output = gateway.open(receiver.address()).await?;
        let mut nodes = Vec::new();
        for vdc in 0..sim.vdcs() {
            let host = sim.vdc(vdc).node(0).mgmt_host();
            let node = host
                .parse()
                .with_context(|| format!("address of a node: {host}"))?;
            nodes.push(gateway.open(node).await?.to_string());
        }
        let members = layout::members(&*ground, count);
        let authority = format!("{}/ecs-ca.pem", ground.folder());
        let mut text = source::section(&sim, &authority, &nodes);
        text.push_str(&layout::replicated(&*ground, &output.to_string(), &members));
        ground.share("ecs-ca.pem", sim.ca_pem())?;
        ground.share(layout::CONFIGURATION, &text)?;
        let replicas = layout::replicas(&*ground, control);
        for host in members.iter().chain(&replicas) {
            ground.create(host)?;
            ground.start(host)?;
        }
        let addresses: Vec<_> = (replicas.iter())
            .map(|host| (host.name.clone(), (ground.address(host, Net::Site), PORT).into()))
            .collect();
        let prober = Prober::start(&recorder, &addresses);
        let mut cluster = Self {
            ground,
            recorder,
            replicas,
            members,
            sim,
            receiver,
            _gateway: gateway,
            prober,
            from: 0,
            struck: None,
        };
        cluster
            .well()
            .await
            .context("the cluster does not work from the start")?;
        // The next second is the first one that began while everything worked.
        cluster.from = watch.wall() + 1;
        Ok(cluster)
    }

    pub(crate) fn ground(&mut self) -> &mut dyn Ground {
        &mut *self.ground
    }

    /// The number of the replica that leads, and its term; waits for one.
    pub(crate) async fn leader(&mut self) -> anyhow::Result<(usize, u64)> {
        let since = Instant::now();
        loop {
            if let Some(found) = self.prober.look(Views::leader) {
                return Ok(found);
            }
            self.wait(since, "nobody leads").await?;
        }
    }

    /// Waits until a term after `term` has begun.
    pub(crate) async fn succeeded(&mut self, term: u64) -> anyhow::Result<()> {
        let since = Instant::now();
        while self.prober.look(|views| views.after(term)).is_none() {
            self.wait(since, "nobody takes over").await?;
        }
        Ok(())
    }

    async fn wait(&self, since: Instant, what: &str) -> anyhow::Result<()> {
        if since.elapsed() > RECOVERY {
            let mut text = format!("{what}, for {} s", since.elapsed().as_secs());
            for host in self.replicas.iter().chain(&self.members) {
                let _ = write!(text, "\n--- {}\n{}", host.name, self.ground.last_words(host));
            }
            bail!(text);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(())
    }

    /// Waits until it works: somebody leads, all are healthy, and what is of now arrives from who leads.
    pub(crate) async fn well(&mut self) -> anyhow::Result<()> {
        let (begin, since) = (Instant::now(), self.recorder.watch().wall() + 1);
        loop {
            let (leader, sick) = self.prober.look(|views| {
                let mut all = 0..self.replicas.len();
                let sick = all.find(|number| views.replica(*number).health != 200);
                (views.leader(), sick)
            });
            let what = match (leader, sick) {
                (None, _) => "nobody leads".to_owned(),
                (_, Some(sick)) => format!("replica {} is not healthy", self.replicas[sick].name),
                (Some((_, term)), None) => {
                    let missing = self.receiver.look(|progress| {
                        let mut kinds = ["capacity", "localzone", "alert"].into_iter();
                        kinds.find(|kind| !progress.reached(kind, term, since))
                    });
                    match missing {
                        None => return Ok(()),
                        Some(kind) => format!("no new {kind} arrives from term {term}"),
                    }
                }
            };
            self.wait(begin, &what).await?;
        }
    }

    /// Notes that a fault takes the leadership from somebody, or must not.
    pub(crate) fn strike(&mut self, fault: &Struck, term: u64, replica: &str) {
        let at = self.recorder.note(What::Strike(Strike {
            fault: fault.number,
            name: fault.name.to_owned(),
            class: fault.class,
            expect: fault.expect,
            term,
            replica: replica.to_owned(),
        }));
        self.struck = Some((at, term));
    }

    /// Takes a replica off the site's network, or brings it back.
    pub(crate) fn link_site(&mut self, host: &Host, up: bool) -> anyhow::Result<()> {
        // For the checker: what was not answered meanwhile may be sent again.
        self.recorder.note(What::Link(Link {
            replica: host.name.clone(),
            target: "output".to_owned(),
            verb: if up { "pass" } else { "cut" }.to_owned(),
        }));
        if up {
            self.ground.join(host, Net::Site)
        } else {
            self.ground.cut(host, Net::Site)
        }
    }

    /// Notes a step of a fault.
    pub(crate) fn step(&self, fault: &Struck, step: &str, detail: String) {
        self.recorder.note(What::Fault(Fault {
            number: fault.number,
            name: fault.name.to_owned(),
            step: step.to_owned(),
            detail,
        }));
    }

    /// How long after the last strike somebody else led; forgets the strike.
    pub(crate) fn takeover(&mut self) -> Option<Duration> {
        let (at, term) = self.struck.take()?;
        let led = self.prober.look(|views| views.after(term))?;
        Some(Duration::from_micros(led.saturating_sub(at)))
    }

    /// Gives the replicas time for what is due, stops them in order, and writes down what had to be delivered.
    pub(crate) async fn finish(mut self) -> anyhow::Result<()> {
        let to = self.recorder.watch().wall();
        let due = source::truth(&self.sim, self.from, to);
        let begin = Instant::now();
        let is_there = |cluster: &Self| {
            cluster.receiver.look(|progress| {
                let mut due = due.records.iter().filter(|record| record.due);
                due.all(|record| progress.has(&record.kind, &record.key))
            })
        };
        while !is_there(&self) && begin.elapsed() < DELIVERY {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // The leader last, so that nobody takes over on the way.
        let leader = self.prober.look(Views::leader).map(|(number, _)| number);
        let mut order: Vec<usize> = (0..self.replicas.len()).collect();
        order.sort_by_key(|number| Some(*number) == leader);
        for number in order {
            let host = self.replicas[number].clone();
            let code = self.ground.stop(&host)?;
            self.recorder.note(What::Process(Process {
                replica: host.name,
                step: if code == 0 { "ended" } else { "died" }.to_owned(),
                detail: format!("exit code {code}"),
            }));
        }
        self.prober.stop().await;
        self.recorder
            .note(What::Truth(source::truth(&self.sim, self.from, to)));
        self.recorder.finish()
    }
}

/// A fault, as the recording names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Struck {
    pub(crate) number: usize,
    pub(crate) name: &'static str,
    pub(crate) class: Class,
    pub(crate) expect: Expect,
}
