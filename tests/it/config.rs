//! The configuration as users meet it: whole files in, values or messages out.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ecsbeat::config::{Config, Errors, Level, Method, OutputConfig, Sources, load};

const SECOND: Duration = Duration::from_secs(1);

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config")
}

fn sources(files: &[&str]) -> Sources {
    Sources {
        files: files.iter().map(PathBuf::from).collect(),
        config: Some(data()),
        home: Some(PathBuf::from("/opt/ecsbeat")),
        strict_perms: false,
        ..Sources::default()
    }
}

fn environment(name: &str) -> Option<String> {
    match name {
        "ES_HOSTS" => Some("es1, es2:9201".to_owned()),
        "ECS_PASSWORD" => Some("Change,Me".to_owned()),
        _ => None,
    }
}

fn read(file: &str) -> Result<Config, Errors> {
    load(&sources(&[file]), &environment)
}

/// A configuration that is complete, with `text` added to it.
fn with(text: &str) -> Result<Config, Errors> {
    with_sources(text, &sources(&[]))
}

fn with_sources(text: &str, sources: &Sources) -> Result<Config, Errors> {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("added.yml"), text).unwrap();
    let files = vec![data().join("minimal.yml"), directory.path().join("added.yml")];
    load(
        &Sources {
            files,
            ..sources.clone()
        },
        &environment,
    )
}

#[test]
fn the_2017_file_works_unchanged() {
    let config = read("ecsbeat-2017.yml").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.name, "collector-1");
    assert_eq!(config.tags, ["service-X", "web-tier"]);
    assert_eq!(config.fields["env"], "staging");
    let customer = &config.ecsbeat.customers[0];
    assert_eq!(customer.name, "Customer A");
    assert_eq!(customer.token_expiry, 3500 * SECOND);
    assert_eq!(customer.block_duration, Duration::ZERO);
    let vdc = &customer.vdcs[0];
    assert_eq!((vdc.name.as_str(), vdc.username.as_str()), ("VDC1", "monitor"));
    assert_eq!(vdc.password.expose(), "ChangeMe");
    assert_eq!(vdc.diagnostics_port, 9101);
    let nodes: Vec<String> = vdc.nodes.iter().map(ToString::to_string).collect();
    assert_eq!(nodes, ["10.1.83.51:4443", "10.1.83.52:4443", "[::1]:4443"]);

    let types: Vec<&str> = config
        .ecsbeat
        .commands
        .iter()
        .map(|command| command.kind.as_str())
        .collect();
    assert_eq!(types.len(), 12, "dtinfo is switched off: {types:?}");
    let command = |kind: &str| {
        config
            .ecsbeat
            .commands
            .iter()
            .find(|command| command.kind == kind)
            .unwrap()
    };
    assert_eq!(command("disks").interval, 300 * SECOND);
    assert_eq!(command("disks").level, Level::Node);
    let sample = command("nsbillingsample");
    assert_eq!(
        (sample.method, sample.batch.as_ref().unwrap().size),
        (Method::Post, 100)
    );
    let window = sample.window.as_ref().unwrap();
    assert_eq!(
        (window.step, window.max_span, window.lag),
        (600 * SECOND, 600 * SECOND, 900 * SECOND)
    );
    assert_eq!(window.complete_field.as_deref(), Some("uptodate_till"));
    let audit = command("auditevent");
    assert_eq!(audit.window.as_ref().unwrap().overlap, 300 * SECOND);
    assert_eq!(audit.paginate.as_ref().unwrap().marker, "NextMarker");
    assert_eq!(
        (audit.key.as_slice(), audit.time_field.as_deref()),
        (&["id".to_owned()][..], Some("timestamp"))
    );

    let [OutputConfig::Elasticsearch(output)] = config.outputs.as_slice() else {
        panic!("{:?}", config.outputs)
    };
    assert_eq!(output.hosts[0].as_str(), "http://localhost:9200/");
    assert_eq!((output.bulk_max_size, output.max_retries), (50, Some(3)));
    assert_eq!(output.timeout, 90 * SECOND);
    assert_eq!((config.queue.events, config.queue.flush_min_events), (1000, 1000));
    assert_eq!(config.logging.files.path, Path::new("/var/log/mybeat"));

    let warnings = config.warnings.join("\n");
    for key in ["queue_size", "flush_interval", "template"] {
        assert!(warnings.contains(key), "{key} in {warnings}");
    }
    assert!(!config.redacted_yaml.contains("ChangeMe") && !config.redacted_yaml.contains("changeme"));
}

