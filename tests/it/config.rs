//! The configuration as users meet it: whole files in, values or messages out.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ecsbeat::config::{
    Codec, Condition, Config, Errors, Level, Method, NonIndexable, OutputConfig, Sources, load,
};
use ecsbeat::json::Number;

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
        "TAGS" => Some("a$$b, c${d}".to_owned()),
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
         output.console.enabled: false\n\
         tags: ['${TAGS}', d]\n",
    );
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let [OutputConfig::Elasticsearch(output)] = config.outputs.as_slice() else {
        panic!("{:?}", config.outputs)
    };
    let hosts: Vec<&str> = output.hosts.iter().map(url::Url::as_str).collect();
    assert_eq!(hosts, ["http://es1:9200/", "http://es2:9201/"]);
    assert_eq!(output.password.as_ref().unwrap().expose(), "Change,Me");
    // What the environment says is not looked through for references again.
    assert_eq!(config.tags, ["a$$b", "c${d}", "d"]);
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
    assert!(
        matches!(config.outputs.as_slice(), [OutputConfig::Console(console)] if matches!(console.codec, Codec::Json { pretty: true, .. }))
    );
}

/// Every file of `refused/` gives exactly the messages beside it. `UPDATE_GOLDEN=1` writes them anew.
#[test]
fn what_is_wrong_is_told_at_once() {
    let mut checked = 0;
    for entry in fs::read_dir(data().join("refused")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yml") {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        let sources = Sources {
            config: Some(data().join("refused")),
            ..sources(&[name])
        };
        let errors = load(&sources, &environment).unwrap_err();
        let found = format!("{errors}\n");
        assert!(!found.contains("ChangeMe"), "{name} tells a secret:\n{found}");
        let golden = path.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &found).unwrap();
        }
        assert_eq!(found, fs::read_to_string(&golden).unwrap_or_default(), "{name}");
        checked += 1;
    }
    assert!(checked > 5);
}

#[test]
fn keys_of_beats_without_meaning_here_are_one_warning_each() {
    let config = with(
        "setup: {kibana.host: k, dashboards: {enabled: true}, ilm.enabled: auto}\n\
         monitoring: {enabled: true, elasticsearch.hosts: [a]}\n\
         xpack.monitoring.enabled: true\n\
         cloud.id: x\n\
         seccomp.enabled: false\n\
         logging.to_syslog: true\n\
         ha.enabled: false\n\
         output.kafka.enabled: no\n",
    );
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let keys: Vec<&str> = config
        .warnings
        .iter()
        .filter_map(|warning| warning.split(": ").nth(1))
        .collect();
    assert_eq!(
        keys,
        [
            "setup.kibana",
            "setup.dashboards",
            "setup.ilm",
            "logging.to_syslog",
            "cloud",
            "monitoring",
            "xpack"
        ]
    );
}

#[test]
fn later_files_win_and_lists_are_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write(
        "a.yml",
        "tags: [a, b]\nfields: {x: 1, y: 2}\nx-base: &base {period: 90s}\necsbeat: {<<: *base}\n",
    );
    write(
        "b.yml",
        "tags: [c]\nfields.y: two\nlogging.level: ${LEVEL:warn}\nname: ${x-name}\nx-name: me\n",
    );
    fs::copy(data().join("minimal.yml"), directory.path().join("m.yml")).unwrap();
    let files = ["m.yml", "a.yml", "b.yml"].map(PathBuf::from).to_vec();
    let sources = Sources {
        files,
        config: Some(directory.path().to_owned()),
        ..sources(&[])
    };
    let config = load(&sources, &environment).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.tags, ["c"]);
    assert_eq!(
        (&config.fields["x"], &config.fields["y"]),
        (&1.into(), &"two".into())
    );
    assert_eq!(config.name, "me");
    let disks = config
        .ecsbeat
        .commands
        .iter()
        .find(|command| command.kind == "disks")
        .unwrap();
    assert_eq!(disks.interval, 90 * SECOND);
}

#[test]
fn files_are_looked_for_in_the_directory_of_the_configuration() {
    let errors = load(&sources(&["absent.yml", "minimal.yml"]), &environment)
        .unwrap_err()
        .to_string();
    assert!(
        errors.starts_with("absent.yml: cannot read ") && errors.contains("path.config"),
        "{errors}"
    );
    assert!(read("minimal.yml").is_ok());
}

