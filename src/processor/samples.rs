//! Chains for this folder's tests, written as users write them.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use super::{Chain, Host, Notice, Processors, Surroundings, Told, Verdict};
use crate::clock::Clock;
use crate::config::{Config, Errors, Sources, load};

/// A configuration with these `processors`; `more` is laid over it.
pub(super) fn config(processors: &str, more: &str) -> Config {
    read(processors, more).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The same, unless it is refused.
pub(super) fn read(processors: &str, more: &str) -> Result<Config, Errors> {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), text).unwrap();
        directory.path().join(name)
    };
    let base = "\
ecsbeat.customers: [{customername: c, username: u, password: p, vdcs: [{vdcname: v, nodes: [192.0.2.1]}]}]
output.console: ~
";
    let sources = Sources {
        files: vec![
            file("base.yml", base),
            file("processors.yml", &format!("processors:\n{processors}")),
            file("more.yml", more),
        ],
        strict_perms: false,
        ..Sources::default()
    };
    load(&sources, &|_| None)
}

fn surroundings(clock: Clock) -> Surroundings {
    Surroundings { clock, host }
}

/// A machine.
fn host() -> Host {
    Host {
        hostname: "n1".to_owned(),
        architecture: "x86_64".to_owned(),
        containerized: true,
        os_platform: "debian".to_owned(),
        ip: vec!["192.0.2.7".to_owned()],
        mac: vec!["00-25-96-12-34-56".to_owned()],
        ..Host::default()
    }
}

/// The chain of a command of these `processors`.
pub(super) fn chain_of(config: &Config, command: &str, clock: Clock) -> Chain {
    Processors::new(&config.processors, &config.ecsbeat.commands, &surroundings(clock)).chain(command)
}

/// The chain of these `processors`, YAML.
pub(super) fn chain(processors: &str) -> Chain {
    chain_in(&config(processors, ""))
}

/// The chain of the processors of all commands.
pub(super) fn chain_in(config: &Config) -> Chain {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _within = runtime.enter();
    chain_of(config, "nodes", Clock::simulated(Timestamp::UNIX_EPOCH))
}

/// What becomes of a document, and what is told.
pub(super) fn run(chain: &Chain, document: &str) -> (Option<String>, Vec<Notice>) {
    let mut notices = Vec::new();
    match chain.run(Bytes::copy_from_slice(document.as_bytes()), &mut notices) {
        Verdict::Keep(body) => {
            let text = String::from_utf8(body.to_vec()).unwrap();
            serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            (Some(text), notices)
        }
        Verdict::Drop(_) => (None, notices),
    }
}

/// `before` becomes `after`, byte for byte, and nothing is told.
#[track_caller]
pub(super) fn check(processors: &str, before: &str, after: &str) {
    let (got, notices) = run(&chain(processors), before);
    assert_eq!(got.as_deref(), Some(after), "{processors}\n{notices:?}");
    assert_eq!(notices, [], "{processors}");
}

/// `before` becomes `after`, and these failures are told.
#[track_caller]
pub(super) fn fails(processors: &str, before: &str, after: &str, failures: &[&str]) {
    let (got, notices) = run(&chain(processors), before);
    assert_eq!(got.as_deref(), Some(after), "{processors}\n{notices:?}");
    let told: Vec<&str> = notices
        .iter()
        .map(|notice| match &notice.event {
            Told::Failed(reason) => reason.as_str(),
            Told::Protected(field) => field,
        })
        .collect();
    assert_eq!(told, failures, "{processors}");
}
