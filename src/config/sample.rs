//! `ecsbeat.yml` at the root is the one sample, and the whole of the documentation of keys: these tests hold it
//! to what the code reads, both ways.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::load::{self, Sources};
use super::node::{Data, Node};
use super::{Config, OutputConfig, Ssl, dotted, source};

const SAMPLE: &str = include_str!("../../ecsbeat.yml");

/// The sample with every `#key: value` in force; prose has a space after its `#`.
fn uncommented() -> String {
    let mut text = String::new();
    for line in SAMPLE.lines() {
        let start = line.len() - line.trim_start().len();
        match line[start..].strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase() || c == '-') => {
                text.push_str(&line[..start]);
                text.push_str(key);
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

fn read(text: &str) -> (Config, BTreeSet<String>) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("ecsbeat.yml"), text).unwrap();
    let sources = Sources {
        config: Some(directory.path().to_owned()),
        home: Some(PathBuf::from("/usr/share/ecsbeat")),
        data: Some(PathBuf::from("/var/lib/ecsbeat")),
        logs: Some(PathBuf::from("/var/log/ecsbeat")),
        strict_perms: false,
        ..Sources::default()
    };
    let (config, findings) = load::read(&sources, &|_| None);
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    // With everything switched on, what one host has is on beside what several hosts need.
    let of_one_host = ["http.enabled: ", "output.console: ", "output.file: "];
    let unexpected: Vec<&String> = config
        .warnings
        .iter()
        .filter(|warning| config.ha.is_none() || !of_one_host.iter().any(|key| warning.contains(key)))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    (config, findings.schema)
}

/// `ssl` and `when` have the same keys wherever they are; the sample explains them once.
fn common(path: &str) -> String {
    let mut path = path.replace("pipelines.*.when", "indices.*.when");
    for nested in [".and.*.", ".or.*.", ".not."] {
        path = path.replace(nested, ".");
    }
    match path.split_once(".ssl.") {
        Some((_, key)) => format!("ssl.{key}"),
        None => path,
    }
}

fn keys(node: &Node, path: &str, found: &mut BTreeSet<String>) {
    match &node.data {
        Data::Map(map) => {
            for (key, node) in &map.entries {
                let path = dotted::join(path, key);
                found.insert(common(&path));
                keys(node, &path, found);
            }
        }
        Data::List(items) => items
            .iter()
            .for_each(|item| keys(item, &dotted::join(path, "*"), found)),
        Data::Null | Data::Scalar(_) => {}
    }
}

#[test]
fn loads_as_it_is() {
    let (config, _) = read(SAMPLE);
    assert_eq!(config.ecsbeat.customers[0].vdcs[0].username, "root");
    assert_eq!(config.ecsbeat.commands.len(), 13);
    assert!(matches!(
        config.outputs.as_slice(),
        [OutputConfig::Elasticsearch(_)]
    ));
}

#[test]
fn loads_with_everything_switched_on_and_has_every_key() {
    let (config, schema) = read(&uncommented());
    assert_eq!(config.outputs.len(), 3);
    let mut shown = BTreeSet::new();
    let tree = dotted::expand(
        source::parse("ecsbeat.yml", &uncommented()).unwrap(),
        &mut Vec::new(),
    );
    keys(&tree, "", &mut shown);
    let missing: Vec<&String> = schema
        .iter()
        .filter(|key| !shown.contains(&common(key)))
        .collect();
    assert!(missing.is_empty(), "not in ecsbeat.yml: {missing:#?}");
    assert!(schema.len() > 150, "{}", schema.len());
}

#[test]
fn shows_the_defaults() {
    // What is an example rather than a default is made equal first.
    let level = |mut config: Config| {
        config.template.settings.clear();
        config.ecsbeat.commands.clear();
        config.redacted_yaml.clear();
        config.warnings.clear();
        config.ha = None;
        config
            .outputs
            .retain(|output| matches!(output, OutputConfig::Elasticsearch(_)));
        for output in &mut config.outputs {
            if let OutputConfig::Elasticsearch(output) = output {
                output.indices.clear();
                output.pipelines.clear();
                output.ssl.enabled = None;
            }
        }
        for customer in &mut config.ecsbeat.customers {
            customer.ssl.enabled = None;
            assert_eq!(format!("{:?}", customer.ssl), format!("{:?}", Ssl::default()));
        }
        config.path.config = PathBuf::new();
        format!("{config:#?}")
    };
    assert_eq!(level(read(&uncommented()).0), level(read(SAMPLE).0));
}

#[test]
fn shows_the_defaults_of_outputs_that_are_off() {
    let outputs = |text: &str| {
        let (config, _) = read(text);
        config
            .outputs
            .into_iter()
            .filter(|output| !matches!(output, OutputConfig::Elasticsearch(_)))
            .collect::<Vec<_>>()
    };
    let bare = format!("{SAMPLE}\noutput.console: ~\noutput.file.path: /tmp/ecsbeat\n");
    assert_eq!(
        format!("{:#?}", outputs(&uncommented())),
        format!("{:#?}", outputs(&bare))
    );
}

#[test]
fn shows_the_defaults_of_replicas() {
    let ha = |text: &str| {
        let mut ha = read(text).0.ha.unwrap();
        ha.etcd.ssl.enabled = None;
        // What is written out is another configuration than what is left out, and the commands are examples.
        ha.config_hash.clear();
        ha.identity_hash.clear();
        ha
    };
    let bare = format!("{SAMPLE}\nha.etcd.hosts: localhost\n");
    assert_eq!(format!("{:#?}", ha(&uncommented())), format!("{:#?}", ha(&bare)));
    assert!(read(SAMPLE).0.ha.is_none());
}

#[test]
fn fits_on_a_screen() {
    let too_long: Vec<&str> = SAMPLE.lines().filter(|line| line.chars().count() > 120).collect();
    assert!(too_long.is_empty(), "{too_long:#?}");
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("ecsbeat.yml").exists());
}
