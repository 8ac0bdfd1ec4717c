//! What is written down while a cluster is tortured: one JSON object a line.
//!
//! Owns the lines. They say what was seen and done from outside, with the harness' own monotonic clock; the checker
//! reads nothing else. Does no I/O.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Microseconds of the harness' monotonic clock.
pub(crate) type Micros = u64;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// When.
    pub(crate) at: Micros,
    /// What.
    #[serde(flatten)]
    pub(crate) what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
pub(crate) enum What {
    /// The cluster and what it is measured by; the first line.
    Setup(Setup),
    /// A replica's process.
    Process(Process),
    /// The connection between a replica and something it needs.
    Link(Link),
    /// Progress of a fault.
    Fault(Fault),
    /// The moment at which a fault took the leadership from somebody, or might have.
    Strike(Strike),
    /// Between these moments no replica could deliver ticks in time.
    Unable(Span),
    /// The harness itself did not get the processor between these moments: times measured then mean little.
    Stall(Span),
    /// An answer of an endpoint, or its lack.
    Probe(Probe),
    /// A bulk request that was read whole.
    Send(Send),
    /// What became of the answer to a bulk request.
    Answer(Answer),
    /// What must have been delivered; the last line.
    Truth(Truth),
}

/// The cluster and what it is measured by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// Its name.
    pub(crate) cluster: String,
    /// Where its faults come from.
    pub(crate) seed: u64,
    /// Microseconds since 1970 at the clock's zero.
    pub(crate) epoch: Micros,
    /// How long a lease lasts.
    pub(crate) ttl: Micros,
    /// What is polled on ticks.
    pub(crate) gauges: Vec<Gauge>,
    /// The longest takeover of each kind that is allowed.
    pub(crate) bounds: BTreeMap<Class, Micros>,
}

/// A series of records, one for each tick.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gauge {
    /// The type of its events.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The VDC, where there is one series for each.
    pub(crate) vdc: Option<String>,
    /// Seconds between ticks.
    pub(crate) interval: i64,
}

/// How the leadership is taken away, as far as the allowed time depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Class {
    /// The leader hands over.
    Orderly,
    /// The leader is killed and started again at once, on the same host.
    Crash,
    /// The leader is gone, and its host with it.
    Host,
    /// The leader is there but cut off or stopped.
    Partition,
    /// Somebody took the lease or the key away.
    Administrator,
    /// etcd was away as a whole; counted from its return.
    Quorum,
    /// Several things at once.
    Compound,
    /// A single member of etcd fails: nothing may happen.
    Member,
    /// Something that must not change who leads, but may.
    Other,
}

/// Whether a strike must lead to a new term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Expect {
    /// It must.
    Takeover,
    /// It may.
    Either,
    /// It must not.
    Same,
}

/// A step in the life of a replica's process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Whose.
    pub(crate) replica: String,
    /// `started`, `signalled`, `ended` (as it was told to), `died` (by itself).
    pub(crate) step: String,
    /// The signal, the exit code.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) detail: String,
}

/// A connection was interfered with, or set free.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Link {
    /// Whose.
    pub(crate) replica: String,
    /// `etcd`, `output` or `ecs`.
    pub(crate) target: String,
    /// What the proxy does from here on; `pass` = nothing.
    pub(crate) verb: String,
}

/// Progress of a fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fault {
    /// Counts the faults of the whole run.
    pub(crate) number: usize,
    /// Which.
    pub(crate) name: String,
    /// `begin`, `resumed` (what stood still is about to run again), `end`, `settled`, `unsettled`.
    pub(crate) step: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) detail: String,
}

/// The moment at which a fault struck.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Strike {
    /// The fault's number.
    pub(crate) fault: usize,
    /// The fault's name, under which its takeovers are reported.
    pub(crate) name: String,
    /// What it is measured by.
    pub(crate) class: Class,
    /// What must come of it.
    pub(crate) expect: Expect,
    /// The newest term that was known.
    pub(crate) term: u64,
    /// Whom it struck.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) replica: String,
}

/// A span of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Span {
    /// From here.
    pub(crate) from: Micros,
    /// To here, exclusive.
    pub(crate) to: Micros,
    /// Why.
    pub(crate) why: String,
}

/// A question to an endpoint. Of equal answers in a row the first and the last are written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Probe {
    /// Who was asked.
    pub(crate) replica: String,
    /// What was asked.
    pub(crate) path: String,
    /// When the question was sent.
    pub(crate) sent: Micros,
    /// When the answer had come, or was given up.
    pub(crate) got: Micros,
    /// 0 = no answer.
    pub(crate) status: u16,
    /// `term` of the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) term: Option<u64>,
    /// `state` of the body.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) state: String,
}

/// A bulk request, at the moment when it had been read whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Send {
    /// Counts the requests.
    pub(crate) number: u64,
    /// In the order of the body.
    pub(crate) items: Vec<Item>,
}

/// One event of a bulk request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Item {
    /// `_id`
    pub(crate) id: String,
    /// `_index`
    pub(crate) index: String,
    /// The term of the sender; `None` = it does not say.
    pub(crate) term: Option<u64>,
    /// The sender.
    pub(crate) replica: String,
    /// The type of the event.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The VDC it is about.
    pub(crate) vdc: String,
    /// The tick it was polled at, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tick: Option<i64>,
    /// Which record of the source it is; empty where there is only one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) key: String,
    /// The time of the event, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<i64>,
    /// It tells that something could not be polled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) failure: bool,
    /// It was stored; otherwise its id was known already.
    pub(crate) stored: bool,
}

/// What became of the answer to a bulk request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Of which request.
    pub(crate) number: u64,
    /// It was handed to the connection; otherwise the sender had hung up before.
    pub(crate) given: bool,
}

/// What must have been delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Truth {
    /// Ticks from here, seconds since 1970.
    pub(crate) from: i64,
    /// Ticks up to here, exclusive.
    pub(crate) to: i64,
    /// Every record there was, and whether it had to be delivered.
    pub(crate) records: Vec<Record>,
}

/// A record of the source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The type of its event.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Which, as in [`Item::key`].
    pub(crate) key: String,
    /// Its time, seconds since 1970.
    pub(crate) time: i64,
    /// It lies within the span that was observed and had time to be seen.
    pub(crate) due: bool,
}
