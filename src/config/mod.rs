//! The configuration as the program uses it: resolved, validated, every default filled in.
//!
//! Owns the types below and `load`. The file's own grammar (dotted keys, `${…}`, several files, `-E`) is in
//! the sub-modules and never leaves this folder; nothing here opens a socket or reads a clock.

mod address;
mod bytes;
mod commands;
mod customers;
mod dotted;
mod duration;
mod ecsbeat;
mod errors;
mod expand;
mod field;
mod general;
mod graft;
mod ha;
mod http;
mod load;
mod logging;
mod merge;
mod node;
mod output;
mod output_elasticsearch;
mod overrides;
mod permissions;
mod queue;
mod reader;
mod redact;
mod reference;
#[cfg(test)]
mod sample;
mod secret;
mod section;
mod selectors;
mod shown;
mod source;
mod ssl;
mod template;
mod url_option;
mod window;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

pub use errors::{Errors, Problem};
pub use ha::{Etcd, Ha};
pub use load::{Environment, Sources, load};
pub use secret::Secret;

/// The whole of `ecsbeat.yml`, resolved.
#[derive(Debug, Clone)]
pub struct Config {
    /// `name`: shown as `agent.name` and `host.name`; the host name when not set.
    pub name: String,
    /// `tags` of every event.
    pub tags: Vec<String>,
    /// `fields`: added to every event, below `fields` or at the root.
    pub fields: BTreeMap<String, Value>,
    /// `fields_under_root`: put `fields` at the root, where they win over fields of the same name.
    pub fields_under_root: bool,
    /// `max_procs`: worker threads of the pipeline; `None` = one per core, at most 4.
    pub max_procs: Option<usize>,
    /// `path.*`.
    pub path: Paths,
    /// `ecsbeat.*`.
    pub ecsbeat: Ecsbeat,
    /// `queue.mem.*`.
    pub queue: Queue,
    /// `output.*`: every enabled output. Never empty.
    pub outputs: Vec<OutputConfig>,
    /// `setup.template.*`.
    pub template: Template,
    /// `ha.*`; `None` = a single node.
    pub ha: Option<Ha>,
    /// `http.*`.
    pub http: Http,
    /// `logging.*`.
    pub logging: Logging,
    /// `shutdown_timeout`: how long an orderly stop may take before what is queued is given up (it is polled
    /// again after the next start).
    pub shutdown_timeout: Duration,
    /// Messages for the log: keys of Beats that have no effect here, deprecated names, and the like.
    pub warnings: Vec<String>,
    /// The merged configuration as YAML with `${…}` left unresolved and secrets replaced: for the start banner
    /// and `export config`.
    pub redacted_yaml: String,
}

/// `path.home`, `path.config`, `path.data`, `path.logs`.
#[derive(Debug, Clone)]
pub struct Paths {
    /// Directory of the binary unless set.
    pub home: PathBuf,
    /// Where relative `-c` files are looked for; `path.home` unless set.
    pub config: PathBuf,
    /// Checkpoints, `meta.json` and the lock; `path.home/data` unless set.
    pub data: PathBuf,
    /// Log files; `path.home/logs` unless set.
    pub logs: PathBuf,
}

/// `ecsbeat.*`.
#[derive(Debug, Clone)]
pub struct Ecsbeat {
    /// Run every command once, wait until all is acknowledged, exit.
    pub once: bool,
    /// Requests in flight per VDC, at least 1.
    pub max_in_flight: usize,
    /// Tries of one request, the first included, at least 1.
    pub max_attempts: u32,
    /// Bytes of one answer, after decompression, above which it is refused.
    pub max_response_size: u64,
    /// Whether a failed target gives an event of its own (`event.outcome: failure`).
    pub error_events: bool,
    /// How far back a windowed command reaches after an outage or a lost checkpoint.
    pub max_catch_up: Duration,
    /// The span over which polls that are due at the same moment are spread.
    pub start_jitter: Duration,
    /// The customers, in the order of the file. Never empty.
    pub customers: Vec<Customer>,
    /// The enabled commands. Types are unique.
    pub commands: Vec<Command>,
}