#[cfg(unix)]
#[test]
fn a_file_others_may_write_is_refused_when_permissions_are_strict() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ecsbeat.yml");
    fs::copy(data().join("minimal.yml"), &path).unwrap();
    let strict = Sources {
        config: Some(directory.path().to_owned()),
        strict_perms: true,
        ..sources(&[])
    };
    fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
    let errors = load(&strict, &environment).unwrap_err().to_string();
    assert!(
        errors.contains("can only be writable by the owner but the permissions are \"-rw-rw-r--\""),
        "{errors}"
    );
    assert!(
        load(
            &Sources {
                strict_perms: false,
                ..strict.clone()
            },
            &environment
        )
        .is_ok()
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(load(&strict, &environment).is_ok());
}

#[test]
fn a_codec_is_json_or_a_format_string() {
    let codecs = |text: &str| {
        let config =
            with(&format!("output.file.path: /tmp\n{text}")).unwrap_or_else(|errors| panic!("{errors}"));
        let [OutputConfig::Console(console), OutputConfig::File(file)] = config.outputs.as_slice() else {
            panic!("{:?}", config.outputs)
        };
        (console.codec.clone(), file.codec.clone(), config.warnings)
    };
    let json = |pretty, escape_html| Codec::Json { pretty, escape_html };
    let format = |text: &str| Codec::Format(text.to_owned());
    let (console, file, warnings) = codecs("");
    assert_eq!((console, file), (json(false, false), json(false, false)));
    assert!(warnings.is_empty(), "{warnings:?}");
    let (console, file, _) = codecs(
        "output.console.pretty: true\noutput.file.codec: {json: {pretty: yes, escape_html: on}, format: {string: ''}}\n",
    );
    assert_eq!((console, file), (json(true, false), json(true, true)));
    let (console, file, warnings) = codecs(
        "output.console: {pretty: true, codec.format.string: '%{[a]:-}'}\noutput.file.codec.format.string: x\n",
    );
    assert_eq!((console, file), (format("%{[a]:-}"), format("x")));
    assert!(
        matches!(&warnings[..], [warning] if warning.contains("output.console.pretty: has no effect")),
        "{warnings:?}"
    );
    let errors = with("output.console.codec.format: {}\n").unwrap_err().to_string();
    assert!(
        errors.contains("output.console.codec.format.string: missing"),
        "{errors}"
    );
}

#[test]
fn elasticsearch_is_configured_as_in_beats() {
    let config = with(
        "output.elasticsearch:\n\
         \x20 hosts: ['https://u:p%40ss@es1', es2:443]\n\
         \x20 preset: throughput\n\
         \x20 workers: 2\n\
         \x20 index: Logs-%{[a]}\n\
         \x20 max_retries: -1\n\
         \x20 ssl: {ca_trusted_fingerprint: '%s', supported_protocols: TLSv1.3}\n\
         \x20 indices: [{index: x, when.range: {http.code: {gte: 400}, a.b.lt: 5}}]\n\
         \x20 non_indexable_policy.dead_letter_file.path: dead.ndjson\n\
         path.data: /data\n"
            .replace("%s", "aB:".repeat(32).trim_end_matches(':'))
            .as_str(),
    );
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let Some(OutputConfig::Elasticsearch(output)) = config.outputs.last() else {
        panic!("{:?}", config.outputs)
    };
    let hosts: Vec<&str> = output.hosts.iter().map(url::Url::as_str).collect();
    // TLS is configured, so a host without a scheme is https.
    assert_eq!(hosts, ["https://es1:9200/", "https://es2/"]);
    assert_eq!(
        (
            output.username.as_deref(),
            output.password.as_ref().unwrap().expose()
        ),
        (Some("u"), "p@ss")
    );
    assert_eq!(
        (output.workers, output.max_retries, config.queue.events),
        (4, None, 12_800)
    );
    assert!(
        config
            .warnings
            .iter()
            .any(|warning| warning.contains("overruled by preset")),
        "{:?}",
        config.warnings
    );
    assert_eq!(
        output.ssl.ca_trusted_fingerprint.as_deref(),
        Some("ab".repeat(32).as_str())
    );
    assert!(output.ssl.tls13 && !output.ssl.tls12);
    let Some(Condition::Range(range)) = &output.indices[0].when else {
        panic!("{:?}", output.indices)
    };
    assert_eq!(
        (range["http.code"].gte, range["a.b"].lt),
        (Number::parse("400"), Number::parse("5.0"))
    );
    assert_eq!(
        output.non_indexable,
        NonIndexable::DeadLetterFile(PathBuf::from("/data/dead.ndjson"))
    );
    assert_eq!(config.template.pattern, "logs-*");
}

