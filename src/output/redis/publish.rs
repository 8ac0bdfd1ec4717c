//! One batch: from events to outcomes.
//!
//! Owns the commands of a batch and the classification of what came of them. No event is forgotten: one without a reply
//! is sent again. Only what can never be accepted is given up: an event that has no key, and one that is larger than
//! the server takes.

use std::collections::{BTreeMap, BTreeSet};

use redis::Value;

use super::super::{DropReason, Outcome, RetryReason, SinkError};
use super::connection::{Commands, Connection, Wire};
use super::{Deadline, Shared, refusal};
use crate::config::RedisType;
use crate::event::Event;

/// Longest part of a key in messages.
const MAX_SHOWN_KEY: usize = 100;

/// What came of a batch.
pub(super) struct Published {
    pub(super) outcomes: Result<Vec<Outcome>, SinkError>,
    /// A list that was too long, where nothing at all could be pushed.
    pub(super) full: Option<String>,
}

/// An event with its list or channel.
struct Addressed<'a> {
    /// In the batch.
    position: usize,
    event: &'a Event,
    key: String,
}

/// Why nothing is pushed to a list.
struct Hindrance {
    reason: RetryReason,
    /// Until it has been told.
    cause: Option<SinkError>,
}

/// The fates of a batch while they are being found out.
struct Fates {
    outcomes: Vec<Option<Outcome>>,
    /// Why events are to be sent again. It becomes the batch's error when nothing at all came of it, so that it
    /// is told and the next try waits.
    cause: Option<SinkError>,
    /// Why the connection broke off, where that was not the doing of an event.
    broken: Option<SinkError>,
}

impl From<SinkError> for Hindrance {
    fn from(cause: SinkError) -> Self {
        let reason = match cause {
            SinkError::Busy { .. } => RetryReason::TooMany,
            _ => RetryReason::Failed,
        };
        Self {
            reason,
            cause: Some(cause),
        }
    }
}

impl Fates {
    fn new(count: usize) -> Self {
        Self {
            outcomes: vec![None; count],
            cause: None,
            broken: None,
        }
    }

    fn set(&mut self, position: usize, outcome: Outcome) {
        self.outcomes[position] = Some(outcome);
    }

    fn reject(&mut self, position: usize, reason: DropReason, message: String) {
        self.set(position, Outcome::Rejected { reason, message });
    }

    fn retry(&mut self, position: usize, hindrance: &mut Hindrance) {
        self.set(position, Outcome::Retry(hindrance.reason));
        self.cause = self.cause.take().or_else(|| hindrance.cause.take());
    }

    fn decided(self) -> Result<Vec<Outcome>, SinkError> {
        let outcomes: Vec<Outcome> = self
            .outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap_or(Outcome::Retry(RetryReason::Failed)))
            .collect();
        let nothing_done = outcomes
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Retry(_)));
        match (self.cause, self.broken) {
            (Some(cause), _) | (None, Some(cause)) if nothing_done => Err(cause),
            (_, Some(cause)) => Err(SinkError::BrokenOff {
                outcomes,
                cause: Box::new(cause),
            }),
            _ => Ok(outcomes),
        }
    }
}

impl Shared {
    pub(super) async fn publish(
        &self,
        connection: &mut Connection<impl Wire>,
        batch: &[Event],
        deadline: &Deadline,
    ) -> Published {
        let mut fates = Fates::new(batch.len());
        let mut addressed = self.addressed(batch, &mut fates);
        let full = self
            .leave_out_full_lists(connection, &mut addressed, &mut fates, deadline)
            .await;
        self.push(connection, &addressed, &mut fates, deadline).await;
        let outcomes = fates.decided();
        Published {
            full: full.filter(|_| matches!(outcomes, Err(SinkError::Busy { .. }))),
            outcomes,
        }
    }