/// One customer: a set of VDCs that share credentials and are usually one federation.
#[derive(Clone)]
pub struct Customer {
    /// `customername`, unique.
    pub name: String,
    /// How long a token is used before it is renewed (`tokenexpiry`, default 3500 s).
    pub token_expiry: Duration,
    /// Budget of one request, from sending to the last byte (`reqtimeout`, default 30 s).
    pub request_timeout: Duration,
    /// How long a node is left alone after a failure (`blockduration`); zero = a node is never blocked.
    pub block_duration: Duration,
    /// How often VDC and node names are read anew (`cfgrefreshinterval`, default 3600 s); zero = only at start.
    pub refresh_interval: Duration,
    /// TLS towards ECS.
    pub ssl: Ssl,
    /// `http://`, `https://` or `socks5://` proxy towards ECS.
    pub proxy_url: Option<url::Url>,
    /// In the order of the file; the first is preferred by `system` commands. Never empty.
    pub vdcs: Vec<Vdc>,
}

/// One VDC (site) of a customer.
#[derive(Debug, Clone)]
pub struct Vdc {
    /// `vdcname`: the name in this configuration (`ecs-vdc-cfgname`), unique within the customer.
    pub name: String,
    /// The VDC's own, or the customer's.
    pub username: String,
    /// The VDC's own, or the customer's.
    pub password: Secret,
    /// Nodes or load balancers that answer for this VDC. Never empty, no doubles.
    pub nodes: Vec<NodeAddress>,
    /// Port of the diagnostics service that `dtinfo` asks (default 9101).
    pub diagnostics_port: u16,
}

/// Where a node's management API answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeAddress {
    /// Name, IPv4 or IPv6 address; IPv6 without brackets.
    pub host: String,
    /// 4443 unless given.
    pub port: u16,
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
}

/// How times are written into the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormat {
    /// `2026-03-02T10:41`, UTC.
    Minute,
    /// `2026-03-02T10:41:00`, UTC.
    Second,
    /// `2026-03-02T10:41:00Z`.
    Rfc3339,
    /// Seconds since 1970.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMillis,
}

