//! The producer as the output's thread drives it: connects, sends batches, and knows where it stands.
//!
//! Owns what outlives a batch: the client, a transaction whose end is not known, and that another producer has taken
//! over. Tells the publisher one outcome per event; an event of a transaction that was not committed is never told to
//! have arrived.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::client::{Client, Sent};
use super::context::Warned;
use super::doubt;
use super::message::Message;
use super::partition::Chooser;
use super::time::Time;
use super::transaction::{self, Hitch};
use super::verdict::{self, Fate};
use super::{LEFT, whole};
use crate::config::{Fencing, KafkaOutput, Secret};
use crate::event::EventId;
use crate::output::{DropReason, Outcome, SinkError};

/// What the thread works with.
pub(super) struct Producer {
    properties: ClientConfig,
    headers: Vec<(String, Secret)>,
    refresh: Duration,
    /// The transactional id, and how long to stay away when it was taken over.
    transactions: Option<(String, Duration)>,
    chooser: Chooser,
    client: Option<Client>,
    /// What its clients have warned of.
    warned: Arc<Warned>,
    /// When another producer was found to have taken over.
    taken_over: Option<Instant>,
    /// The events of a transaction whose commit was not answered.
    unanswered: Vec<EventId>,
    /// Events that turned out to be committed after all.
    committed: HashSet<EventId>,
}

impl Producer {
    pub(super) fn new(config: &KafkaOutput, properties: ClientConfig) -> Self {
        Self {
            properties,
            headers: config.headers.clone(),
            refresh: config.metadata_refresh,
            transactions: match &config.fencing {
                Fencing::Transactional { id, stay_away } => Some((id.clone(), *stay_away)),
                Fencing::Idempotent | Fencing::None => None,
            },
            chooser: Chooser::new(&config.partition),
            client: None,
            warned: Arc::default(),
            taken_over: None,
            unanswered: Vec::new(),
            committed: HashSet::new(),
        }
    }

    /// Reaches the brokers. With transactions: becomes the producer of the id, and shuts out who was it before.
    pub(super) fn connect(&mut self, time: &Time) -> Result<(), SinkError> {
        self.stay_away()?;
        self.find_out(time)?;
        if self.client.is_some() {
            return Ok(());
        }
        let client = Client::begin(&self.properties, &self.headers, self.refresh, &self.warned)?;
        match &self.transactions {
            None => client.greet(time)?,
            // A client that did not get there is dropped: it must not become the producer later on its own, when
            // there may be another leader.
            Some((id, _)) => {
                if let Err(hitch) = transaction::init(&client, time) {
                    return Err(match hitch {
                        Hitch::Unanswered => not_answered(&client, time, "initialise transactions"),
                        Hitch::Abort(code, text) | Hitch::Broken(code, text) => refused(id, code, &text),
                        Hitch::TakenOver(text) => self.take_over_noticed(&text),
                    });
                }
            }
        }
        self.client = Some(client);
        Ok(())
    }

    /// Sends a batch once.
    pub(super) fn publish(&mut self, messages: &[Message], time: &Time) -> Result<Vec<Outcome>, SinkError> {
        self.connect(time)?;
        let known = std::mem::take(&mut self.committed);
        let left: Vec<&Message> = messages
            .iter()
            .filter(|message| !known.contains(&message.id))
            .collect();
        let sent = match self.transactions {
            Some(_) => self.transact(&left, time),
            None => self.send(&left, time),
        };
        // What is known to be committed has come to its end, whatever became of the rest.
        let settled = messages
            .iter()
            .map(|message| known.contains(&message.id).then_some(Outcome::Acked));
        let result = whole(settled.collect(), sent);
        if let Ok(outcomes) | Err(SinkError::BrokenOff { outcomes, .. }) = &result {
            for (message, _) in messages
                .iter()
                .zip(outcomes)
                .filter(|(_, outcome)| !is_left(outcome))
            {
                self.chooser.forget(message.id);
            }
        }
        result
    }

    /// Lets go of the brokers.
    pub(super) fn close(&mut self) {
        self.client = None;
    }

    /// The partition of each message, or why there is none: a topic that is not there does not hold up the others.
    fn partitions(
        &mut self,
        messages: &[&Message],
        time: &Time,
    ) -> Result<Vec<Result<i32, Code>>, SinkError> {
        let Some(client) = &mut self.client else {
            return Err(gone());
        };
        let mut missing: HashMap<&str, Code> = HashMap::new();
        let mut chosen = Vec::with_capacity(messages.len());
        for message in messages {
            let topic = message.topic.as_str();
            let partitions = match missing.get(topic) {
                Some(code) => Err(*code),
                None => client.partitions(topic, time),
            };
            let partition = partitions.and_then(|partitions| {
                // With `reachable_only` there may be none left.
                let partition = self.chooser.choose(message, &partitions);
                partition.ok_or(Code::LeaderNotAvailable)
            });
            if let Err(code) = partition {
                missing.insert(topic, code);
            }
            chosen.push(partition);
        }
        if !missing.is_empty() {
            client.forget_partitions();
        }
        Ok(chosen)
    }

