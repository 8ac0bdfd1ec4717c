//! The configurations in `deploy/examples`: each is valid as it stands there, and those of the outputs deliver.

use std::fs;
use std::path::{Path, PathBuf};

use ecs_sim::bulk::{self, Bulk};
use ecs_sim::{Config, Sim};
use serde_json::Value;

use crate::support::process::{Ended, Home, PASSWORD, Process, SOON, customers};
use crate::support::windowed::lines_in;

fn examples() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples");
    let mut found: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yml"))
        .collect();
    found.sort();
    assert!(found.len() >= 4, "{found:?}");
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
        command.env("ECS_PASSWORD", PASSWORD);
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
