//! `test output` for Kafka: every host by itself, then the cluster.
//!
//! Owns the steps that are told. Changes nothing at the other side: no topic is made, nothing is written, and no
//! transactional id is taken over, so that a leader at work is not disturbed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::client::Client;
use super::properties::properties;
use super::time::Time;
use crate::config::{Fencing, KafkaOutput};
use crate::dial::Dialer;
use crate::output::writer::Leave;
use crate::output::{BuildError, SinkError};
use crate::steps::Steps;

/// What was found of the cluster.
struct Found {
    id: Option<String>,
    brokers: usize,
    /// Partitions of the topic, or what is wrong with it.
    topic: Option<(String, Result<usize, SinkError>)>,
}

/// Tries to reach the brokers and tells how that went; [`Steps::have_failed`] tells whether something did not work.
/// An error is one of the settings.
pub async fn test(config: &KafkaOutput, steps: &mut Steps) -> Result<(), BuildError> {
    let secure = config.ssl.enabled == Some(true);
    let dialer = Dialer::new(&config.ssl, secure, None).map_err(BuildError::tls("output.kafka"))?;
    for host in &config.hosts {
        steps.enter(&format!("kafka: {host}"));
        let deadline = Instant::now() + config.timeout;
        // The step itself says what is wrong.
        let _ = dialer.dial(host, secure, deadline, steps).await;
        steps.leave();
    }
    steps.enter("kafka: cluster");
    let looked = look(config).await?;
    if let Ok(found) = steps.result("talk to server", looked) {
        if let Some(id) = &found.id {
            steps.fact("cluster id", id);
        }
        steps.fact("brokers", &found.brokers);
        match found.topic {
            None => steps.fact("topics", &"chosen by the event"),
            Some((topic, Ok(partitions))) => {
                steps.ok(&format!("topic {topic}"));
                steps.fact("partitions", &partitions);
            }
            Some((topic, Err(problem))) => steps.warn(&format!("topic {topic}"), &problem.to_string()),
        }
    }
    steps.leave();
    Ok(())
}

/// On a thread of its own, since it blocks. When the future is dropped the thread ends by itself.
async fn look(config: &KafkaOutput) -> Result<Result<Found, SinkError>, BuildError> {
    let mut quiet = config.clone();
    quiet.fencing = Fencing::None;
    let mut properties = properties(&quiet)?;
    properties.set("allow.auto.create.topics", "false");
    let topic = config
        .topic
        .clone()
        .filter(|topic| config.topics.is_empty() && KafkaOutput::is_topic(topic));
    let leave = Leave::new(None);
    let _ends_when_dropped = leave.ends_with();
    let time = Time::new(leave, config.timeout);
    let (budget, refresh) = (config.timeout, config.metadata_refresh);
    let (answer, result) = oneshot::channel();
    std::thread::Builder::new()
        .name("test-kafka".to_owned())
        .spawn(move || {
            let found = Client::begin(&properties, &[], refresh, &Arc::default()).and_then(|mut client| {
                client.greet(&time)?;
                survey(&mut client, topic, &time)
            });
            let _ = answer.send(found);
        })
        .map_err(|error| BuildError::Setting {
            key: "output.kafka".to_owned(),
            problem: format!("no thread for it: {error}"),
        })?;
    let lost = || SinkError::Transport(format!("no broker answered within {budget:?}"));
    Ok(
        match tokio::time::timeout(budget + Duration::from_secs(1), result).await {
            Ok(Ok(found)) => found,
            Ok(Err(_)) | Err(_) => Err(lost()),
        },
    )
}

fn survey(client: &mut Client, topic: Option<String>, time: &Time) -> Result<Found, SinkError> {
    let metadata = client
        .metadata(topic.as_deref(), time.at_most(Duration::from_secs(10)))
        .map_err(|error| SinkError::Transport(error.to_string()))?;
    let id = client.id(time);
    let topic = topic.map(|topic| {
        let partitions = client.partitions(&topic, time);
        let count = partitions.map(|partitions| partitions.count);
        let count = count.map_err(|code| client.failure(code, &topic));
        (topic, count)
    });
    Ok(Found {
        id,
        brokers: metadata.brokers().len(),
        topic,
    })
}
