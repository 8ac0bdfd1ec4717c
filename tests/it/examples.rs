//! The configurations in `deploy/examples`: each is valid as it stands there, and those of the outputs deliver.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use ecs_sim::bulk::{self, Bulk};
use ecs_sim::{Config, Sim};
use serde_json::Value;

use crate::support::kafka::Brokers;
use crate::support::lumberjack::Lumberjack;
use crate::support::process::{Ended, Home, PASSWORD, Process, SOON, customers};
use crate::support::redis::Redis;
use crate::support::windowed::lines_in;

fn examples() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples");
    let mut found: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yml"))
        .collect();
    found.sort();
    assert!(found.len() >= 7, "{found:?}");
    found
}

/// The text of an example, with a certificate that is there in place of those that its reader has.
fn with_authority(text: &str, pem: &Path) -> String {
    let line = |line: &str| match line.split_once("certificate_authorities: [") {
        Some((before, rest)) => {
            let after = rest.split_once(']').map_or("", |(_, after)| after);
            format!("{before}certificate_authorities: ['{}']{after}\n", pem.display())
        }
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_is_valid() {
    let pem = rcgen::generate_simple_self_signed(["any".to_owned()])
        .unwrap()
        .cert
        .pem();
    for path in examples() {
        let home = Home::new();
        let pem = home.write("ca.pem", &pem);
        home.configure(&with_authority(&fs::read_to_string(&path).unwrap(), &pem));
        let mut command = home.command(&["test", "config"]);
        // What examples leave to the environment.
        for name in ["ECS_PASSWORD", "ES_PASSWORD", "HOSTNAME"] {
            command.env(name, "any");
        }
        let ended = Process::spawn(command).ended(SOON).await;
        let name = path.display();
        assert_eq!(ended.code(), 0, "{name}: {}{}", ended.stdout, ended.stderr);
        assert!(ended.stdout.ends_with("Config OK\n"), "{name}: {}", ended.stdout);
    }
}

/// What stands at the head of an example can be pasted in the directory of a checkout.
#[test]
fn every_example_says_how_it_is_tried() {
    for path in examples() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "quick-start.yml" {
            // It has a page of its own.
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let head: Vec<&str> = text.lines().take_while(|line| line.starts_with('#')).collect();
        let commands: Vec<&str> = head.iter().filter_map(|line| line.strip_prefix("#   ")).collect();
        assert_eq!(commands.first(), Some(&"make build"), "{name}");
        let own = format!("-c \"$PWD/deploy/examples/{name}\"");
        let runs: Vec<&&str> = (commands.iter())
            .filter(|line| line.starts_with("target/debug/ecsbeat "))
            .collect();
        assert!(
            !runs.is_empty() && runs.iter().all(|line| line.contains(&own)),
            "{name}: {runs:?}"
        );
        for server in ["target/debug/ecs-sim", "redis-server"] {
            let mut started = commands.iter().filter(|line| line.starts_with(server));
            assert!(
                started.all(|line| line.contains(" &")),
                "{name}: {server} would not return"
            );
        }
    }
}

struct World {
    sim: Sim,
    bulk: Bulk,
}

impl World {
    async fn new() -> Self {
        let sim = Sim::start(Config {
            nodes_per_vdc: 1,
            disks_per_node: 1,
            namespaces: 2,
            ..Config::for_tests()
        })
        .await
        .unwrap();
        let bulk = Bulk::start(bulk::Config::for_tests()).await.unwrap();
        Self { sim, bulk }
    }

    /// Collects everything once, with the example's own addresses and directories replaced by those of this test.
    async fn once(&self, home: &Home, name: &str, more: &[String]) -> Ended {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("deploy/examples/{name}.yml"));
        home.configure(&fs::read_to_string(path).unwrap());
        home.write("here.yml", &format!("ecsbeat:\n{}", customers(&self.sim, home)));
        let data = format!("path.data={}", home.data().display());
        let mut arguments = vec![
            "--once",
            "-c",
            "ecsbeat.yml",
            "-c",
            "here.yml",
            "-E",
            "http.port=0",
            "-E",
            &data,
        ];
        for setting in more {
            arguments.extend(["-E", setting]);
        }
        let mut command = home.command(&arguments);
        command.env("ECS_PASSWORD", PASSWORD).env("HOSTNAME", "any");
        Process::spawn(command).ended(SOON).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_of_the_outputs_deliver() {
    let world = World::new().await;
    let hosts = format!("output.elasticsearch.hosts={}", world.bulk.url());

    let home = Home::new();
    world
        .once(&home, "elasticsearch", std::slice::from_ref(&hosts))
        .await
        .expect(0);
    let stored = world.bulk.len();
    let types = world.bulk.count_by_type();
    assert!(
        types.contains_key("localzone") && types.contains_key("disks"),
        "{types:?}"
    );

    let home = Home::new();
    let path = format!("output.file.path={}", home.path().join("out").display());
    world
        .once(&home, "file", std::slice::from_ref(&path))
        .await
        .expect(0);
    let lines = lines_in(&home.path().join("out"));
    assert!(lines.len() > 10, "{lines:?}");
    for line in &lines {
        let document: Value = serde_json::from_str(line).unwrap();
        assert!(document["event"]["id"].is_string());
    }

    let home = Home::new();
    let ended = world.once(&home, "console", &[]).await;
    let lines: Vec<&str> = ended.expect(0).stdout.lines().collect();
    let nodes = lines.iter().filter(|line| line.contains(" nodes ")).count();
    assert_eq!(nodes, world.sim.vdcs(), "one node in each VDC: {lines:?}");
    assert!(
        lines
            .iter()
            .all(|line| line.starts_with("20") && line.split(' ').count() >= 4),
        "{lines:?}"
    );

    let home = Home::new();
    let path = format!("output.file.path={}", home.path().join("out").display());
    world.bulk.clear();
    world.once(&home, "two-outputs", &[hosts, path]).await.expect(0);
    let lines = lines_in(&home.path().join("out"));
    assert_eq!(lines.len(), world.bulk.len(), "both have all");
    assert!(stored > 10 && !lines.is_empty());
}

/// The types of events that there are, as the documents say.
fn types_of<'a>(documents: impl IntoIterator<Item = &'a [u8]>) -> BTreeSet<String> {
    documents
        .into_iter()
        .map(|document| {
            let document: Value = serde_json::from_slice(document).unwrap();
            assert!(
                document["@metadata"]["_id"].is_string(),
                "what tells a repeated event: {document}"
            );
            document["ecs-event-type"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// Whether audit events and alerts, and nothing else, went where the example sends them.
fn apart(urgent: &BTreeSet<String>, others: &BTreeSet<String>) {
    let expected = ["alert", "auditevent"].map(str::to_owned);
    assert_eq!(urgent, &BTreeSet::from(expected), "{others:?}");
    assert!(others.is_disjoint(urgent), "{others:?}");
    assert!(
        others.contains("localzone") && others.contains("disks"),
        "{others:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_of_redis_delivers() {
    let (world, redis, home) = (World::new().await, Redis::start().await, Home::new());
    let hosts = format!("output.redis.hosts=[{:?}]", redis.address().to_string());
    world.once(&home, "redis", &[hosts]).await.expect(0);
    let lists = [redis.list("ecsbeat-urgent").await, redis.list("ecsbeat").await];
    let [urgent, others] = lists
        .each_ref()
        .map(|list| types_of(list.iter().map(Vec::as_slice)));
    apart(&urgent, &others);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_of_kafka_delivers() {
    let (world, home) = (World::new().await, Home::new());
    let brokers = Brokers::start(1)
        .topic("ecsbeat-events", 1)
        .topic("ecsbeat-metrics", 4);
    let hosts = format!("output.kafka.hosts=[{:?}]", brokers.addresses());
    world.once(&home, "kafka", &[hosts]).await.expect(0);
    let (urgent, others) = (
        brokers.read("ecsbeat-events").await,
        brokers.read("ecsbeat-metrics").await,
    );
    let [urgent_types, other_types] =
        [&urgent, &others].map(|read| types_of(read.iter().map(|read| read.payload.as_bytes())));
    apart(&urgent_types, &other_types);
    let mut partitions: BTreeMap<Option<&str>, BTreeSet<i64>> = BTreeMap::new();
    for read in &others {
        partitions
            .entry(read.key.as_deref())
            .or_default()
            .insert(read.partition);
    }
    let keys: Vec<Option<&str>> = partitions.keys().copied().collect();
    assert_eq!(keys, [Some("vdc-north"), Some("vdc-south")]);
    assert!(
        partitions.values().all(|of_one| of_one.len() == 1),
        "in order: {partitions:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_of_logstash_delivers() {
    let (world, logstash, home) = (World::new().await, Lumberjack::start().await, Home::new());
    let settings = [
        format!("output.logstash.hosts=[{:?}]", logstash.address().to_string()),
        // One of this machine needs no etcd.
        "ha.enabled=false".to_owned(),
    ];
    world.once(&home, "logstash", &settings).await.expect(0);
    let types = types_of(logstash.events().iter().map(Vec::as_slice));
    assert!(
        types.contains("localzone") && types.contains("auditevent"),
        "{types:?}"
    );
    assert_eq!(logstash.violations(), Vec::<String>::new());
}
