//! The Kafka output.
//!
//! Owns `output.kafka`: events as messages of topics, over librdkafka. With `fencing: transactional` each batch is a
//! transaction of a producer whose id is that of the cluster, so that a leader that was replaced is refused by the
//! brokers whatever it still believes. Events are acknowledged when the brokers have told that they have them, in a
//! transaction when it was committed. Nothing is sent after a permit's end: what is queued is taken back then.

mod check;
mod client;
mod context;
mod doubt;
mod hash;
mod message;
mod partition;
mod producer;
mod properties;
#[cfg(test)]
mod tests;
mod thread;
mod time;
mod transaction;
mod verdict;

use std::fmt;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

pub use check::test;
use message::{Message, Messages};
use producer::Producer;
use thread::Thread;

use super::dead_letter::{self, DeadLetterFile};
use super::{BuildError, Outcome, RetryReason, Sink, SinkError};
use crate::config::KafkaOutput;
use crate::election::Permit;
use crate::event::Event;

/// What closing the connections may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// The one producer of the output.
pub struct Kafka {
    thread: Thread,
    messages: Messages,
    dead_letters: Option<DeadLetterFile>,
    timeout: Duration,
    written: Counter,
}

/// Headers may hold secrets: they are not shown.
impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka").finish_non_exhaustive()
    }
}

impl Kafka {
    /// Reaches nobody yet. `written` counts bytes of messages, before compression.
    pub fn new(config: &KafkaOutput, written: Counter) -> Result<Self, BuildError> {
        let producer = Producer::new(config, properties::properties(config)?);
        let dead_letters = config.dead_letter_file.clone();
        let dead_letters =
            dead_letters.map(|path| DeadLetterFile::start("output.kafka.dead_letter_file", path));
        Ok(Self {
            messages: Messages::new(config)?,
            dead_letters: dead_letters.transpose()?,
            thread: Thread::start(producer).map_err(|error| BuildError::Setting {
                key: "output.kafka".to_owned(),
                problem: format!("no thread for it: {error}"),
            })?,
            timeout: config.timeout,
            written,
        })
    }

    /// See [`Output::encoded`](super::Output::encoded).
    pub(super) fn encoded(&self, batch: &[Event]) -> Vec<Vec<u8>> {
        let (_, messages) = self.messages(batch);
        messages.into_iter().map(|message| message.value).collect()
    }

    /// What the events become: the ends of those that become no message, and the messages of the others.
    fn messages(&self, batch: &[Event]) -> (Vec<Option<Outcome>>, Vec<Message>) {
        let mut messages = Vec::with_capacity(batch.len());
        let settled = batch
            .iter()
            .map(|event| {
                let made = self.messages.of(event);
                made.map(|message| messages.push(message)).err()
            })
            .collect();
        (settled, messages)
    }
}

impl Sink for Kafka {
    async fn connect(&mut self, permit: &Permit) -> Result<(), SinkError> {
        let budget = self.timeout.min(permit.budget());
        if let Some(file) = &self.dead_letters {
            file.open(budget).await?;
        }
        self.thread.connect(permit, budget).await
    }

    async fn publish(&mut self, permit: &Permit, batch: &[Event]) -> Result<Vec<Outcome>, SinkError> {
        let (settled, messages) = self.messages(batch);
        let sent = if messages.is_empty() {
            Ok(Vec::new())
        } else {
            let bytes: usize = messages.iter().map(|message| message.value.len()).sum();
            let budget = self.timeout.min(permit.budget());
            let sent = self.thread.publish(messages, permit, budget).await;
            if sent.is_ok() {
                self.written.inc_by(bytes as u64);
            }
            sent
        };
        self.lettered(permit, batch, whole(settled, sent)).await
    }

    async fn close(&mut self) -> Result<(), SinkError> {
        // Nothing is held back: what was published is acknowledged or will be sent again.
        self.thread.close(FAREWELL).await
    }
}

impl Kafka {
    /// Files what is refused for good, where there is a file for it. What could not be filed is sent again.
    async fn lettered(
        &self,
        permit: &Permit,
        batch: &[Event],
        result: Result<Vec<Outcome>, SinkError>,
    ) -> Result<Vec<Outcome>, SinkError> {
        let (mut outcomes, broken) = match result {
            Ok(outcomes) => (outcomes, None),
            Err(SinkError::BrokenOff { outcomes, cause }) => (outcomes, Some(cause)),
            Err(error) => return Err(error),
        };
        let letters: Vec<_> = batch
            .iter()
            .zip(&outcomes)
            .filter_map(|(event, outcome)| match outcome {
                Outcome::Rejected { reason, message } => {
                    Some((event.id, dead_letter::document(event, reason.as_str(), message)))
                }
                _ => None,
            })
            .collect();
        let appended = match &self.dead_letters {
            Some(file) if !letters.is_empty() => {
                let budget = self.timeout.min(permit.budget());
                Some(file.append(letters.into_iter(), permit, budget).await)
            }
            _ => None,
        };
        let mut failed = None;
        if let Some(appended) = appended {
            let outcome = if appended.is_ok() {
                Outcome::DeadLettered
            } else {
                LEFT
            };
            for rejected in &mut outcomes {
                if matches!(rejected, Outcome::Rejected { .. }) {
                    *rejected = outcome.clone();
                }
            }
            failed = appended.err().map(Box::new);
        }
        match broken.or(failed) {
            None => Ok(outcomes),
            Some(cause) if outcomes.iter().all(|outcome| *outcome == LEFT) => Err(*cause),
            Some(cause) => Err(SinkError::BrokenOff { outcomes, cause }),
        }
    }
}

/// Of an event that is to be sent again.
const LEFT: Outcome = Outcome::Retry(RetryReason::Failed);

/// What became of a batch of which some events had come to their end (`settled`) before the others were sent. Where
/// sending failed those ends are told all the same.
fn whole(
    settled: Vec<Option<Outcome>>,
    sent: Result<Vec<Outcome>, SinkError>,
) -> Result<Vec<Outcome>, SinkError> {
    let nothing_settled = settled.iter().all(Option::is_none);
    let merged = |sent: Vec<Outcome>| {
        let mut sent = sent.into_iter();
        let outcomes = settled.into_iter();
        outcomes
            .map(|outcome| outcome.or_else(|| sent.next()).unwrap_or(LEFT))
            .collect()
    };
    match sent {
        Ok(outcomes) => Ok(merged(outcomes)),
        Err(SinkError::BrokenOff { outcomes, cause }) => Err(SinkError::BrokenOff {
            outcomes: merged(outcomes),
            cause,
        }),
        Err(error) if nothing_settled => Err(error),
        Err(error) => Err(SinkError::BrokenOff {
            outcomes: merged(Vec::new()),
            cause: Box::new(error),
        }),
    }
}
