//! Every message that `docs/troubleshooting.md` quotes is one that the program writes.
//!
//! A quoted message is a line of a block marked `text`; `…` stands for what differs.

use std::fs;
use std::path::Path;

use super::page::{Page, root};

/// All of the source, with texts that go over several lines put together.
fn source() -> String {
    let mut all = String::new();
    collect(&root().join("src"), &mut all);
    // `{name:?}` and the like stand where `…` does.
    all.replace("\\\"", "\"").replace("\\\\", "\\")
}

fn collect(directory: &Path, all: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "tests" && name != "simulation" {
                collect(&path, all);
            }
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            let text = fs::read_to_string(&path).unwrap();
            // Tests within a file show what they expect, not what is written.
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let mut lines = text.lines();
            while let Some(line) = lines.next() {
                let mut line = line.to_owned();
                while let Some(begun) = line.strip_suffix('\\') {
                    line = begun.to_owned() + lines.next().unwrap_or_default().trim_start();
                }
                all.push_str(&line);
                all.push('\n');
            }
        }
    }
}

/// The part of a message that the source does not have.
fn unknown<'m>(message: &'m str, source: &str) -> Option<&'m str> {
    let parts: Vec<&str> = message.split('…').map(str::trim).collect();
    assert!(
        parts.iter().any(|part| part.len() >= 10),
        "{message}: too little is left of it to look for"
    );
    parts
        .into_iter()
        .filter(|part| part.chars().filter(|c| c.is_alphabetic()).count() > 3)
        .find(|part| !source.contains(part))
}

#[test]
fn every_quoted_message_exists() {
    let source = source();
    let page = Page::read("docs/troubleshooting.md");
    let mut checked = 0;
    let mut wrong = Vec::new();
    for message in page.blocks_of("text").flat_map(|block| block.text.lines()) {
        if message.trim().is_empty() {
            continue;
        }
        checked += 1;
        if let Some(part) = unknown(message, &source) {
            wrong.push(format!("{message}\n    not in src: {part}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 40, "{checked}");
    assert!(unknown("lost the leadership for … seconds", &source).is_some());
}

/// The alert rules name a heading each.
#[test]
fn every_alert_has_a_heading() {
    let page = Page::read("docs/troubleshooting.md");
    let headings: Vec<&str> = page
        .headings
        .iter()
        .map(|(text, _)| text.as_str())
        .filter(|text| text.starts_with("Ecsbeat"))
        .collect();
    assert!(headings.len() >= 15, "{headings:?}");
    let directory = root().join("deploy/prometheus");
    let mut alerts = Vec::new();
    for entry in fs::read_dir(&directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        // The rules, not their tests.
        if path.is_dir() || path.to_string_lossy().contains("test") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        alerts.extend(text.lines().filter_map(|line| {
            let name = line.trim().trim_start_matches("- ").strip_prefix("alert: ")?;
            Some(name.to_owned())
        }));
    }
    let missing: Vec<&String> = alerts
        .iter()
        .filter(|alert| !headings.contains(&alert.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/troubleshooting.md has no heading for {missing:?}"
    );
    let of_none: Vec<&&str> = headings
        .iter()
        .filter(|heading| !alerts.is_empty() && !alerts.iter().any(|alert| alert == **heading))
        .collect();
    assert!(of_none.is_empty(), "there is no such alert: {of_none:?}");
}