    /// Sends without a transaction: each message counts by itself.
    fn send(&mut self, messages: &[&Message], time: &Time) -> Result<Vec<Outcome>, SinkError> {
        let partitions = self.partitions(messages, time)?;
        let Some(client) = &mut self.client else {
            return Err(gone());
        };
        let sent = send(client, messages, &partitions, time);
        let failed = first_failure(client, messages, &sent);
        if failed.is_some() {
            client.forget_partitions();
        }
        let fatal = client.fatal();
        if !sent.complete || fatal.is_some() {
            // What it had in hand is taken back, and nothing of it may be sent later on its own.
            self.client = None;
        }
        told(messages, &sent.fates, failed)
    }

    /// Sends as a transaction. What is refused or may be, or has nowhere to go, is left out; everything else arrives as a
    /// whole or not at all.
    fn transact(&mut self, messages: &[&Message], time: &Time) -> Result<Vec<Outcome>, SinkError> {
        let mut left_out: Vec<Option<Fate>> = vec![None; messages.len()];
        let mut failed = None;
        let others = loop {
            match self.round(messages, &mut left_out, &mut failed, time) {
                Ok(true) => break Fate::Arrived,
                Ok(false) => {}
                // What was refused before it is told all the same: sent again it would be refused again.
                Err(error) => {
                    failed = Some(error);
                    break Fate::Failed(Code::Fail);
                }
            }
        };
        let fates: Vec<Fate> = left_out
            .into_iter()
            .map(|fate| fate.unwrap_or_else(|| others.clone()))
            .collect();
        told(messages, &fates, failed)
    }

    /// One transaction of what is not left out. Whether everything of it has arrived; if not, there is more to leave out
    /// now than before.
    fn round(
        &mut self,
        messages: &[&Message],
        left_out: &mut [Option<Fate>],
        failed: &mut Option<SinkError>,
        time: &Time,
    ) -> Result<bool, SinkError> {
        let mut places: Vec<usize> = (0..messages.len())
            .filter(|place| left_out[*place].is_none())
            .collect();
        if places.is_empty() {
            return Ok(true);
        }
        self.connect(time)?;
        let left: Vec<&Message> = places.iter().map(|place| messages[*place]).collect();
        let chosen = self.partitions(&left, time)?;
        let mut partitions = Vec::with_capacity(chosen.len());
        for (&place, chosen) in places.iter().zip(&chosen) {
            match chosen {
                Ok(partition) => partitions.push(*partition),
                Err(code) => {
                    left_out[place] = Some(Fate::Failed(*code));
                    if failed.is_none() {
                        let client = self.client.as_ref();
                        *failed = client.map(|client| client.failure(*code, &messages[place].topic));
                    }
                }
            }
        }
        places.retain(|place| left_out[*place].is_none());
        if places.is_empty() {
            return Ok(true);
        }
        let left: Vec<&Message> = places.iter().map(|place| messages[*place]).collect();
        let Some(client) = self.client.take() else {
            return Err(gone());
        };
        // Kept again only where everything went well.
        let Some(fates) = self.attempt(client, &left, partitions, time)? else {
            return Ok(true);
        };
        for (place, fate) in places.into_iter().zip(fates) {
            if doubt::is_suspect(&fate) {
                left_out[place] = Some(fate);
            }
        }
        Ok(false)
    }

    /// One transaction. `None`: committed; otherwise what became of the messages, of which at least one is suspect.
    fn attempt(
        &mut self,
        client: Client,
        messages: &[&Message],
        partitions: Vec<i32>,
        time: &Time,
    ) -> Result<Option<Vec<Fate>>, SinkError> {
        if let Err(hitch) = transaction::begin(&client) {
            return Err(self.broken(hitch));
        }
        let sent = client.send(messages.iter().copied().zip(partitions), true, time);
        if let Some((code, text)) = client.fatal() {
            return Err(self.broken(if verdict::is_taken_over(code) {
                Hitch::TakenOver(text)
            } else {
                Hitch::Broken(code, text)
            }));
        }
        if time.is_revoked() {
            return Err(revoked());
        }
        let failed = first_failure(&client, messages, &sent);
        if !sent.complete {
            return Err(failed.unwrap_or_else(|| not_answered(&client, time, "take a batch")));
        }
        if sent.fates.iter().all(|fate| *fate == Fate::Arrived) {
            return self.commit(client, messages, time).map(|()| None);
        }
        self.abort(&client, time)?;
        // Whatever else failed may have done so because of these: the transaction they fail takes all others back.
        if sent.fates.iter().any(doubt::is_suspect) {
            return Ok(Some(sent.fates));
        }
        Err(failed.unwrap_or_else(gone))
    }

