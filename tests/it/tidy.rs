//! The rules of the tree: who may import whom, how long a file may be, that it says what it owns.
//!
//! The rules are those of ARCHITECTURE.md. A rule that is in the way is changed there and here, with a reason.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines above which a second concept has probably moved into a file.
const MOST_LINES: usize = 600;

/// A name, and the places that may use it.
const OUTSIDE: [(&str, &[&str]); 16] = [
    ("etcd_client", &["dcs/etcd/"]),
    ("tonic", &["dcs/etcd/"]),
    ("tower", &["dcs/etcd/"]),
    ("axum", &["http/"]),
    ("serde_yaml", &["config/"]),
    ("saphyr_parser", &["config/"]),
    ("reqwest", &["ecs/", "operate/", "output/elasticsearch/", "tls/"]),
    ("quick_xml", &["decode/diagnostics.rs", "ecs/error.rs"]),
    ("clap", &["cli"]),
    ("redis", &["output/redis/"]),
    ("regex", &["config/pattern.rs"]),
    ("anyhow", &["main.rs", "check/"]),
    ("indicatif", &["progress.rs"]),
    ("rdkafka", &["output/kafka/"]),
    ("sd_notify", &["app/service.rs"]),
    ("maud", &["http/page/"]),
];

/// Where the text of a secret may be taken out: where it is read, and where it is sent.
const SECRETS: [&str; 10] = [
    "config/",
    "dcs/etcd/",
    "ecs/",
    "http/",
    "operate/",
    "dial/",
    "output/elasticsearch/",
    "output/kafka/",
    "output/redis/",
    "tls/",
];

/// A folder, and the modules of ours that it must not know.
const INSIDE: [(&str, &[&str]); 14] = [
    (
        "dcs/",
        &[
            "checkpoint",
            "cluster",
            "collect",
            "ecs",
            "election",
            "output",
            "pipeline",
            "schedule",
            "app",
            "http",
        ],
    ),
    (
        "decode/",
        &[
            "collect", "config", "ecs", "election", "output", "pipeline", "schedule", "app", "http",
        ],
    ),
    (
        "transform/",
        &[
            "collect", "config", "ecs", "election", "output", "pipeline", "schedule", "app", "http",
        ],
    ),
    (
        "json/",
        &[
            "collect",
            "condition",
            "config",
            "ecs",
            "election",
            "event",
            "output",
            "pipeline",
            "processor",
            "schedule",
            "app",
            "http",
        ],
    ),
    (
        "condition/",
        &[
            "collect",
            "ecs",
            "election",
            "output",
            "pipeline",
            "processor",
            "schedule",
            "app",
            "http",
        ],
    ),
    (
        "processor/",
        &[
            "checkpoint",
            "cluster",
            "collect",
            "dcs",
            "ecs",
            "election",
            "output",
            "pipeline",
            "schedule",
            "status",
            "telemetry",
            "tls",
            "app",
            "http",
        ],
    ),
    (
        "ecs/",
        &[
            "collect",
            "election",
            "output",
            "pipeline",
            "schedule",
            "app",
            "http",
            "checkpoint",
        ],
    ),
    (
        "output/",
        &["collect", "ecs", "schedule", "app", "http", "checkpoint"],
    ),
    (
        "checkpoint/",
        &["collect", "ecs", "output", "pipeline", "schedule", "app", "http"],
    ),
    ("collect/", &["output", "schedule", "app", "http"]),
    ("pipeline/", &["collect", "ecs", "schedule", "app", "http"]),
    ("schedule/", &["output", "app", "http"]),
    (
        "http/",
        &["collect", "ecs", "output", "pipeline", "schedule", "app"],
    ),
    (
        "config/",
        &[
            "checkpoint",
            "cluster",
            "collect",
            "dcs",
            "ecs",
            "election",
            "output",
            "pipeline",
            "schedule",
            "status",
            "app",
            "http",
        ],
    ),
];

fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut left = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(path) = left.pop() {
        for entry in fs::read_dir(&path).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no sources below {folder}");
    found
}

/// The code of a file without its tests and comments.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether code names a crate: not a part of a longer name, nor a module of ours that is called alike.
fn names(code: &str, outside: &str) -> bool {
    code.match_indices(&format!("{outside}::")).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

fn is_test(name: &str) -> bool {
    name.ends_with("tests.rs")
        || name.contains("/tests/")
        || name.ends_with("samples.rs")
        || name.ends_with("sample.rs")
}

#[test]
fn every_file_says_what_it_owns_and_has_one_concept() {
    let mut wrong = Vec::new();
    for folder in [
        "src",
        "tests/it",
        "tests/bench",
        "tests/torture",
        "tests/hosts",
        "tests/images",
        "tests/chaos",
        "tests/ecs-sim/src",
    ] {
        for (name, text) in sources(folder) {
            if !text.starts_with("//!") {
                wrong.push(format!("{folder}/{name}: no `//!` at its head"));
            }
            let lines = text.lines().count();
            if lines > MOST_LINES {
                wrong.push(format!("{folder}/{name}: {lines} lines, more than {MOST_LINES}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn outside_crates_are_known_in_few_places() {
    let mut wrong = Vec::new();
    for (name, text) in sources("src") {
        for (outside, places) in OUTSIDE {
            let used = names(&code(&text), outside);
            if used && !is_test(&name) && !places.iter().any(|place| name.starts_with(place)) {
                wrong.push(format!(
                    "src/{name} uses {outside}, which belongs in {}",
                    places.join(", ")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn lower_layers_do_not_know_higher_ones() {
    let mut wrong = Vec::new();
    for (name, text) in sources("src") {
        let code = code(&text);
        for (folder, forbidden) in INSIDE {
            let file = folder.replace('/', ".rs");
            if (!name.starts_with(folder) && name != file) || is_test(&name) {
                continue;
            }
            for module in forbidden {
                if code.contains(&format!("crate::{module}::")) || code.contains(&format!("crate::{module};"))
                {
                    wrong.push(format!("src/{name} imports crate::{module}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn secrets_are_taken_out_in_few_places() {
    let mut wrong = Vec::new();
    for (name, text) in sources("src") {
        let allowed = is_test(&name) || SECRETS.iter().any(|place| name.starts_with(place));
        if !allowed && code(&text).contains(".expose()") {
            wrong.push(format!("src/{name} exposes a secret"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_task_is_owned() {
    let mut wrong = Vec::new();
    for (name, text) in sources("src") {
        let code = code(&text);
        if !is_test(&name)
            && ["tokio::spawn(", "task::spawn("]
                .iter()
                .any(|call| code.contains(call))
        {
            wrong.push(format!(
                "src/{name} starts a task that nobody owns; spawn it in a JoinSet"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_unfinished_is_left() {
    let mut wrong = Vec::new();
    for folder in [
        "src",
        "tests/it",
        "tests/chaos",
        "tests/torture",
        "tests/hosts",
        "tests/images",
    ] {
        for (name, text) in sources(folder) {
            if name == "tidy.rs" {
                continue;
            }
            for (number, line) in text.lines().enumerate() {
                if ["todo!(", "unimplemented!(", "dbg!(", "#[ignore", "FIXME", "XXX"]
                    .iter()
                    .any(|mark| line.contains(mark))
                {
                    wrong.push(format!("{folder}/{name}:{}: {}", number + 1, line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
