//! What is told of the outputs in libbeat's names: `/stats`, and the lines of the log that people paste into support
//! threads. The names are in `tests/data/metrics`; `UPDATE_GOLDEN=1` writes them anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ecs_sim::Sim;
use ecs_sim::bulk::{self, Bulk};
use serde_json::Value;

use crate::support::process::{Ended, Home, Process, SOON, customers, eventually, get};
use crate::support::windowed::{COMMANDS, busy};

async fn world(settings: &str) -> (Sim, Bulk, Home) {
    let sim = Sim::start(busy()).await.unwrap();
    let bulk = Bulk::start(bulk::Config::for_tests()).await.unwrap();
    let home = Home::new();
    home.configure(&format!(
        "ecsbeat:\n{COMMANDS}{}queue.mem.flush.timeout: 100ms\nhttp: {{enabled: true, port: 0}}\n\
         output.elasticsearch.hosts: ['{}']\n{settings}",
        customers(&sim, &home),
        bulk.url()
    ));
    (sim, bulk, home)
}

/// All values under their dotted names.
fn flat(value: &Value) -> BTreeMap<String, Value> {
    fn walk(value: &Value, path: &str, found: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    let path = if path.is_empty() {
                        name.clone()
                    } else {
                        format!("{path}.{name}")
                    };
                    walk(value, &path, found);
                }
            }
            leaf => {
                found.insert(path.to_owned(), leaf.clone());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(value, "", &mut found);
    found
}

/// The lines of the log that the monitoring wrote.
fn monitoring(ended: &Ended) -> Vec<Value> {
    let lines = ended.stderr.lines();
    let parsed = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    parsed.filter(|line| line["log.logger"] == "monitoring").collect()
}

fn message(line: &Value) -> &str {
    line["message"].as_str().unwrap()
}

#[track_caller]
fn golden(name: &str, stats: &Value) {
    // Ours grow with what happens.
    let lasting = |name: &&String| !name.starts_with("ecsbeat.");
    let names = flat(stats);
    let names: String = names
        .keys()
        .filter(lasting)
        .map(|name| format!("{name}\n"))
        .collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/metrics/{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &names).unwrap();
    }
    assert_eq!(names, fs::read_to_string(&path).unwrap_or_default(), "{name}");
}

