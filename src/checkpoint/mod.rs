//! How far each stream has been delivered.
//!
//! Owns [`Checkpoint`], its name ([`Stream`]) and where it is kept: a file on a single node, etcd in a cluster. It is
//! written only after every event up to it was acknowledged (or dropped for a counted reason); this module
//! trusts its callers on that.

pub mod fenced;
mod file;
pub mod ledger;
mod record;
mod store;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::EventId;

pub use fenced::{FencedError, FencedStore};
pub use file::{FileStore, StoreError};
pub use store::Store;

/// The name of a stream: one command of one VDC, or of the customer at level `system`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stream {
    /// `customername`
    pub customer: Arc<str>,
    /// `vdcname`; empty at level `system`.
    pub vdc: Arc<str>,
    /// The command's type.
    pub command: Arc<str>,
}

impl Stream {
    /// The name under which its checkpoint is kept. A slash within a name is told from those between them, so that
    /// no two streams share a checkpoint.
    fn key(&self) -> String {
        let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
        [&self.customer, &self.vdc, &self.command]
            .map(|name| escaped(name))
            .join("/")
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.customer, self.vdc, self.command)
    }
}

/// How far a stream has been delivered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Gauge commands: the last tick whose events were all acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tick: Option<Timestamp>,
    /// Windowed commands: everything before this moment is delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Ids of delivered records that the next question may give again, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<Recent>,
}

/// A record that was delivered not long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recent {
    /// Its id.
    #[serde(with = "id")]
    pub id: EventId,
    /// Its own time.
    pub at: Timestamp,
}

mod id {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::event::EventId;

    pub(super) fn serialize<S: Serializer>(id: &EventId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EventId, D::Error> {
        let text = String::deserialize(deserializer)?;
        EventId::parse(&text).ok_or_else(|| D::Error::custom("not an event id"))
    }
}
