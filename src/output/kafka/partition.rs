//! Which partition of its topic a message goes to.
//!
//! Owns the choice and its memory: a message that is sent again goes where it went before, as long as the topic has as
//! many partitions. Knows no broker.

use std::collections::HashMap;

use super::message::Message;
use crate::config::{self, Strategy};
use crate::event::EventId;

/// Choices of messages that nobody asks for any more are forgotten beyond this.
const REMEMBERED: usize = 100_000;

/// Partitions of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Partitions {
    /// How many there are, with a leader or without.
    pub(super) count: usize,
    /// Those that have a leader.
    pub(super) reachable: Vec<i32>,
}

/// Chooses.
#[derive(Debug)]
pub(super) struct Chooser {
    strategy: Strategy,
    reachable_only: bool,
    /// Where each topic stands, for strategies that go on from event to event.
    standing: HashMap<String, Standing>,
    /// What was chosen, and among how many.
    chosen: HashMap<EventId, (i32, usize)>,
}

#[derive(Debug)]
struct Standing {
    position: usize,
    events: u32,
}

impl Chooser {
    pub(super) fn new(partition: &config::Partition) -> Self {
        Self {
            strategy: partition.strategy.clone(),
            reachable_only: partition.reachable_only,
            standing: HashMap::new(),
            chosen: HashMap::new(),
        }
    }

    /// The partition for `message`; `None` where there is none to choose from.
    pub(super) fn choose(&mut self, message: &Message, partitions: &Partitions) -> Option<i32> {
        let count = if self.reachable_only {
            partitions.reachable.len()
        } else {
            partitions.count
        };
        if let Some((partition, among)) = self.chosen.get(&message.id)
            && *among == count
        {
            return Some(*partition);
        }
        let position = self.position(message, count)?;
        let partition = if self.reachable_only {
            *partitions.reachable.get(position)?
        } else {
            i32::try_from(position).ok()?
        };
        if self.chosen.len() >= REMEMBERED {
            self.chosen.clear();
        }
        self.chosen.insert(message.id, (partition, count));
        Some(partition)
    }

    /// The message has come to its end.
    pub(super) fn forget(&mut self, id: EventId) {
        self.chosen.remove(&id);
    }

    fn position(&mut self, message: &Message, count: usize) -> Option<usize> {
        if count == 0 {
            return None;
        }
        let (group_events, next): (_, fn(usize, usize) -> usize) = match &self.strategy {
            Strategy::Hash { .. } => {
                return Some(match message.hash {
                    Some(hash) => hash as usize % count,
                    None => fastrand::usize(..count),
                });
            }
            Strategy::Random { group_events } => (*group_events, |_, count| fastrand::usize(..count)),
            Strategy::RoundRobin { group_events } => (*group_events, |last, count| (last + 1) % count),
        };
        let standing = self
            .standing
            .entry(message.topic.clone())
            .or_insert_with(|| Standing {
                position: fastrand::usize(..count),
                events: 0,
            });
        if standing.events >= group_events {
            standing.position = next(standing.position, count);
            standing.events = 0;
        }
        standing.events += 1;
        // There may be fewer than when it was chosen.
        standing.position %= count;
        Some(standing.position)
    }
}
