//! Every way in which Elasticsearch fails, for a while: nothing with a window is lost, nothing is stored twice.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ecs_sim::bulk::{self, Bulk, BulkFault, BulkRule};
use ecs_sim::{Config, Journal, Sim};
use rustix::process::Signal;

use crate::support::process::{Home, Process, SOON, customers, eventually, get};
use crate::support::windowed::{COMMANDS, busy, complete, exactly_once, lines_in, missing, rows_of, truth};

/// Gauges beside the windows.
const GAUGES: &str = "  - {type: nodes, interval: 1s}\n";
const NODES: usize = 2;

struct World {
    sim: Sim,
    bulk: Bulk,
    home: Home,
}

impl World {
    async fn new(settings: &str) -> Self {
        Self::of(busy(), "queue.mem: {flush.timeout: 100ms}\n", settings).await
    }

    /// `settings` are of the output.
    async fn of(config: Config, queue: &str, settings: &str) -> Self {
        let sim = Sim::start(config).await.unwrap();
        let bulk = Bulk::start(bulk::Config::for_tests()).await.unwrap();
        let home = Home::new();
        home.configure(&format!(
            "ecsbeat:\n{COMMANDS}{GAUGES}{}{queue}http: {{enabled: true, port: 0}}\noutput.elasticsearch:\n  \
             hosts: ['{}']\n  timeout: 2s\n  backoff: {{init: 100ms, max: 400ms}}\n{settings}",
            customers(&sim, &home),
            bulk.url()
        ));
        Self { sim, bulk, home }
    }

    /// Starts, and waits until something has arrived.
    async fn start(&self) -> (Process, SocketAddr, i64) {
        let from = self.sim.now() + 1;
        let mut process = self.home.start(&[]);
        let address = process.http().await;
        eventually("documents arrive", SOON, || (self.bulk.len() > 20).then_some(())).await;
        (process, address, from)
    }

    /// Stops, and looks at all that arrived.
    async fn finish(&self, mut process: Process, from: i64) {
        let to = self.sim.now();
        complete(&self.sim, from, to, SOON, || rows_of(&self.bulk)).await;
        process.stopped().await.expect(0);
        exactly_once(&self.sim, &rows_of(&self.bulk));
        assert!(self.bulk.duplicates().is_empty(), "{:?}", self.bulk.duplicates());
        let again: usize = self
            .bulk
            .repeated()
            .iter()
            .map(|sent| sent.indices.len() - 1)
            .sum();
        assert!(self.bulk.conflicts() <= again as u64);
        self.gauges_are_whole();
    }

    /// Of every tick that arrived, every node did.
    fn gauges_are_whole(&self) {
        let mut ticks: BTreeMap<(String, String), usize> = BTreeMap::new();
        for document in self.bulk.documents() {
            let json = document.json();
            if json["ecs-event-type"] == "nodes" && json["error"].is_null() {
                let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
                let key = (text(&json["ecs-vdc-cfgname"]), text(&json["ecsbeat"]["tick"]));
                *ticks.entry(key).or_default() += 1;
            }
        }
        assert!(ticks.len() > 3, "{ticks:?}");
        assert!(ticks.values().all(|count| *count == NODES), "{ticks:?}");
    }