/// A command that asks for spans of time, without gap and overlap, from its checkpoint on.
#[derive(Debug, Clone)]
pub struct WindowSpec {
    /// Window borders are multiples of it (UTC).
    pub step: Duration,
    /// The longest window asked for at once; at least `step`. Equal to `step` where the answer has one row for
    /// the whole window, so that all rows cover spans of one length.
    pub max_span: Duration,
    /// How far behind the clock a window must end, so that the answer is complete.
    pub lag: Duration,
    /// How far before the window's start the question reaches, for rows that appear late; rows already
    /// delivered are recognised by their id.
    pub overlap: Duration,
    /// How times are written.
    pub format: TimeFormat,
    /// Name of the query parameter of the start (inclusive).
    pub start_param: String,
    /// Name of the query parameter of the end (exclusive, or of the same granule).
    pub end_param: String,
    /// A field of each record that says up to when the source's data is complete (billing's `uptodate_till`): a
    /// window that ends later is asked again instead of being delivered unfinished.
    pub complete_field: Option<String>,
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

/// `queue.mem.*`.
#[derive(Debug, Clone)]
pub struct Queue {
    /// Most events held.
    pub events: usize,
    /// Most bytes held.
    pub max_bytes: usize,
    /// Most events handed out as one batch, and the number that is waited for.
    pub flush_min_events: usize,
    /// How long a batch waits to fill; zero = not at all.
    pub flush_timeout: Duration,
}

/// One enabled output.
#[derive(Debug, Clone)]
pub enum OutputConfig {
    /// `output.console`.
    Console(ConsoleOutput),
    /// `output.file`.
    File(FileOutput),
    /// `output.elasticsearch`.
    Elasticsearch(Box<ElasticsearchOutput>),
}

/// `output.console`.
#[derive(Debug, Clone)]
pub struct ConsoleOutput {
    /// Indented JSON.
    pub pretty: bool,
    /// Most events written at once; 0 = no limit.
    pub bulk_max_size: usize,
}

/// `output.file`.
#[derive(Debug, Clone)]
pub struct FileOutput {
    /// Directory; may hold `%{+yyyy.MM.dd}`, taken once at start.
    pub path: String,
    /// Files are `<filename>-YYYYMMDD[-N].ndjson`.
    pub filename: String,
    /// Size in KiB at which the file is closed and the next begun.
    pub rotate_every_kb: u64,
    /// Files kept, 2..1024.
    pub number_of_files: usize,
    /// Mode of new files.
    pub permissions: u32,
    /// Begin a new file at start.
    pub rotate_on_startup: bool,
    /// Indented JSON.
    pub pretty: bool,
}

/// `output.elasticsearch`, §3.2 of the Beats conventions; also OpenSearch.
#[derive(Clone)]
pub struct ElasticsearchOutput {
    /// Base URLs: scheme, host, port and path filled in, user info taken out. The path ends with `/`.
    pub hosts: Vec<url::Url>,
    /// Connections per host.
    pub workers: usize,
    /// Use all hosts at once, or one at random until it fails.
    pub loadbalance: bool,
    /// Basic authentication; never together with `api_key`.
    pub username: Option<String>,
    /// Basic authentication.
    pub password: Option<Secret>,
    /// `id:key`, plain.
    pub api_key: Option<Secret>,
    /// Extra query parameters of bulk requests.
    pub parameters: Vec<(String, String)>,
    /// Extra headers of every request.
    pub headers: Vec<(String, String)>,
    /// Proxy; `None` = `HTTP(S)_PROXY` of the environment unless `proxy_disable`.
    pub proxy_url: Option<url::Url>,
    /// Ignore the environment's proxy.
    pub proxy_disable: bool,
    /// gzip level of bulk bodies, 0..=9, 0 = plain.
    pub compression_level: u32,
    /// Index or data stream, a format string; default `ecsbeat-%{+yyyy.MM.dd}`.
    pub index: String,
    /// Rules tried before `index`.
    pub indices: Vec<SelectorRule>,
    /// Ingest pipeline, a format string.
    pub pipeline: Option<String>,
    /// Rules tried before `pipeline`.
    pub pipelines: Vec<SelectorRule>,
    /// Most events in one bulk; 0 = no limit but the batch.
    pub bulk_max_size: usize,
    /// Times a failed publish is repeated; `None` = for ever.
    pub max_retries: Option<u32>,
    /// Pauses between failed tries.
    pub backoff: BackoffConfig,
    /// Budget of one request.
    pub timeout: Duration,
    /// Idle connections are closed after this.
    pub idle_connection_timeout: Duration,
    /// What becomes of a document that Elasticsearch refuses.
    pub non_indexable: NonIndexable,
    /// TLS; `None` = defaults.
    pub ssl: Ssl,
}

/// `backoff.init`, `backoff.max`.
#[derive(Debug, Clone, Copy)]
pub struct BackoffConfig {
    /// First pause.
    pub init: Duration,
    /// Longest pause.
    pub max: Duration,
}

/// `non_indexable_policy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NonIndexable {
    /// Counted and logged, without its content.
    Drop,
    /// Sent to this index as `{message, error.type, error.message}`.
    DeadLetterIndex(String),
    /// Appended to this file as NDJSON.
    DeadLetterFile(PathBuf),
}

/// One rule of `indices`, `pipelines` and their like.
#[derive(Debug, Clone)]
pub struct SelectorRule {
    /// The format string.
    pub value: String,
    /// Result → replacement.
    pub mappings: BTreeMap<String, String>,
    /// Used when the format string's field is missing or no mapping fits.
    pub default: Option<String>,
    /// The rule counts only for events that this condition holds for.
    pub when: Option<Condition>,
}

/// `when`: conditions on an event's fields.
#[derive(Debug, Clone)]
pub enum Condition {
    /// Every field equals its value (string, integer or bool).
    Equals(BTreeMap<String, Value>),
    /// Every field (a string or a list of strings) contains its value.
    Contains(BTreeMap<String, String>),
    /// Every field exists.
    HasFields(Vec<String>),
    /// Every field lies within its bounds.
    Range(BTreeMap<String, Bounds>),
    /// All of them hold.
    And(Vec<Condition>),
    /// One of them holds.
    Or(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
}

/// Bounds of a `range` condition.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bounds {
    /// `lt`
    pub lt: Option<f64>,
    /// `lte`
    pub lte: Option<f64>,
    /// `gt`
    pub gt: Option<f64>,
    /// `gte`
    pub gte: Option<f64>,
}