    fn commit(&mut self, client: Client, messages: &[&Message], time: &Time) -> Result<(), SinkError> {
        match transaction::commit(&client, time) {
            Ok(()) => {
                self.client = Some(client);
                Ok(())
            }
            // Also where the permit is over: a tenure that was only in doubt goes on, and then this has to be known. One
            // that has ended takes this client with it.
            Err(Hitch::Unanswered) => {
                let error = not_answered(&client, time, "commit");
                self.unanswered = messages.iter().map(|message| message.id).collect();
                self.client = Some(client);
                Err(error)
            }
            Err(Hitch::Abort(code, text)) => {
                self.abort(&client, time)?;
                Err(verdict::busy(format!(
                    "the brokers did not commit: {text} ({code})"
                )))
            }
            Err(hitch) => Err(self.broken(hitch)),
        }
    }

    /// Finds out whether a transaction was committed whose commit was not answered, before anything else is sent:
    /// sending it again could double it.
    fn find_out(&mut self, time: &Time) -> Result<(), SinkError> {
        if self.unanswered.is_empty() {
            return Ok(());
        }
        let Some(client) = self.client.take() else {
            self.unanswered.clear();
            return Ok(());
        };
        match transaction::commit(&client, time) {
            Ok(()) => {
                self.committed = self.unanswered.drain(..).collect();
                self.client = Some(client);
                Ok(())
            }
            Err(Hitch::Unanswered) => {
                let error = not_answered(&client, time, "say whether a batch was committed");
                self.client = Some(client);
                Err(error)
            }
            Err(Hitch::Abort(..)) => {
                self.unanswered.clear();
                self.abort(&client, time)
            }
            Err(hitch) => {
                self.unanswered.clear();
                tracing::warn!(
                    output = "kafka",
                    "it is not known whether a batch was committed: it is sent again, and may arrive twice"
                );
                Err(self.broken(hitch))
            }
        }
    }

    /// Ends a transaction of which nothing is to count, and the client with it: what failed has left gaps in its
    /// sequence numbers. Where the abort does not work, the next client aborts it.
    fn abort(&mut self, client: &Client, time: &Time) -> Result<(), SinkError> {
        match transaction::abort(client, time) {
            Ok(()) => Ok(()),
            Err(Hitch::TakenOver(text)) => Err(self.take_over_noticed(&text)),
            Err(hitch) => {
                tracing::debug!(
                    output = "kafka",
                    ?hitch,
                    "a transaction was left to the brokers to abort"
                );
                Ok(())
            }
        }
    }

    fn broken(&mut self, hitch: Hitch) -> SinkError {
        match hitch {
            Hitch::TakenOver(text) => self.take_over_noticed(&text),
            Hitch::Unanswered => gone(),
            Hitch::Abort(code, text) | Hitch::Broken(code, text) => {
                let id = self.transactions.as_ref().map_or("", |(id, _)| id);
                refused(id, code, &text)
            }
        }
    }

    fn take_over_noticed(&mut self, text: &str) -> SinkError {
        self.client = None;
        self.taken_over = Some(Instant::now());
        let (id, stay_away) = self
            .transactions
            .as_ref()
            .map_or(("", Duration::ZERO), |(id, stay_away)| (id, *stay_away));
        let who = if stay_away.is_zero() {
            "another ecsbeat of this name writes to these brokers: give each a name of its own"
        } else {
            "a newer leader has taken over"
        };
        SinkError::Denied(format!("transactional id {id:?}: {who} ({text})"))
    }

    /// An error while a producer that was shut out has to stay away. Coming back at once would shut out the one that
    /// took over, and that is the one who leads.
    fn stay_away(&mut self) -> Result<(), SinkError> {
        let (Some(since), Some((id, stay_away))) = (self.taken_over, &self.transactions) else {
            return Ok(());
        };
        if since.elapsed() < *stay_away {
            return Err(SinkError::Denied(format!(
                "transactional id {id:?}: a newer leader has taken over; if this one still leads it comes back {}s \
                 after it was shut out",
                stay_away.as_secs()
            )));
        }
        self.taken_over = None;
        Ok(())
    }
}

