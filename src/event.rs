//! One event on its way to the outputs.
//!
//! Owns [`Event`], [`EventId`] and its [`SCHEME`]. An event carries its finished JSON document as bytes: it is encoded once,
//! before the queue, so that the queue can be bounded in bytes and no output encodes it again. Nothing here
//! reads a clock or knows an output.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use crate::json;
use crate::pipeline::ack::Ack;
use crate::pipeline::queue::Room;

/// How ids are made. It grows when the parts of an id, or what they are taken from, change: two replicas of different
/// schemes would send one record under two ids, so they must not lead by turns.
pub const SCHEME: u32 = 1;

/// The stable identity of a record: the same record polled twice, by whatever replica, has the same id.
///
/// 128 bits of SHA-256 over (customer, VDC id, command type, the record's key, the record's time or the tick).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId([u8; 16]);

impl EventId {
    /// The id of the given parts. Each part is hashed with its length, so that no two lists of parts collide.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
        for part in parts {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finish().as_ref()[..16]);
        Self(id)
    }

    /// The id as bytes.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The id of [`EventId::to_bytes`].
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id written as [`fmt::Display`] writes it: 32 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 {
            return None;
        }
        u128::from_str_radix(text, 16)
            .ok()
            .map(|number| Self(number.to_be_bytes()))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One event: a JSON document with the few facts about it that the way to the outputs needs.
#[derive(Debug, Clone)]
pub struct Event {
    /// `event.id`.
    pub id: EventId,
    /// `@timestamp`: the record's own time where it has one, else the tick.
    pub timestamp: Timestamp,
    /// `ecs-event-type`: the command's type.
    pub kind: Arc<str>,
    /// The complete document: one JSON object in UTF-8, without a line break.
    pub body: Bytes,
    /// Tells the poll what became of this event. A copy of the event (for another output) has its own.
    pub ack: Ack,
    /// The room in the queue; shared by all copies.
    pub room: Option<Arc<Room>>,
}

impl Event {
    /// An event that is not in the queue yet.
    pub fn new(id: EventId, timestamp: Timestamp, kind: Arc<str>, body: Bytes, ack: Ack) -> Self {
        Self {
            id,
            timestamp,
            kind,
            body,
            ack,
            room: None,
        }
    }

    /// Bytes that this event holds in memory, its bookkeeping included.
    pub fn size(&self) -> usize {
        self.body.len() + size_of::<Self>()
    }

    /// The field at a dotted or bracketed path (`ecs-event-type`, `event.dataset`, `[event][dataset]`), read
    /// out of the document without decoding the rest. Scalars only: an object, a list or null is `None`.
    pub fn field(&self, path: &str) -> Option<String> {
        field(&self.body, path)
    }
}

/// The scalar at `path` of the JSON object `document`, as text; see [`Event::field`].
pub fn field(document: &[u8], path: &str) -> Option<String> {
    let found = json::Found::Json(json::at(document, path)?);
    if found.kind() == json::Kind::Null {
        return None;
    }
    found.scalar().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_depend_on_every_part_and_on_where_parts_end() {
        let id = |parts: &[&str]| EventId::of(parts.iter().map(|part| part.as_bytes()));
        assert_eq!(id(&["a", "b"]), id(&["a", "b"]));
        assert_ne!(id(&["a", "b"]), id(&["ab", ""]));
        assert_ne!(id(&["a", "b"]), id(&["b", "a"]));
        let text = id(&["a"]).to_string();
        assert_eq!(text.len(), 32);
        assert_eq!(EventId::parse(&text), Some(id(&["a"])));
        assert_eq!(EventId::parse("zz"), None);
    }

    #[test]
    fn finds_fields_by_dotted_and_bracketed_path() {
        let document = br#"{"a":{"b":"x","c":[1]},"d.e":2,"f":true,"n":null}"#;
        assert_eq!(field(document, "a.b").as_deref(), Some("x"));
        assert_eq!(field(document, "[a][b]").as_deref(), Some("x"));
        assert_eq!(field(document, "d.e").as_deref(), Some("2"));
        assert_eq!(field(document, "f").as_deref(), Some("true"));
        for missing in ["a", "a.c", "n", "x", "a.b.c", "[", "[a", ""] {
            assert_eq!(field(document, missing), None, "{missing}");
        }
    }
}
