//! What librdkafka tells beside its answers: log lines, errors of its connections, and what became of each message.
//!
//! Owns the way of its log lines to ours, which of its warnings are repetitions, and the last trouble, which makes a bare
//! "timed out" into a reason. librdkafka calls from threads of its own, so everything here is kept under a lock, for a
//! moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;

use crate::telemetry::repeat::Lasting;

/// The longest trouble that is repeated to the reader.
const LONGEST: usize = 300;
/// Warnings that are told apart. Any more would be of a cluster with as many brokers, and are told as one.
const MOST_WARNINGS: usize = 256;

/// Listens to one client.
#[derive(Debug, Default)]
pub(super) struct Context {
    heard: Mutex<Heard>,
    warned: Arc<Warned>,
}

/// The warnings of librdkafka, by their kind and the broker or thread they are of: their texts hold counts and times that
/// differ at every try. Outlives a client, because one that did not get anywhere is made anew.
#[derive(Debug, Default)]
pub(super) struct Warned(Mutex<HashMap<(String, String), Lasting>>);

impl Warned {
    /// `Some(n)`: say it now, and that it happened `n` times since it began.
    fn happened(&self, facility: &str, origin: &str) -> Option<u64> {
        let mut known = self.known();
        let mut key = (facility.to_owned(), origin.to_owned());
        if known.len() >= MOST_WARNINGS && !known.contains_key(&key) {
            key = <_>::default();
        }
        known.entry(key).or_default().happened()
    }

    /// The brokers take what they are sent.
    fn over(&self) {
        for warning in self.known().values() {
            warning.over();
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<(String, String), Lasting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    /// Of a client; those of one output share `warned`.
    pub(super) fn new(warned: Arc<Warned>) -> Self {
        Self {
            warned,
            ..Self::default()
        }
    }

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
        self.warned.over();
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // "[thrd:name]: " says which of librdkafka's threads it was.
        let (origin, message) = message
            .strip_prefix("[thrd:")
            .and_then(|message| message.split_once("]: "))
            .unwrap_or(("", message));
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(output = "kafka", facility, "{message}");
            }
            // A broker that cannot be reached is told here at every try, and by the publisher once.
            RDKafkaLogLevel::Error => {
                self.heard().trouble = Some(shortened(message));
                tracing::debug!(output = "kafka", facility, "{message}");
            }
            RDKafkaLogLevel::Warning => {
                if let Some(times) = self.warned.happened(facility, origin) {
                    tracing::warn!(output = "kafka", facility, times, "{message}");
                } else {
                    tracing::debug!(output = "kafka", facility, "{message}");
                }
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::log::tests::lines;

    /// What was told: how often it had happened, and the text.
    fn told(work: impl FnOnce()) -> Vec<(u64, String)> {
        let line = |line: &serde_json::Value| {
            assert_eq!(line["log.level"], "warn", "{line}");
            (
                line["times"].as_u64().unwrap(),
                line["message"].as_str().unwrap().to_owned(),
            )
        };
        lines(work).iter().map(line).collect()
    }

    #[test]
    fn a_warning_is_told_once_for_each_broker_also_by_the_next_client() {
        let warned = Arc::<Warned>::default();
        let warn = |context: &Context, facility: &str, broker: &str, after: u32| {
            let text = format!("[thrd:{broker}/1]: {broker}/1: timed out after {after}ms");
            context.log(RDKafkaLogLevel::Warning, facility, &text);
        };
        let said = told(|| {
            let client = Context::new(Arc::clone(&warned));
            warn(&client, "REQTMOUT", "a:9092", 1001);
            warn(&client, "REQTMOUT", "a:9092", 1002);
            warn(&client, "REQTMOUT", "b:9092", 1003);
            warn(&client, "THROTTLE", "a:9092", 1004);
            drop(client);
            let next = Context::new(Arc::clone(&warned));
            warn(&next, "REQTMOUT", "a:9092", 1005);
            // Well, and back at once: it is the old one.
            next.calm();
            warn(&next, "REQTMOUT", "a:9092", 1006);
            warn(&Context::default(), "REQTMOUT", "a:9092", 1007);
        });
        let want = [("a", 1001), ("b", 1003), ("a", 1004), ("a", 1007)];
        let want = want.map(|(broker, after)| (1, format!("{broker}:9092/1: timed out after {after}ms")));
        assert_eq!(said, want);
    }

    #[test]
    fn so_many_warnings_that_nobody_could_read_them_are_one() {
        let client = Context::default();
        let said = told(|| {
            for broker in 0..MOST_WARNINGS * 2 {
                let text = format!("[thrd:{broker}]: slow");
                client.log(RDKafkaLogLevel::Warning, "X", &text);
            }
        });
        assert_eq!(said.len(), MOST_WARNINGS + 1);
        assert_eq!(client.warned.known().len(), MOST_WARNINGS + 1);
    }
}
