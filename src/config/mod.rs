//! The configuration as the program uses it: resolved, validated, every default filled in.
//!
//! Owns [`Config`] and [`load`]; the types of a section are beside its reader. The file's own grammar (dotted keys,
//! `${…}`, several files, `-E`) is in the sub-modules and never leaves this folder; nothing here opens a socket or
//! reads a clock.

mod address;
mod bytes;
mod codec;
mod command;
mod commands;
mod condition;
mod customers;
mod dotted;
mod duration;
mod ecsbeat;
mod errors;
mod etcd;
mod expand;
mod field;
mod general;
mod given;
mod graft;
mod ha;
mod hashes;
mod http;
mod load;
mod log_selectors;
mod logging;
mod merge;
mod node;
mod output;
mod output_elasticsearch;
mod output_kafka;
mod output_logstash;
mod output_network;
mod output_redis;
mod overrides;
mod pattern;
mod processor;
mod processor_options;
mod processors;
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
mod timers;
mod trace;
mod url_option;
mod window;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

pub use address::HostPort;
pub use codec::Codec;
pub use command::{Batch, Command, Level, Method, Paginate};
pub use condition::{Bounds, Condition, IpNetwork, NamedNetwork};
pub use customers::{Customer, Vdc};
pub use ecsbeat::Ecsbeat;
pub use errors::{Errors, Problem};
pub use etcd::Etcd;
pub use ha::Ha;
pub use http::Http;
pub use load::{Environment, Sources, http, keystore, load, merged};
pub use log_selectors::selected;
pub use logging::{LogFiles, LogLevel, Logging};
pub use output::{ConsoleOutput, FileOutput, OutputConfig};
pub use output_elasticsearch::{ElasticsearchOutput, NonIndexable};
pub use output_kafka::{Acks, Compression, Fencing, Hash, KafkaOutput, Mechanism, Partition, Sasl, Strategy};
pub use output_logstash::LogstashOutput;
pub use output_network::{BackoffConfig, Network, Socks};
pub use output_redis::{RedisHost, RedisOutput, RedisType};
pub use pattern::Pattern;
pub use processor::{
    AddFields, AddHostMetadata, AddTags, Conversion, Convert, DataType, DropFields, Encoding, Fingerprint,
    FromTo, HashMethod, OnError, ProcessorConfig, RateLimit, Replace, Replacement, Step, TextLimit,
    TruncateFields,
};
pub use queue::Queue;
pub use redact::is_secret_header;
pub use secret::Secret;
pub use selectors::SelectorRule;
pub use ssl::{Ssl, VerificationMode};
pub use template::Template;
pub use trace::Trace;
pub use window::{TimeFormat, WindowSpec};

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
    /// `keystore.path`: the file of secrets; `path.data/ecsbeat.keystore` unless set.
    pub keystore: PathBuf,
    /// `ecsbeat.*`.
    pub ecsbeat: Ecsbeat,
    /// `processors`: for the events of every command, after the command's own.
    pub processors: Vec<Step>,
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
    /// By which two configurations are told apart: of what was asked for, without what belongs to one host. In a
    /// cluster the same as [`Ha::config_hash`].
    pub hash: String,
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
