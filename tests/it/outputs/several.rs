//! Two outputs at once, one of which is down for a while: what is told, what is held, and what is there in the end.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ecs_sim::bulk::{self, Bulk, BulkFault, BulkRule};
use ecs_sim::{Config, Sim};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::process::{Home, Process, SOON, customers, eventually, get};
use crate::support::windowed::{COMMANDS, Row, busy, complete, exactly_once, rows, rows_of};

/// Most events in the queue; fewer than one round of polls makes.
const BOUND: usize = 24;
/// Of these alone there are more.
const GAUGES: &str = "  - {type: disks, interval: 1s}\n";

struct World {
    sim: Sim,
    bulk: Bulk,
    home: Home,
}

impl World {
    async fn new() -> Self {
        let sim = Sim::start(Config {
            disks_per_node: 10,
            ..busy()
        })
        .await
        .unwrap();
        let bulk = Bulk::start(bulk::Config::for_tests()).await.unwrap();
        let home = Home::new();
        home.configure(&format!(
            "ecsbeat:\n{COMMANDS}{GAUGES}{}queue.mem: {{events: {BOUND}, flush.timeout: 100ms}}\n\
             http: {{enabled: true, port: 0}}\nshutdown_timeout: 2s\noutput.console.enabled: false\n\
             output.file: {{path: '{}', rotate_on_startup: false}}\noutput.elasticsearch:\n  hosts: ['{}']\n  \
             timeout: 2s\n  backoff: {{init: 100ms, max: 400ms}}\n",
            customers(&sim, &home),
            home.path().join("out").display(),
            bulk.url()
        ));
        Self { sim, bulk, home }
    }

    fn out(&self) -> PathBuf {
        self.home.path().join("out")
    }

    /// Every whole line of the files; the last one may be half written.
    fn lines(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.out()) else {
            return Vec::new();
        };
        let mut lines = Vec::new();
        for entry in entries {
            let bytes = fs::read(entry.unwrap().path()).unwrap_or_default();
            let end = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
            let text = std::str::from_utf8(&bytes[..end]).unwrap();
            lines.extend(text.lines().map(str::to_owned));
        }
        lines
    }

    fn rows_in_files(&self) -> Vec<Row> {
        let lines = self.lines();
        rows(lines.iter().map(String::as_bytes))
    }

    /// How often each event's id is in the files.
    fn in_files(&self) -> BTreeMap<String, usize> {
        let mut ids = BTreeMap::new();
        for line in self.lines() {
            let document: Value = serde_json::from_str(&line).unwrap();
            let id = document["event"]["id"].as_str().unwrap();
            *ids.entry(id.to_owned()).or_default() += 1;
        }
        ids
    }

    async fn start(&self) -> (Process, SocketAddr) {
        let mut process = self.home.start(&[]);
        let address = process.http().await;
        (process, address)
    }

    /// What was not delivered to both holds the checkpoints.
    async fn everything_stands_still(&self) {
        let pass = async |seconds: i64| {
            let since = self.sim.now();
            eventually("time passes", SOON, || {
                (self.sim.now() > since + seconds).then_some(())
            })
            .await;
        };
        // Polls that were on their way and found nothing have nothing to wait for.
        let mut checkpoints = self.home.checkpoints();
        loop {
            pass(1).await;
            let now = self.home.checkpoints();
            if now == checkpoints {
                break;
            }
            checkpoints = now;
        }
        pass(3).await;
        assert_eq!(self.home.checkpoints(), checkpoints);
    }

    async fn both_work(&self) {
        eventually("documents arrive in both", SOON, || {
            (self.bulk.len() > 50 && self.in_files().len() > 50).then_some(())
        })
        .await;
    }

    /// All of both outputs, once.
    async fn finish(&self, mut process: Process, from: i64) {
        let to = self.sim.now();
        complete(&self.sim, from, to, SOON, || rows_of(&self.bulk)).await;
        complete(&self.sim, from, to, SOON, || self.rows_in_files()).await;
        process.stopped().await.expect(0);
        exactly_once(&self.sim, &rows_of(&self.bulk));
        exactly_once(&self.sim, &self.rows_in_files());
        assert!(self.bulk.duplicates().is_empty(), "{:?}", self.bulk.duplicates());
        let files = self.in_files();
        let twice: Vec<_> = files.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "more than once in the files: {twice:?}");
        let stored: Vec<String> = self
            .bulk
            .documents()
            .iter()
            .map(|document| document.json()["event"]["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(stored.len(), files.len(), "both have the same");
        assert!(stored.iter().all(|id| files.contains_key(id)));
    }
}