    /// Switches a fault on until it has struck some requests, and off again; then everything must arrive.
    async fn during(&self, process: &mut Process, from: i64, fault: BulkFault) {
        let name = format!("{fault:?}");
        let before = self.bulk.requests().len();
        let start = Instant::now();
        self.bulk.set(BulkRule::always(fault.clone()));
        let lasts = Duration::from_secs(1);
        eventually(&format!("{name} strikes"), SOON, || {
            let struck = match fault {
                BulkFault::Refuse => process.stderr().contains("the output fails"),
                _ => self.bulk.requests().len() >= before + 3,
            };
            (struck && start.elapsed() > lasts).then_some(())
        })
        .await;
        self.bulk.clear_faults();
        assert!(process.runs(), "{name}");
        let rows = complete(&self.sim, from, self.sim.now(), SOON, || rows_of(&self.bulk)).await;
        println!("{name}: {} rows after {:?}", rows.len(), start.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_while_requests_fail_as_a_whole() {
    let world = World::new("").await;
    let (mut process, address, from) = world.start().await;
    let status = |status, retry_after| BulkFault::Status { status, retry_after };
    for fault in [
        BulkFault::Refuse,
        status(503, None),
        status(429, Some(1)),
        status(401, None),
        BulkFault::Slow { ms: 700 },
        BulkFault::Hang,
    ] {
        world.during(&mut process, from, fault).await;
    }
    let metrics = get(address, "/metrics").await;
    assert_eq!(
        metrics.sum("ecsbeat_output_dropped_events_total"),
        0.0,
        "{}",
        metrics.body
    );
    world.finish(process, from).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_while_answers_are_lost_or_wrong() {
    let world = World::new("").await;
    let (mut process, address, from) = world.start().await;
    for fault in [
        BulkFault::LostAnswer,
        BulkFault::ResetMidAnswer,
        BulkFault::WrongJson,
        BulkFault::MissingItem,
        BulkFault::ReorderedItems,
        BulkFault::RejectItems {
            every: 2,
            status: 429,
        },
        BulkFault::RejectItems {
            every: 3,
            status: 503,
        },
        BulkFault::RejectItems {
            every: 1,
            status: 403,
        },
    ] {
        world.during(&mut process, from, fault).await;
    }
    let metrics = get(address, "/metrics").await;
    assert_eq!(
        metrics.sum("ecsbeat_output_dropped_events_total"),
        0.0,
        "{}",
        metrics.body
    );
    let duplicates = metrics.metric("ecsbeat_output_duplicate_events_total{output=\"elasticsearch\"}");
    assert!(duplicates.unwrap() > 0.0, "lost answers lead to conflicts");
    let toomany = metrics.metric("ecsbeat_output_toomany_events_total{output=\"elasticsearch\"}");
    assert!(toomany.unwrap() > 0.0);
    assert!(duplicates.unwrap() <= world.bulk.conflicts() as f64);
    world.finish(process, from).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulks_that_are_too_large_are_split() {
    let world = World::new("").await;
    let (mut process, address, from) = world.start().await;
    world
        .during(&mut process, from, BulkFault::TooLarge { bytes: 1500 })
        .await;
    let metrics = get(address, "/metrics").await;
    let split = metrics.metric("ecsbeat_output_split_batches_total{output=\"elasticsearch\"}");
    assert!(split.unwrap() > 0.0);
    assert_eq!(
        metrics.sum("ecsbeat_output_dropped_events_total"),
        0.0,
        "{}",
        metrics.body
    );
    world.finish(process, from).await;
}

/// Makes Elasticsearch refuse three alerts that are still to come, waits until everything else has arrived, and
/// gives the refused ones.
async fn three_refused(world: &World) -> (Process, SocketAddr, Vec<String>) {
    let (process, address, from) = world.start().await;
    let ahead = world.sim.truth_between(world.sim.now() + 2, world.sim.now() + 12);
    let refused: Vec<String> = ahead.vdcs[0]
        .alerts
        .iter()
        .take(3)
        .map(|row| row.id.clone())
        .collect();
    for urn in &refused {
        // Quoted so it is in the document and not in its dead letter, which holds the document as a text.
        let marker = format!("\"id\":\"{urn}\"");
        world
            .bulk
            .set(BulkRule::always(BulkFault::MappingError { marker }));
    }
    let to = ahead.vdcs[0].alerts[2].at + 4;
    eventually("everything but what is refused has arrived", SOON, || {
        let left = missing(&world.sim, from, to, &rows_of(&world.bulk));
        let only_refused = left.iter().all(|urn| refused.contains(urn));
        (world.sim.now() > to && only_refused && !truth(&world.sim, from, to).is_empty()).then_some(())
    })
    .await;
    (process, address, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_that_are_refused_for_good_are_dropped_and_counted() {
    let world = World::new("").await;
    let (mut process, address, refused) = three_refused(&world).await;
    let rows = rows_of(&world.bulk);
    assert!(rows.iter().all(|row| !refused.contains(&row.urn)));
    let metrics = get(address, "/metrics").await;
    let dropped =
        metrics.metric("ecsbeat_output_dropped_events_total{output=\"elasticsearch\",reason=\"refused\"}");
    assert_eq!(dropped, Some(3.0), "{}", metrics.body);
    process.signal(Signal::TERM);
    let ended = process.ended(SOON).await;
    assert_eq!(ended.expect(0).stderr.matches("event dropped").count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_that_are_refused_for_good_go_to_the_dead_letter_file() {
    let world = World::new("  non_indexable_policy.dead_letter_file.path: dead.ndjson\n").await;
    let (mut process, address, refused) = three_refused(&world).await;
    let metrics = get(address, "/metrics").await;
    let letters = metrics.metric("ecsbeat_output_dead_letter_events_total{output=\"elasticsearch\"}");
    assert_eq!(letters, Some(3.0), "{}", metrics.body);
    process.stopped().await.expect(0);
    let text = std::fs::read_to_string(world.home.data().join("dead.ndjson")).unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
    for urn in &refused {
        assert!(text.contains(urn), "{urn} is not in {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_that_are_refused_for_good_go_to_the_dead_letter_index() {
    let world = World::new("  non_indexable_policy.dead_letter_index.index: dead\n").await;
    let (mut process, address, refused) = three_refused(&world).await;
    let metrics = get(address, "/metrics").await;
    let letters = metrics.metric("ecsbeat_output_dead_letter_events_total{output=\"elasticsearch\"}");
    assert_eq!(letters, Some(3.0), "{}", metrics.body);
    process.stopped().await.expect(0);
    let mut documents = world.bulk.documents();
    documents.retain(|document| document.index == "dead");
    assert_eq!(documents.len(), 3, "{documents:?}");
    for urn in &refused {
        let message = |document: &bulk::Document| document.json()["message"].to_string();
        assert!(
            documents.iter().any(|document| message(document).contains(urn)),
            "{urn}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_outage_fills_the_queue_slows_polling_and_is_made_up_for() {
    let config = Config {
        journal: Journal {
            events_per_minute: 1200,
            alerts_per_minute: 1200,
            ..busy().journal
        },
        ..busy()
    };
    let queue = "queue.mem: {events: 150, flush.min_events: 50, flush.timeout: 100ms}\n";
    let world = World::of(config, queue, "").await;
    let (mut process, address, from) = world.start().await;
    world.bulk.set(BulkRule::always(BulkFault::Refuse));
    let start = Instant::now();
    let mut requests = 0.0;
    let (mut most_rss, before_rss) = (0, process.rss());
    let mut quiet_since = Instant::now();
    // Until ECS has not been asked for anything for three seconds: that is three ticks of every command.
    while quiet_since.elapsed() < Duration::from_secs(3) {
        assert!(start.elapsed() < SOON, "a full queue does not stop the polling");
        let metrics = get(address, "/metrics").await;
        assert!(metrics.metric("ecsbeat_queue_filled_events").unwrap() <= 150.0);
        most_rss = most_rss.max(process.rss());
        let now: f64 = (metrics.body.lines())
            .filter(|line| line.starts_with("ecsbeat_ecs_requests_total{"))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum();
        if now > requests {
            (requests, quiet_since) = (now, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let metrics = get(address, "/metrics").await;
    let filled = metrics.metric("ecsbeat_queue_filled_events").unwrap();
    assert!(filled >= 149.0, "the queue is full: {filled}");
    assert!(
        most_rss < before_rss + 20 * 1024,
        "{before_rss} KiB became {most_rss} KiB"
    );
    let health = get(address, "/health").await;
    assert_eq!(health.status, 200);
    assert!(health.body.contains("output_down"), "{}", health.body);
    assert_eq!(get(address, "/health?strict=true").await.status, 503);
    println!("queue {filled}, RSS {before_rss} KiB, at most {most_rss} KiB");
    world.bulk.clear_faults();
    complete(&world.sim, from, world.sim.now(), SOON, || rows_of(&world.bulk)).await;
    let commands = get(address, "/commands").await.json();
    let missed: u64 = (commands["commands"].as_array().unwrap().iter())
        .map(|command| command["missed_ticks"].as_u64().unwrap())
        .sum();
    assert!(missed > 0, "missed ticks are told: {commands}");
    assert!(process.runs());
    world.finish(process, from).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_hosts_that_goes_down_holds_nothing_up() {
    let other = Bulk::start(bulk::Config::for_tests()).await.unwrap();
    let world = World::new("").await;
    let hosts = format!(
        "output.elasticsearch.hosts=[{}, {}]",
        world.bulk.url(),
        other.url()
    );
    let from = world.sim.now() + 1;
    let mut process = world.home.start(&["-E", &hosts]);
    eventually("both hosts get documents", SOON, || {
        (world.bulk.len() > 5 && other.len() > 5).then_some(())
    })
    .await;
    let all = || {
        let mut rows = rows_of(&world.bulk);
        rows.extend(rows_of(&other));
        rows
    };
    for fault in [BulkFault::Refuse, BulkFault::Hang] {
        other.set(BulkRule::always(fault).on_all());
        let since = world.sim.now();
        eventually("time passes", SOON, || {
            (world.sim.now() > since + 2).then_some(())
        })
        .await;
        // The host stays down: the other one takes everything.
        complete(&world.sim, from, world.sim.now(), SOON, all).await;
        other.clear_faults();
    }
    process.stopped().await.expect(0);
    exactly_once(&world.sim, &all());
    assert!(
        lines_in(&world.home.path().join("logs")).is_empty(),
        "-e logs to stderr only"
    );
}
