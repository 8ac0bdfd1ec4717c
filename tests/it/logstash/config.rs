//! `output.logstash` as users write it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ecsbeat::config::{Config, Errors, LogstashOutput, OutputConfig, Sources, load};

const SECOND: Duration = Duration::from_secs(1);

/// A configuration with this output.
fn read(output: &str) -> Result<Config, Errors> {
    let directory = tempfile::tempdir().unwrap();
    let customers = "ecsbeat.customers: [{customername: one, username: monitor, password: ChangeMe, vdcs: [{vdcname: \
                     VDC1, nodes: [10.1.83.51]}]}]";
    fs::write(
        directory.path().join("ecsbeat.yml"),
        format!("{customers}\noutput.logstash: {output}\n"),
    )
    .unwrap();
    load_file(&directory.path().join("ecsbeat.yml"))
}

fn load_file(file: &Path) -> Result<Config, Errors> {
    let sources = Sources {
        files: vec![file.to_owned()],
        home: Some(PathBuf::from("/opt/ecsbeat")),
        strict_perms: false,
        ..Sources::default()
    };
    load(&sources, &|name| {
        (name == "ECS_PASSWORD" || name == "HOSTNAME").then(|| "x".to_owned())
    })
}

fn output(config: &Config) -> &LogstashOutput {
    match config.outputs.as_slice() {
        [OutputConfig::Logstash(output)] => output,
        other => panic!("{other:?}"),
    }
}

#[test]
fn defaults_are_those_of_beats_but_for_lost_events() {
    let config = read("{hosts: [ls1, \"ls2:5045\", \"[::1]\"]}").unwrap_or_else(|errors| panic!("{errors}"));
    let output = output(&config);
    let hosts: Vec<String> = output.hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["ls1:5044", "ls2:5045", "[::1]:5044"]);
    let network = &output.network;
    assert_eq!(
        (network.workers, network.loadbalance, network.bulk_max_size),
        (1, false, 2048)
    );
    assert_eq!((network.timeout, network.max_retries), (30 * SECOND, None));
    assert_eq!((network.backoff.init, network.backoff.max), (SECOND, 60 * SECOND));
    assert_eq!(
        (output.compression_level, output.pipelining, output.ttl),
        (3, 2, None)
    );
    assert_eq!((output.slow_start, output.index.as_str()), (false, "ecsbeat"));
    assert_eq!(network.ssl.enabled, None);
    assert!(
        network.proxy.is_none() && config.warnings.is_empty(),
        "{:?}",
        config.warnings
    );
}

#[test]
fn everything_can_be_set() {
    let config = read(
        "{hosts: ls1, worker: 3, loadbalance: yes, bulk_max_size: -1, timeout: 1m, max_retries: 4, backoff.init: 2s, \
         backoff.max: 3s, compression_level: 0, pipelining: 0, ttl: 90, slow_start: true, index: ecs, escape_html: \
         true, proxy_url: \"socks5://me:ChangeMe@proxy\", proxy_use_local_resolver: true, ssl: \
         {certificate_authorities: ca.pem, certificate: c.pem, key: k.pem}}",
    );
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let output = output(&config);
    let network = &output.network;
    assert_eq!(
        (network.workers, network.loadbalance, network.bulk_max_size),
        (3, true, 0)
    );
    assert_eq!((network.timeout, network.max_retries), (60 * SECOND, Some(4)));
    assert_eq!(
        (network.backoff.init, network.backoff.max),
        (2 * SECOND, 3 * SECOND)
    );
    assert_eq!(
        (output.compression_level, output.pipelining, output.ttl),
        (0, 1, Some(90 * SECOND))
    );
    assert_eq!((output.slow_start, output.index.as_str()), (true, "ecs"));
    let proxy = network.proxy.as_ref().unwrap();
    assert_eq!(
        (proxy.at.to_string().as_str(), proxy.local_resolver),
        ("proxy:1080", true)
    );
    assert_eq!(
        network.ssl.enabled,
        Some(true),
        "a section without enabled switches it on"
    );
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    assert!(config.warnings[0].contains("output.logstash.escape_html: has no effect"));
    assert!(!format!("{config:?}").contains("ChangeMe") && !config.redacted_yaml.contains("ChangeMe"));
}

#[test]
fn what_cannot_work_is_told_with_its_key() {
    for (output, told) in [
        ("{enabled: true}", "output.logstash.hosts: missing"),
        (
            "{hosts: [\"http://ls1:5044\"]}",
            "output.logstash.hosts.0: expected a host",
        ),
        (
            "{hosts: [a, \"a:5044\"]}",
            "output.logstash.hosts.1: is in the list twice",
        ),
        (
            "{hosts: a, compression_level: 10}",
            "compression_level: expected a whole number from 0 to 9",
        ),
        (
            "{hosts: a, pipelining: -1}",
            "pipelining: expected a whole number from 0",
        ),
        ("{hosts: a, ttl: soon}", "ttl: "),
        ("{hosts: a, timeout: 0}", "timeout: must be longer than 0s"),
        (
            "{hosts: a, proxy_url: \"http://p:3128\"}",
            "proxy_url: must be a SOCKS5 proxy",
        ),
        ("{hosts: a, pipeline: x}", "output.logstash.pipeline: unknown key"),
        (
            "{hosts: a, ssl.exit_on_cert_change.enabled: true}",
            "ssl.exit_on_cert_change: not in this version",
        ),
    ] {
        let errors = read(output).map(|_| ()).unwrap_err().to_string();
        assert!(errors.contains(told), "{told} in {errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
    let warned = read("{hosts: a, index: \"ecs-%{+yyyy}\", ssl.exit_on_cert_change.enabled: false}");
    let warnings = warned.unwrap_or_else(|errors| panic!("{errors}")).warnings;
    assert!(
        warnings.len() == 1 && warnings[0].contains("output.logstash.index: is sent as it is"),
        "{warnings:?}"
    );
}

#[test]
fn the_example_loads_and_its_pipeline_belongs_to_it() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples");
    let config = load_file(&examples.join("logstash.yml")).unwrap_or_else(|errors| panic!("{errors}"));
    let output = output(&config);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let pipeline = fs::read_to_string(examples.join("logstash-pipeline.conf")).unwrap();
    let settings: Vec<&str> = pipeline.lines().map(str::trim).collect();
    for setting in [
        format!("port => {}", output.hosts[0].port),
        "document_id => \"%{[@metadata][_id]}\"".to_owned(),
        "index => \"%{[@metadata][beat]}-%{+yyyy.MM.dd}\"".to_owned(),
        "action => \"create\"".to_owned(),
    ] {
        assert!(settings.contains(&setting.as_str()), "{setting} in {pipeline}");
    }
    // What is switched off is right as well.
    let text = fs::read_to_string(examples.join("logstash.yml")).unwrap();
    let switched_on: String = text
        .lines()
        .map(|line| match line.trim_start().strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => {
                format!("{}{key}\n", &line[..line.len() - line.trim_start().len()])
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("logstash.yml");
    fs::write(&file, switched_on).unwrap();
    let config = load_file(&file).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(self::output(&config).network.ssl.enabled, Some(true));
}
