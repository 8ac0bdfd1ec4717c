//! Makes events of records.
//!
//! Owns the choice of a record's time, key and node, and so of its id. The id is built from the configured names
//! of customer and VDC and not from ECS's: those are known before the first answer, so that a record has the
//! same id whether or not the inventory could be read. Nothing here asks anybody.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::processing::process;
use super::{Harvest, Round, Unit, times, window};
use crate::config::Level;
use crate::decode::DecodeError;
use crate::document::{Facts, Frame, Place};
use crate::ecs::{Client, EcsError, Inventory, Node};
use crate::event::{Event, EventId};
use crate::transform::{Found, transform};

/// Turns the records of one target's answers into events.
pub(super) struct Emitter<'a> {
    unit: &'a Unit,
    frame: Frame,
    inventory: Option<Arc<Inventory>>,
    node: Option<Arc<Node>>,
    round: &'a Round,
    harvest: &'a mut Harvest,
    members: Vec<u8>,
    took: Duration,
}

impl<'a> Emitter<'a> {
    pub(super) fn new(
        unit: &'a Unit,
        client: &Client,
        node: Option<Arc<Node>>,
        round: &'a Round,
        harvest: &'a mut Harvest,
    ) -> Self {
        let context = &unit.context;
        let frame = Frame::new(
            &context.identity,
            &Unit::origin(client),
            &unit.command.kind,
            unit.event_kind,
            context.tenure.term(),
            round.tick,
            context.clock.now(),
        );
        let inventory = client.inventory();
        Self {
            unit,
            frame,
            inventory,
            node,
            round,
            harvest,
            members: Vec::new(),
            took: Duration::ZERO,
        }
    }

    /// The round trip of the answer that the next records are from.
    pub(super) fn answered(&mut self, took: Duration) {
        self.took = took;
    }

    /// The node that the following records are about.
    pub(super) fn about(&mut self, node: Option<Arc<Node>>) {
        self.node = node;
    }

    /// Emits one record. `alone`: it is the whole answer. Fails only if the record is broken or everything ends;
    /// waits while the queue is full.
    pub(super) async fn record(&mut self, record: &[u8], alone: bool) -> Result<(), Broken> {
        self.members.clear();
        let found = transform(record, &self.unit.rules, &mut self.members).map_err(Broken::Record)?;
        let own_time = self.own_time(&found);
        if let (Some(time), Some(spec), Some(window)) =
            (own_time, &self.unit.command.window, self.round.window)
            && time >= window.end
            && time
                < window
                    .end
                    .checked_add(times::granule(spec.format))
                    .unwrap_or(Timestamp::MAX)
        {
            // Whether the end is inclusive is not documented: what is stamped with it belongs to the next window.
            return Ok(());
        }
        self.check_complete(&found);
        let time =
            own_time.unwrap_or_else(|| self.round.window.map_or(self.round.tick, |window| window.start));
        let id = self.id(record, &found, time, alone);
        if !self.harvest.take(id, time) {
            return Ok(());
        }
        let node = self.node.clone().or_else(|| self.node_of(&found));
        let facts = Facts {
            id,
            timestamp: own_time.unwrap_or(self.round.tick),
            took: self.took,
            node: node.as_deref().map(place),
            error: None,
        };
        let body = self.frame.document(&facts, &self.members);
        self.put(id, facts.timestamp, body).await.map_err(Broken::Ended)
    }

    /// Emits the event of a failed target.
    pub(super) async fn failure(&mut self, error: &EcsError) -> Result<(), EcsError> {
        let stream = &self.unit.stream;
        let tick = self.round.tick.as_millisecond().to_be_bytes();
        let node = self.node.as_ref().map_or("", |node| node.id.as_str());
        let message = error.to_string();
        let id = EventId::of([
            stream.customer.as_bytes(),
            stream.vdc.as_bytes(),
            stream.command.as_bytes(),
            b"error",
            node.as_bytes(),
            error.reason().as_bytes(),
            &tick,
        ]);
        let facts = Facts {
            id,
            timestamp: self.round.tick,
            took: Duration::ZERO,
            node: self.node.as_deref().map(place),
            error: Some((&message, error.reason())),
        };
        let Some(body) = process(self.unit, self.frame.document(&facts, b"")) else {
            return Ok(());
        };
        let event = Event::new(
            id,
            self.round.tick,
            Arc::clone(&stream.command),
            body,
            self.harvest.acks.issue(),
        );
        // Never held back: it tells that something is wrong now.
        self.unit
            .context
            .queue
            .push(event)
            .await
            .map_err(|_| EcsError::Stopped)
    }

