//! The section `ha` as users meet it: files in, values and messages out.

mod hashes;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ecsbeat::config::{Config, Errors, Ha, Sources, load};

use crate::support::process::Home;

/// A configuration for a single node.
const BASE: &str = "\
ecsbeat:
  customers:
    - customername: one
      username: monitor
      password: ${ECS_PASSWORD}
      vdcs: [{vdcname: VDC1, nodes: [10.1.83.51]}, {vdcname: VDC2, nodes: [10.1.84.51]}]
  commands:
    - {type: auditevent}
    - {type: capacity}
output.elasticsearch: {hosts: [es1], password: CANARY-output, username: u}
http: {enabled: true, host: 0.0.0.0}
";
const HA: &str = "ha: {cluster: prod, etcd.hosts: [etcd1, etcd2, etcd3]}\n";

fn read_with(text: &str, sources: Sources, password: &str) -> Result<Config, Errors> {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("ecsbeat.yml"), text).unwrap();
    let sources = Sources {
        config: Some(directory.path().to_owned()),
        home: Some(PathBuf::from("/opt/ecsbeat")),
        strict_perms: false,
        ..sources
    };
    load(&sources, &|name| {
        (name == "ECS_PASSWORD").then(|| password.to_owned())
    })
}

fn read(text: &str) -> Result<Config, Errors> {
    read_with(text, Sources::default(), "CANARY-ecs")
}

