//! What the pages name exists: commands and their flags, make targets, files, HTTP paths, metrics.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;

use ecsbeat::cli;

use super::page::{self, Page, root};
use super::shell;

/// Where commands stand: blocks of these languages, and code within lines.
const SHELL: [&str; 4] = ["", "sh", "bash", "console"];

/// A command line, and where it stands.
struct Line {
    page: String,
    words: Vec<String>,
}

/// Every command line of a page.
fn lines(page: &Page) -> Vec<Line> {
    let blocks = page.blocks.iter().filter(|block| {
        let language = block.info.split_whitespace().next().unwrap_or_default();
        SHELL.contains(&language)
    });
    let texts = blocks.map(|block| &block.text).chain(&page.spans);
    texts
        .flat_map(|text| shell::commands(text))
        .map(|words| Line {
            page: page.name.clone(),
            words,
        })
        .collect()
}

fn all_lines() -> Vec<Line> {
    page::all().iter().flat_map(lines).collect()
}

/// The program that is meant, without its directory.
fn program(words: &[String]) -> &str {
    words[0].rsplit('/').next().unwrap_or_default()
}

/// What is wrong with a command line of ecsbeat.
fn refused(words: &[String]) -> Option<String> {
    shell::alternatives(words).into_iter().find_map(|words| {
        let arguments = words.iter().map(OsString::from);
        let exit = cli::parse(arguments).err().filter(|exit| exit.code != cli::OK)?;
        Some(format!(
            "{}: {}",
            words.join(" "),
            exit.text.lines().next().unwrap_or_default()
        ))
    })
}

