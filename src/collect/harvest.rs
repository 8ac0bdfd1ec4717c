//! What one poll has brought in so far.
//!
//! Owns the recognition of records that were delivered before (the same id in this poll, a failed try of it, or
//! the last ones), and the holding back of rows that may be unfinished. Kept over the tries of one window, so
//! that a repeated try emits only what is new.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use crate::checkpoint::Recent;
use crate::ecs::EcsError;
use crate::event::{Event, EventId};
use crate::pipeline::ack::PollAcks;
use crate::pipeline::queue::Queue;

/// Most ids kept for the next poll. More records than that in one overlap, and some may be sent again, with the
/// same id.
const MOST_RECENT: usize = 5000;

/// The result of a poll, in the making.
#[derive(Debug, Default)]
pub struct Harvest {
    /// Tells when every event has ended.
    pub acks: PollAcks,
    seen: HashSet<EventId>,
    delivered: HashMap<EventId, Timestamp>,
    fresh: Vec<Recent>,
    held: Option<Vec<Event>>,
    incomplete: bool,
    repeated: u64,
}

impl Harvest {
    /// A harvest that leaves out the records in `delivered`. With `hold`, events wait for [`Harvest::release`].
    pub fn new(delivered: &[Recent], hold: bool) -> Self {
        Self {
            delivered: delivered.iter().map(|recent| (recent.id, recent.at)).collect(),
            held: hold.then(Vec::new),
            ..Self::default()
        }
    }

    /// Whether a record is new; it is not any more afterwards.
    pub(super) fn take(&mut self, id: EventId, at: Timestamp) -> bool {
        let new = self.seen.insert(id);
        if new {
            self.fresh.push(Recent { id, at });
        }
        if !new || self.delivered.contains_key(&id) {
            self.repeated += 1;
            return false;
        }
        true
    }

    /// Puts an event into the queue, or aside where rows are held back.
    pub(super) async fn put(&mut self, event: Event, queue: &Queue) -> Result<(), EcsError> {
        match &mut self.held {
            Some(held) => {
                held.push(event);
                Ok(())
            }
            None => queue.push(event).await.map_err(|_| EcsError::Stopped),
        }
    }

    /// A row says that its source is not up to date yet.
    pub(super) fn mark_incomplete(&mut self) {
        self.incomplete = true;
    }

    /// Whether the answer may still grow.
    pub fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Lets the held events go into the queue.
    pub async fn release(&mut self, queue: &Queue) -> Result<(), EcsError> {
        for event in self.held.take().unwrap_or_default() {
            queue.push(event).await.map_err(|_| EcsError::Stopped)?;
        }
        Ok(())
    }

    /// The records of this poll and the last ones that lie at or after `from`: for the next poll to recognise.
    pub fn recent(&self, from: Timestamp) -> Vec<Recent> {
        let old = self.delivered.iter().map(|(id, at)| Recent { id: *id, at: *at });
        let mut recent: Vec<Recent> = old
            .filter(|recent| !self.seen.contains(&recent.id))
            .chain(self.fresh.iter().copied())
            .filter(|recent| recent.at >= from)
            .collect();
        recent.sort_by_key(|recent| (recent.at, recent.id));
        recent.drain(..recent.len().saturating_sub(MOST_RECENT));
        recent
    }

    /// The records of this poll alone, for commands without windows.
    pub fn fresh(&self) -> Vec<Recent> {
        self.fresh[self.fresh.len().saturating_sub(MOST_RECENT)..].to_vec()
    }

    pub(super) fn take_repeated(&mut self) -> u64 {
        std::mem::take(&mut self.repeated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recent(name: &str, second: i64) -> Recent {
        Recent {
            id: EventId::of([name.as_bytes()]),
            at: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn a_record_is_new_once() {
        let (old, new) = (recent("old", 1), recent("new", 5));
        let mut harvest = Harvest::new(&[old], false);
        assert!(!harvest.take(old.id, old.at));
        assert!(harvest.take(new.id, new.at));
        assert!(!harvest.take(new.id, new.at));
        assert_eq!(harvest.take_repeated(), 2);
        assert_eq!(harvest.recent(Timestamp::from_second(1).unwrap()), [old, new]);
        assert_eq!(harvest.recent(Timestamp::from_second(2).unwrap()), [new]);
        assert_eq!(harvest.fresh(), [old, new]);
    }

    #[test]
    fn records_that_did_not_come_again_are_still_remembered() {
        let old = recent("old", 7);
        let harvest = Harvest::new(&[old], false);
        assert_eq!(harvest.recent(Timestamp::from_second(7).unwrap()), [old]);
    }
}