#[test]
fn an_entry_takes_over_what_its_type_has() {
    let config = with(
        "ecsbeat.commands:\n\
         - type: auditevent\n\
         - {type: alert, window.lag: 5m, key: [id, type], time_field: ~}\n\
         - {type: capacity, uri: /object/capacity, level: system}\n\
         - {type: nsbillingsample, interval: 15m, window: {lag: 1h}}\n\
         - {type: nsbilling, uri: /object/billing, level: system}\n\
         - {type: own, uri: /own.json, level: vdc, interval: 4}\n",
    );
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let [audit, alert, capacity, sample, billing, own] = config.ecsbeat.commands.as_slice() else {
        panic!()
    };
    assert_eq!(
        (audit.uri.as_str(), audit.interval),
        ("/vdc/events.json", 60 * SECOND)
    );
    let window = alert.window.as_ref().unwrap();
    assert_eq!(
        (window.lag, window.step, window.overlap),
        (300 * SECOND, 60 * SECOND, 300 * SECOND)
    );
    assert_eq!((alert.key.len(), alert.time_field.as_ref()), (2, None));
    assert_eq!(
        (capacity.uri.as_str(), capacity.interval),
        ("/object/capacity", 300 * SECOND)
    );
    let window = sample.window.as_ref().unwrap();
    assert_eq!(
        (window.step, window.max_span, window.lag),
        (900 * SECOND, 900 * SECOND, 3600 * SECOND)
    );
    // An entry with a URI of its own is of the 2017 form, where no interval is the period.
    assert_eq!((billing.interval, billing.method), (300 * SECOND, Method::Post));
    assert_eq!(own.interval, 4 * SECOND);
    assert!(own.window.is_none() && own.key.is_empty());
    // Polls are never spread over more than half of the shortest interval.
    assert_eq!(config.ecsbeat.start_jitter, 2 * SECOND);
}

#[test]
fn former_and_short_forms_are_taken() {
    let config = with(
        "http.host: http://0.0.0.0:8080\n\
         ecsbeat.shutdown_timeout: 20s\n\
         output.console.flush_interval: 5s\n\
         logging.to_stderr: on\n\
         setup.template.settings: {index.number_of_shards: 1, number_of_replicas: 0}\n",
    );
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((config.http.host.as_str(), config.http.port), ("0.0.0.0", 8080));
    assert_eq!(config.shutdown_timeout, 20 * SECOND);
    assert_eq!(config.queue.flush_timeout, 5 * SECOND);
    assert!(config.logging.to_stderr && !config.logging.to_files);
    let settings: Vec<&str> = config.template.settings.keys().map(String::as_str).collect();
    assert_eq!(settings, ["number_of_replicas", "number_of_shards"]);
}

#[test]
fn paths_are_taken_as_they_are() {
    let sources = Sources {
        home: Some(PathBuf::from("/opt/${x}$$")),
        ..sources(&["minimal.yml"])
    };
    let config = load(&sources, &environment).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.path.data, Path::new("/opt/${x}$$/data"));
    let config = with("path.data: '${path.home}/d'\n").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.path.data, Path::new("/opt/ecsbeat/d"));
}

#[test]
fn depth_has_an_end() {
    for argument in [
        format!("{}x=1", "x.".repeat(100_000)),
        format!("x={}", "{a.b: ".repeat(60)),
    ] {
        let overrides = vec![argument + &"}".repeat(60)];
        let errors = load(
            &Sources {
                overrides,
                ..sources(&["minimal.yml"])
            },
            &environment,
        )
        .unwrap_err();
        assert!(errors.to_string().contains("nested too deeply"), "{errors}");
    }
}

#[test]
fn a_built_in_command_that_does_not_fit_is_named() {
    let errors = with("ecsbeat.max_catch_up: 20m\n").unwrap_err().to_string();
    assert_eq!(
        errors,
        "ecsbeat.commands.nsbillingsample.window: does not fit into ecsbeat.max_catch_up: \
         lag 15m + step 10m = 25m > 20m"
    );
}

proptest::proptest! {
    #[test]
    fn no_argument_makes_it_panic(
        key in "(ecsbeat|output|queue|x|ha|http|fields|tags|setup)(\\.[a-z_.0-9]{0,12}){0,3}",
        value in "[\\[\\]{}:,\"'$a0-9sm. é%-]{0,20}",
    ) {
        let overrides = vec![format!("{key}={value}")];
        let _ = load(&Sources { overrides, ..sources(&["minimal.yml"]) }, &environment);
    }

    #[test]
    fn no_file_makes_it_panic(text in "([a-z.<]{0,6}(: |:\\n  |\\n|- |\\{|\\}|&a |\\*a|!|#|\"|')){0,20}") {
        let _ = with(&text);
    }
}
