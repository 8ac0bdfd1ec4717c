//! The two hashes by which replicas tell whether they were configured alike.
//!
//! Owns what goes into them. `config_hash` is of everything that was asked for but what belongs to one host;
//! `identity_hash` is of what makes the ids of events and the names of streams, where a difference means records sent
//! twice. Both are shown to everybody, so a secret goes in as an HMAC of itself: a changed one shows, and whoever
//! knows the hash does not know the secret.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ring::{digest, hmac};
use serde_json::{Value, json};

use super::given::{Answer, Given};
use super::{Command, Ecsbeat, Level};
use crate::event;

/// Bytes of SHA-256 that are kept: enough to tell configurations apart, few enough to be read out.
const KEPT: usize = 16;
/// Settings that may differ between replicas, with everything below them; `ha.enabled` says nothing where there is a
/// hash at all.
const OF_ONE_HOST: [&str; 12] = [
    "name",
    "hostname",
    "max_procs",
    "path",
    "keystore",
    "logging",
    "http",
    "ecsbeat.trace",
    "ha.enabled",
    "ha.instance",
    "ha.advertise",
    "ha.priority",
];

/// `Ha::config_hash`.
pub(super) fn config(given: &Given, cluster: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, cluster.as_bytes());
    let values: BTreeMap<&str, Value> = given
        .entries()
        .filter(|(path, _)| !is_of_one_host(path))
        .map(|(path, answer)| {
            let value = match answer {
                Answer::Plain(value) => value.clone(),
                Answer::Secret(secret) => {
                    json!({ "hmac": hex(hmac::sign(&key, secret.expose().as_bytes()).as_ref()) })
                }
            };
            (path, value)
        })
        .collect();
    hash(&json!({ "config": values }))
}

/// `Ha::identity_hash`. The order of customers, VDCs and commands does not matter.
pub(super) fn identity(ecsbeat: &Ecsbeat) -> String {
    let customers: BTreeMap<&str, Value> = ecsbeat
        .customers
        .iter()
        .map(|customer| {
            let mut vdcs: Vec<&str> = customer.vdcs.iter().map(|vdc| vdc.name.as_str()).collect();
            vdcs.sort_unstable();
            (customer.name.as_str(), json!(vdcs))
        })
        .collect();
    let commands: BTreeMap<&str, Value> = ecsbeat
        .commands
        .iter()
        .map(|command| (command.kind.as_str(), stream(command)))
        .collect();
    hash(&json!({ "scheme": event::SCHEME, "customers": customers, "commands": commands }))
}

/// What of a command is in ids. The tick is where there is no window, the window's borders are where there is one.
fn stream(command: &Command) -> Value {
    let window = command.window.as_ref();
    json!({
        "level": match command.level {
            Level::System => "system",
            Level::Vdc => "vdc",
            Level::Node => "node",
            Level::Dtinfo => "dtinfo",
        },
        "key": command.key,
        "time_field": command.time_field,
        "interval_ms": window.is_none().then(|| millis(command.interval)),
        "window": window.map(|window| json!({
            "step_ms": millis(window.step),
            "max_span_ms": millis(window.max_span),
        })),
    })
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn is_of_one_host(path: &str) -> bool {
    OF_ONE_HOST.iter().any(|setting| {
        path.strip_prefix(setting)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// The value's keys are in order, so equal values are equal texts.
fn hash(value: &Value) -> String {
    let digest = digest::digest(&digest::SHA256, value.to_string().as_bytes());
    hex(&digest.as_ref()[..KEPT])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::super::Secret;
    use super::*;

    #[test]
    fn secrets_are_keyed_by_the_cluster() {
        let with = |answer| {
            let mut given = Given::default();
            given.add("output.elasticsearch.password", answer);
            given
        };
        let secret = |text: &str| with(Answer::Secret(Secret::new(text)));
        let hash = config(&secret("one"), "prod");
        assert_eq!(hash, config(&secret("one"), "prod"));
        assert_ne!(hash, config(&secret("two"), "prod"));
        assert_ne!(hash, config(&secret("one"), "test"));
        assert_ne!(hash, config(&with(Answer::Plain("one".into())), "prod"));
        assert!(!format!("{:?}", secret("CANARY")).contains("CANARY"));
    }

    #[test]
    fn only_whole_settings_belong_to_one_host() {
        assert!(is_of_one_host("name") && is_of_one_host("path.data") && is_of_one_host("ha.priority"));
        for path in [
            "names",
            "ha",
            "ha.ttl",
            "output.file.path",
            "ecsbeat.customers.0.name",
        ] {
            assert!(!is_of_one_host(path), "{path}");
        }
    }
}
