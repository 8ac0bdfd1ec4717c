//! What an event becomes as a message of Kafka.
//!
//! Owns the choice of its topic, its key, what its partition is chosen by, and its value. An event that cannot become
//! a message is told here, once and for all: a broker would refuse it again and again.

use super::hash;
use crate::config::{Hash, KafkaOutput, Strategy};
use crate::event::{Event, EventId};
use crate::format::Format;
use crate::json;
use crate::output::codec::Encoder;
use crate::output::metadata::Metadata;
use crate::output::selector::Selector;
use crate::output::{BuildError, DropReason, Outcome};

/// What a message costs beside its parts in the worst case, as Sarama counts it; a header costs 10 more.
const OVERHEAD: usize = 36;

/// Ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) id: EventId,
    pub(super) topic: String,
    pub(super) key: Option<String>,
    /// Where the partition is chosen by a hash and there is something to hash.
    pub(super) hash: Option<u32>,
    pub(super) value: Vec<u8>,
    /// Milliseconds since 1970, the event's own.
    pub(super) timestamp: i64,
}

/// Makes messages.
#[derive(Debug)]
pub(super) struct Messages {
    topic: Selector,
    key: Option<Format>,
    by: By,
    encoder: Encoder,
    /// Bytes of headers that every message has.
    headers: usize,
    largest: usize,
}

/// What a partition is chosen by.
#[derive(Debug)]
enum By {
    Key {
        algorithm: Hash,
        random: bool,
    },
    Fields {
        fields: Vec<String>,
        algorithm: Hash,
        random: bool,
    },
    Nothing,
}

impl Messages {
    pub(super) fn new(config: &KafkaOutput) -> Result<Self, BuildError> {
        let key = |name: &str| format!("output.kafka.{name}");
        let format = |text: &String| {
            Format::parse(text).map_err(|error| BuildError::Format {
                key: key("key"),
                error,
            })
        };
        Ok(Self {
            topic: Selector::new(
                (&key("topics"), &config.topics),
                (&key("topic"), config.topic.as_deref()),
            )?,
            key: config.key.as_ref().map(format).transpose()?,
            by: match config.partition.strategy.clone() {
                Strategy::Hash {
                    fields,
                    random,
                    algorithm,
                } if fields.is_empty() => By::Key { algorithm, random },
                Strategy::Hash {
                    fields,
                    random,
                    algorithm,
                } => By::Fields {
                    fields,
                    algorithm,
                    random,
                },
                Strategy::Random { .. } | Strategy::RoundRobin { .. } => By::Nothing,
            },
            encoder: Encoder::messages("output.kafka", &config.codec, Some(Metadata::new("ecsbeat")))?,
            headers: (config.headers.iter())
                .map(|(key, value)| key.len() + value.expose().len() + 10)
                .sum(),
            largest: config.max_message_bytes,
        })
    }

    /// The message of an event, or why there is none.
    pub(super) fn of(&self, event: &Event) -> Result<Message, Outcome> {
        let topic = self
            .topic
            .select(event)
            .ok_or_else(|| no_destination("topic and topics give none for it".to_owned()))?;
        if !KafkaOutput::is_topic(&topic) {
            return Err(no_destination(format!(
                "{:?} cannot be the name of a topic: names have at most 249 letters (a-z, A-Z), digits, dots, \
                 underscores and hyphens",
                topic.chars().take(60).collect::<String>()
            )));
        }
        let key = self.key.as_ref().and_then(|key| key.of(event));
        let hash = self.hash(event, key.as_deref()).map_err(no_destination)?;
        let mut value = Vec::new();
        self.encoder.encode(event, &mut value)?;
        let size = value.len() + key.as_ref().map_or(0, String::len) + self.headers + OVERHEAD;
        if size > self.largest {
            return Err(Outcome::Rejected {
                reason: DropReason::TooLarge,
                message: format!(
                    "the message has {size} bytes, max_message_bytes are {}",
                    self.largest
                ),
            });
        }
        Ok(Message {
            id: event.id,
            topic,
            key,
            hash,
            value,
            timestamp: event.timestamp.as_millisecond(),
        })
    }

    fn hash(&self, event: &Event, key: Option<&str>) -> Result<Option<u32>, String> {
        let (hash, random, missing) = match &self.by {
            By::Nothing => return Ok(None),
            By::Key { algorithm, random } => (
                key.map(|key| hash::of(*algorithm, key.as_bytes())),
                *random,
                "it has no key to choose a partition by",
            ),
            By::Fields {
                fields,
                algorithm,
                random,
            } => (
                values(event, fields).map(|bytes| hash::of(*algorithm, &bytes)),
                *random,
                "it lacks a field of partition.hash.hash to choose a partition by",
            ),
        };
        match hash {
            None if !random => Err(format!("{missing}, and partition.hash.random is false")),
            hash => Ok(hash),
        }
    }
}

/// The bytes of all fields; `None` where one is missing or is of no kind that is hashed.
fn values(event: &Event, fields: &[String]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for field in fields {
        let value = serde_json::from_str(json::at(&event.body, field)?).ok()?;
        if !hash::value_bytes(&mut bytes, &value) {
            return None;
        }
    }
    Some(bytes)
}

fn no_destination(message: String) -> Outcome {
    Outcome::Rejected {
        reason: DropReason::NoDestination,
        message,
    }
}
