//! The log as operators meet it, and what its documentation says.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ecs_sim::Sim;
use ecsbeat::config::{Sources, load, selected};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::process::{Home, SOON, customers, eventually};
use crate::support::windowed::busy;

fn documentation() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/logging.md")).unwrap()
}

fn blocks(language: &str) -> Vec<String> {
    let text = documentation();
    let begin = format!("```{language}\n");
    let blocks = text.split(begin.as_str()).skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn what_the_documentation_shows_is_configuration_and_lines() {
    let base = "ecsbeat.customers: [{customername: c, username: u, password: p, vdcs: [{vdcname: v, nodes: \
                [{host: h}]}]}]\noutput.console: {}\n";
    let yaml = blocks("yaml");
    assert_eq!(yaml.len(), 3);
    for block in &yaml {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("ecsbeat.yml"), format!("{base}{block}")).unwrap();
        let sources = Sources {
            config: Some(directory.path().to_owned()),
            ..Sources::default()
        };
        let config = load(&sources, &|_| None).unwrap_or_else(|errors| panic!("{errors}\n{block}"));
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        assert_eq!(config.logging.event_data.is_some(), block.contains("event_data"));
        assert_eq!(config.ecsbeat.trace.is_some(), block.contains("trace"));
    }
    for line in blocks("json") {
        serde_json::from_str::<Value>(&line).unwrap();
    }
}

#[test]
fn every_selector_of_the_documentation_is_one() {
    let text = documentation();
    let table = text
        .split("| selector |")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    let names = table.lines().skip(2).flat_map(|line| {
        let first = line.split('|').nth(1).unwrap();
        first
            .split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    let names: Vec<String> = names.collect();
    assert!(names.len() > 25, "{names:?}");
    for name in names {
        assert!(!selected(&name).is_empty(), "{name}");
    }
}

/// Every message that the documentation quotes is one that the program has.
#[test]
fn the_messages_to_look_for_are_in_the_program() {
    fn sources(directory: &Path, text: &mut String) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, text);
            } else {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut program = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut program);
    let text = documentation();
    let table = text
        .split("| message |")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    let mut checked = 0;
    for line in table.lines().skip(2) {
        for message in line.split('|').nth(1).unwrap().split('`').skip(1).step_by(2) {
            assert!(program.contains(message), "{message}");
            checked += 1;
        }
    }
    assert!(checked >= 10, "{checked}");
}

async fn world(settings: &str) -> (Sim, Home) {
    let sim = Sim::start(busy()).await.unwrap();
    let home = Home::new();
    home.configure(&format!(
        "ecsbeat:\n  start_jitter: 0s\n  commands: [{{type: localzone, interval: 1s}}, {{type: nodes, interval: 1s}}, \
         {{type: storagepools, interval: 1s}}, {{type: replicationgroups, interval: 1s}}]\n{}output.file.path: '{}'\n{settings}",
        customers(&sim, &home),
        home.path().join("out").display()
    ));
    (sim, home)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_lines_tell_what_runs_where_and_how_it_is_configured() {
    let (_sim, home) = world("").await;
    let mut process = home.start(&["-d", "ecs,nonsense"]);
    process.logged("logged in").await;
    let ended = process.stopped().await;
    ended.expect(0);
    let lines: Vec<Value> = ended
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let message = |line: &Value| line["message"].as_str().unwrap().to_owned();
    assert!(message(&lines[0]).starts_with("ecsbeat version"), "{}", lines[0]);
    assert_eq!(
        (message(&lines[1]), message(&lines[2])),
        ("paths".to_owned(), "configuration".to_owned())
    );
    assert_eq!(lines[1]["data"], home.data().display().to_string());
    assert_eq!(lines[2]["config_hash"].as_str().unwrap().len(), 32);
    let shown = lines[2]["config"].as_str().unwrap();
    assert!(
        shown.contains("customername: sim") && shown.contains("password: xxxxx"),
        "{shown}"
    );
    let unknown = lines
        .iter()
        .filter(|line| message(line).contains("unknown selector"));
    let unknown: Vec<String> = unknown.map(message).collect();
    assert_eq!(unknown.len(), 1, "{unknown:?}");
    assert!(
        unknown[0].contains("\"nonsense\"") && unknown[0].contains("publisher"),
        "{unknown:?}"
    );
    let meta: Value = serde_json::from_slice(&fs::read(home.data().join("meta.json")).unwrap()).unwrap();
    let id = lines
        .iter()
        .find(|line| message(line).starts_with("Beat ID: "))
        .unwrap();
    assert_eq!(id["id"], meta["uuid"]);
    assert!(lines.iter().all(|line| line["log.level"] != "debug" || {
        let logger = line["log.logger"].as_str().unwrap();
        logger == "ecs" || logger.starts_with("ecs.")
    }));
    assert_eq!(message(lines.last().unwrap()), "ecsbeat stopped.");
    assert!(
        !home.path().join("logs").exists(),
        "-e writes no files, and the content of events goes nowhere"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_is_bounded_and_only_its_owner_may_read_it() {
    let (_sim, home) = world("ecsbeat.trace: {max_size: 4kB, keep: 2, max_body: 100}\n").await;
    let mut process = home.start(&[]);
    let loud = process.logged("ecsbeat.trace is on").await;
    assert!(loud.contains("\"log.level\":\"warn\""), "{loud}");
    let logs = home.path().join("logs");
    let files = || -> Vec<_> {
        let mut files: Vec<_> = fs::read_dir(&logs)
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
    };
    eventually("files follow one another", SOON, || {
        files()
            .iter()
            .any(|path| path.to_string_lossy().ends_with("-3.ndjson"))
            .then_some(())
    })
    .await;
    process.signal(Signal::TERM);
    process.ended(SOON).await.expect(0);
    assert_eq!(files().len(), 2, "{:?}", files());
    let mut logout = false;
    for path in files() {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for line in fs::read_to_string(path).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["request"]["method"], "GET");
            let content = line["response"]["body"]["content"].as_str().unwrap_or_default();
            assert!(content.len() <= 100, "{line}");
            logout |= line["url"].as_str().unwrap().ends_with("/logout");
        }
    }
    assert!(logout, "the last exchange is there, too");
}
