//! The Redis output over real servers.
//!
//! Owns how an output is made out of a configuration and given events. What arrived is read by the tests' own client.

mod access;
mod config;
mod delivery;
mod hosts;
mod limits;
mod process;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use ecsbeat::clock::Clock;
use ecsbeat::config::{Config, Errors, OutputConfig, RedisOutput, Sources, load};
use ecsbeat::election::{Permit, solo};
use ecsbeat::event::{Event, EventId};
use ecsbeat::output::{Outcome, Output, Sink as _, SinkError, build};
use ecsbeat::pipeline::ack::Ack;
use ecsbeat::telemetry::metrics::Metrics;
use tokio_util::sync::CancellationToken;

/// Far more than anything takes.
const LONG: Duration = Duration::from_secs(30);

/// Reads a configuration with these settings (in flow style) of `output.redis`.
fn read(settings: &str) -> Result<Config, Errors> {
    let directory = tempfile::tempdir().unwrap();
    let mut text =
        "ecsbeat.customers: [{customername: one, username: monitor, password: ChangeMe, vdcs: [{vdcname: \
                    VDC1, nodes: [10.1.83.51]}]}]\n"
            .to_owned();
    let timeout = match settings.contains("timeout: ") {
        true => "",
        false => "timeout: 30s, ",
    };
    writeln!(text, "output.redis: {{{timeout}{settings}}}").unwrap();
    let file = directory.path().join("ecsbeat.yml");
    std::fs::write(&file, text).unwrap();
    let sources = Sources {
        files: vec![file],
        strict_perms: false,
        ..Sources::default()
    };
    load(&sources, &|_| None)
}

fn configured(settings: &str) -> Config {
    read(settings).unwrap_or_else(|errors| panic!("{errors}"))
}

/// What is said of settings that cannot be.
fn errors(settings: &str) -> String {
    match read(settings) {
        Ok(_) => panic!("{settings} is taken"),
        Err(errors) => errors.to_string(),
    }
}

/// The settings of the output alone.
fn section(settings: &str) -> RedisOutput {
    match configured(settings).outputs.pop() {
        Some(OutputConfig::Redis(output)) => *output,
        other => panic!("{other:?}"),
    }
}

/// The output's connections.
fn outputs(settings: &str) -> Vec<Output> {
    let config = configured(settings);
    build(
        &config.outputs[0],
        &config.template,
        &Metrics::new(),
        &Clock::system(),
    )
    .unwrap()
}

/// The one connection of an output with one host.
fn output(settings: &str) -> Output {
    let mut outputs = outputs(settings);
    assert_eq!(outputs.len(), 1);
    outputs.remove(0)
}

async fn permit() -> Permit {
    let tenure = solo("test", CancellationToken::new());
    tenure.permit(LONG).await.unwrap()
}

/// Connects and publishes once.
async fn publish(output: &mut Output, batch: &[Event]) -> Result<Vec<Outcome>, SinkError> {
    output.connect(&permit().await).await?;
    output.publish(&permit().await, batch).await
}

/// As [`publish`], with every event accepted.
async fn deliver(output: &mut Output, batch: &[Event]) {
    let outcomes = publish(output, batch).await.unwrap();
    assert_eq!(outcomes, vec![Outcome::Acked; batch.len()]);
}

/// Why nothing could be delivered.
async fn refused(output: &mut Output, batch: &[Event]) -> SinkError {
    publish(output, batch).await.unwrap_err()
}

/// An event of a type with further members (each with a comma behind it).
fn event(kind: &str, number: usize, members: &str) -> Event {
    Event::new(
        EventId::of([kind.as_bytes(), &number.to_be_bytes()]),
        "2026-03-02T10:41:00Z".parse().unwrap(),
        Arc::from(kind),
        format!("{{{members}\"ecs-event-type\":\"{kind}\",\"n\":{number}}}").into(),
        Ack::none(),
    )
}

fn events(numbers: std::ops::Range<usize>) -> Vec<Event> {
    numbers.map(|number| event("nodes", number, "")).collect()
}

/// The numbers of documents.
fn numbers(documents: &[Vec<u8>]) -> Vec<u64> {
    let number = |document: &Vec<u8>| {
        let json: serde_json::Value = serde_json::from_slice(document).unwrap();
        json["n"].as_u64().unwrap()
    };
    documents.iter().map(number).collect()
}
