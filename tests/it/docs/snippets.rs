//! YAML, JSON and here-documents in the pages are what they are said to be.
//!
//! A block marked `yaml` is a piece of `ecsbeat.yml` that loads: by itself, or over the first one of the README where it
//! has no customers or no output of its own. Further words behind `yaml` say what else it is; then it must be YAML.

use ecsbeat::config::{Config, Errors, Sources, load};

use super::page::{self, Block, Page};
use super::shell;

/// Top-level keys of files of other programs.
const FOREIGN: [&str; 7] = [
    "apiVersion:",
    "services:",
    "scrape_configs:",
    "groups:",
    "route:",
    "receivers:",
    "rule_files:",
];

/// Loads the files, one over the other, with something for every variable and file that they refer to.
pub(crate) fn loaded(texts: &[&str]) -> Result<Config, Errors> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("secret"), "id:key\n").unwrap();
    let secret = format!("${{file:{}}}", directory.path().join("secret").display());
    let files = texts.iter().enumerate().map(|(number, text)| {
        let path = directory.path().join(format!("{number}.yml"));
        let mut pieces = text.split("${file:");
        let mut text = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            text.push_str(&secret);
            text.push_str(piece.split_once('}').map_or("", |(_, rest)| rest));
        }
        std::fs::write(&path, text).unwrap();
        path
    });
    let sources = Sources {
        files: files.collect(),
        ..Sources::default()
    };
    load(&sources, &|name| {
        let value = if name.ends_with("KEY") { "id:key" } else { "value" };
        name.chars()
            .all(|c| c.is_ascii_uppercase() || c == '_')
            .then(|| value.to_owned())
    })
}

fn base() -> String {
    Page::read("README.md")
        .blocks_of("yaml")
        .next()
        .unwrap()
        .text
        .clone()
}

fn begins(text: &str, keys: &[&str]) -> bool {
    text.lines()
        .any(|line| keys.iter().any(|key| line.starts_with(key)))
}

/// What is wrong with a piece of `ecsbeat.yml`.
fn refused(base: &str, text: &str) -> Option<String> {
    let whole = begins(text, &["output.", "output:"]) && text.contains("customers:");
    let texts = if whole { vec![text] } else { vec![base, text] };
    loaded(&texts).err().map(|errors| errors.to_string())
}

fn is_ours(block: &Block) -> bool {
    block.info == "yaml" && !begins(&block.text, &FOREIGN)
}

#[test]
fn every_piece_of_configuration_loads() {
    let base = base();
    let mut checked = 0;
    let mut wrong = Vec::new();
    for page in page::for_operators() {
        for block in page.blocks_of("yaml") {
            checked += 1;
            let why = if is_ours(block) {
                refused(&base, &block.text)
            } else {
                // Several documents in one are what Kubernetes takes.
                block.text.split("\n---\n").find_map(|text| is_yaml(text).err())
            };
            wrong.extend(why.map(|why| format!("{}: {why}\n{}", page.name, block.text)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 20, "{checked}");
    assert!(refused(&base, "http: {enabled: true, prot: 1}\n").is_some());
    assert!(
        refused(
            &base,
            "ha.etcd.hosts: [\"http://${HOST}:2379\"]\nhttp.auth.token: ${file:/x}\n"
        )
        .is_none()
    );
}

/// Whether a text is YAML at all.
fn is_yaml(text: &str) -> Result<(), String> {
    serde_yaml::from_str::<serde_json::Value>(text)
        .map(drop)
        .map_err(|error| error.to_string())
}

#[test]
fn every_json_is_json() {
    let mut checked = 0;
    for page in page::for_operators() {
        for block in page.blocks_of("json") {
            // Several documents, a line each, or one over several lines.
            let whole: Result<serde_json::Value, _> = serde_json::from_str(&block.text);
            let by_lines = || {
                block
                    .text
                    .lines()
                    .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
            };
            assert!(whole.is_ok() || by_lines(), "{}:\n{}", page.name, block.text);
            checked += 1;
        }
    }
    assert!(checked > 15, "{checked}");
}

/// A file that is written by a command of the page.
#[test]
fn every_configuration_in_a_command_loads() {
    let base = base();
    for page in page::for_operators() {
        for block in page.blocks_of("sh") {
            for document in shell::documents(&block.text) {
                if begins(&document, &["ecsbeat:", "output.", "ha:", "http:"]) {
                    assert_eq!(refused(&base, &document), None, "{}:\n{document}", page.name);
                }
            }
        }
    }
}
