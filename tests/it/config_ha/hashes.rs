//! By what replicas know that they were configured alike.

use std::path::PathBuf;

use ecsbeat::config::{Config, Ha, Sources};

use super::{BASE, HA, config, ha, read_with};

/// `BASE` and `HA` with one text in place of another.
fn changed(from: &str, to: &str) -> Ha {
    let text = format!("{BASE}{HA}");
    assert!(text.contains(from), "{from}");
    config(&text.replacen(from, to, 1)).ha.unwrap()
}

fn original() -> Ha {
    ha(HA)
}

#[test]
fn hashes_are_of_what_is_said_and_not_of_how() {
    let (config_hash, identity_hash) = (original().config_hash, original().identity_hash);
    for hash in [&config_hash, &identity_hash] {
        assert_eq!(hash.len(), 32);
        assert!(hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
    assert_ne!(config_hash, identity_hash);
    let nested = "\
http.host: 0.0.0.0
http.enabled: yes
x-mine: {anything: 1}
ha:
  etcd:
    hosts: [etcd1, etcd2, etcd3]
  enabled: true
  cluster: prod
output:
  console: {enabled: false, pretty: true}
  file: {enabled: false}
  elasticsearch: {username: u, hosts: es1, password: '${x-secret}'}
x-secret: CANARY-output
monitoring.enabled: true
ecsbeat.commands:
  - {type: capacity}
  - {type: nodes, enabled: false, interval: 5m}
  - type: auditevent
ecsbeat.customers:
  - username: ${x-user}
    password: ${ECS_PASSWORD}
    vdcs:
      - nodes: [10.1.83.51]
        vdcname: VDC1
      - {nodes: [10.1.84.51], vdcname: VDC2}
    customername: one
x-user: monitor
";
    let other = config(nested).ha.unwrap();
    assert_eq!(
        (other.config_hash, other.identity_hash),
        (config_hash, identity_hash)
    );
    let with = |text: &str| ha(&format!("{HA}{text}")).config_hash;
    for (one, another) in [
        ("shutdown_timeout: 1m\n", "shutdown_timeout: 60\n"),
        ("queue.mem.max_bytes: 2MB\n", "queue.mem.max_bytes: 2000000\n"),
        ("fields: {a: {b: 1, c: 2}}\n", "fields: {a.c: 2, a.b: 1}\n"),
        (
            "output.elasticsearch.loadbalance: off\n",
            "output.elasticsearch.loadbalance: false\n",
        ),
        ("tags: [CANARY-ecs]\n", "tags: ['${ECS_PASSWORD}']\n"),
        (
            "processors: [{add_tags: {tags: [a]}}]\n",
            "processors:\n  - add_tags.tags:\n      - a\n",
        ),
        (
            "output.elasticsearch.proxy_disable: true\n",
            "output: {elasticsearch: {proxy_disable: true}}\n",
        ),
    ] {
        assert_eq!(with(one), with(another), "{one}{another}");
        assert_ne!(with(one), original().config_hash, "{one}");
    }
}

#[test]
fn what_belongs_to_one_host_changes_no_hash() {
    let original = original();
    for text in [
        "name: other\n",
        "hostname: other\n",
        "path.data: /srv\n",
        "logging: {level: debug, files.keepfiles: 3}\n",
        "http.port: 9\n",
        "http.auth.token: CANARY-token\n",
        "max_procs: 2\n",
        "ha.instance: other\n",
        "ha.advertise: http://other:5066\n",
        "ha.priority: 5\n",
        "ha.enabled: true\n",
    ] {
        let ha = ha(&format!("{HA}{text}"));
        assert_eq!(ha.config_hash, original.config_hash, "{text}");
        assert_eq!(ha.identity_hash, original.identity_hash, "{text}");
    }
    let sources = Sources {
        data: Some(PathBuf::from("/srv/ecsbeat")),
        overrides: vec!["name=cli".to_owned()],
        verbose: true,
        ..Sources::default()
    };
    let other = read_with(&format!("{BASE}{HA}"), sources, "CANARY-ecs").unwrap();
    assert_eq!(other.ha.unwrap().config_hash, original.config_hash);
}

#[test]
fn whatever_else_differs_changes_the_hash_of_the_configuration() {
    let mut seen = vec![original().config_hash];
    for (from, to) in [
        ("CANARY-output", "CANARY-changed"),
        ("${ECS_PASSWORD}", "CANARY-changed"),
        ("hosts: [es1]", "hosts: [es2]"),
        ("hosts: [es1]", "hosts: [es1, es2]"),
        ("    - {type: capacity}\n", ""),
        ("{type: capacity}", "{type: capacity, interval: 7m}"),
        ("{type: auditevent}", "{type: auditevent, paginate: ~}"),
        (
            "{type: auditevent}",
            "{type: auditevent, headers: {Authorization: CANARY-header}}",
        ),
        (
            "{type: auditevent}",
            "{type: auditevent, headers: {Authorization: CANARY-other}}",
        ),
        ("http:", "output.console: ~\nhttp:"),
        ("http:", "output.file.path: /tmp/x\nhttp:"),
        (
            "http:",
            "output.elasticsearch.proxy_url: http://u:CANARY-proxy@p:1\nhttp:",
        ),
        (
            "http:",
            "output.elasticsearch.proxy_url: http://u:CANARY-other@p:1\nhttp:",
        ),
        ("http:", "output.elasticsearch.ssl: {}\nhttp:"),
        ("http:", "tags: [a]\nhttp:"),
        ("http:", "fields: {a: 1}\nhttp:"),
        ("http:", "processors: [{add_host_metadata: ~}]\nhttp:"),
        (
            "http:",
            "processors: [{add_host_metadata: ~}, {add_host_metadata: ~}]\nhttp:",
        ),
        ("http:", "processors: [{drop_fields.fields: [a, /b/]}]\nhttp:"),
        ("http:", "processors: [{drop_fields.fields: [a, /c/]}]\nhttp:"),
        ("http:", "processors: [{drop_event.when.equals: {a: 1}}]\nhttp:"),
        ("http:", "processors: [{drop_event.when.equals: {a: 2}}]\nhttp:"),
        ("http:", "processors: [{drop_event.when.regexp: {a: b}}]\nhttp:"),
        (
            "http:",
            "processors: [{drop_event.when.network: {a: private}}]\nhttp:",
        ),
        (
            "http:",
            "processors: [{if.equals: {a: 1}, then: {drop_event: ~}}]\nhttp:",
        ),
        (
            "http:",
            "processors: [{if.equals: {a: 1}, then: {add_tags.tags: [a]}, else: {drop_event: ~}}]\nhttp:",
        ),
        (
            "http:",
            "processors: [{add_tags.tags: [a]}, {add_tags.tags: [b]}]\nhttp:",
        ),
        (
            "http:",
            "processors: [{add_tags.tags: [b]}, {add_tags.tags: [a]}]\nhttp:",
        ),
        (
            "{type: auditevent}",
            "{type: auditevent, processors: [{add_tags.tags: [a]}]}",
        ),
        ("cluster: prod", "cluster: prod, retry_timeout: 2s"),
        ("cluster: prod", "cluster: test"),
        ("etcd1, etcd2", "etcd1, etcd4"),
        (
            "etcd.hosts",
            "etcd: {username: u, password: CANARY-etcd}, etcd.hosts",
        ),
        (
            "etcd.hosts",
            "etcd: {username: u, password: CANARY-other}, etcd.hosts",
        ),
    ] {
        let hash = changed(from, to).config_hash;
        assert!(!seen.contains(&hash), "{from} -> {to}");
        seen.push(hash);
    }
    // The same file with another password in the environment.
    let other = read_with(&format!("{BASE}{HA}"), Sources::default(), "CANARY-environment");
    assert!(!seen.contains(&other.unwrap().ha.unwrap().config_hash));
}

#[test]
fn a_list_of_the_environment_is_not_cut_short() {
    let with = |tags: &str, variable: &str| {
        // The variable is nothing but the list.
        let base = BASE.replace("${ECS_PASSWORD}", "CANARY-ecs");
        let text = format!("{base}{HA}tags: {tags}\n");
        read_with(&text, Sources::default(), variable).unwrap()
    };
    let tags = "[x, '${ECS_PASSWORD}', y]";
    let found = with(tags, "a,b");
    assert_eq!(found.tags, ["x", "a", "b", "y"]);
    let hash = |config: Config| config.ha.unwrap().config_hash;
    assert_eq!(hash(with(tags, "a,b")), hash(with("[x, a, b, y]", "")));
    assert_ne!(hash(with(tags, "a,b")), hash(with(tags, "c,b")));
    assert_ne!(hash(with(tags, "a,b")), hash(with(tags, "a,c")));
}

#[test]
fn the_order_of_mappings_by_name_counts_where_it_decides() {
    let with = |vdcs: &str| {
        let from = "[{vdcname: VDC1, nodes: [10.1.83.51]}, {vdcname: VDC2, nodes: [10.1.84.51]}]";
        changed(from, vdcs)
    };
    let one = with("{VDC1.nodes: [10.1.83.51], VDC2.nodes: [10.1.84.51]}");
    let another = with("{VDC2.nodes: [10.1.84.51], VDC1.nodes: [10.1.83.51]}");
    // The first VDC is preferred.
    assert_ne!(one.config_hash, another.config_hash);
    assert_eq!(one.identity_hash, another.identity_hash);
    assert_eq!(one.identity_hash, original().identity_hash);
}

#[test]
fn the_identity_is_what_ids_and_streams_are_made_of() {
    let original = original();
    let same = [
        ("CANARY-output", "CANARY-changed"),
        ("hosts: [es1]", "hosts: [es2]"),
        (
            "{type: auditevent}",
            "{type: auditevent, interval: 2m, window: {lag: 2m, overlap: 1m}}",
        ),
        ("{type: auditevent}", "{type: auditevent, headers: {a: b}}"),
        // Ids are made before any processor sees the event.
        (
            "{type: auditevent}",
            "{type: auditevent, processors: [{drop_fields.fields: [id]}]}",
        ),
        ("http:", "processors: [{drop_fields.fields: [timestamp]}]\nhttp:"),
        ("10.1.83.51", "10.1.83.99"),
        ("cluster: prod", "cluster: test, safety_margin: 1100ms, ttl: 11s"),
    ];
    for (from, to) in same {
        assert_eq!(
            changed(from, to).identity_hash,
            original.identity_hash,
            "{from} -> {to}"
        );
    }
    let reordered = changed(
        "    - {type: auditevent}\n    - {type: capacity}\n",
        "    - {type: capacity}\n    - {type: auditevent}\n",
    );
    assert_eq!(reordered.identity_hash, original.identity_hash);
    assert_eq!(reordered.config_hash, original.config_hash);
    let mut seen = vec![original.identity_hash];
    for (from, to) in [
        ("customername: one", "customername: two"),
        ("vdcname: VDC1", "vdcname: VDC9"),
        ("{type: capacity}", "{type: nodes}"),
        ("{type: capacity}", "{type: capacity, interval: 7m}"),
        ("{type: capacity}", "{type: capacity, key: [id]}"),
        ("{type: capacity}", "{type: capacity, key: [id, name]}"),
        ("{type: capacity}", "{type: capacity, time_field: t}"),
        ("{type: capacity}", "{type: capacity, level: vdc}"),
        ("{type: capacity}", "{type: capacity, window: {step: 5m}}"),
        ("{type: auditevent}", "{type: auditevent, window.step: 2m}"),
        ("{type: auditevent}", "{type: auditevent, window.max_span: 2h}"),
        ("{type: auditevent}", "{type: auditevent, window: ~}"),
    ] {
        let hash = changed(from, to).identity_hash;
        assert!(!seen.contains(&hash), "{from} -> {to}");
        seen.push(hash);
    }
}

/// Replicas of two releases work side by side during an upgrade. A change here means that they warn of each other, and
/// of the second hash that the new ones do not lead before the last old one is gone: it must be meant, and told.
#[test]
fn hashes_stay_the_same_from_release_to_release() {
    let ha = original();
    assert_eq!(ha.config_hash, "cb7e8625ade2da669eca9b83d3a98a29");
    assert_eq!(ha.identity_hash, "38e35602397b92c45c43181bfb4cbeea");
}
