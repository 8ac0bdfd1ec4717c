//! The outputs and what they have in common.
//!
//! Owns the [`Sink`] contract, the [`Output`] enum over the closed set of outputs, and their construction from
//! the configuration. An output knows nothing of ECS or of the election beyond the [`Permit`] it is handed; it
//! never retries a batch by itself and never acknowledges: it reports one [`Outcome`] per event, in order, and
//! the publisher (`pipeline::publish`) decides.

pub mod condition;
mod console;
mod document;
mod durable;
mod file;
pub mod format;
pub mod rotation;
#[cfg(test)]
mod samples;
pub mod selector;
mod writer;

use std::time::Duration;

pub use console::Console;
pub use file::FileSink;
use format::FormatError;

use crate::election::Permit;
use crate::event::Event;
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
    /// A processor removed it.
    Processor,
}

impl DropReason {
    /// The label value in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::TooLarge => "too_large",
            Self::NoDestination => "no_destination",
            Self::MaxRetries => "max_retries",
            Self::Processor => "processor",
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
    /// The request is too large (413): halve it. A single event that is too large is
    /// [`Outcome::Rejected`] instead.
    #[error("{0}")]
    TooLarge(String),
    /// It answered something that is not its protocol.
    #[error("{0}")]
    Protocol(String),
    /// The disk or pipe written to failed.
    #[error("{0}")]
    Io(String),
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

/// One connection to an output. Several of one output may run side by side.
pub trait Sink: Send {
    /// Reaches the output and sets it up (templates, files). Called before the first batch and again after
    /// each [`SinkError`]; may be dropped midway.
    fn connect(&mut self, permit: &Permit) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// Sends a batch once and gives one outcome per event, in the batch's order. Takes no longer than the
    /// permit's budget. May be dropped midway: the batch then counts as not sent.
    fn publish(
        &mut self,
        permit: &Permit,
        batch: &[Event],
    ) -> impl Future<Output = Result<Vec<Outcome>, SinkError>> + Send;

    /// Flushes and closes. Called once, in an orderly stop.
    fn close(&mut self) -> impl Future<Output = Result<(), SinkError>> + Send;
}
