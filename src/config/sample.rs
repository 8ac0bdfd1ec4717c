//! `ecsbeat.yml` at the root is the one sample, and the whole of the documentation of keys: these tests hold it
//! to what the code reads, both ways.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::load::{self, Sources};
use super::node::{Data, Node};
use super::processor_options::PROCESSORS;
use super::{Config, OutputConfig, Ssl, Step, dotted, source};

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
    let of_one_host = [
        "http.enabled: ",
        "output.console: ",
        "output.file: ",
        "output.kafka.fencing: ",
    ];
    let unexpected: Vec<&String> = config
        .warnings
        .iter()
        .filter(|warning| config.ha.is_none() || !of_one_host.iter().any(|key| warning.contains(key)))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    (config, findings.schema)
}

/// `ssl`, `when` and processors have the same keys wherever they are; the sample explains them once.
fn common(path: &str) -> String {
    let mut path = path.replace("pipelines.*.when", "indices.*.when");
    for rules in ["output.kafka.topics", "output.redis.keys"] {
        path = path.replace(&format!("{rules}.*.when"), "output.elasticsearch.indices.*.when");
    }
    for nested in [".and.*.", ".or.*.", ".not."] {
        path = path.replace(nested, ".");
    }
    if let Some((_, of_command)) = path.split_once("commands.*.processors") {
        path = format!("processors{of_command}");
    }
    for block in [".then.*.", ".else.*."] {
        path = path.replace(block, ".");
    }
    if path.starts_with("processors.")
        && let Some((_, condition)) = path.split_once(".when").or_else(|| path.split_once(".if."))
    {
        let condition = condition.trim_start_matches('.');
        path = dotted::join("output.elasticsearch.indices.*.when", condition);
        path = path.trim_end_matches('.').to_owned();
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
    assert_eq!(config.outputs.len(), 6);
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
fn shows_every_processor() {
    let tree = dotted::expand(
        source::parse("ecsbeat.yml", &uncommented()).unwrap(),
        &mut Vec::new(),
    );
    let Some(Data::List(items)) = tree.at("processors").map(|list| &list.data) else {
        panic!("no list of processors")
    };
    for (name, _) in PROCESSORS {
        assert!(
            items.iter().any(|item| item.at(name).is_some()),
            "{name} is missing"
        );
    }
}

#[test]
fn shows_the_defaults_of_processors() {
    // The sample without what need not be given.
    let bare = "
processors:
  - add_fields.fields: {project: storage}
  - add_labels.labels: {site: north}
  - add_tags.tags: [production]
  - add_host_metadata:
      geo: {name: rack1, location: '40.7128, -74.0060', continent_name: North America, country_name: United States,
        country_iso_code: US, region_name: New York, region_iso_code: NY, city_name: New York}
  - drop_event.when.regexp: {serviceType: ^test}
  - drop_fields.fields: [ecs-version, /_t$/]
  - include_fields: {when.equals: {ecs-event-type: processes}, fields: [ecs-customer, ecs-vdc-cfgname, ecs-event-type, id]}
  - rename.fields: [{from: userId, to: user.name}]
  - copy_fields.fields: [{from: user.name, to: related.user}]
  - convert.fields: [{from: slotId, to: disk.slot, type: integer}]
  - replace.fields: [{field: description, pattern: 'password=\\S+', replacement: password=xxxxx}]
  - truncate_fields: {fields: [description], max_bytes: 1024}
  - truncate_fields: {fields: [message], max_characters: 256}
  - fingerprint.fields: [ecs-vdc-id, id]
  - rate_limit: {limit: 1000/m, fields: [ecs-vdc-cfgname]}
  - {if.network: {ecs-node-ip: [private, 192.0.2.0/24]}, then: {add_tags.tags: [inside]}, else: {add_tags.tags: [outside]}}
";
    let shown = read(&uncommented()).0.processors;
    let bare = read(&format!("{SAMPLE}{bare}")).0.processors;
    // A single processor in a block has no number.
    let text = |steps: Vec<Step>| format!("{steps:#?}").replace(".0.add_tags", ".add_tags");
    assert_eq!(text(shown), text(bare));
}

#[test]
fn shows_the_defaults() {
    // What is an example rather than a default is made equal first.
    let level = |mut config: Config| {
        config.template.settings.clear();
        config.ecsbeat.commands.clear();
        config.processors.clear();
        config.redacted_yaml.clear();
        config.hash.clear();
        config.warnings.clear();
        config.ha = None;
        config.ecsbeat.trace = None;
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
        let mut outputs = config.outputs;
        outputs.retain(|output| !matches!(output, OutputConfig::Elasticsearch(_)));
        for output in &mut outputs {
            // What is an example rather than a default is made equal first.
            match output {
                OutputConfig::Logstash(output) => output.network.ssl.enabled = None,
                OutputConfig::Kafka(output) => {
                    output.topics.clear();
                    output.headers.clear();
                    output.ssl.enabled = None;
                }
                OutputConfig::Redis(output) => {
                    output.keys.clear();
                    output.network.ssl.enabled = None;
                }
                _ => {}
            }
        }
        outputs
    };
    let bare = format!(
        "{SAMPLE}\noutput.console: ~\noutput.file.path: /tmp/ecsbeat\noutput.logstash.hosts: localhost:5044\n\
         output.kafka: {{hosts: kafka, topic: ecsbeat}}\noutput.redis.hosts: localhost\n"
    );
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
fn shows_the_defaults_of_what_is_recorded_beside_the_log() {
    let records = |text: &str| {
        let config = read(text).0;
        (config.ecsbeat.trace.unwrap(), config.logging.event_data.unwrap())
    };
    let shown = uncommented().replace(
        "event_data:\n    enabled: false",
        "event_data:\n    enabled: true",
    );
    let bare = format!("{SAMPLE}\nlogging.event_data.enabled: true\n");
    let bare = bare.replace("\necsbeat:\n", "\necsbeat:\n  trace.enabled: true\n");
    assert_eq!(
        format!("{:#?}", records(&shown)),
        format!("{:#?}", records(&bare))
    );
    let config = read(SAMPLE).0;
    assert!(config.ecsbeat.trace.is_none() && config.logging.event_data.is_none());
}

#[test]
fn fits_on_a_screen() {
    let too_long: Vec<&str> = SAMPLE.lines().filter(|line| line.chars().count() > 120).collect();
    assert!(too_long.is_empty(), "{too_long:#?}");
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("ecsbeat.yml").exists());
}
