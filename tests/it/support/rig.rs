//! The collector, the federation it polls and the Elasticsearch it writes to, in one process.
//!
//! A [`Builder`] says what differs from the ordinary: the federation, keys of the customer, further settings.
//! [`Rig::stop`] stops the collector in order, [`Rig::restart`] starts it again with the same `path.data`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use ecs_sim::bulk::{self, Bulk};
use ecs_sim::{LoggedRequest, Sim};
use ecsbeat::app::{App, AppError, Outcome};
use ecsbeat::clock::Clock;
use ecsbeat::config::{Config, Sources, load};
use ecsbeat::telemetry::log::{self, Log};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::text;

/// Windows of a second, so that a test sees many of them. The stamps of audit events are of the minute: they are
/// found by the overlap.
const SHORT_WINDOWS: &str = "window: {step: 1s, lag: 1s, overlap: 2m, max_span: 10m, format: rfc3339}";
/// Everything that is polled unless a test says otherwise.
const QUICK: [&str; 2] = ["localzone", "nodes"];

/// A running collector and its surroundings.
pub(crate) struct Rig {
    pub(crate) sim: Sim,
    pub(crate) bulk: Bulk,
    directory: TempDir,
    builder: Builder,
    app: Option<Running>,
    log: Option<Log>,
}

struct Running {
    stop: CancellationToken,
    task: JoinSet<Result<Outcome, AppError>>,
    http: Option<SocketAddr>,
}

/// What a rig is made of.
pub(crate) struct Builder {
    sim: ecs_sim::Config,
    bulk: bulk::Config,
    user: String,
    password: Option<String>,
    customer: String,
    settings: String,
    commands: String,
    hosts: Option<fn(&Sim, usize) -> Vec<String>>,
    clock: fn() -> Clock,
    http: bool,
    log: bool,
}

/// Entries of `commands` for these types, every second (billing: as often as may be). What they ask is the
/// built-in one.
pub(crate) fn every<'a>(kinds: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for kind in kinds {
        let more = match kind {
            "auditevent" | "alert" => format!(", {SHORT_WINDOWS}"),
            _ => String::new(),
        };
        let interval = if kind == "nsbillingsample" { "300s" } else { "1s" };
        let _ = writeln!(text, "  - {{type: {kind}, interval: {interval}{more}}}");
    }
    text
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            sim: ecs_sim::Config {
                nodes_per_vdc: 2,
                disks_per_node: 2,
                processes_per_node: 2,
                namespaces: 3,
                directory_tables: 6,
                ..ecs_sim::Config::for_tests()
            },
            bulk: bulk::Config::for_tests(),
            user: "monitor".to_owned(),
            password: None,
            customer: String::new(),
            settings: String::new(),
            commands: every(QUICK),
            hosts: None,
            clock: Clock::system,
            http: false,
            log: false,
        }
    }
}

impl Builder {
    /// Changes the federation; the default is small: 2 VDCs of 2 nodes.
    #[must_use]
    pub(crate) fn sim(mut self, change: impl FnOnce(&mut ecs_sim::Config)) -> Self {
        change(&mut self.sim);
        self
    }

    /// Changes the fake Elasticsearch.
    #[must_use]
    pub(crate) fn bulk(mut self, change: impl FnOnce(&mut bulk::Config)) -> Self {
        change(&mut self.bulk);
        self
    }

    /// Another account than `monitor`.
    #[must_use]
    pub(crate) fn user(mut self, name: &str) -> Self {
        name.clone_into(&mut self.user);
        self
    }

    /// Another password than the account's.
    #[must_use]
    pub(crate) fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Further keys of the customer, as YAML in one line each.
    #[must_use]
    pub(crate) fn customer(mut self, lines: &str) -> Self {
        for line in lines.lines() {
            let _ = writeln!(self.customer, "    {}", line.trim_start());
        }
        self
    }

    /// Further settings, as YAML of its own that is laid over the rest.
    #[must_use]
    pub(crate) fn settings(mut self, yaml: &str) -> Self {
        yaml.clone_into(&mut self.settings);
        self
    }

    /// Polls these built-in commands and no others, see [`every`].
    #[must_use]
    pub(crate) fn commands(mut self, kinds: &[&str]) -> Self {
        self.commands = every(kinds.iter().copied());
        self
    }

    /// Entries of `commands` as YAML, each line beginning with `  - `.
    #[must_use]
    pub(crate) fn command_entries(mut self, entries: &str) -> Self {
        self.commands = format!("{}\n", entries.trim_end());
        self
    }