/// Sends what has a partition; the others have their fate already.
fn send(client: &Client, messages: &[&Message], partitions: &[Result<i32, Code>], time: &Time) -> Sent {
    let found = messages.iter().zip(partitions);
    let found = found.filter_map(|(message, partition)| Some((*message, partition.ok()?)));
    let sent = client.send(found, false, time);
    let mut fates = sent.fates.into_iter();
    let fates = partitions.iter().map(|partition| match partition {
        // There is one for each that was sent.
        Ok(_) => fates.next().unwrap_or(Fate::Failed(Code::Fail)),
        Err(code) => Fate::Failed(*code),
    });
    Sent {
        fates: fates.collect(),
        complete: sent.complete,
    }
}

/// What became of a batch of which something may have failed.
pub(super) fn told(
    messages: &[&Message],
    fates: &[Fate],
    failed: Option<SinkError>,
) -> Result<Vec<Outcome>, SinkError> {
    let outcomes: Vec<Outcome> = fates.iter().map(outcome).collect();
    match failed.or_else(|| to_be_halved(messages, fates)) {
        None => Ok(outcomes),
        Some(error) if outcomes.iter().all(is_left) => Err(error),
        Some(error) => Err(SinkError::BrokenOff {
            outcomes,
            cause: Box::new(error),
        }),
    }
}

fn is_left(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Retry(_))
}

fn outcome(fate: &Fate) -> Outcome {
    match fate {
        Fate::Arrived => Outcome::Acked,
        Fate::InDoubt(_) | Fate::Spared | Fate::Failed(_) => LEFT,
        Fate::Refused(Code::MessageSizeTooLarge) => Outcome::Rejected {
            reason: DropReason::TooLarge,
            message: "larger than max_message_bytes, or than max.message.bytes of its topic".to_owned(),
        },
        Fate::Refused(code) => Outcome::Rejected {
            reason: DropReason::Refused,
            message: code.to_string(),
        },
    }
}

/// The error of the first message that failed, if one did; one that was only taken back because of others tells less.
fn first_failure(client: &Client, messages: &[&Message], sent: &Sent) -> Option<SinkError> {
    let failures = messages
        .iter()
        .zip(&sent.fates)
        .filter_map(|(message, fate)| match fate {
            Fate::Failed(code) => Some((*code, &message.topic)),
            _ => None,
        });
    let (code, topic) = failures.min_by_key(|(code, _)| verdict::is_taken_back(*code))?;
    Some(client.failure(code, topic))
}

/// The error that has a batch halved, where all of it is in doubt.
fn to_be_halved(messages: &[&Message], fates: &[Fate]) -> Option<SinkError> {
    if !doubt::is_everywhere(fates) {
        return None;
    }
    let mut in_doubt = messages
        .iter()
        .zip(fates)
        .filter_map(|(message, fate)| match fate {
            Fate::InDoubt(code) => Some((&message.topic, *code)),
            _ => None,
        });
    let (topic, code) = in_doubt.next()?;
    let hint = match code {
        Code::MessageSizeTooLarge => "raise max.message.bytes of the topic",
        _ => "it is not known yet for which message",
    };
    Some(SinkError::TooLarge(format!("topic {topic:?}: {code}; {hint}")))
}

fn not_answered(client: &Client, time: &Time, what: &str) -> SinkError {
    match client.go_on(time) {
        Err(SinkError::Transport(text)) => SinkError::Transport(format!("cannot {what}: {text}")),
        Err(error) => error,
        Ok(()) => gone(),
    }
}

fn refused(id: &str, code: Code, text: &str) -> SinkError {
    match code {
        Code::TransactionalIdAuthorizationFailed | Code::ClusterAuthorizationFailed => SinkError::Denied(
            format!("transactional id {id:?}: {} ({code})", verdict::TRANSACTIONS),
        ),
        Code::Authentication | Code::SaslAuthenticationFailed => SinkError::Denied(text.to_owned()),
        Code::UnsupportedFeature | Code::InvalidTransactionTimeout => SinkError::Protocol(format!(
            "transactional id {id:?}: {text} ({code}); set fencing: idempotent, or lower timeout"
        )),
        code => verdict::busy(format!("transactional id {id:?}: {text} ({code})")),
    }
}

fn revoked() -> SinkError {
    SinkError::Transport("given up: nobody waits for it, or the tenure is over".to_owned())
}

fn gone() -> SinkError {
    SinkError::Transport("there is no connection to the brokers".to_owned())
}
