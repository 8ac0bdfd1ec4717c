//! One API to poll, as the collector meets it.
//!
//! Owns the types only; [`super::commands`] reads them.

use std::time::Duration;

use super::{Step, WindowSpec};

/// One API to poll.
#[derive(Clone)]
pub struct Command {
    /// `type`: the value of `ecs-event-type`, unique.
    pub kind: String,
    /// Path and query; `%s` stands for the node id at level `node`.
    pub uri: String,
    /// Whom to ask.
    pub level: Level,
    /// Time between ticks, at least 1 s. Ticks are multiples of it since 1970, UTC.
    pub interval: Duration,
    /// GET unless set.
    pub method: Method,
    /// Request body; a batched command makes its own.
    pub body: Option<String>,
    /// Extra request headers.
    pub headers: Vec<(String, String)>,
    /// Time windows instead of the present state.
    pub window: Option<WindowSpec>,
    /// Following pages.
    pub paginate: Option<Paginate>,
    /// One POST per group of listed names (billing).
    pub batch: Option<Batch>,
    /// JSON pointer to the records; `None` = found by the answer's shape.
    pub records: Option<String>,
    /// Fields that identify a record; empty = `id` where a record has one, else its whole content.
    pub key: Vec<String>,
    /// The field with the record's own time; `None` = the tick.
    pub time_field: Option<String>,
    /// `processors`: for the events of this command, before those of all commands.
    pub processors: Vec<Step>,
}

/// Whom a command asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// One VDC answers for the customer: the first configured one that can.
    System,
    /// Each VDC, through any of its nodes.
    Vdc,
    /// Each node of each VDC; `%s` in the URI is the node's id.
    Node,
    /// Directory tables: the two diagnostics answers of one node of each VDC, joined.
    Dtinfo,
}

/// The HTTP method of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET, no body.
    Get,
    /// POST with a JSON body.
    Post,
}

/// Answers in several pages.
#[derive(Debug, Clone)]
pub struct Paginate {
    /// Field of the answer with the next page's marker; absent, null or empty = last page.
    pub marker: String,
    /// Query parameter the marker is sent in.
    pub param: String,
    /// Page size to ask for, sent as `limit`; `None` = the server's default.
    pub limit: Option<u32>,
}

/// One POST per `size` names out of a list that is read first.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Path of the list.
    pub list_uri: String,
    /// JSON pointer to the list in its answer.
    pub list_records: String,
    /// Field of each entry that is the name.
    pub list_field: String,
    /// Pages of the list.
    pub list_paginate: Option<Paginate>,
    /// Names in one POST, at least 1.
    pub size: usize,
    /// The body is `{"<body_key>": [names]}`.
    pub body_key: String,
    /// Path to ask per name (`%s`) where the POST is refused with 404, 405 or 501.
    pub fallback_uri: Option<String>,
}