/// `setup.template.*`.
#[derive(Debug, Clone)]
pub struct Template {
    /// Load the index template after the first connection.
    pub enabled: bool,
    /// Name; default `ecsbeat`.
    pub name: String,
    /// Index pattern; default follows the output's `index`.
    pub pattern: String,
    /// Make indices data streams (`setup.template.data_stream`, default false).
    pub data_stream: bool,
    /// Priority of the composable template.
    pub priority: u32,
    /// Replace a template of that name.
    pub overwrite: bool,
    /// Merged into `settings.index`.
    pub settings: BTreeMap<String, Value>,
}

/// `ssl.*` of one connection.
#[derive(Debug, Clone)]
pub struct Ssl {
    /// Whether to use TLS where the URL does not say.
    pub enabled: Option<bool>,
    /// Files or inline PEM; empty = the system's.
    pub certificate_authorities: Vec<String>,
    /// File or inline PEM of the client certificate.
    pub certificate: Option<String>,
    /// File or inline PEM of the client key.
    pub key: Option<Secret>,
    /// What is checked.
    pub verification_mode: VerificationMode,
    /// SHA-256, hex, of a CA in the presented chain that is trusted.
    pub ca_trusted_fingerprint: Option<String>,
    /// TLS 1.2 allowed.
    pub tls12: bool,
    /// TLS 1.3 allowed.
    pub tls13: bool,
}

impl Default for Ssl {
    fn default() -> Self {
        Self {
            enabled: None,
            certificate_authorities: Vec::new(),
            certificate: None,
            key: None,
            verification_mode: VerificationMode::Full,
            ca_trusted_fingerprint: None,
            tls12: true,
            tls13: true,
        }
    }
}

/// `ssl.verification_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerificationMode {
    /// Chain and name.
    Full,
    /// Chain and name, which must be a subject alternative name.
    Strict,
    /// Chain only.
    Certificate,
    /// Nothing.
    None,
}

/// `http.*`.
#[derive(Debug, Clone)]
pub struct Http {
    /// Off unless set.
    pub enabled: bool,
    /// Name or address to listen on.
    pub host: String,
    /// 5066 unless set; 0 = any free one, told in the log.
    pub port: u16,
    /// Certificate and key to serve HTTPS with.
    pub ssl: Option<Ssl>,
    /// Token of the endpoints that change something.
    pub token: Option<Secret>,
    /// Longest wait for a request's head.
    pub timeout: Duration,
}

/// `logging.*`.
#[derive(Debug, Clone)]
pub struct Logging {
    /// debug, info, warning, error.
    pub level: LogLevel,
    /// Modules to log at debug level; empty = all.
    pub selectors: Vec<String>,
    /// Log to stderr.
    pub to_stderr: bool,
    /// Log to files.
    pub to_files: bool,
    /// JSON lines (Elastic Common Schema) or text for people.
    pub json: bool,
    /// `logging.files.*`.
    pub files: LogFiles,
    /// Write the metrics line.
    pub metrics_enabled: bool,
    /// Time between metrics lines.
    pub metrics_period: Duration,
}

/// `logging.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// `error`, also `critical`.
    Error,
    /// `warning`, also `warn`.
    Warning,
    /// `info`.
    Info,
    /// `debug`.
    Debug,
}

/// `logging.files.*`.
#[derive(Debug, Clone)]
pub struct LogFiles {
    /// Directory, `path.logs` unless set.
    pub path: PathBuf,
    /// Files are `<name>-YYYYMMDD[-N].ndjson`.
    pub name: String,
    /// Bytes at which a file is closed.
    pub rotate_every_bytes: u64,
    /// Files kept, 2..1024.
    pub keep_files: usize,
    /// Mode of new files.
    pub permissions: u32,
    /// Begin a new file at start.
    pub rotate_on_startup: bool,
}