#[test]
fn every_command_line_of_ecsbeat_is_understood() {
    let mut checked = 0;
    let mut wrong = Vec::new();
    for line in all_lines() {
        // The name alone is the product, not a command; so is what a sentence of the log begins with.
        let sentence = line.words.last().is_some_and(|word| word.ends_with('.'));
        // And what a usage line leaves open is no command either.
        let sentence = sentence || line.words.iter().any(|word| word == "COMMAND");
        if program(&line.words) != "ecsbeat" || line.words.len() < 2 || sentence {
            continue;
        }
        checked += 1;
        if let Some(why) = refused(&line.words) {
            wrong.push(format!("{}: {why}", line.page));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 40, "{checked}");
    let words = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
    assert!(refused(&words("ecsbeat test everything")).is_some());
    assert!(refused(&words("ecsbeat test config|nothing")).is_some());
    assert_eq!(refused(&words("target/release/ecsbeat -c a.yml -e --once")), None);
}

/// The targets of the Makefile.
fn targets() -> BTreeSet<String> {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    makefile
        .lines()
        .filter_map(|line| line.split_once(':').map(|(name, _)| name.to_owned()))
        .filter(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        .collect()
}

#[test]
fn every_make_target_exists() {
    let targets = targets();
    let mut checked = 0;
    for line in all_lines().iter().filter(|line| line.words[0] == "make") {
        for word in &line.words[1..] {
            if !word.starts_with('-') && !word.contains('=') {
                checked += 1;
                assert!(targets.contains(word), "{}: make {word}: {targets:?}", line.page);
            }
        }
    }
    assert!(checked > 10, "{checked}");
    assert!(
        targets.contains("demo-ha") && !targets.contains("PHONY"),
        "{targets:?}"
    );
}

/// A file of the repository that a word names; `None` where it names none, or several.
fn file(word: &str) -> Option<String> {
    let word = word
        .trim_start_matches("$PWD/")
        .trim_start_matches("./")
        .trim_end_matches(['.', ',', ':', ';', ')', '/']);
    let (first, rest) = word.split_once('/')?;
    let ours = ["deploy", "docs", "src", "tests", ".ci", ".cargo"].contains(&first);
    // `tests/x:y` is a place in a container or a line of a file; the rest are patterns and placeholders.
    let single = !rest.is_empty() && !rest.contains(['*', '{', '<', '$', '…', ':', '[', ',']);
    (ours && single).then(|| word.to_owned())
}

#[test]
fn every_file_that_is_named_exists() {
    let mut checked = 0;
    let mut wrong = Vec::new();
    for page in page::all() {
        let texts = page.blocks.iter().map(|block| &block.text).chain(&page.spans);
        for word in texts.flat_map(|text| text.split([' ', '\n', '"', '\'', '=', '(', '`'])) {
            let Some(name) = file(word) else { continue };
            checked += 1;
            if !root().join(&name).exists() {
                wrong.push(format!("{}: {name}", page.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 20, "{checked}");
    assert_eq!(
        file("\"$PWD/deploy/examples/file.yml".trim_matches('"')).as_deref(),
        Some("deploy/examples/file.yml")
    );
    assert_eq!(file("deploy/examples/*.yml"), None);
}

/// The paths of `src/http/mod.rs`.
pub(super) fn routes() -> BTreeSet<String> {
    let source = fs::read_to_string(root().join("src/http/mod.rs")).unwrap();
    let routes: BTreeSet<String> = source
        .split(".route(\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next().map(str::to_owned))
        .collect();
    assert!(routes.len() >= 18, "{routes:?}");
    routes
}

/// Paths of one word that belong to somebody else.
const FOREIGN: [(&str, &str); 5] = [
    ("/ecsbeat", "ha.etcd.prefix"),
    ("/login", "ECS"),
    ("/logout", "ECS"),
    ("/data", "a volume of a container"),
    ("/tmp", "a directory"),
];

/// The HTTP path in a piece of code such as `GET /leader?x=y`.
fn path(code: &str) -> Option<&str> {
    let code = ["GET ", "HEAD ", "POST ", "OPTIONS "]
        .iter()
        .find_map(|method| code.strip_prefix(method))
        .unwrap_or(code);
    let path = code.split(['?', ' ']).next()?;
    let word = path.strip_prefix('/')?;
    word.chars()
        .all(|c| c.is_ascii_lowercase() || c == '-')
        .then_some(path)
}

#[test]
fn every_http_path_exists() {
    let routes = routes();
    let mut checked = 0;
    let mut wrong = Vec::new();
    for page in page::for_operators() {
        // There they are values of keys: JSON pointers, paths of ECS.
        if page.name == "docs/configuration.md" {
            continue;
        }
        for path in page.spans.iter().filter_map(|span| path(span)) {
            checked += 1;
            if !routes.contains(path) && !FOREIGN.iter().any(|(foreign, _)| *foreign == path) {
                wrong.push(format!("{}: {path}", page.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 50, "{checked}");
    assert_eq!(path("POST /switchover {\"leader\": 1}"), Some("/switchover"));
    assert_eq!(path("/etc/ecsbeat"), None);
}

/// What is asked with curl of ecsbeat, of the simulator or of its receiver must be something that they answer.
#[test]
fn every_address_that_curl_asks_exists() {
    let ours = routes();
    let simulator = fs::read_to_string(root().join("tests/ecs-sim/src/control.rs")).unwrap();
    let receiver = fs::read_to_string(root().join("tests/ecs-sim/src/bulk/service.rs")).unwrap();
    let mut checked = 0;
    let mut wrong = Vec::new();
    for line in all_lines() {
        if line.words[0] != "curl" {
            continue;
        }
        for word in &line.words[1..] {
            let word = word.trim_start_matches("http://").trim_start_matches("https://");
            let Some((host, path)) = word.split_once('/') else {
                continue;
            };
            if !host.starts_with("localhost") && !host.starts_with("127.0.0.1") && !host.contains(":506") {
                continue;
            }
            let path = format!("/{}", path.split('?').next().unwrap_or_default());
            let known = match host.rsplit_once(':').map_or("", |(_, port)| port) {
                "4480" => simulator.contains(&format!("\"{path}\"")),
                "9200" => path == "/" || receiver.contains(&format!("\"{path}\"")),
                "2379" => path == "/health",
                _ => ours.contains(&path),
            };
            checked += 1;
            if !known {
                wrong.push(format!("{}: {}", line.page, line.words.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 15, "{checked}");
}

/// Names as they are registered, without what the text format adds to them.
fn registered() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in fs::read_dir(root().join("src/telemetry")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if !(name.starts_with("metrics") && path.is_file()) {
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        // Every text of one word; that some are no names does no harm.
        for literal in source.split('"').skip(1).step_by(2) {
            let word = literal.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            if word && !literal.is_empty() {
                names.insert(literal.to_owned());
            }
        }
    }
    names
}

fn is_metric(name: &str, registered: &BTreeSet<String>) -> bool {
    let Some(name) = name.strip_prefix("ecsbeat_") else {
        return false;
    };
    let without = |name: &str, ends: &[&str]| -> Vec<String> {
        ends.iter()
            .filter_map(|end| name.strip_suffix(end).map(str::to_owned))
            .chain([name.to_owned()])
            .collect()
    };
    without(name, &["_total", "_bucket", "_count", "_sum", "_info"])
        .iter()
        .flat_map(|name| without(name, &["_seconds", "_bytes"]))
        .any(|name| registered.contains(&name))
}

#[test]
fn every_metric_that_is_named_exists() {
    let registered = registered();
    let mut checked = 0;
    let mut wrong = Vec::new();
    for page in page::all() {
        let texts = page.blocks.iter().map(|block| &block.text).chain(&page.spans);
        for text in texts {
            for word in
                text.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '*' | '…' | '/' | '.'))
            {
                // `ecsbeat_ha_*` are all of a kind.
                if !word.starts_with("ecsbeat_") || word.ends_with('_') || word.contains(['*', '…', '/', '.'])
                {
                    continue;
                }
                checked += 1;
                if !is_metric(word, &registered) {
                    wrong.push(format!("{}: {word}", page.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 12, "{checked}");
    assert!(is_metric("ecsbeat_output_dropped_events_total", &registered));
    assert!(is_metric("ecsbeat_ha_failover_gap_seconds_bucket", &registered));
    assert!(!is_metric("ecsbeat_output_lost_total", &registered));
}
