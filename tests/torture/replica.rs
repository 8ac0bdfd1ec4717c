//! One replica: its process, its configuration, and the proxies between it and all that it needs.
//!
//! Owns what is particular to a replica. Everything it reaches it reaches through proxies of its own, so that it can
//! be cut off alone. The configuration is the same for all but for those addresses, names and directories.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use ecs_sim::Sim;
use rustix::process::Signal;

use crate::etcd::Etcd;
use crate::ports::Reserved;
use crate::process::{Child, describe};
use crate::proxy::{Proxy, Verb};
use crate::receiver::Receiver;
use crate::record::{Link, Process, What};
use crate::recorder::Recorder;
use crate::source;

/// What operators must show.
pub(crate) const TOKEN: &str = "torture-token";
/// Timers of the lease; the shortest that are allowed.
pub(crate) const TTL: Duration = Duration::from_secs(5);
/// The first key of the cluster in etcd.
pub(crate) const PREFIX: &str = "/ecsbeat";

/// How replicas are started.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// The product.
    pub(crate) binary: PathBuf,
    /// Another release of it, to and from which rolling restarts change.
    pub(crate) other: Option<PathBuf>,
    /// `ECSBEAT_NEGATIVE_CONTROL`
    pub(crate) control: Option<String>,
    /// libfaketime, where clocks are to be set.
    pub(crate) faketime: Option<PathBuf>,
}

/// What a replica needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Etcd,
    Output,
    Ecs,
}

/// A replica.
#[derive(Debug)]
pub(crate) struct Replica {
    name: String,
    directory: PathBuf,
    launch: Launch,
    recorder: Recorder,
    http: Reserved,
    etcd: Vec<Proxy>,
    output: Proxy,
    ecs: Vec<Proxy>,
    child: Option<Child>,
    /// Counts the hosts it has been on.
    host: usize,
    /// Its end was asked for.
    ending: bool,
    /// It is started again if it ends by itself.
    supervised: bool,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Output => "output",
            Self::Ecs => "ecs",
        }
    }
}

/// What surrounds a replica.
pub(crate) struct Around<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) etcd: &'a Etcd,
    pub(crate) receiver: &'a Receiver,
    pub(crate) sim: &'a Sim,
    pub(crate) recorder: &'a Recorder,
}

impl Replica {
    /// Writes its configuration below `directory` and opens its proxies; does not start it.
    pub(crate) async fn prepare(
        name: &str,
        directory: &Path,
        launch: &Launch,
        around: &Around<'_>,
    ) -> anyhow::Result<Self> {
        let directory = directory.join(name);
        std::fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        let mut etcd = Vec::new();
        for address in around.etcd.addresses() {
            etcd.push(Proxy::start(address).await?);
        }
        let mut ecs = Vec::new();
        for vdc in 0..around.sim.vdcs() {
            let host = around.sim.vdc(vdc).node(0).mgmt_host();
            let address: SocketAddr = host
                .parse()
                .with_context(|| format!("address of a node: {host}"))?;
            ecs.push(Proxy::start(address).await?);
        }
        let replica = Self {
            name: name.to_owned(),
            launch: launch.clone(),
            recorder: around.recorder.clone(),
            http: Reserved::new()?,
            etcd,
            output: Proxy::start(around.receiver.address()).await?,
            ecs,
            child: None,
            host: 0,
            ending: false,
            supervised: false,
            directory,
        };
        replica.write("ecs-ca.pem", around.sim.ca_pem())?;
        replica.write("ecsbeat.yml", &replica.configuration(around))?;
        replica.set_clock(0)?;
        Ok(replica)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.directory.join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    fn configuration(&self, around: &Around<'_>) -> String {
        let list = |proxies: &[Proxy]| {
            let urls = proxies
                .iter()
                .map(|proxy| format!("'http://{}'", proxy.address()));
            urls.collect::<Vec<_>>().join(", ")
        };
        let hosts: Vec<String> = self.ecs.iter().map(|proxy| proxy.address().to_string()).collect();
        let authority = self.directory.join("ecs-ca.pem").display().to_string();
        let mut text = source::section(around.sim, &authority, &hosts);
        let _ = write!(
            text,
            "name: torture
shutdown_timeout: 5s
logging: {{level: info, metrics.enabled: false}}
http: {{enabled: true, host: 127.0.0.1, port: {port}, auth.token: {TOKEN}}}
queue.mem: {{events: 2000, flush.min_events: 100, flush.timeout: 50ms}}
setup.template.enabled: false
output.elasticsearch:
  hosts: [{output}]
  backoff: {{init: 100ms, max: 500ms}}
ha:
  enabled: true
  cluster: {cluster}
  instance: {name}
  advertise: 'http://127.0.0.1:{port}'
  ttl: {ttl}s
  loop_wait: 1s
  retry_timeout: 1s
  safety_margin: 1s
  drain_timeout: 2s
  # The addresses of the proxies differ.
  config_mismatch: warn
  etcd: {{hosts: [{etcd}], prefix: {PREFIX}}}
",
            port = self.http.address().port(),
            output = list(std::slice::from_ref(&self.output)),
            cluster = around.cluster,
            name = self.name,
            ttl = TTL.as_secs(),
            etcd = list(&self.etcd),
        );
        text
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where its endpoints answer.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http.address()
    }

    /// Sets its wall clock off by so many seconds; takes effect within a second.
    pub(crate) fn set_clock(&self, seconds: i64) -> anyhow::Result<()> {
        self.write("clock", &format!("{seconds:+}s\n"))
    }

    /// Starts its process, on the host where it was.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(&self.launch.binary);
        let data = self.directory.join(format!("data-{}", self.host));
        command
            .env_clear()
            .args(["-e", "--path.home"])
            .arg(&self.directory)
            .arg("-c")
            .arg(self.directory.join("ecsbeat.yml"))
            .arg("--path.data")
            .arg(data);
        if let Some(control) = &self.launch.control {
            command.env("ECSBEAT_NEGATIVE_CONTROL", control);
        }
        if let Some(library) = &self.launch.faketime {
            // The monotonic clocks stay as they are.
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("FAKETIME_TIMESTAMP_FILE", self.directory.join("clock"))
                .env("FAKETIME_CACHE_DURATION", "1")
                .env("NO_FAKE_STAT", "1");
        }
        let log = self.directory.join("ecsbeat.log");
        self.child = Some(Child::start(&self.name, command, &log)?);
        self.ending = false;
        self.note("started", String::new());
        Ok(())
    }

