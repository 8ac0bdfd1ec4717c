//! The Kafka output against brokers, read back by another client.

/// TLS and logins.
mod access;
/// Batches: what arrives, where, and in which form.
mod delivery;
/// Brokers that are gone, or refuse.
mod faults;
/// Two that believe they lead.
mod fencing;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ecsbeat::clock::Clock;
use ecsbeat::config::{self, OutputConfig, Sources};
use ecsbeat::election::{Permit, solo};
use ecsbeat::event::{Event, EventId};
use ecsbeat::output::{self, Outcome, Output, Sink as _, SinkError};
use ecsbeat::pipeline::ack::Ack;
use ecsbeat::telemetry::metrics::Metrics;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::kafka::{Brokers, Read};

/// The time of [`event`]: 2026-03-02T10:41:00.123Z.
const TIME: i64 = 1_772_448_060_123;

/// The configuration with these settings of the output, beside the brokers; `more` belongs at the top.
fn configured(brokers: &str, settings: &str, more: &str) -> config::Config {
    let directory = tempfile::tempdir().unwrap();
    let hosts: Vec<String> = brokers.split(',').map(|host| format!("{host:?}")).collect();
    let text = format!(
        "output.console.enabled: false\nname: tester\n{more}\noutput.kafka:\n  hosts: [{}]\n{}",
        hosts.join(", "),
        settings
            .lines()
            .map(|line| format!("  {line}\n"))
            .collect::<String>()
    );
    std::fs::write(directory.path().join("kafka.yml"), text).unwrap();
    let sources = Sources {
        files: vec![
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config/minimal.yml"),
            directory.path().join("kafka.yml"),
        ],
        strict_perms: false,
        ..Sources::default()
    };
    config::load(&sources, &|_| None).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The output with these settings.
fn output(brokers: &str, settings: &str) -> Output {
    of(&configured(brokers, settings, ""))
}

fn of(config: &config::Config) -> Output {
    let kafka = config
        .outputs
        .iter()
        .find(|output| matches!(output, OutputConfig::Kafka(_)));
    let mut outputs = output::build(
        kafka.unwrap(),
        &config.template,
        &Metrics::new(),
        &Clock::system(),
    )
    .unwrap();
    assert_eq!((outputs.len(), outputs[0].name()), (1, "kafka"));
    outputs.remove(0)
}

/// An output that has reached the brokers.
async fn connected(brokers: &Brokers, settings: &str) -> Output {
    let mut output = output(&brokers.addresses(), settings);
    output.connect(&permit().await).await.unwrap();
    output
}

async fn permit() -> Permit {
    permit_for(Duration::from_secs(30)).await
}

async fn permit_for(budget: Duration) -> Permit {
    solo("tester", CancellationToken::new())
        .permit(budget)
        .await
        .unwrap()
}

/// An event with these fields; its id is made of them.
fn event(fields: &Value) -> Event {
    Event::new(
        EventId::of([fields.to_string().as_bytes()]),
        "2026-03-02T10:41:00.123Z".parse().unwrap(),
        Arc::from("sample"),
        fields.to_string().into(),
        Ack::none(),
    )
}

/// Events `{"n": …}` of these numbers.
fn numbered(numbers: std::ops::Range<usize>) -> Vec<Event> {
    numbers
        .map(|number| event(&json!({"n": number, "host": format!("h{number}")})))
        .collect()
}

/// The numbers of [`numbered`] in what was read, sorted.
fn numbers(read: &[Read]) -> Vec<usize> {
    let number = |read: &Read| {
        let json: Value = serde_json::from_str(&read.payload).unwrap();
        usize::try_from(json["n"].as_u64().unwrap()).unwrap()
    };
    let mut numbers: Vec<_> = read.iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}

/// Publishes until every event has ended, as a publisher would, at most so often.
async fn deliver(output: &mut Output, events: &[Event], tries: usize) -> Vec<SinkError> {
    let mut left = events.to_vec();
    let mut errors = Vec::new();
    for _ in 0..tries {
        let (outcomes, error) = match output.publish(&permit().await, &left).await {
            Ok(outcomes) => (outcomes, None),
            Err(SinkError::BrokenOff { outcomes, cause }) => (outcomes, Some(*cause)),
            Err(error) => (Vec::new(), Some(error)),
        };
        errors.extend(error);
        let mut outcomes = outcomes.into_iter();
        left.retain(|_| match outcomes.next() {
            None | Some(Outcome::Retry(_)) => true,
            Some(Outcome::Acked) => false,
            Some(other) => panic!("{other:?}"),
        });
        if left.is_empty() {
            return errors;
        }
    }
    panic!("{} events are left: {errors:?}", left.len());
}
