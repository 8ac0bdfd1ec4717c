//! One client of librdkafka, from its connections to their end.
//!
//! Owns the sending of messages and the waiting for what became of them, and the partitions of topics as the brokers
//! tell them. Blocks, but for no longer than [`Time`] says: lives on the output's own thread. Dropping it takes back
//! what is not sent yet and closes the connections.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, PurgeConfig};

use super::context::{Context, Warned};
use super::doubt;
use super::message::Message;
use super::partition::Partitions;
use super::time::Time;
use super::verdict::{self, Fate};
use crate::config::Secret;
use crate::output::SinkError;

/// How often reports are looked for while there are none: what a batch may take longer than it need.
const LOOK: Duration = Duration::from_millis(2);
/// The shortest slice that tells by its end whether it was cut short.
const TELLING: Duration = Duration::from_millis(40);
/// Pause before the partitions of a topic that has none yet are asked for again.
const AGAIN: Duration = Duration::from_millis(100);
/// The longest a broker is asked for the partitions of a topic at once.
const ASK: Duration = Duration::from_secs(1);

/// A client and what it knows.
pub(super) struct Client {
    producer: BaseProducer<Context>,
    headers: Vec<(String, Secret)>,
    /// Partitions of the topics that were written to, and when they were looked up.
    topics: HashMap<String, (Partitions, Instant)>,
    refresh: Duration,
}

/// What becomes of a batch.
#[derive(Debug)]
pub(super) struct Sent {
    /// One for each message, with no more doubt than there has to be.
    pub(super) fates: Vec<Fate>,
    /// Every message has its report.
    pub(super) complete: bool,
}

impl Client {
    /// Begins to connect. The clients of one output share `warned`.
    pub(super) fn begin(
        properties: &ClientConfig,
        headers: &[(String, Secret)],
        refresh: Duration,
        warned: &Arc<Warned>,
    ) -> Result<Self, SinkError> {
        let producer = properties
            .create_with_context(Context::new(Arc::clone(warned)))
            .map_err(|error| SinkError::Protocol(beginning(&error)))?;
        Ok(Self {
            producer,
            headers: headers.to_vec(),
            topics: HashMap::new(),
            refresh,
        })
    }

    /// Waits until a broker has answered.
    pub(super) fn greet(&self, time: &Time) -> Result<(), SinkError> {
        loop {
            let (slice, begin) = (time.slice(), Instant::now());
            let id = self.client().fetch_cluster_id(slice);
            // There may be none: then it is said at once that there is none, and only then before the time is over
            // (`rd_kafka_clusterid` of librdkafka). A short time may be over at once.
            if id.is_some() || (slice > TELLING && begin.elapsed() < slice / 2) {
                self.context().calm();
                return Ok(());
            }
            self.serve(Duration::ZERO);
            self.go_on(time)?;
        }
    }

    /// The cluster's id, where it has one.
    pub(super) fn id(&self, time: &Time) -> Option<String> {
        self.client().fetch_cluster_id(time.slice())
    }

    /// An error where it is of no use to ask the brokers any longer.
    pub(super) fn go_on(&self, time: &Time) -> Result<(), SinkError> {
        if let Some(denied) = self.context().denied() {
            return Err(SinkError::Denied(denied));
        }
        if !time.is_over() {
            return Ok(());
        }
        let because = self
            .context()
            .trouble()
            .map_or_else(String::new, |trouble| format!(": {trouble}"));
        Err(SinkError::Transport(format!(
            "no broker answered within {:?}{because}",
            time.budget()
        )))
    }

    /// The partitions of a topic, as they were told within the time that metadata is good for. [`Client::failure`] has
    /// words for an error.
    pub(super) fn partitions(&mut self, topic: &str, time: &Time) -> Result<Partitions, Code> {
        if let Some((partitions, told)) = self.topics.get(topic)
            && told.elapsed() < self.refresh
        {
            return Ok(partitions.clone());
        }
        loop {
            match self.ask(topic, time) {
                Ok(partitions) => {
                    self.topics
                        .insert(topic.to_owned(), (partitions.clone(), Instant::now()));
                    return Ok(partitions);
                }
                // It is being made, has no leader yet, or the broker is gone.
                Err(Code::LeaderNotAvailable | Code::OperationTimedOut | Code::BrokerTransportFailure)
                    if !time.is_over() && self.context().denied().is_none() =>
                {
                    self.serve(time.at_most(AGAIN));
                }
                Err(code) => return Err(code),
            }
        }
    }

    fn ask(&self, topic: &str, time: &Time) -> Result<Partitions, Code> {
        let metadata = self
            .metadata(Some(topic), time.at_most(ASK))
            .map_err(|error| error.rdkafka_error_code().unwrap_or(Code::Fail))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let found = found.ok_or(Code::UnknownTopicOrPartition)?;
        if let Some(error) = found.error() {
            return Err(error.into());
        }
        if found.partitions().is_empty() {
            return Err(Code::LeaderNotAvailable);
        }
        Ok(Partitions {
            count: found.partitions().len(),
            reachable: (found.partitions().iter())
                .filter(|partition| partition.leader() >= 0)
                .map(rdkafka::metadata::MetadataPartition::id)
                .collect(),
        })
    }