/// `/stats` once all of `paths` are there and not 0.
async fn stats_with(process: &mut Process, paths: &[&str]) -> Value {
    let address = process.http().await;
    let start = Instant::now();
    loop {
        let stats = get(address, "/stats").await.json();
        let is_there = |path: &&str| stats.pointer(path).and_then(Value::as_u64).unwrap_or(0) > 0;
        if paths.iter().all(is_there) {
            return stats;
        }
        assert!(start.elapsed() < SOON, "{paths:?} are not in {stats}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_names_of_stats_are_a_promise() {
    let (_sim, _bulk, home) = world("").await;
    let mut process = home.start(&[]);
    let output = "/libbeat/output";
    let paths = [
        "read/bytes",
        "write/bytes",
        "write/latency/histogram/count",
        "events/batches",
    ];
    let paths = paths.map(|path| format!("{output}/{path}"));
    let stats = stats_with(&mut process, &paths.each_ref().map(String::as_str)).await;
    golden("one-output", &stats);
    let [_, _, sends, batches] = paths.map(|path| stats.pointer(&path).unwrap().as_u64().unwrap());
    assert!(sends <= batches, "{stats}");
    assert_eq!(stats["libbeat"]["pipeline"]["clients"], 4, "units");
    process.stopped().await.expect(0);

    let out = format!("output.file.path={}", home.path().join("out").display());
    let mut process = home.start(&["-E", &out]);
    let up = ["/libbeat/outputs/elasticsearch/up", "/libbeat/outputs/file/up"];
    golden("two-outputs", &stats_with(&mut process, &up).await);
    process.stopped().await.expect(0);
}

/// What a line may show of a value that only grows.
fn is_counter(name: &str) -> bool {
    let gauges = [
        ".histogram.",
        ".active",
        ".queue.max",
        ".queue.filled",
        ".clients",
        ".running",
        ".ticks",
    ];
    let of_process = [
        "beat.info",
        "beat.memstats",
        "beat.handles",
        "beat.runtime",
        "beat.cpu.total.value",
        "system.",
    ];
    let own = ["ecsbeat.leader", "ecsbeat.ecs.nodes_blocked"];
    !gauges.iter().any(|part| name.contains(part))
        && !of_process.iter().chain(&own).any(|start| name.starts_with(start))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lines_of_the_log_are_those_of_beats() {
    let (_sim, bulk, home) = world("logging.metrics.period: 1s\n").await;
    let mut process = home.start(&[]);
    eventually("documents arrive", SOON, || (bulk.len() > 20).then_some(())).await;
    let told = |process: &Process| {
        process
            .stderr()
            .matches("Non-zero metrics in the last 1s")
            .count()
    };
    let so_far = told(&process);
    eventually("lines are written", SOON, || {
        (told(&process) > so_far + 2).then_some(())
    })
    .await;
    let ended = process.stopped().await;
    ended.expect(0);
    let lines = monitoring(&ended);
    assert_eq!(message(&lines[0]), "Starting metrics logging every 1s");
    let [between @ .., totals, uptime, stopping] = &lines[1..] else {
        panic!("{lines:?}")
    };
    assert_eq!(
        (message(totals), message(stopping)),
        ("Total metrics", "Stopping metrics logging.")
    );
    assert!(
        message(uptime).starts_with("Uptime: ") && message(uptime).ends_with('s'),
        "{uptime}"
    );
    let stopped = ended.stderr.rfind("ecsbeat stopped.").unwrap();
    assert!(stopped > ended.stderr.rfind("Stopping metrics logging.").unwrap());

    let totals = flat(&totals["monitoring"]["metrics"]);
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    let tables: Vec<_> = between
        .iter()
        .map(|line| flat(&line["monitoring"]["metrics"]))
        .collect();
    assert!(tables.len() > 2);
    for (number, (line, table)) in between.iter().zip(&tables).enumerate() {
        assert_eq!(message(line), "Non-zero metrics in the last 1s");
        assert_eq!(line["log.level"], "info");
        for (name, value) in table {
            assert!(
                totals.contains_key(name),
                "{name} is in a line and not in the totals"
            );
            if is_counter(name) {
                let Some(grown) = value.as_u64() else { continue };
                assert!(grown > 0, "{name} has not grown and is told");
                *sums.entry(name).or_default() += grown;
            }
        }
        for always in [
            "beat.info.ephemeral_id",
            "beat.info.version",
            "beat.info.uptime.ms",
            "beat.memstats.rss",
            "libbeat.output.events.active",
            "libbeat.output.write.latency.histogram.p99",
            "libbeat.pipeline.clients",
            "libbeat.pipeline.queue.filled.pct",
            "libbeat.config.module.running",
            "system.load.1",
        ] {
            assert!(table.contains_key(always), "{always} is not in {line}");
        }
        assert_eq!(table["libbeat.pipeline.queue.max_events"], 3200);
        for once in ["libbeat.output.type", "beat.info.name", "system.cpu.cores"] {
            assert_eq!(table.contains_key(once), number == 0, "{once} in line {number}");
        }
    }
    for (name, sum) in sums {
        let total = totals[name].as_u64().unwrap();
        assert!(
            sum <= total,
            "{name}: the lines tell of {sum}, the total is {total}"
        );
    }
    let events = |kind: &str| totals[&format!("libbeat.output.events.{kind}")].as_u64().unwrap();
    assert_eq!(
        events("acked") + events("duplicates"),
        totals["libbeat.pipeline.queue.acked"]
    );
    assert_eq!(
        totals["libbeat.pipeline.queue.consumed.events"],
        totals["libbeat.pipeline.queue.acked"]
    );
    assert_eq!(events("acked"), bulk.len() as u64);
    assert_eq!((events("active"), events("dropped")), (0, 0));
    // Those of each period, and not those since the start.
    let acked: u64 = tables
        .iter()
        .filter_map(|table| table.get("libbeat.output.events.acked")?.as_u64())
        .sum();
    assert!(acked > 0 && acked <= events("acked"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_every_thirty_seconds_unless_told() {
    let (_sim, _bulk, home) = world("").await;
    let ended = home.start(&[]).stopped().await;
    let lines = monitoring(ended.expect(0));
    assert_eq!(message(&lines[0]), "Starting metrics logging every 30s");
    assert_eq!(
        message(&lines[1]),
        "Total metrics",
        "also of a process that did not live so long"
    );
    let (_sim, _bulk, home) = world("logging.metrics.enabled: false\n").await;
    let ended = home.start(&[]).stopped().await;
    assert!(monitoring(ended.expect(0)).is_empty());
}
