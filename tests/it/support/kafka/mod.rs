//! Kafka brokers, and a reader that is not of our making.
//!
//! Owns [`Brokers`]: librdkafka's mock cluster, which speaks the protocol, keeps what is written to it, and fails when
//! told to. It shuts out no producer, asks for no password and speaks no TLS: [`front`] does, in front of it. What was
//! written is read back with Debian's kcat.

/// What stands before brokers: TLS, logins, fencing, refusals.
pub(crate) mod front;
/// What a request to write holds.
mod produce;
/// One that reads all along.
pub(crate) mod reader;
mod sasl;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use serde_json::Value;

use super::process::SOON;

/// A running cluster.
pub(crate) struct Brokers(MockCluster<'static, DefaultProducerContext>);

/// A message as kcat read it.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    pub(crate) partition: i64,
    pub(crate) key: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
    /// Milliseconds since 1970.
    pub(crate) timestamp: i64,
    pub(crate) payload: String,
}

impl Brokers {
    pub(crate) fn start(brokers: i32) -> Self {
        let cluster = MockCluster::new(brokers).unwrap();
        // As brokers of 2.4: `front` reads no newer requests to write.
        cluster
            .apiversion(RDKafkaApiKey::Produce, Some(3), Some(produce::LAST_PLAIN))
            .unwrap();
        Self(cluster)
    }

    /// `host:port` of each broker.
    pub(crate) fn addresses(&self) -> String {
        self.0.bootstrap_servers()
    }

    /// With as many replicas as there are brokers.
    #[must_use]
    pub(crate) fn topic(self, name: &str, partitions: i32) -> Self {
        let brokers = i32::try_from(self.addresses().split(',').count()).unwrap();
        self.0.create_topic(name, partitions, brokers).unwrap();
        self
    }

    /// The next requests of this kind are answered with these errors, one after the other.
    pub(crate) fn fail(&self, requests: RDKafkaApiKey, errors: &[RDKafkaRespErr]) {
        self.0.request_errors(requests, errors);
    }

    /// The topic is not to be had for this reason; `RD_KAFKA_RESP_ERR_NO_ERROR` ends that.
    pub(crate) fn topic_error(&self, topic: &str, error: RDKafkaRespErr) {
        self.0.topic_error(topic, error).unwrap();
    }

    /// Requests of this kind are answered as they should be again.
    pub(crate) fn heal(&self, requests: RDKafkaApiKey) {
        self.0.clear_request_errors(requests);
    }

    /// The broker hangs up and takes no connections.
    pub(crate) fn down(&self, broker: i32) {
        self.0.broker_down(broker).unwrap();
    }

    pub(crate) fn up(&self, broker: i32) {
        self.0.broker_up(broker).unwrap();
    }

    /// The partition has no leader any more, or this one.
    pub(crate) fn leader(&self, topic: &str, partition: i32, broker: Option<i32>) {
        self.0.partition_leader(topic, partition, broker).unwrap();
    }

    /// Everything in `topic`.
    pub(crate) async fn read(&self, topic: &str) -> Vec<Read> {
        read(&self.addresses(), topic).await
    }
}

/// Everything in `topic` of the brokers at `addresses`.
pub(crate) async fn read(addresses: &str, topic: &str) -> Vec<Read> {
    // It waits for ever where a partition has no leader.
    let mut command = Command::new("timeout");
    command
        .arg(SOON.as_secs().to_string())
        .arg(binary())
        .env("LD_LIBRARY_PATH", libraries())
        .args([
            "-C",
            "-q",
            "-J",
            "-e",
            "-o",
            "beginning",
            "-b",
            addresses,
            "-t",
            topic,
        ])
        .stdin(Stdio::null());
    let ended = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "kcat: {} {errors}", ended.status);
    let text = String::from_utf8(ended.stdout).unwrap();
    text.lines().map(parsed).collect()
}

fn parsed(line: &str) -> Read {
    let json: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let headers = json["headers"].as_array().cloned().unwrap_or_default();
    Read {
        partition: json["partition"].as_i64().unwrap(),
        key: text(&json["key"]),
        headers: headers
            .chunks(2)
            .map(|pair| (text(&pair[0]).unwrap(), text(&pair[1]).unwrap()))
            .collect(),
        timestamp: json["ts"].as_i64().unwrap(),
        payload: text(&json["payload"]).unwrap(),
    }
}

/// The kcat to read with, unless one is named in `KCAT_BIN`: what `make tools` unpacks.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("KCAT_BIN") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "KCAT_BIN: {} is no file", path.display());
        return path;
    }
    let known = [unpacked().join("bin/kcat"), PathBuf::from("/usr/bin/kcat")];
    let found = known.iter().find(|path| path.is_file());
    found
        .expect("there is no kcat to read with: run `make tools`, or set KCAT_BIN")
        .clone()
}

fn unpacked() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/kcat/usr")
}

/// The folders of the libraries that were unpacked with it.
fn libraries() -> OsString {
    let folders = fs::read_dir(unpacked().join("lib")).into_iter().flatten();
    std::env::join_paths(folders.map(|folder| folder.unwrap().path())).unwrap()
}