    /// The brokers, and the topic or all.
    pub(super) fn metadata(&self, topic: Option<&str>, limit: Duration) -> Result<Metadata, KafkaError> {
        self.client().fetch_metadata(topic, limit)
    }

    /// What is known of partitions is to be looked up again.
    pub(super) fn forget_partitions(&mut self) {
        self.topics.clear();
    }

    /// Hands over `messages`, each for its partition, and waits for their reports. Where time is over before, what was
    /// not sent yet is taken back; with `all_or_nothing` also where one of them did not arrive.
    pub(super) fn send<'m>(
        &self,
        messages: impl Iterator<Item = (&'m Message, i32)>,
        all_or_nothing: bool,
        time: &Time,
    ) -> Sent {
        let _ = self.context().reports();
        self.context().calm();
        // What has no report is not known to have arrived.
        let mut fates = Vec::new();
        let mut places = Vec::new();
        let mut open = 0_usize;
        for (message, partition) in messages {
            let position = fates.len();
            fates.push(Fate::Failed(Code::MessageTimedOut));
            places.push((message.topic.as_str(), partition));
            match self.hand_over(message, partition, position, time) {
                Ok(()) => open += 1,
                // By itself it is larger than the client takes.
                Err(Code::MessageSizeTooLarge) => fates[position] = Fate::Refused(Code::MessageSizeTooLarge),
                Err(code) => fates[position] = Fate::Failed(code),
            }
        }
        let mut in_vain = false;
        while open > 0 && !time.is_over() {
            self.serve(LOOK);
            let (reported, all_arrived) = self.settle(&mut fates);
            open = open.saturating_sub(reported);
            in_vain |= all_or_nothing && !all_arrived;
            if in_vain && open > 0 {
                // A transaction that failed sends nothing any more. What comes back into the queue then, because a
                // broker wants it once more, would stay there without a report until its time is over.
                self.producer.purge(PurgeConfig::default().queue().non_blocking());
            }
        }
        if open > 0 {
            self.producer.purge(PurgeConfig::default().queue().inflight());
        }
        doubt::settle(&mut fates, &places);
        Sent {
            fates,
            complete: open == 0,
        }
    }

    /// Gives each message that was reported since its fate; how many there were, and whether all of them arrived.
    fn settle(&self, fates: &mut [Fate]) -> (usize, bool) {
        let reports = self.context().reports();
        for report in &reports {
            if let Some(fate) = fates.get_mut(report.position) {
                *fate = Fate::of(report.error);
            }
        }
        let all_arrived = reports.iter().all(|report| report.error.is_none());
        (reports.len(), all_arrived)
    }

    fn hand_over(&self, message: &Message, partition: i32, position: usize, time: &Time) -> Result<(), Code> {
        let mut record = BaseRecord::with_opaque_to(&message.topic, position)
            .partition(partition)
            .payload(&message.value)
            // 0 and less would be the time of sending.
            .timestamp(message.timestamp.max(1));
        if let Some(key) = &message.key {
            record = record.key(key);
        }
        if !self.headers.is_empty() {
            record = record.headers(self.headers());
        }
        loop {
            if time.is_over() {
                return Err(Code::MessageTimedOut);
            }
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    record = back;
                    self.serve(LOOK);
                }
                Err((error, _)) => return Err(error.rdkafka_error_code().unwrap_or(Code::Fail)),
            }
        }
    }

    fn headers(&self) -> OwnedHeaders {
        let headers = OwnedHeaders::new_with_capacity(self.headers.len());
        self.headers.iter().fold(headers, |headers, (key, value)| {
            headers.insert(Header {
                key,
                value: Some(value.expose()),
            })
        })
    }

    /// What a batch failed of that was sent to `topic`.
    pub(super) fn failure(&self, code: Code, topic: &str) -> SinkError {
        if let Some(denied) = self.context().denied() {
            return SinkError::Denied(denied);
        }
        verdict::failure(code, topic, self.context().trouble().as_deref())
    }

    /// Takes what librdkafka has to tell.
    pub(super) fn serve(&self, limit: Duration) {
        self.producer.poll(limit);
    }

    /// The error that ends this client for good, if there is one.
    pub(super) fn fatal(&self) -> Option<(Code, String)> {
        self.client().fatal_error()
    }

    pub(super) fn producer(&self) -> &BaseProducer<Context> {
        &self.producer
    }

    pub(super) fn context(&self) -> &Context {
        self.producer.client().context()
    }

    fn client(&self) -> &rdkafka::client::Client<Context> {
        self.producer.client()
    }
}

/// A client that cannot even begin. The error's own text could hold a value that is a secret.
pub(super) fn beginning(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, _, key, _) => format!("librdkafka does not take {key}"),
        error => error.to_string(),
    }
}