    /// Its next start is on a new host: what it kept on disk is not there.
    pub(crate) fn lose_host(&mut self) {
        self.host += 1;
    }

    fn note(&self, step: &str, detail: String) {
        let process = Process {
            replica: self.name.clone(),
            step: step.to_owned(),
            detail,
        };
        self.recorder.note(What::Process(process));
    }

    /// Sends a signal.
    pub(crate) fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        self.ending |= signal == Signal::TERM || signal == Signal::KILL;
        self.note("signalled", format!("{signal:?}"));
        let child = self.child.as_mut().context("the replica was never started")?;
        child.signal(signal)
    }

    /// Waits until its process has ended.
    pub(crate) async fn ended(&mut self, limit: Duration) -> anyhow::Result<()> {
        let child = self.child.as_mut().context("the replica was never started")?;
        let status = child.end(limit).await?;
        // Killed, or stopped in order.
        let in_order = status.success() || status.code().is_none();
        let step = if self.ending && in_order { "ended" } else { "died" };
        self.note(step, describe(status));
        self.child = None;
        Ok(())
    }

    /// Waits until its process has stopped in order; one that does not is killed, and noted.
    pub(crate) async fn stopped(&mut self, limit: Duration) -> anyhow::Result<()> {
        if let Err(error) = self.ended(limit).await {
            self.note("died", format!("{error:#}"));
            self.kill().await?;
        }
        Ok(())
    }

    /// From here on it is started again if it ends by itself.
    pub(crate) fn supervise(&mut self) {
        self.supervised = true;
    }

    /// Kills its process and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.ended(Duration::from_secs(10)).await
    }

    /// Its next start is with the other release, where there is one.
    pub(crate) fn change_release(&mut self) {
        if let Some(other) = &mut self.launch.other {
            std::mem::swap(other, &mut self.launch.binary);
        }
    }

    /// Notes it if its process has ended by itself, and starts it again, as a supervisor would.
    pub(crate) fn tend(&mut self) -> anyhow::Result<()> {
        let Some(child) = self.child.as_mut() else {
            return Ok(());
        };
        if let Some(status) = child.status()?
            && !self.ending
        {
            let log = self.directory.join("ecsbeat.log");
            let detail = format!("{}; see {}", describe(status), log.display());
            self.note("died", detail.clone());
            if !self.supervised {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let last = text.lines().last().unwrap_or_default();
                bail!("replica {} ended with {detail}: {last}", self.name);
            }
            self.start()?;
        }
        Ok(())
    }

    /// Whether its process was started and not waited for.
    pub(crate) fn is_up(&self) -> bool {
        self.child.is_some()
    }

    /// Interferes with its connections to `target`, or lets them be.
    pub(crate) fn link(&self, target: Target, verb: Verb) {
        let proxies = match target {
            Target::Etcd => &self.etcd[..],
            Target::Output => std::slice::from_ref(&self.output),
            Target::Ecs => &self.ecs[..],
        };
        let link = Link {
            replica: self.name.clone(),
            target: target.name().to_owned(),
            verb: verb.to_string(),
        };
        self.recorder.note(What::Link(link));
        for proxy in proxies {
            proxy.set(verb);
        }
    }
}
