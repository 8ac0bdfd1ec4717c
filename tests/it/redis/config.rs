//! `output.redis` as users write it: what it becomes, what is refused, and that passwords are shown nowhere.

use std::path::Path;
use std::time::Duration;

use ecsbeat::config::{OutputConfig, RedisType, Sources, load};

use super::{configured, errors, section};

#[test]
fn what_is_not_said_is_as_in_beats() {
    let output = section("hosts: redis1, timeout: 5");
    let host = &output.hosts[0];
    assert_eq!(host.at.to_string(), "redis1:6379");
    assert_eq!(
        (host.tls, &host.username, &host.password, host.db),
        (false, &None, &None, 0)
    );
    assert_eq!(
        (output.datatype, &*output.key, &*output.index, output.max_list_len),
        (RedisType::List, "ecsbeat", "ecsbeat", None)
    );
    let network = &output.network;
    assert_eq!(
        (
            network.loadbalance,
            network.workers,
            network.bulk_max_size,
            network.max_retries
        ),
        (true, 1, 2048, None)
    );
    assert_eq!(network.timeout, Duration::from_secs(5));
}

#[test]
fn a_url_wins_over_the_settings_for_its_host() {
    let output = section(
        "hosts: ['a', 'redis://b:7000', 'rediss://:CANARY-b@c/4', 'rediss://beat:CANARY%2Fd@d'], username: all, \
         password: CANARY-all, db: 1, ssl.verification_mode: none",
    );
    let hosts: Vec<_> = (output.hosts.iter())
        .map(|host| {
            (
                host.at.to_string(),
                host.tls,
                host.username.as_deref().unwrap(),
                host.password.as_ref().unwrap().expose(),
                host.db,
            )
        })
        .collect();
    assert_eq!(
        hosts,
        [
            ("a:6379".to_owned(), true, "all", "CANARY-all", 1),
            ("b:7000".to_owned(), false, "all", "CANARY-all", 1),
            ("c:6379".to_owned(), true, "all", "CANARY-b", 4),
            ("d:6379".to_owned(), true, "beat", "CANARY/d", 1),
        ]
    );
}

#[test]
fn index_names_the_list_where_key_does_not() {
    let config = configured("hosts: a, index: Storage");
    let OutputConfig::Redis(output) = &config.outputs[0] else {
        panic!("{:?}", config.outputs)
    };
    assert_eq!((&*output.key, &*output.index), ("Storage", "storage"));
    let warnings = config.warnings.join("\n");
    assert!(
        warnings.contains("output.redis.index: ") && warnings.contains("use key"),
        "{warnings}"
    );
    let config = configured("hosts: a, index: storage, key: list");
    assert!(
        config
            .warnings
            .iter()
            .all(|warning| !warning.contains("output.redis"))
    );
}

#[test]
fn what_cannot_be_is_told_by_its_key() {
    for (settings, key, words) in [
        ("password: x", "hosts", "missing"),
        ("hosts: []", "hosts", "missing"),
        (
            "hosts: ['http://a']",
            "hosts.0",
            "the scheme must be redis or rediss",
        ),
        ("hosts: ['a', 'redis://a:6379']", "hosts.1", "in the list twice"),
        (
            "hosts: a, username: beat",
            "hosts.0",
            "has a user but no password",
        ),
        ("hosts: a, datatype: stream", "datatype", "one of list, channel"),
        (
            "hosts: a, datatype: channel, max_list_len: 5",
            "max_list_len",
            "is for lists",
        ),
        ("hosts: a, key: '%{x}'", "key", "a field in brackets"),
        ("hosts: a, index: '%{[x]}'", "index", "must be a plain name"),
        ("hosts: a, keys: [{default: x}]", "keys.0.key", "missing"),
        (
            "hosts: a, proxy_url: 'http://p:3128'",
            "proxy_url",
            "must be a SOCKS5 proxy",
        ),
        ("hosts: a, port: 6380", "port", "write it behind the host"),
        (
            "hosts: a, codec: {json.pretty: true, format.string: x}",
            "codec",
            "choose one",
        ),
        (
            "hosts: a, codec.format.string: '%{[x'",
            "codec.format.string",
            "closed",
        ),
        ("hosts: a, db: -1", "db", "a whole number"),
    ] {
        let text = errors(settings);
        assert!(
            text.contains(&format!("output.redis.{key}: ")),
            "{settings}: {text}"
        );
        assert!(text.contains(words), "{settings}: {text}");
    }
}

#[test]
fn passwords_are_shown_nowhere() {
    let settings = "hosts: ['redis://:CANARY-a@a:1/2', 'rediss://beat:CANARY%40b@b', c], username: beat, password: \
                    CANARY-c, proxy_url: 'socks5://me:CANARY-p@proxy'";
    let config = configured(settings);
    for shown in [
        &config.redacted_yaml,
        &format!("{config:?}"),
        &config.warnings.join("\n"),
    ] {
        assert!(!shown.contains("CANARY"), "{shown}");
    }
    for kept in [
        "redis://xxxxx@a:1/2",
        "rediss://xxxxx@b",
        "socks5://xxxxx@proxy",
        "username: beat",
    ] {
        assert!(
            config.redacted_yaml.contains(kept),
            "{kept}: {}",
            config.redacted_yaml
        );
    }
    for wrong in [
        "hosts: ['redis://:CANARY@a/x']",
        "hosts: ['redis://:CAN/ARY@a', 'http://u:CANARY@b']",
        "hosts: ['user:CANARY@a']",
        "hosts: ['redis://a?password=CANARY']",
        "hosts: ['a:6380,password=CANARY,ssl=True']",
        "hosts: ['redis://:CANARY@a', 'redis://:CANARY@a']",
    ] {
        let text = errors(wrong);
        assert!(
            text.contains("output.redis.hosts.") && !text.contains("CAN"),
            "{text}"
        );
    }
}

#[test]
fn the_example_can_be_copied() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples/redis.yml");
    let sources = Sources {
        files: vec![path],
        strict_perms: false,
        ..Sources::default()
    };
    let environment = |name: &str| (name == "ECS_PASSWORD").then(|| "secret".to_owned());
    let config = load(&sources, &environment).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let [OutputConfig::Redis(output)] = config.outputs.as_slice() else {
        panic!("{:?}", config.outputs)
    };
    assert_eq!((output.keys.len(), output.max_list_len), (1, Some(1_000_000)));
}