    /// The events that can be pushed; the others are decided here.
    fn addressed<'a>(&self, batch: &'a [Event], fates: &mut Fates) -> Vec<Addressed<'a>> {
        let mut addressed = Vec::with_capacity(batch.len());
        for (position, event) in batch.iter().enumerate() {
            if !event.body.trim_ascii_start().starts_with(b"{") {
                fates.reject(position, DropReason::Refused, "not a JSON object".to_owned());
                continue;
            }
            match self.key.select(event) {
                Some(key) => addressed.push(Addressed { position, event, key }),
                None => fates.reject(
                    position,
                    DropReason::NoDestination,
                    "no key for it: neither a rule of keys nor key fits, for want of a field".to_owned(),
                ),
            }
        }
        addressed
    }

    /// Asks for the length of each list and takes out what belongs to one that is too long; gives the first such list.
    async fn leave_out_full_lists(
        &self,
        connection: &mut Connection<impl Wire>,
        addressed: &mut Vec<Addressed<'_>>,
        fates: &mut Fates,
        deadline: &Deadline,
    ) -> Option<String> {
        let most = self.max_list_len?;
        let lists: BTreeSet<String> = addressed.iter().map(|event| event.key.clone()).collect();
        if lists.is_empty() {
            return None;
        }
        let mut commands = Commands::default();
        for list in &lists {
            commands.push(redis::cmd("LLEN").arg(list));
        }
        let exchange = connection.exchange(&commands, deadline).await;
        if let Some(broken) = exchange.broken {
            addressed.clear();
            fates.broken = Some(broken);
            return None;
        }
        let mut full = None;
        let mut hindered = BTreeMap::new();
        for (list, reply) in lists.into_iter().zip(exchange.replies) {
            if let Err(error) = room(connection.name(), &list, most, &reply) {
                if matches!(reply, Value::Int(_)) {
                    full.get_or_insert_with(|| list.clone());
                }
                hindered.insert(list, Hindrance::from(error));
            }
        }
        addressed.retain(|event| match hindered.get_mut(&event.key) {
            Some(hindrance) => {
                fates.retry(event.position, hindrance);
                false
            }
            None => true,
        });
        full
    }

    /// Whether there is room in a list that had none.
    pub(super) async fn has_room(
        &self,
        connection: &mut Connection<impl Wire>,
        list: &str,
        deadline: &Deadline,
    ) -> Result<(), SinkError> {
        let Some(most) = self.max_list_len else {
            return Ok(());
        };
        let mut commands = Commands::default();
        commands.push(redis::cmd("LLEN").arg(list));
        let exchange = connection.exchange(&commands, deadline).await;
        match (exchange.broken, exchange.replies.first()) {
            (Some(broken), _) => Err(broken),
            (None, Some(reply)) => room(connection.name(), list, most, reply),
            (None, None) => Ok(()),
        }
    }

    /// See [`Output::encoded`](crate::output::Output::encoded).
    pub(super) fn encoded(&self, batch: &[Event]) -> Vec<u8> {
        let mut fates = Fates::new(batch.len());
        let addressed = self.addressed(batch, &mut fates);
        self.commands(&addressed, &mut fates).0.into_bytes()
    }

    fn command(&self) -> &'static str {
        match self.datatype {
            RedisType::List => "RPUSH",
            RedisType::Channel => "PUBLISH",
        }
    }

    /// A command for each event, and the events that have one. Those that cannot have one are decided here.
    fn commands<'a, 'b>(
        &self,
        addressed: &'a [Addressed<'b>],
        fates: &mut Fates,
    ) -> (Commands, Vec<&'a Addressed<'b>>) {
        let mut commands = Commands::default();
        let mut pushed = Vec::with_capacity(addressed.len());
        let mut message = Vec::new();
        for event in addressed {
            message.clear();
            match self.encoder.encode(event.event, &mut message) {
                Ok(()) => {
                    commands.push(redis::cmd(self.command()).arg(&event.key).arg(&message));
                    pushed.push(event);
                }
                Err(outcome) => fates.set(event.position, outcome),
            }
        }
        (commands, pushed)
    }

    async fn push(
        &self,
        connection: &mut Connection<impl Wire>,
        addressed: &[Addressed<'_>],
        fates: &mut Fates,
        deadline: &Deadline,
    ) {
        let command = self.command();
        let (commands, pushed) = self.commands(addressed, fates);
        if pushed.is_empty() {
            return;
        }
        let exchange = connection.exchange(&commands, deadline).await;
        let mut hung_up_on = false;
        for (Addressed { position, event, key }, reply) in pushed.into_iter().zip(exchange.replies) {
            let doing = || format!("{command} to {}", shown(key));
            let error = match reply {
                Value::Int(_) => {
                    fates.set(*position, Outcome::Acked);
                    continue;
                }
                Value::ServerError(error) => refusal::of(connection.name(), &doing(), &error),
                _ => unexpected(connection.name(), &doing()),
            };
            if let SinkError::TooLarge(message) = error {
                let message = format!("{message}: the event has {} bytes", event.body.len());
                fates.reject(*position, DropReason::TooLarge, message);
                hung_up_on = true;
            } else {
                fates.retry(*position, &mut error.into());
            }
        }
        // After an event that is too large the server hangs up, which is told with that event.
        fates.broken = exchange.broken.filter(|_| !hung_up_on);
    }
}

/// Whether a list takes more, by the reply to `LLEN`.
fn room(host: &str, list: &str, most: u64, reply: &Value) -> Result<(), SinkError> {
    let doing = || format!("LLEN of {}", shown(list));
    match reply {
        Value::Int(length) if u64::try_from(*length).is_ok_and(|length| length >= most) => {
            Err(SinkError::Busy {
                message: format!(
                    "{host}: list {} holds {length} entries and max_list_len is {most}: nothing is pushed until its \
                     reader has taken some",
                    shown(list)
                ),
                retry_after: None,
            })
        }
        Value::Int(_) => Ok(()),
        Value::ServerError(error) => Err(refusal::of(host, &doing(), error)),
        _ => Err(unexpected(host, &doing())),
    }
}

fn unexpected(host: &str, doing: &str) -> SinkError {
    SinkError::Protocol(format!(
        "{host}: {doing}: the reply is not one of Redis: is something else in between?"
    ))
}

/// A key for a message: quoted, and not too long.
fn shown(key: &str) -> String {
    let text: String = key.chars().take(MAX_SHOWN_KEY).collect();
    let more = if text.len() < key.len() { "…" } else { "" };
    format!("{text:?}{more}")
}