/// Waits until the queue is full because `down` takes nothing, and looks at everything that tells of it.
async fn told(address: SocketAddr, process: &mut Process, down: &str, up: &str, error: &str) {
    let output = |name: &str, metric: &str| format!("ecsbeat_{metric}{{output=\"{name}\"}}");
    let start = Instant::now();
    loop {
        let metrics = get(address, "/metrics").await;
        let value = |name: &str| metrics.metric(name).unwrap_or_default();
        let of = |name: &str, metric: &str| metrics.metric(&output(name, metric));
        let full = value("ecsbeat_queue_filled_events") == BOUND as f64;
        let has_all =
            of(up, "output_acked_events_total") == metrics.metric("ecsbeat_queue_added_events_total");
        if full && has_all && of(down, "output_up") == Some(0.0) {
            assert_eq!(of(up, "output_up"), Some(1.0));
            assert_eq!(value("ecsbeat_queue_max_events"), BOUND as f64);
            break;
        }
        assert!(
            start.elapsed() < SOON,
            "the queue does not fill: {}",
            metrics.body
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let health = get(address, "/health").await;
    let body = health.json();
    assert_eq!(
        (health.status, &body["reasons"][0]),
        (200, &Value::from("output_down")),
        "{body}"
    );
    let told = &body["outputs"];
    assert_eq!(
        (&told[down]["up"], &told[up]["up"]),
        (&false.into(), &true.into()),
        "{body}"
    );
    assert!(
        told[down]["last_error"].as_str().unwrap().contains(error),
        "{body}"
    );
    assert!(
        told[down]["failing_since"].is_string() && told[up]["failing_since"].is_null(),
        "{body}"
    );
    assert!(told[up]["last_ack"].is_string(), "{body}");
    assert_eq!(get(address, "/health?strict=true").await.status, 503);

    let stats = get(address, "/stats").await.json();
    let libbeat = &stats["libbeat"];
    assert_eq!(libbeat["output"]["type"], "elasticsearch,file");
    let own = &libbeat["outputs"];
    assert_eq!(
        (&own[down]["up"], &own[up]["up"]),
        (&0.into(), &1.into()),
        "{own}"
    );
    let acked = |tree: &Value| tree["events"]["acked"].as_u64().unwrap();
    assert_eq!(
        acked(&libbeat["output"]),
        acked(&own[down]) + acked(&own[up]),
        "{libbeat}"
    );
    assert!(acked(&own[up]) > acked(&own[down]), "{own}");
    assert_eq!(libbeat["pipeline"]["queue"]["filled"]["events"], BOUND);

    let line = process.logged("the output fails").await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["output"], down, "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_elasticsearch_is_down_the_files_go_on_up_to_the_bound_of_the_queue() {
    let world = World::new().await;
    let from = world.sim.now() + 1;
    let (mut process, address) = world.start().await;
    world.both_work().await;
    world.bulk.set(BulkRule::always(BulkFault::Refuse));
    told(
        address,
        &mut process,
        "elasticsearch",
        "file",
        "http://127.0.0.1:",
    )
    .await;
    let (stored, files) = (world.bulk.len(), world.in_files().len());
    assert!(
        files > stored && files <= stored + BOUND,
        "{files} in files, {stored} stored"
    );
    world.everything_stands_still().await;
    assert_eq!(world.in_files().len(), files);
    world.bulk.clear_faults();
    process.logged("the output works again").await;
    world.finish(process, from).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_disk_is_full_elasticsearch_goes_on_up_to_the_bound_of_the_queue() {
    let world = World::new().await;
    let from = world.sim.now() + 1;
    fs::create_dir(world.out()).unwrap();
    let date = jiff::Timestamp::now().to_string().replace('-', "");
    // The files of today and of tomorrow lead to a device that is always full.
    let tomorrow = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24))
        .to_string()
        .replace('-', "");
    let links = [date, tomorrow].map(|date| world.out().join(format!("ecsbeat-{}.ndjson", &date[..8])));
    for link in &links {
        std::os::unix::fs::symlink("/dev/full", link).unwrap();
    }
    let (mut process, address) = world.start().await;
    told(address, &mut process, "file", "elasticsearch", "No space left").await;
    let stored = world.bulk.len();
    assert!(stored <= BOUND, "{stored}");
    world.everything_stands_still().await;
    assert_eq!(world.bulk.len(), stored);
    for link in &links {
        fs::remove_file(link).unwrap();
    }
    process.logged("the output works again").await;
    world.finish(process, from).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_output_never_got_is_polled_again_after_a_restart() {
    let world = World::new().await;
    let from = world.sim.now() + 1;
    let (mut process, address) = world.start().await;
    world.both_work().await;
    world.bulk.set(BulkRule::always(BulkFault::Refuse));
    told(
        address,
        &mut process,
        "elasticsearch",
        "file",
        "http://127.0.0.1:",
    )
    .await;
    process.signal(Signal::TERM);
    process.ended(SOON).await.expect(0);
    world.bulk.clear_faults();
    let (mut process, _) = world.start().await;
    let to = world.sim.now();
    complete(&world.sim, from, to, SOON, || rows_of(&world.bulk)).await;
    complete(&world.sim, from, to, SOON, || world.rows_in_files()).await;
    process.stopped().await.expect(0);
    exactly_once(&world.sim, &rows_of(&world.bulk));
    // A file cannot tell that it has an event already: what was polled again is there twice, under one id.
    let files = world.in_files();
    let again = files.values().filter(|count| **count > 1).count();
    assert!(
        again > 0 && files.values().all(|count| *count <= 2),
        "{again}: {files:?}"
    );
}
