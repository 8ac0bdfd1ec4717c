//! What the replicas of a cluster tell each other through etcd.
//!
//! Owns the records below `<prefix>/<cluster>/`, their JSON and their keys. Every record carries the schema it was
//! written in: a reader that finds a newer one knows that it does not understand it. Unknown members are ignored, so
//! that two releases can work side by side during an upgrade. Holds no secret and does no I/O.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The schema this release writes, and the newest it understands.
pub const SCHEMA: u32 = 1;

/// Key of the [`LeaderRecord`], on the leader's lease. Its create-revision is the term.
pub const LEADER: &str = "leader";
/// Keys of [`MemberRecord`]s, each on its member's lease: this and the instance's name.
pub const MEMBERS: &str = "members/";
/// Key of the [`SwitchoverRecord`].
pub const SWITCHOVER: &str = "switchover";
/// The key whose modification revision is the newest term: written together with the leader key, and on no lease, so
/// that no term passes without a trace.
pub const TERM: &str = "term";
/// Key of the [`ConfigRecord`].
pub const CONFIG: &str = "config";
/// Keys of [`HistoryRecord`]s: this and [`history_key`]'s number.
pub const HISTORY: &str = "history/";
/// Keys of checkpoints: this and the stream's name.
pub const CHECKPOINTS: &str = "checkpoint/";

/// The key of a term's history, in the order of terms.
pub fn history_key(term: u64) -> String {
    format!("{HISTORY}{term:020}")
}

/// The key of a member.
pub fn member_key(instance: &str) -> String {
    format!("{MEMBERS}{instance}")
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderRecord {
    /// [`SCHEMA`]
    pub schema: u32,
    /// `ha.instance`
    pub instance: String,
    /// New with every start of a process: tells a restarted instance from its predecessor.
    pub incarnation: String,
    /// Where its endpoints answer.
    pub address: String,
    /// Its release.
    pub version: String,
    /// What it was configured with, see [`MemberRecord::config_hash`].
    pub config_hash: String,
    /// See [`MemberRecord::identity_hash`].
    pub identity_hash: String,
    /// When it won.
    pub since: Timestamp,
}

/// A replica that is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// [`SCHEMA`]
    pub schema: u32,
    /// `ha.instance`
    pub instance: String,
    /// See [`LeaderRecord::incarnation`].
    pub incarnation: String,
    /// Where its endpoints answer.
    pub address: String,
    /// The word of [`crate::status::State`].
    pub state: String,
    /// Its release.
    pub version: String,
    /// Hash of the configuration but for what belongs to one host; secrets went in as keyed hashes.
    pub config_hash: String,
    /// Hash of what makes the ids of events and the names of streams.
    pub identity_hash: String,
    /// `ha.priority`; 0 never leads.
    pub priority: u32,
    /// `ha.ttl`, milliseconds: how long its key outlives it.
    pub ttl_ms: u64,
    /// When it started.
    pub since: Timestamp,
    /// Whether it could work: output and VDCs seen from there. `None` = not probed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

/// What a replica sees of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Every output can be reached.
    pub output: bool,
    /// At least one node of each VDC answers.
    pub ecs: bool,
    /// When it looked.
    pub at: Timestamp,
}

/// A change of leader that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchoverRecord {
    /// [`SCHEMA`]
    pub schema: u32,
    /// Who leads and shall not.
    pub leader: String,
    /// Who shall; `None` = anybody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<String>,
    /// The instance that took the order.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why: [`Reason::Switchover`] or [`Reason::Yield`].
    pub reason: Reason,
}

/// What holds for the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigRecord {
    /// [`SCHEMA`]
    pub schema: u32,
    /// Nobody takes over while this is set.
    #[serde(default)]
    pub pause: bool,
}

/// What stands under [`TERM`]: it is the revision that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TermRecord {
    /// [`SCHEMA`]
    pub schema: u32,
    /// The time for which the leader's lease was granted, milliseconds: it outlives the lease here.
    #[serde(default)]
    pub ttl_ms: u64,
}

/// One term.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRecord {
    /// [`SCHEMA`]
    pub schema: u32,
    /// The term: the fencing token.
    pub term: u64,
    /// Who led before; `None` = nobody is known.
    pub from: Option<String>,
    /// Who leads in this term.
    pub to: String,
    /// Why the leadership came here.
    pub reason: Reason,
    /// When.
    pub at: Timestamp,
    /// How long nobody led before, as far as the winner saw it, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_ms: Option<u64>,
    /// Why this term is over, written when all work of it had ended: whoever reads it need not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Reason>,
}

/// Why the leadership went from one to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// There was none before.
    Startup,
    /// The leader was stopped in order.
    Graceful,
    /// Somebody asked for it.
    Switchover,
    /// The leader's lease ran out: it crashed, hung or was cut off.
    Expired,
    /// The leader is alive and lost its key: an administrator, or etcd.
    Lost,
    /// The leader was blind and a standby was not.
    Yield,
}

impl Reason {
    /// Whether the leader gave it up on purpose.
    pub fn is_orderly(self) -> bool {
        matches!(self, Self::Graceful | Self::Switchover | Self::Yield)
    }

    /// The word in records, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Graceful => "graceful",
            Self::Switchover => "switchover",
            Self::Expired => "expired",
            Self::Lost => "lost",
            Self::Yield => "yield",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