    /// Which addresses are configured for a VDC; those of all its nodes unless told.
    #[must_use]
    pub(crate) fn hosts(mut self, hosts: fn(&Sim, usize) -> Vec<String>) -> Self {
        self.hosts = Some(hosts);
        self
    }

    /// Another clock than the machine's.
    #[must_use]
    pub(crate) fn clock(mut self, clock: fn() -> Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Switches the HTTP endpoints on.
    #[must_use]
    pub(crate) fn http(mut self) -> Self {
        self.http = true;
        self
    }

    /// Writes the log, at level debug, to [`Rig::log_text`]. Once in a process, which is one test under nextest.
    #[must_use]
    pub(crate) fn log(mut self) -> Self {
        self.log = true;
        self
    }

    /// Starts the federation and Elasticsearch, not the collector.
    pub(crate) async fn prepare(self) -> Rig {
        let sim = Sim::start(self.sim.clone()).await.unwrap();
        let bulk = Bulk::start(self.bulk.clone()).await.unwrap();
        let mut rig = Rig {
            sim,
            bulk,
            directory: tempfile::tempdir().unwrap(),
            builder: self,
            app: None,
            log: None,
        };
        if rig.builder.log {
            rig.log = Some(log::init(&rig.config().logging).unwrap());
        }
        rig
    }

    /// Starts everything.
    pub(crate) async fn start(self) -> Rig {
        let mut rig = self.prepare().await;
        rig.run();
        rig
    }
}

impl Rig {
    /// What the ordinary is.
    pub(crate) fn build() -> Builder {
        Builder::default()
    }

    /// Starts the collector.
    pub(crate) fn run(&mut self) {
        let app = App::new(self.config(), (self.builder.clock)()).unwrap();
        let http = app.http_address();
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(app.run(stop.clone()));
        assert!(
            self.app.replace(Running { stop, task, http }).is_none(),
            "runs already"
        );
    }

    /// Stops the collector in order.
    pub(crate) async fn stop(&mut self) -> Outcome {
        self.stop_result().await.unwrap()
    }

    /// Stops the collector in order, and gives how that ended.
    pub(crate) async fn stop_result(&mut self) -> Result<Outcome, AppError> {
        self.app.as_ref().unwrap().stop.cancel();
        self.ended().await
    }

    /// Waits until the collector ends by itself.
    pub(crate) async fn ended(&mut self) -> Result<Outcome, AppError> {
        let mut app = self.app.take().unwrap();
        app.task.join_next().await.unwrap().unwrap()
    }

    /// Ends the collector without a word, as a crash does; what it had acknowledged is on disk.
    pub(crate) async fn kill(&mut self) {
        let mut app = self.app.take().unwrap();
        app.task.shutdown().await;
    }

    /// Whether the collector still works.
    pub(crate) fn is_running(&mut self) -> bool {
        self.app
            .as_mut()
            .is_some_and(|app| app.task.try_join_next().is_none())
    }

    /// Stops the collector and starts it again with further settings.
    pub(crate) async fn restart(&mut self, settings: &str) -> Outcome {
        let outcome = self.stop().await;
        settings.clone_into(&mut self.builder.settings);
        self.run();
        outcome
    }