#[test]
fn customers_may_be_mappings_by_name() {
    let config = read("ecsbeat-2017-maps.yml").unwrap_or_else(|errors| panic!("{errors}"));
    let names: Vec<&str> = config
        .ecsbeat
        .customers
        .iter()
        .map(|customer| customer.name.as_str())
        .collect();
    assert_eq!(names, ["Customer A", "acme.example.com"]);
    let acme = &config.ecsbeat.customers[1];
    assert_eq!(acme.vdcs[0].password.expose(), "007");
    let vdcs: Vec<(&str, String)> = acme
        .vdcs
        .iter()
        .map(|vdc| (vdc.name.as_str(), vdc.nodes[0].to_string()))
        .collect();
    assert_eq!(
        vdcs,
        [
            ("dc1.acme.example.com", "10.3.0.1:4443".to_owned()),
            ("dc2.acme.example.com", "10.4.0.1:4443".to_owned())
        ]
    );
    assert_eq!(
        config.ecsbeat.customers[0].vdcs[1].nodes[1].to_string(),
        "[::2]:4443"
    );
    assert_eq!(config.ecsbeat.commands.len(), 13);
}

#[test]
fn the_environment_gives_lists_and_passwords_with_commas() {
    let config = with(
        "output.elasticsearch: {hosts: '${ES_HOSTS}', username: u, password: '${ECS_PASSWORD}'}\n\
         output.console.enabled: false\n",
    );
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let [OutputConfig::Elasticsearch(output)] = config.outputs.as_slice() else {
        panic!("{:?}", config.outputs)
    };
    let hosts: Vec<&str> = output.hosts.iter().map(url::Url::as_str).collect();
    assert_eq!(hosts, ["http://es1:9200/", "http://es2:9201/"]);
    assert_eq!(output.password.as_ref().unwrap().expose(), "Change,Me");
    assert!(
        config.redacted_yaml.contains("${ECS_PASSWORD}"),
        "{}",
        config.redacted_yaml
    );
}

#[test]
fn the_command_line_wins() {
    let overrides = [
        "ecsbeat.customers.0.password=a,b",
        "ecsbeat.period=60",
        "output={elasticsearch.enabled: false, console.pretty: true}",
        "tags=x,y",
        "name=",
    ];
    let sources = Sources {
        overrides: overrides.map(str::to_owned).to_vec(),
        once: true,
        log_to_stderr: true,
        data: Some(PathBuf::from("/data")),
        ..sources(&[])
    };
    let config = with_sources("ecsbeat.period: 5m\npath.logs: /logs\nname: n\n", &sources);
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.ecsbeat.customers[0].vdcs[0].password.expose(), "a,b");
    let capacity = config
        .ecsbeat
        .commands
        .iter()
        .find(|command| command.kind == "capacity")
        .unwrap();
    assert_eq!(capacity.interval, 60 * SECOND);
    assert_eq!((config.tags.len(), config.name.as_str()), (2, "n"));
    assert!(config.ecsbeat.once && config.logging.to_stderr && !config.logging.to_files);
    let paths = [&config.path.home, &config.path.data, &config.path.logs];
    assert_eq!(
        paths.map(|path| path.display().to_string()),
        ["/opt/ecsbeat", "/data", "/logs"]
    );
    assert!(matches!(config.outputs.as_slice(), [OutputConfig::Console(console)] if console.pretty));
}
