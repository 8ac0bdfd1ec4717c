//! The outputs and what they have in common.
//!
//! Owns the [`Sink`] contract, the [`Output`] enum over the closed set of outputs, and their construction from
//! the configuration. An output knows nothing of ECS or of the election beyond the [`Permit`] it is handed; it
//! never retries a batch by itself and never acknowledges: it reports one [`Outcome`] per event, in order, and
//! the publisher (`pipeline::publish`) decides.

mod codec;
mod console;
mod dead_letter;
mod directory;
mod document;
mod durable;
pub mod elasticsearch;
mod file;
mod hosts;
pub mod kafka;
pub mod logstash;
mod metadata;
pub mod redis;
pub mod rotation;
#[cfg(test)]
mod samples;
pub mod selector;
mod tally;
mod writer;

use std::time::Duration;

pub use self::redis::Redis;
pub use console::Console;
pub use elasticsearch::Elasticsearch;
pub use file::FileSink;
pub use kafka::Kafka;
pub use logstash::Logstash;

use crate::clock::Clock;
use crate::config::{BackoffConfig, OutputConfig, Template};
use crate::dial::DialError;
use crate::election::Permit;
use crate::event::Event;
// Format strings are everywhere in the outputs.
pub use crate::format;
use crate::format::FormatError;
use crate::steps::Steps;
use crate::telemetry::metrics::{Metrics, OutputLabels};
use crate::tls::TlsError;

/// What became of one event of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Accepted.
    Acked,
    /// It was there already (same id): as good as accepted.
    Duplicate,
    /// Accepted by the dead-letter index or file instead of its own place.
    DeadLettered,
    /// Not accepted this time; may succeed later.
    Retry(RetryReason),
    /// Never going to be accepted. The message is the output's own, without the event's content.
    Rejected {
        /// For the counter.
        reason: DropReason,
        /// For the log, at most a few hundred characters.
        message: String,
    },
}

/// Why an event is to be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryReason {
    /// The output is busy (429).
    TooMany,
    /// The output failed on this event (5xx), or did not say.
    Failed,
}

/// Why an event is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The output refuses it for good (a mapping conflict and the like).
    Refused,
    /// It is larger than the output takes.
    TooLarge,
    /// Its destination (index, topic, key) cannot be told.
    NoDestination,
    /// `max_retries` is used up.
    MaxRetries,
    /// It cannot be written as `codec` says.
    Encoding,
}

impl DropReason {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Refused,
        Self::TooLarge,
        Self::NoDestination,
        Self::MaxRetries,
        Self::Encoding,
    ];

    /// The label value in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::TooLarge => "too_large",
            Self::NoDestination => "no_destination",
            Self::MaxRetries => "max_retries",
            Self::Encoding => "encoding",
        }
    }
}

/// A batch, or a connection, that failed as a whole.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Could not be reached, broke off, or timed out. Whether the batch arrived is unknown.
    #[error("{0}")]
    Transport(String),
    /// Credentials are wrong or lack a right (401, 403).
    #[error("{0}")]
    Denied(String),
    /// Answers, but not now (429, 5xx).
    #[error("{message}")]
    Busy {
        /// What it said.
        message: String,
        /// How long it asked us to wait.
        retry_after: Option<Duration>,
    },
    /// The request is too large (413), or refused without a word on which event is at fault: halve it. A single such
    /// event is [`Outcome::Rejected`] instead.
    #[error("{0}")]
    TooLarge(String),
    /// It was sent to, and its answer did not come or broke off. Whether the batch arrived is unknown.
    #[error("{0}")]
    Unanswered(String),
    /// It answered something that is not its protocol.
    #[error("{0}")]
    Protocol(String),
    /// The disk or pipe written to failed.
    #[error("{0}")]
    Io(String),
    /// It failed after a part of the batch had come to its end: what is settled is not sent again.
    #[error("{cause}")]
    BrokenOff {
        /// One for each event of the batch, in its order, as in a success.
        outcomes: Vec<Outcome>,
        /// Why it went no further; never this variant itself.
        cause: Box<SinkError>,
    },
}

