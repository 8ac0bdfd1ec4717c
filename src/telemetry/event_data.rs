//! The content of events that an output refused, for whoever asked for it.
//!
//! Owns the record of such an event. It is written to files of its own (`logging.event_data`): the log has nothing of
//! an event but its id.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use super::recorder::{Record, Recorder};

/// Where refused events go.
pub type EventData = Recorder<RefusedEvent>;

/// An event that was given up.
pub struct RefusedEvent {
    /// When it was given up.
    pub at: Timestamp,
    /// The output's name.
    pub output: &'static str,
    /// Its id, as in the log.
    pub id: String,
    /// The command it stems from.
    pub command: String,
    /// Why, a word out of a closed set.
    pub reason: &'static str,
    /// Why, in words.
    pub error: String,
    /// The whole document.
    pub body: Bytes,
}

/// The keys are those of the log's lines.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "log.level")]
    level: &'static str,
    #[serde(rename = "@timestamp")]
    timestamp: String,
    #[serde(rename = "log.logger")]
    logger: &'static str,
    #[serde(rename = "log.type")]
    kind: &'static str,
    message: &'static str,
    #[serde(rename = "service.name")]
    service: &'static str,
    #[serde(rename = "ecs.version")]
    schema: &'static str,
    output: &'static str,
    event_id: &'a str,
    command: &'a str,
    reason: &'static str,
    #[serde(rename = "error.message")]
    error: &'a str,
    #[serde(rename = "event.original")]
    original: &'a str,
}

impl Record for RefusedEvent {
    const KIND: &'static str = "event_data";

    fn size(&self) -> usize {
        size_of::<Self>() + self.body.len() + self.error.len()
    }

    fn line(self) -> Vec<u8> {
        let line = Line {
            level: "warn",
            timestamp: format!("{:.3}", self.at),
            logger: "pipeline.publish",
            kind: "event",
            message: "event dropped",
            service: "ecsbeat",
            schema: "1.6.0",
            output: self.output,
            event_id: &self.id,
            command: &self.command,
            reason: self.reason,
            error: &self.error,
            original: &String::from_utf8_lossy(&self.body),
        };
        // Texts only: this cannot fail.
        serde_json::to_vec(&line).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_refused_event_is_one_line_with_all_of_it() {
        let event = RefusedEvent {
            at: "2026-03-02T10:41:00.5Z".parse().unwrap(),
            output: "elasticsearch",
            id: "ab12".to_owned(),
            command: "nodes".to_owned(),
            reason: "refused",
            error: "document_parsing_exception".to_owned(),
            body: Bytes::from_static(b"{\"a\":\n\"b\"}"),
        };
        let line = event.line();
        assert!(!line.contains(&b'\n'));
        let line: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(line["event.original"], "{\"a\":\n\"b\"}");
        assert_eq!(line["@timestamp"], "2026-03-02T10:41:00.500Z");
        assert_eq!(
            (&line["event_id"], &line["log.type"]),
            (&json!("ab12"), &json!("event"))
        );
    }
}