    /// The configuration as the collector gets it.
    pub(crate) fn config(&self) -> Config {
        let directory = self.directory.path();
        fs::write(directory.join("ca.pem"), self.sim.ca_pem()).unwrap();
        fs::write(directory.join("base.yml"), self.yaml()).unwrap();
        fs::write(directory.join("more.yml"), &self.builder.settings).unwrap();
        let sources = Sources {
            files: vec![directory.join("base.yml"), directory.join("more.yml")],
            home: Some(directory.to_owned()),
            strict_perms: false,
            ..Sources::default()
        };
        load(&sources, &|_| None).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn yaml(&self) -> String {
        let builder = &self.builder;
        let directory = self.directory.path().display();
        let password = builder
            .password
            .clone()
            .unwrap_or_else(|| format!("CANARY-password-{}", builder.user));
        let mut vdcs = String::new();
        for vdc in 0..self.sim.vdcs() {
            let _ = writeln!(vdcs, "    - vdcname: VDC{vdc}\n      nodes:");
            let hosts = match builder.hosts {
                Some(hosts) => hosts(&self.sim, vdc),
                None => self
                    .sim
                    .vdc(vdc)
                    .nodes()
                    .iter()
                    .map(ecs_sim::NodeHandle::mgmt_host)
                    .collect(),
            };
            for host in hosts {
                let _ = writeln!(vdcs, "      - {{host: \"{host}\"}}");
            }
        }
        let diagnostics = match self.sim.diag_port() {
            Some(port) => format!("diagnostics_port: {port}"),
            None => String::new(),
        };
        format!(
            "\
name: rig
path.data: {directory}/data
path.logs: {directory}/logs
shutdown_timeout: 10s
logging: {{level: debug, to_files: true, metrics.enabled: false}}
http: {{enabled: {http}, host: 127.0.0.1, port: 0}}
queue.mem.flush.timeout: 20ms
output.elasticsearch: {{hosts: [\"{bulk}\"], backoff: {{init: 100ms, max: 1s}}}}
setup.template.enabled: false
ecsbeat:
  start_jitter: 0s
  customers:
  - customername: sim
    username: {user}
    password: {password}
    {diagnostics}
    ssl.certificate_authorities: [{directory}/ca.pem]
{customer}    vdcs:
{vdcs}  commands:
{commands}",
            http = builder.http,
            bulk = self.bulk.url(),
            user = builder.user,
            customer = builder.customer,
            commands = builder.commands,
        )
    }

    /// Every event delivered so far.
    pub(crate) fn all(&self) -> Vec<Value> {
        self.bulk
            .documents()
            .iter()
            .map(|document| serde_json::from_slice(&document.source).unwrap())
            .collect()
    }

    /// The records of a command that were delivered so far: no events of failures.
    pub(crate) fn events(&self, kind: &str) -> Vec<Value> {
        self.of(kind, "success")
    }

    /// The events of failures of a command that were delivered so far.
    pub(crate) fn failures(&self, kind: &str) -> Vec<Value> {
        self.of(kind, "failure")
    }

    fn of(&self, kind: &str, outcome: &str) -> Vec<Value> {
        let mut all = self.all();
        all.retain(|event| text(event, "ecs-event-type") == kind && text(event, "event.outcome") == outcome);
        all
    }

    /// The records of a command of one VDC, delivered so far.
    pub(crate) fn events_of(&self, kind: &str, vdc: usize) -> Vec<Value> {
        let mut events = self.events(kind);
        events.retain(|event| text(event, "ecs-vdc-cfgname") == format!("VDC{vdc}"));
        events
    }

    /// The different values of a member among the records of a command.
    pub(crate) fn values(&self, kind: &str, member: &str) -> BTreeSet<String> {
        let events = self.events(kind);
        events
            .iter()
            .map(|event| text(event, member).to_owned())
            .collect()
    }

    /// The different values of `error.code` among the failures of a command.
    pub(crate) fn error_codes(&self, kind: &str) -> BTreeSet<String> {
        let failures = self.failures(kind);
        failures
            .iter()
            .map(|event| text(event, "error.code").to_owned())
            .collect()
    }

    /// What the federation was asked so far on paths that begin so.
    pub(crate) fn asked(&self, path: &str) -> Vec<LoggedRequest> {
        let mut requests = self.sim.requests();
        requests.retain(|request| request.path.starts_with(path));
        requests
    }

    /// Waits until a record of the command arrives that was polled after this call, from every VDC where `vdcs` is
    /// not empty.
    pub(crate) async fn fresh(&self, kind: &str, vdcs: &[usize]) {
        let count = |vdc: Option<usize>| match vdc {
            Some(vdc) => ticks(&self.events_of(kind, vdc)),
            None => ticks(&self.events(kind)),
        };
        let vdcs: Vec<Option<usize>> = if vdcs.is_empty() {
            vec![None]
        } else {
            vdcs.iter().copied().map(Some).collect()
        };
        let before: Vec<usize> = vdcs.iter().map(|vdc| count(*vdc)).collect();
        // The first new tick may have been asked for before this call.
        super::eventually(&format!("fresh {kind}"), || {
            vdcs.iter()
                .zip(&before)
                .all(|(vdc, before)| count(*vdc) >= before + 2)
        })
        .await;
    }

    /// The answer of an HTTP endpoint, head and body.
    pub(crate) async fn get(&self, path: &str) -> String {
        let address = self.app.as_ref().and_then(|app| app.http).unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// The log so far.
    pub(crate) fn log_text(&self) -> String {
        self.log.as_ref().unwrap().flush(super::DEADLINE);
        read_all(self.directory.path().join("logs"))
    }

    /// All that is in `path.data`: checkpoints, identity.
    pub(crate) fn data_text(&self) -> String {
        read_all(self.directory.path().join("data"))
    }

    /// The directory of this rig, `path.home`.
    pub(crate) fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }
}

/// How many ticks these records are of.
fn ticks(events: &[Value]) -> usize {
    let ticks: BTreeSet<&str> = events.iter().map(|event| text(event, "ecsbeat.tick")).collect();
    ticks.len()
}

fn read_all(directory: PathBuf) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        all.push_str(&String::from_utf8_lossy(&bytes));
    }
    all
}