impl SinkError {
    /// Whether it is the answer that failed, and not the way there.
    pub fn is_of_answer(&self) -> bool {
        matches!(self, Self::Unanswered(_) | Self::Protocol(_))
    }
}

impl From<DialError> for SinkError {
    fn from(error: DialError) -> Self {
        Self::Transport(error.to_string())
    }
}

/// An output whose settings cannot be used. The text begins with the setting's full path.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A format string cannot be read.
    #[error("{key}: {error}")]
    Format {
        /// The setting.
        key: String,
        /// Where and why.
        error: FormatError,
    },
    /// The TLS settings cannot be used.
    #[error("{section}.{error}")]
    Tls {
        /// The path of the section that holds `ssl`.
        section: &'static str,
        /// Which of them, and why.
        error: TlsError,
    },
    /// Anything else.
    #[error("{key}: {problem}")]
    Setting {
        /// The setting.
        key: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl BuildError {
    /// Puts the path of the section before an error in its `ssl`.
    fn tls(section: &'static str) -> impl Fn(TlsError) -> Self {
        move |error| Self::Tls { section, error }
    }
}

/// One connection to an output. Several of one output may run side by side.
pub trait Sink: Send {
    /// Reaches the output and sets it up (templates, files). Called before the first batch and again after
    /// each [`SinkError`]; may be dropped midway.
    fn connect(&mut self, permit: &Permit) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// Sends a batch once and gives one outcome per event, in the batch's order. Takes no longer than the
    /// permit's budget, but for waiting for a server that says it is still at work. May be dropped midway: the batch
    /// then counts as not sent.
    fn publish(
        &mut self,
        permit: &Permit,
        batch: &[Event],
    ) -> impl Future<Output = Result<Vec<Outcome>, SinkError>> + Send;

    /// Flushes and closes. Called once, in an orderly stop.
    fn close(&mut self) -> impl Future<Output = Result<(), SinkError>> + Send;
}

/// One connection to the configured output, with what the publisher needs to know about it.
#[derive(Debug)]
pub struct Output {
    kind: Kind,
    bulk_max_size: usize,
    max_retries: Option<u32>,
    backoff: BackoffConfig,
    request_timeout: Duration,
}

/// The closed set of outputs.
#[derive(Debug)]
enum Kind {
    Console(Console),
    File(FileSink),
    Elasticsearch(Box<Elasticsearch>),
    Logstash(Logstash),
    Kafka(Box<Kafka>),
    Redis(Box<Redis>),
}

/// Pauses of the outputs that have no setting for it.
const BACKOFF: BackoffConfig = BackoffConfig {
    init: Duration::from_secs(1),
    max: Duration::from_secs(60),
};

/// The longest a write to a file or the console takes.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The connections of one configured output: one for each worker and host. Nothing is reached yet.
///
/// Of `metrics` only `output_write_bytes` and `output_read_bytes` are counted by the outputs; all the rest is the
/// publisher's, who knows the outcomes.
pub fn build(
    config: &OutputConfig,
    template: &Template,
    metrics: &Metrics,
    clock: &Clock,
) -> Result<Vec<Output>, BuildError> {
    let written = |output| {
        metrics
            .output_write_bytes
            .get_or_create(&OutputLabels { output })
            .clone()
    };
    let read = |output| {
        metrics
            .output_read_bytes
            .get_or_create(&OutputLabels { output })
            .clone()
    };
    let local = |kind, bulk_max_size| Output {
        kind,
        bulk_max_size,
        max_retries: None,
        backoff: BACKOFF,
        request_timeout: WRITE_TIMEOUT,
    };
    match config {
        OutputConfig::Console(config) => {
            let console = Console::new(config, written("console"))?;
            Ok(vec![local(Kind::Console(console), config.bulk_max_size)])
        }
        OutputConfig::File(config) => {
            let file = FileSink::new(config, clock.clone(), written("file"))?;
            Ok(vec![local(Kind::File(file), 0)])
        }
        OutputConfig::Elasticsearch(config) => {
            let (written, read) = (written("elasticsearch"), read("elasticsearch"));
            let sinks = Elasticsearch::new(config, template, &written, &read)?;
            let output = |sink| Output {
                kind: Kind::Elasticsearch(Box::new(sink)),
                bulk_max_size: config.bulk_max_size,
                max_retries: config.max_retries,
                backoff: config.backoff,
                request_timeout: config.timeout,
            };
            Ok(sinks.into_iter().map(output).collect())
        }
        OutputConfig::Logstash(config) => {
            let network = &config.network;
            let output = |sink| Output {
                kind: Kind::Logstash(sink),
                bulk_max_size: network.bulk_max_size,
                max_retries: network.max_retries,
                backoff: network.backoff,
                request_timeout: network.timeout,
            };
            let sinks = Logstash::new(config, &written("logstash"), &read("logstash"))?;
            Ok(sinks.into_iter().map(output).collect())
        }
        OutputConfig::Kafka(config) => Ok(vec![Output {
            kind: Kind::Kafka(Box::new(Kafka::new(config, written("kafka"))?)),
            bulk_max_size: config.bulk_max_size,
            max_retries: config.max_retries,
            backoff: config.backoff,
            request_timeout: config.timeout,
        }]),
        OutputConfig::Redis(config) => {
            let network = &config.network;
            let output = |sink| Output {
                kind: Kind::Redis(Box::new(sink)),
                bulk_max_size: network.bulk_max_size,
                max_retries: network.max_retries,
                backoff: network.backoff,
                request_timeout: network.timeout,
            };
            let sinks = Redis::new(config, &written("redis"), &read("redis"))?;
            Ok(sinks.into_iter().map(output).collect())
        }
    }
}

/// Tells in `steps` whether the output can be reached and used, as far as can be told without sending or changing
/// anything. Each of its hosts is tried once and takes no longer than the permit's budget.
pub async fn test(config: &OutputConfig, permit: &Permit, steps: &mut Steps) -> Result<(), BuildError> {
    match config {
        OutputConfig::Console(_) => console::test(steps),
        OutputConfig::File(config) => file::test(config, permit, steps).await?,
        OutputConfig::Elasticsearch(config) => elasticsearch::test(config, permit, steps).await?,
        OutputConfig::Logstash(config) => logstash::test(config, steps).await?,
        OutputConfig::Kafka(config) => kafka::test(config, steps).await?,
        OutputConfig::Redis(config) => self::redis::test(config, permit, steps).await?,
    }
    Ok(())
}

impl Output {
    /// What is written behind `output.`: the label in metrics.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Console(_) => "console",
            Kind::File(_) => "file",
            Kind::Elasticsearch(_) => "elasticsearch",
            Kind::Logstash(_) => "logstash",
            Kind::Kafka(_) => "kafka",
            Kind::Redis(_) => "redis",
        }
    }

    /// Whether it uses the connection of the output before it: what happens to it is told once.
    pub fn shares_connection(&self) -> bool {
        matches!(&self.kind, Kind::Logstash(sink) if sink.shares_connection())
    }

    /// Most events in one batch; 0 = no limit.
    pub fn bulk_max_size(&self) -> usize {
        self.bulk_max_size
    }

    /// Times a failed event is sent again; `None` = for ever.
    pub fn max_retries(&self) -> Option<u32> {
        self.max_retries
    }

    /// Pauses between failed tries.
    pub fn backoff(&self) -> BackoffConfig {
        self.backoff
    }

    /// The longest one send takes: the budget to ask a permit for.
    pub fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// Makes of `batch` what a send of it begins with, by the same code: all of it in one piece, or a piece for each
    /// message. It is compressed where the output itself compresses; an event that cannot be encoded is not in it.
    /// Nothing is sent: this is for measurements.
    pub fn encoded(&self, batch: &[Event]) -> Result<Vec<Vec<u8>>, SinkError> {
        let whole = match &self.kind {
            Kind::Console(sink) => sink.encoded(batch),
            Kind::File(sink) => sink.encoded(batch),
            Kind::Elasticsearch(sink) => sink.encoded(batch)?,
            Kind::Logstash(sink) => sink.encoded(batch)?,
            Kind::Kafka(sink) => return Ok(sink.encoded(batch)),
            Kind::Redis(sink) => sink.encoded(batch),
        };
        Ok(vec![whole])
    }
}

