//! A simulated federation and the whole collector in one process, with what it delivers to a file.
//!
//! Owns [`Bench`] (federation, directory, configuration) and [`Running`] (a collector at work). Nothing waits for
//! a time: a run with `once` ends by itself, and [`Running::eventually`] ends as soon as its condition holds.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ecs_sim::{LoggedRequest, Sim};
use ecsbeat::app::{App, AppError, Outcome};
use ecsbeat::clock::Clock;
use ecsbeat::config::{Sources, load};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// After this a condition that does not hold fails the test.
const PATIENCE: Duration = Duration::from_secs(20);

/// 2026-03-02T10:00:30Z, where the clock of most federations here stands still.
pub(crate) const START: i64 = 1_772_445_630;

/// A federation, and the directory that the collector works in.
pub(crate) struct Bench {
    pub(crate) sim: Sim,
    directory: tempfile::TempDir,
    /// `ecsbeat.<key>` and whole sections, laid over the configuration.
    settings: BTreeMap<String, String>,
    /// Members of the customer; `vdcs` are those of the federation unless set.
    customer: BTreeMap<String, String>,
}

/// A small federation: one VDC of two nodes, whose clock stands at [`START`].
pub(crate) fn small() -> ecs_sim::Config {
    ecs_sim::Config {
        vdcs: 1,
        nodes_per_vdc: 2,
        disks_per_node: 2,
        processes_per_node: 2,
        namespaces: 5,
        directory_tables: 20,
        clock_start: Some(START),
        ..ecs_sim::Config::for_tests()
    }
}

impl Bench {
    /// A federation with a clock that stands still until it is moved.
    pub(crate) async fn new(config: ecs_sim::Config) -> Self {
        let sim = Sim::start(config).await.unwrap();
        sim.freeze_clock();
        let directory = tempfile::tempdir().unwrap();
        let authority = directory.path().join("ca.pem");
        fs::write(&authority, sim.ca_pem()).unwrap();
        let mut bench = Self {
            sim,
            directory,
            settings: BTreeMap::new(),
            customer: BTreeMap::new(),
        };
        bench.customer("reqtimeout", "5s");
        let authorities = format!(
            "{{certificate_authorities: [{:?}]}}",
            authority.display().to_string()
        );
        bench.customer("ssl", &authorities);
        bench
    }