    async fn put(&mut self, id: EventId, timestamp: Timestamp, body: bytes::Bytes) -> Result<(), EcsError> {
        let unit = self.unit;
        unit.series.events.inc();
        let ack = self.harvest.acks.issue();
        let Some(body) = process(unit, body) else {
            ack.dropped();
            return Ok(());
        };
        let event = Event::new(id, timestamp, Arc::clone(&unit.stream.command), body, ack);
        self.harvest.put(event, &unit.context.queue).await
    }

    fn found<'f>(&self, found: &'f Found, name: &str) -> Option<&'f str> {
        let index = self.unit.rules.wanted.iter().position(|wanted| wanted == name)?;
        found.get(index)?.as_deref()
    }

    fn own_time(&self, found: &Found) -> Option<Timestamp> {
        times::parse(self.found(found, self.unit.command.time_field.as_deref()?)?)
    }

    /// A row may say up to when its source is complete.
    fn check_complete(&mut self, found: &Found) {
        if let (Some(spec), Some(window)) = (&self.unit.command.window, self.round.window)
            && let Some(field) = &spec.complete_field
            && let Some(complete) = self.found(found, field).and_then(times::parse)
            && complete < window.end
        {
            self.harvest.mark_incomplete();
        }
    }

    fn id(&self, record: &[u8], found: &Found, time: Timestamp, alone: bool) -> EventId {
        let unit = self.unit;
        let time = time.as_millisecond().to_be_bytes();
        let node = match (unit.command.level, &self.node) {
            (Level::Node, Some(node)) => node.id.as_str(),
            _ => "",
        };
        let frame: [&[u8]; 5] = [
            unit.stream.customer.as_bytes(),
            unit.stream.vdc.as_bytes(),
            unit.stream.command.as_bytes(),
            node.as_bytes(),
            &time,
        ];
        let keys = || unit.keys.iter().map(|key| self.found(found, key));
        // Where nothing else names it, its content does.
        let content = (!alone && keys().all(|key| key.is_none())).then_some(record);
        let keys = keys().map(|key| key.unwrap_or_default().as_bytes());
        EventId::of(frame.into_iter().chain(keys).chain(content))
    }

    /// The node that a record is about, where a field of it is a node's id.
    fn node_of(&self, found: &Found) -> Option<Arc<Node>> {
        let inventory = self.inventory.as_ref()?;
        ["nodeId", "id"]
            .into_iter()
            .find_map(|name| inventory.node(self.found(found, name)?))
            .cloned()
    }
}

fn place(node: &Node) -> Place<'_> {
    Place {
        name: &node.name,
        ip: &node.ip,
        version: &node.version,
    }
}

/// Why a record did not become an event.
pub(super) enum Broken {
    /// It is not what it should be; the answer may be asked for again.
    Record(DecodeError),
    /// Everything ends.
    Ended(EcsError),
}

/// Windows whose rows are held back until they are known to be complete are given up to the clock at last: what
/// ECS says of its own progress is not reliable while it reconstructs metering data.
pub(super) const COMPLETE_AT_LAST: Duration = Duration::from_secs(3600);

impl Harvest {
    /// Whether the window is to be asked for again because its rows may still grow.
    pub fn wants_another_try(&self, round: &Round, lag: Duration, now: Timestamp) -> bool {
        self.is_incomplete()
            && round
                .window
                .is_some_and(|span| now < window::after(window::after(span.end, lag), COMPLETE_AT_LAST))
    }
}