impl Sink for Output {
    async fn connect(&mut self, permit: &Permit) -> Result<(), SinkError> {
        match &mut self.kind {
            Kind::Console(sink) => sink.connect(permit).await,
            Kind::File(sink) => sink.connect(permit).await,
            Kind::Elasticsearch(sink) => sink.connect(permit).await,
            Kind::Logstash(sink) => sink.connect(permit).await,
            Kind::Kafka(sink) => sink.connect(permit).await,
            Kind::Redis(sink) => sink.connect(permit).await,
        }
    }

    async fn publish(&mut self, permit: &Permit, batch: &[Event]) -> Result<Vec<Outcome>, SinkError> {
        match &mut self.kind {
            Kind::Console(sink) => sink.publish(permit, batch).await,
            Kind::File(sink) => sink.publish(permit, batch).await,
            Kind::Elasticsearch(sink) => sink.publish(permit, batch).await,
            Kind::Logstash(sink) => sink.publish(permit, batch).await,
            Kind::Kafka(sink) => sink.publish(permit, batch).await,
            Kind::Redis(sink) => sink.publish(permit, batch).await,
        }
    }

    async fn close(&mut self) -> Result<(), SinkError> {
        match &mut self.kind {
            Kind::Console(sink) => sink.close().await,
            Kind::File(sink) => sink.close().await,
            Kind::Elasticsearch(sink) => sink.close().await,
            Kind::Logstash(sink) => sink.close().await,
            Kind::Kafka(sink) => sink.close().await,
            Kind::Redis(sink) => sink.close().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Codec, ConsoleOutput, FileOutput};
    use crate::output::samples::{event, permit};

    #[tokio::test]
    async fn a_built_output_works_and_counts_the_bytes_it_writes() {
        let directory = tempfile::tempdir().unwrap();
        let file = OutputConfig::File(FileOutput {
            path: directory.path().to_str().unwrap().to_owned(),
            filename: "ecsbeat".to_owned(),
            rotate_every_kb: 10_240,
            number_of_files: 7,
            permissions: 0o600,
            rotate_on_startup: true,
            codec: Codec::default(),
        });
        let template = Template {
            enabled: false,
            name: String::new(),
            pattern: String::new(),
            data_stream: false,
            priority: 0,
            overwrite: false,
            settings: BTreeMap::new(),
        };
        let metrics = Metrics::new();
        let clock = Clock::simulated("2026-03-02T10:00:00Z".parse().unwrap());
        let mut outputs = build(&file, &template, &metrics, &clock).unwrap();
        assert_eq!(outputs.len(), 1);
        let output = &mut outputs[0];
        assert_eq!((output.name(), output.bulk_max_size()), ("file", 0));
        assert_eq!(output.max_retries(), None);
        let permit = permit(output.request_timeout());
        output.connect(&permit).await.unwrap();
        let outcomes = output.publish(&permit, &[event("{}")]).await.unwrap();
        assert_eq!(outcomes, [Outcome::Acked]);
        assert_eq!(output.encoded(&[event("{}")]).unwrap(), [b"{}\n"]);
        output.close().await.unwrap();
        let text = std::fs::read_to_string(directory.path().join("ecsbeat-20260302.ndjson")).unwrap();
        assert_eq!(text, "{}\n");
        let series = metrics.prometheus().unwrap();
        assert!(
            series.contains("ecsbeat_output_write_bytes_total{output=\"file\"} 3"),
            "{series}"
        );
        let console = OutputConfig::Console(ConsoleOutput {
            codec: Codec::default(),
            bulk_max_size: 2048,
        });
        let outputs = build(&console, &template, &metrics, &clock).unwrap();
        assert_eq!((outputs[0].name(), outputs[0].bulk_max_size()), ("console", 2048));
    }
}