    /// Sets a key of the configuration, such as `ecsbeat.max_attempts`.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> &mut Self {
        self.settings.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Sets a key of the customer.
    pub(crate) fn customer(&mut self, key: &str, value: &str) -> &mut Self {
        self.customer.insert(key.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn vdcs(&self) -> String {
        if let Some(vdcs) = self.customer.get("vdcs") {
            return vdcs.clone();
        }
        let vdcs = (0..self.sim.vdcs()).map(|number| {
            let nodes = self.sim.vdc(number).nodes();
            let hosts: Vec<String> = nodes
                .iter()
                .map(|node| format!("{:?}", node.mgmt_host()))
                .collect();
            format!("{{vdcname: VDC{}, nodes: [{}]}}", number + 1, hosts.join(", "))
        });
        format!("[{}]", vdcs.collect::<Vec<_>>().join(", "))
    }

    /// Writes `ecsbeat.yml` with these commands, each a flow mapping.
    pub(crate) fn write(&self, commands: &[&str], once: bool) -> PathBuf {
        let shown = |name: &str| format!("{:?}", self.path(name).display().to_string());
        let (data, out) = (shown("data"), shown("out"));
        let port = self.sim.diag_port().unwrap_or(9101);
        let mut lines = vec![
            "name: collector".to_owned(),
            format!("path.data: {data}"),
            "logging.metrics.enabled: false".to_owned(),
            "http.enabled: false".to_owned(),
            "queue.mem.flush.timeout: 20ms".to_owned(),
            format!("output.file: {{path: {out}, filename: events}}"),
            format!("ecsbeat.once: {once}"),
            "ecsbeat.start_jitter: 0s".to_owned(),
        ];
        lines.extend(self.settings.iter().map(|(key, value)| format!("{key}: {value}")));
        lines.push("ecsbeat.customers:".to_owned());
        lines.push("  - customername: EMC".to_owned());
        lines.push("    username: monitor".to_owned());
        lines.push("    password: CANARY-password-monitor".to_owned());
        lines.push(format!("    diagnostics_port: {port}"));
        let keys = self.customer.iter().filter(|(key, _)| *key != "vdcs");
        lines.extend(keys.map(|(key, value)| format!("    {key}: {value}")));
        lines.push(format!("    vdcs: {}", self.vdcs()));
        lines.push("ecsbeat.commands:".to_owned());
        lines.extend(commands.iter().map(|command| format!("  - {command}")));
        let path = self.path("ecsbeat.yml");
        fs::write(&path, lines.join("\n")).unwrap();
        path
    }

    fn app(&self, commands: &[&str], once: bool) -> App {
        let sources = Sources {
            files: vec![self.write(commands, once)],
            strict_perms: false,
            ..Sources::default()
        };
        let config = load(&sources, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
        App::new(config, Clock::system()).unwrap()
    }

    /// Collects everything once and gives how it went.
    pub(crate) async fn once(&self, commands: &[&str]) -> Outcome {
        let app = self.app(commands, true);
        let run = app.run(CancellationToken::new());
        let ended = tokio::time::timeout(PATIENCE, run).await;
        assert!(ended.is_ok(), "a run with once does not end");
        ended.unwrap().unwrap()
    }

    /// Collects everything once with what is delivered by it, and forgets what was delivered before.
    pub(crate) async fn events_of(&self, commands: &[&str]) -> Vec<Value> {
        let _ = fs::remove_dir_all(self.path("out"));
        self.once(commands).await;
        self.events()
    }

    /// Starts to collect.
    pub(crate) fn start(&self, commands: &[&str]) -> Running {
        let app = self.app(commands, false);
        let (stop, over) = (CancellationToken::new(), CancellationToken::new());
        let (run, guard) = (app.run(stop.clone()), over.clone().drop_guard());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let _told_at_the_end = guard;
            run.await
        });
        Running {
            task,
            over,
            stop,
            out: self.path("out"),
        }
    }

    /// Everything delivered so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        delivered(&self.path("out"))
    }

    /// The requests for paths that begin so.
    pub(crate) fn asked(&self, prefix: &str) -> Vec<LoggedRequest> {
        let mut requests = self.sim.requests();
        requests.retain(|request| request.path.starts_with(prefix));
        requests
    }
}

/// A collector at work.
pub(crate) struct Running {
    stop: CancellationToken,
    /// Cancelled when the collector has ended.
    over: CancellationToken,
    task: JoinSet<Result<Outcome, AppError>>,
    out: PathBuf,
}

impl Running {
    /// Waits until what was delivered meets the condition, and gives it.
    pub(crate) async fn eventually(&self, what: &str, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let begun = tokio::time::Instant::now();
        loop {
            let events = delivered(&self.out);
            if holds(&events) {
                return events;
            }
            assert!(!self.over.is_cancelled(), "the collector ended: {what}");
            assert!(
                begun.elapsed() < PATIENCE,
                "never: {what}; {} events",
                events.len()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops in good order.
    pub(crate) async fn stop(mut self) -> Outcome {
        self.stop.cancel();
        self.task.join_next().await.unwrap().unwrap().unwrap()
    }
}

fn delivered(directory: &Path) -> Vec<Value> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut events = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        // The last line may be in the making.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        events.extend(
            whole
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap()),
        );
    }
    events
}

/// The events of one type that are no failures.
pub(crate) fn of<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let good = events
        .iter()
        .filter(|event| event["event"]["outcome"] == "success");
    good.filter(|event| event["ecs-event-type"] == kind).collect()
}

/// Code and message of each failure.
pub(crate) fn failures(events: &[Value]) -> Vec<(String, String)> {
    let failed = events
        .iter()
        .filter(|event| event["event"]["outcome"] == "failure");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    failed
        .map(|event| (text(&event["error"]["code"]), text(&event["error"]["message"])))
        .collect()
}

/// A member's texts, sorted.
pub(crate) fn sorted(events: &[&Value], member: &str) -> Vec<String> {
    let mut texts: Vec<String> = events
        .iter()
        .map(|event| event[member].as_str().unwrap_or_default().to_owned())
        .collect();
    texts.sort();
    texts
}
