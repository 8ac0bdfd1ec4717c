//! One line of the log.
//!
//! Owns the two formats and the order of what is in a line. Field names of the JSON format are those of Beats and
//! never change. Whatever a field holds, a line is one line, and no longer than its reader can bear.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use serde_json::Value;
use tracing::Level;
use tracing::field::{Field, Visit};

use crate::telemetry::cut::cut;

/// A field of this name is JSON already and goes in as an object: the metrics.
pub const OBJECT_FIELD: &str = "monitoring";
/// The message, as `tracing` names it.
const MESSAGE: &str = "message";
/// Bytes of one text; longer ones are cut.
const MAX_TEXT: usize = 8 * 1024;
/// Names that every line has; a field of that name is shown below `field.`.
const RESERVED: [&str; 6] = [
    "log.level",
    "@timestamp",
    "log.logger",
    "log.origin",
    "service.name",
    "ecs.version",
];

/// Fields whose names the schema has for objects, and where their texts belong: an index that follows the schema would
/// refuse the line.
const OF_SCHEMA: [(&str, &str); 1] = [("error", "error.message")];

/// What lines look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON object.
    Json,
    /// For people.
    Text,
}

/// Named values, in the order in which they came; a name that comes again replaces its value.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    pub(super) fn extend(&mut self, other: &Self) {
        for (name, value) in &other.0 {
            self.put(name, value.clone());
        }
    }

    pub(super) fn put(&mut self, name: &'static str, value: impl Into<Value>) {
        let value = match value.into() {
            Value::String(text) => text_value(name, text),
            other => other,
        };
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    fn message(&self) -> &str {
        self.0
            .iter()
            .find(|(name, _)| *name == MESSAGE)
            .and_then(|(_, value)| value.as_str())
            .unwrap_or_default()
    }

    fn others(&self) -> impl Iterator<Item = &(&'static str, Value)> {
        self.0.iter().filter(|(name, _)| *name != MESSAGE)
    }
}

fn text_value(name: &str, mut text: String) -> Value {
    if name == OBJECT_FIELD
        && let Ok(object @ Value::Object(_)) = serde_json::from_str(&text)
    {
        return object;
    }
    if text.len() > MAX_TEXT {
        text.truncate(cut(&text, MAX_TEXT).len());
        text.push('…');
    }
    Value::String(text)
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value);
    }

    // Spans in milliseconds are of this kind; as texts nobody could compare them.
    fn record_u128(&mut self, field: &Field, value: u128) {
        match u64::try_from(value) {
            Ok(value) => self.put(field.name(), value),
            Err(_) => self.put(field.name(), value.to_string()),
        }
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        match i64::try_from(value) {
            Ok(value) => self.put(field.name(), value),
            Err(_) => self.put(field.name(), value.to_string()),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value);
    }
}

/// All that goes into a line but the time.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) level: Level,
    pub(super) logger: String,
    /// File and line of the source.
    pub(super) origin: Option<(&'static str, u32)>,
    pub(super) fields: Fields,
}

impl Line {
    /// A line that the log writes about itself.
    pub(super) fn own(level: Level, message: &str) -> Self {
        let mut fields = Fields::default();
        fields.put(MESSAGE, message);
        Self {
            level,
            logger: "log".to_owned(),
            origin: None,
            fields,
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.put(name, value);
        self
    }

    /// The line with its line break.
    pub(super) fn render(&self, format: Format, now: Timestamp) -> String {
        let time = now.strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
        let mut text = match format {
            Format::Json => self.json(&time),
            Format::Text => self.text(&time),
        };
        text.push('\n');
        text
    }

    fn json(&self, time: &dyn fmt::Display) -> String {
        let level = match self.level {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            _ => "debug",
        };
        let mut text = format!("{{\"log.level\":\"{level}\",\"@timestamp\":\"{time}\"");
        push(&mut text, "log.logger", &Value::from(self.logger.as_str()));
        if let Some((file, number)) = self.origin {
            let file = Value::from(short(file));
            // Writing to a string cannot fail.
            let _never = write!(
                text,
                ",\"log.origin\":{{\"file.name\":{file},\"file.line\":{number}}}"
            );
        }
        push(&mut text, MESSAGE, &Value::from(self.fields.message()));
        push(&mut text, "service.name", &Value::from("ecsbeat"));
        push(&mut text, "ecs.version", &Value::from("1.6.0"));
        for (name, value) in self.fields.others() {
            if RESERVED.contains(name) {
                push(&mut text, &format!("field.{name}"), value);
            } else {
                let of_schema = OF_SCHEMA.iter().find(|(ours, _)| ours == name);
                push(&mut text, of_schema.map_or(name, |(_, theirs)| theirs), value);
            }
        }
        text.push('}');
        text
    }

    fn text(&self, time: &dyn fmt::Display) -> String {
        let mut text = format!("{time} {:>5} {}: ", self.level, self.logger);
        // A line break in a message would let its author forge lines.
        for c in self.fields.message().chars() {
            if c.is_control() {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for (name, value) in self.fields.others() {
            // Writing to a string cannot fail.
            let _never = match value {
                Value::String(word) if is_plain(word) => write!(text, " {name}={word}"),
                other => write!(text, " {name}={other}"),
            };
        }
        text
    }
}

fn is_plain(word: &str) -> bool {
    !word.is_empty()
        && !word
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || c == '"' || c == '=')
}

fn push(text: &mut String, name: &str, value: &Value) {
    // Writing to a string cannot fail.
    let _never = write!(text, ",{}:{value}", Value::from(name));
}

/// The file's path below `src`, as in `output/mod.rs`.
fn short(file: &str) -> &str {
    file.rsplit_once("src/").map_or(file, |(_, below)| below)
}
