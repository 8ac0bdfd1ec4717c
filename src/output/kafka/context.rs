//! What librdkafka tells beside its answers: log lines, errors of its connections, and what became of each message.
//!
//! Owns the way of its log lines to ours, and the last trouble, which makes a bare "timed out" into a reason. librdkafka
//! calls from threads of its own, so everything here is kept under a lock, for a moment.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;

/// The longest trouble that is repeated to the reader.
const LONGEST: usize = 300;

/// Listens to one client.
#[derive(Debug, Default)]
pub(super) struct Context {
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    reports: Vec<Report>,
    trouble: Option<String>,
    denied: Option<String>,
}

/// What became of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report {
    /// Its place in what was sent.
    pub(super) position: usize,
    /// Why it did not arrive; `None` = it did.
    pub(super) error: Option<RDKafkaErrorCode>,
}

impl Context {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reports since the last time.
    pub(super) fn reports(&self) -> Vec<Report> {
        std::mem::take(&mut self.heard().reports)
    }

    /// What a connection failed of last.
    pub(super) fn trouble(&self) -> Option<String> {
        self.heard().trouble.clone()
    }

    /// Why the brokers do not let us in, if they do not.
    pub(super) fn denied(&self) -> Option<String> {
        self.heard().denied.clone()
    }

    /// The troubles are over.
    pub(super) fn calm(&self) {
        let mut heard = self.heard();
        heard.trouble = None;
        heard.denied = None;
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // "[thrd:name]: " says which of librdkafka's threads it was.
        let message = message
            .strip_prefix("[thrd:")
            .and_then(|message| message.split_once("]: "))
            .map_or(message, |(_, message)| message);
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(output = "kafka", facility, "{message}");
            }
            // A broker that cannot be reached is told here at every try, and by the publisher once.
            RDKafkaLogLevel::Error => {
                self.heard().trouble = Some(shortened(message));
                tracing::debug!(output = "kafka", facility, "{message}");
            }
            RDKafkaLogLevel::Warning => tracing::warn!(output = "kafka", facility, "{message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(output = "kafka", facility, "{message}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(output = "kafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(output = "kafka", %error, "{reason}");
        let mut heard = self.heard();
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                heard.denied = Some(shortened(reason));
            }
            // Says less than the trouble that led to it.
            Some(RDKafkaErrorCode::AllBrokersDown) => {}
            _ => heard.trouble = Some(shortened(reason)),
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, position: usize) {
        let error = result.as_ref().err().map(|(error, _)| {
            // Whatever has no code is no delivery.
            error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)
        });
        self.heard().reports.push(Report { position, error });
    }
}

fn shortened(text: &str) -> String {
    let text = text.trim();
    let mut short: String = text.chars().take(LONGEST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