fn config(text: &str) -> Config {
    read(text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The section of `BASE` with `text`.
fn ha(text: &str) -> Ha {
    let config = config(&format!("{BASE}{text}"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    config.ha.unwrap()
}

fn refused(text: &str) -> String {
    read(&format!("{BASE}{text}")).unwrap_err().to_string()
}

#[test]
fn hosts_are_all_that_is_needed() {
    let ha = ha("ha.etcd.hosts: etcd1\n");
    assert_eq!(ha.cluster, "default");
    assert_eq!(ha.instance, rustix::system::uname().nodename().to_string_lossy());
    assert_eq!(ha.advertise, None);
    let seconds = [
        ha.ttl,
        ha.loop_wait,
        ha.retry_timeout,
        ha.safety_margin,
        ha.drain_timeout,
        ha.lock_delay,
    ];
    assert_eq!(seconds, [10, 3, 3, 1, 3, 0].map(Duration::from_secs));
    assert_eq!(
        (ha.priority, ha.refuse_mismatch, ha.yield_after),
        (1, false, None)
    );
    assert_eq!(ha.etcd.hosts[0].as_str(), "http://etcd1:2379/");
    assert_eq!(ha.etcd.prefix, "/ecsbeat");
    assert!(ha.etcd.username.is_none() && ha.etcd.password.is_none());
}

#[test]
fn everything_can_be_set() {
    let ha = ha("\
ha:
  cluster: prod.eu_1
  instance: node-${ECS_PASSWORD}
  advertise: https://node-a.example.com
  ttl: 30
  loop_wait: 9s
  retry_timeout: 9s
  safety_margin: 3s
  drain_timeout: 0
  lock_delay: 2s
  priority: 0
  config_mismatch: refuse
  yield_after: 5m
  etcd:
    hosts: [ETCD1, 'etcd2:1234', 'https://[2001:db8::1]', 10.0.0.1, 'https://etcd5:443']
    prefix: service/ecs/
    username: collector
    password: CANARY-etcd
    ssl.certificate_authorities: [ca.pem]
");
    assert_eq!(
        (ha.cluster.as_str(), ha.instance.as_str()),
        ("prod.eu_1", "node-CANARY-ecs")
    );
    assert_eq!(ha.advertise.unwrap().as_str(), "https://node-a.example.com/");
    let seconds = [
        ha.ttl,
        ha.loop_wait,
        ha.retry_timeout,
        ha.safety_margin,
        ha.drain_timeout,
        ha.lock_delay,
    ];
    assert_eq!(seconds, [30, 9, 9, 3, 0, 2].map(Duration::from_secs));
    assert_eq!((ha.priority, ha.refuse_mismatch), (0, true));
    assert_eq!(ha.yield_after, Some(Duration::from_secs(300)));
    let hosts: Vec<&str> = ha.etcd.hosts.iter().map(url::Url::as_str).collect();
    assert_eq!(
        hosts,
        [
            "https://etcd1:2379/",
            "https://etcd2:1234/",
            "https://[2001:db8::1]:2379/",
            "https://10.0.0.1:2379/",
            "https://etcd5/",
        ]
    );
    assert_eq!(ha.etcd.prefix, "/service/ecs");
    assert_eq!(ha.etcd.username.as_deref(), Some("collector"));
    assert_eq!(ha.etcd.password.unwrap().expose(), "CANARY-etcd");
}

#[test]
fn without_the_section_or_switched_off_there_is_one_node() {
    for text in ["", "ha: ~\n", "ha: {enabled: no, ttl: 1s, etcd.prefix: //}\n"] {
        let config = config(&format!("{BASE}{text}"));
        assert!(config.ha.is_none() && config.warnings.is_empty(), "{text}");
    }
    // What is misspelt is told all the same.
    let errors = refused("ha: {enabled: false, tll: 1s}\n");
    assert_eq!(
        errors,
        "ecsbeat.yml:12: ha.tll: unknown key, did you mean \"ttl\"?"
    );
}

#[test]
fn timers_are_refused_with_their_sum_and_taken_at_the_limit() {
    let etcd = "ha.etcd.hosts: etcd1\n";
    let errors = refused(&format!("{etcd}ha.ttl: 9s\n"));
    assert_eq!(
        errors,
        "ecsbeat.yml:13: ha.ttl: must be at least loop_wait + 2 x retry_timeout + safety_margin, so that a renewal can \
         fail once: 3s + 2 x 3s + 1s = 10s > 9s"
    );
    let errors = refused(&format!(
        "{etcd}ha: {{ttl: 20s, drain_timeout: 18s, safety_margin: 1999ms}}\n"
    ));
    assert_eq!(
        errors,
        "ecsbeat.yml:13: ha.safety_margin: must be at least a tenth of ttl, for clocks that run at different rates: \
         1.999s < 20s / 10 = 2s"
    );
    let errors = refused(&format!(
        "{etcd}ha: {{ttl: 20s, drain_timeout: 18s, safety_margin: 2s}}\n"
    ));
    assert!(
        errors.contains("ha.drain_timeout: must be shorter than ttl - safety_margin"),
        "{errors}"
    );
    assert!(errors.ends_with(": 18s >= 20s - 2s = 18s"), "{errors}");
    let ha = ha(&format!(
        "{etcd}ha: {{ttl: 5s, loop_wait: 1s, retry_timeout: 1750ms, safety_margin: 0.5s, drain_timeout: 4499ms}}\n"
    ));
    assert_eq!(ha.ttl, Duration::from_secs(5));
}

#[test]
fn unreadable_timers_are_told_alone() {
    let errors = refused("ha: {etcd.hosts: [e], ttl: forever, loop_wait: 1h}\n");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("ha.ttl: expected a duration"), "{errors}");
    let errors = refused("ha: {etcd.hosts: [e], ttl: 2000000h, retry_timeout: 2500000h}\n");
    assert!(errors.contains("> 2000000h"), "{errors}");
}

#[test]
fn a_replica_does_not_run_once() {
    let once = Sources {
        once: true,
        ..Sources::default()
    };
    let errors = read_with(&format!("{BASE}{HA}"), once.clone(), "x")
        .unwrap_err()
        .to_string();
    assert!(
        errors.starts_with("--once: does not go together with ha: "),
        "{errors}"
    );
    let errors = refused(&format!("{HA}ecsbeat.once: true\n"));
    assert!(
        errors.starts_with("ecsbeat.yml:13: ecsbeat.once: does not go together with ha"),
        "{errors}"
    );
    assert!(read_with(BASE, once, "x").is_ok());
}

#[test]
fn what_belongs_to_one_host_is_one_warning_each() {
    let warnings = |text: &str| {
        config(&format!(
            "{}{HA}",
            BASE.replace("http: {enabled: true, host: 0.0.0.0}\n", text)
        ))
        .warnings
    };
    let keys = |text: &str| -> Vec<String> {
        let of = |warning: &String| {
            warning
                .split(": ")
                .find(|part| part.contains('.') && !part.contains(".yml"))
                .unwrap()
                .to_owned()
        };
        warnings(text).iter().map(of).collect()
    };
    assert_eq!(keys(""), ["http.enabled"]);
    assert_eq!(keys("http.enabled: true\n"), ["http.host"]);
    assert_eq!(keys("http: {enabled: true, host: 127.0.0.1}\n"), ["http.host"]);
    assert!(keys("http: {enabled: true, host: node-a}\n").is_empty());
    assert_eq!(
        keys("http: {enabled: true, host: '::'}\noutput.console: {}\noutput.file.path: /tmp/x\n"),
        ["output.console", "output.file"]
    );
    assert!(config(BASE).warnings.is_empty());
    let single = config(&BASE.replace("enabled: true", "enabled: false"));
    assert!(single.warnings.is_empty(), "{:?}", single.warnings);
}

#[test]
fn no_secret_is_shown() {
    let text = format!(
        "{BASE}{HA}ha.etcd: {{username: u, password: CANARY-etcd, ssl.key: CANARY-key, ssl.certificate: c}}\n\
         http.auth.token: CANARY-token\n"
    );
    let config = config(&text);
    for shown in [
        format!("{config:?}"),
        format!("{config:#?}"),
        config.redacted_yaml.clone(),
    ] {
        assert!(!shown.contains("CANARY"), "{shown}");
    }
    assert!(
        config.redacted_yaml.contains("cluster: prod"),
        "{}",
        config.redacted_yaml
    );
    assert!(
        config.redacted_yaml.contains("username: u\n    password: xxxxx"),
        "{}",
        config.redacted_yaml
    );
    let errors = refused("ha.etcd.hosts: ['http://root:CANARY-url@etcd1', 'x://root:CANARY-url@etcd2']\n");
    assert!(
        errors.contains("user and password go into username and password"),
        "{errors}"
    );
    assert!(!errors.contains("CANARY"), "{errors}");
}

#[tokio::test]
async fn the_commands_that_look_at_a_configuration_take_it() {
    let home = Home::new();
    let base = BASE.replace("${ECS_PASSWORD}", "CANARY-ecs");
    home.configure(&format!(
        "{base}{HA}ha.etcd: {{username: u, password: CANARY-etcd}}\noutput.console: {{}}\n"
    ));
    let tested = home.run(&["test", "config"]).await;
    let lines: Vec<&str> = tested.expect(0).stdout.lines().collect();
    assert!(
        matches!(lines[..], [warning, "Config OK"] if warning.starts_with("WARN ") && warning.contains("output.console: ")),
        "{lines:?}"
    );
    let exported = home.run(&["export", "config"]).await;
    let text = &exported.expect(0).stdout;
    assert!(
        text.contains("ha:") && text.contains("- etcd3") && text.contains("password: xxxxx"),
        "{text}"
    );
    assert!(!text.contains("CANARY"), "{text}");
    home.configure(&format!(
        "{base}ha.etcd: {{hosts: etcd1, ssl.certificate_authorities: [absent.pem]}}\n"
    ));
    let tested = home.run(&["test", "config"]).await;
    let told = &tested.expect(1).stderr;
    assert!(
        told.starts_with("Exiting: ha.etcd.ssl.certificate_authorities[0]: cannot read absent.pem"),
        "{told}"
    );
}
