//! What an event looks like to those who read an output: JSON, or a text made of a format string.
//!
//! Owns the encoding for the outputs that write text (file, console, and queues, which have no other idea of an event
//! than its bytes). Elasticsearch has its own. An event that cannot be encoded is given up by itself; the others of its
//! batch go on.
//!
//! Beats write what stands in a field as it is, line breaks included, so that one event can look like two. Where events
//! are told apart by lines that must not be: there control characters in the value of a field are written as JSON
//! writes them (`\n`, `\u001b`). In messages of a queue, as in Beats, nothing is changed.

use std::fmt::Write as _;

use super::document::{indent, single_line};
use super::metadata::Metadata;
use super::{BuildError, DropReason, Outcome};
use crate::config::Codec;
use crate::event::Event;
use crate::format::{Format, Piece};

/// Encodes the events of one output.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    layout: Layout,
    framing: Framing,
}

#[derive(Debug, Clone)]
enum Layout {
    Json { pretty: bool, escape_html: bool },
    Format(Format),
}

/// How events are told apart by whoever reads them.
#[derive(Debug, Clone)]
enum Framing {
    /// Each is a line, or several that are indented.
    Lines,
    /// Each is a message of its own, and says of itself what a reader needs.
    Messages(Option<Metadata>),
}

impl Encoder {
    /// For files and pipes. `section` is the output's, such as `output.file`.
    pub(super) fn lines(section: &str, codec: &Codec) -> Result<Self, BuildError> {
        Self::new(section, codec, Framing::Lines)
    }

    /// For queues. `metadata` becomes part of JSON documents.
    pub(super) fn messages(
        section: &str,
        codec: &Codec,
        metadata: Option<Metadata>,
    ) -> Result<Self, BuildError> {
        Self::new(section, codec, Framing::Messages(metadata))
    }

    fn new(section: &str, codec: &Codec, framing: Framing) -> Result<Self, BuildError> {
        let layout = match codec {
            Codec::Json { pretty, escape_html } => Layout::Json {
                pretty: *pretty,
                escape_html: *escape_html,
            },
            Codec::Format(text) => {
                Layout::Format(Format::parse(text).map_err(|error| BuildError::Format {
                    key: format!("{section}.codec.format.string"),
                    error,
                })?)
            }
        };
        Ok(Self { layout, framing })
    }

    /// What every event ends with, its line break included. Nothing within an event looks like it.
    pub(super) fn record_end(&self) -> &'static [u8] {
        match self.layout {
            // Within an indented document a closing brace is never at the beginning of a line.
            Layout::Json { pretty: true, .. } => b"\n}\n",
            Layout::Json { pretty: false, .. } | Layout::Format(_) => b"\n",
        }
    }

    /// Appends the event, without a line break at its end. An error is the event's outcome; nothing is appended then.
    pub(super) fn encode(&self, event: &Event, out: &mut Vec<u8>) -> Result<(), Outcome> {
        match &self.layout {
            Layout::Json { pretty, escape_html } => {
                self.json(event, out, *pretty, *escape_html);
                Ok(())
            }
            Layout::Format(format) => self.text(format, event, out),
        }
    }

    fn json(&self, event: &Event, out: &mut Vec<u8>, pretty: bool, escape_html: bool) {
        let start = out.len();
        match &self.framing {
            Framing::Messages(Some(metadata)) => metadata.write(out, event),
            Framing::Messages(None) => out.extend_from_slice(&event.body),
            Framing::Lines => out.extend_from_slice(&single_line(&event.body)),
        }
        if pretty {
            let document = out.split_off(start);
            indent(out, &document);
        }
        if escape_html {
            let document = out.split_off(start);
            escape(out, &document);
        }
    }

    fn text(&self, format: &Format, event: &Event, out: &mut Vec<u8>) -> Result<(), Outcome> {
        let start = out.len();
        let put = |piece: Piece<'_>| match (piece, &self.framing) {
            (Piece::Value(value), Framing::Lines) if value.contains(char::is_control) => {
                out.extend_from_slice(visible(value).as_bytes());
            }
            (piece, _) => out.extend_from_slice(piece.as_str().as_bytes()),
        };
        let Err(missing) = format.pieces(event, put) else {
            return Ok(());
        };
        let field = missing.field;
        out.truncate(start);
        Err(Outcome::Rejected {
            reason: DropReason::Encoding,
            message: format!(
                "codec.format.string: the event has no text or number in {field}: give a fallback, as in %{{[{field}]:-}}"
            ),
        })
    }
}

/// The value with its control characters as JSON writes them.
fn visible(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 8);
    for c in value.chars() {
        match c {
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c.is_control() => {
                // Writing to a string cannot fail.
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text
}

/// Appends the JSON document with what HTML could take for its own written as escapes. In valid JSON these characters
/// stand in strings only.
fn escape(out: &mut Vec<u8>, document: &[u8]) {
    let mut rest = document;
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after) {
            (b'<', _) => out.extend_from_slice(b"\\u003c"),
            (b'>', _) => out.extend_from_slice(b"\\u003e"),
            (b'&', _) => out.extend_from_slice(b"\\u0026"),
            // U+2028 and U+2029 in UTF-8.
            (0xe2, [0x80, last @ (0xa8 | 0xa9), behind @ ..]) => {
                out.extend_from_slice(if *last == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                rest = behind;
            }
            _ => out.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::output::samples::event;

    fn format(text: &str) -> Codec {
        Codec::Format(text.to_owned())
    }

    fn json_codec(pretty: bool, escape_html: bool) -> Codec {
        Codec::Json { pretty, escape_html }
    }

    fn line(codec: &Codec, document: &str) -> Result<String, Outcome> {
        let mut out = b"before".to_vec();
        let encoded = Encoder::lines("output.x", codec)
            .unwrap()
            .encode(&event(document), &mut out);
        let text = String::from_utf8(out).unwrap();
        let text = text.strip_prefix("before").unwrap().to_owned();
        encoded.map(|()| text)
    }

    #[test]
    fn json_is_the_document_as_it_is() {
        let document = r#"{"a":"<&>\n","n":123456789012345678901234567890}"#;
        assert_eq!(line(&Codec::default(), document).unwrap(), document);
        assert_eq!(line(&Codec::default(), "{\n\"a\":1}").unwrap(), "{ \"a\":1}");
        assert_eq!(
            line(&json_codec(true, false), r#"{"a":{"b":1}}"#).unwrap(),
            "{\n  \"a\": {\n    \"b\": 1\n  }\n}"
        );
    }

    #[test]
    fn html_is_escaped_where_it_is_asked_for() {
        let document = "{\"<a>\":\"b & \u{2028}\u{2029}\u{202a}€\"}";
        let escaped = line(&json_codec(false, true), document).unwrap();
        assert_eq!(
            escaped,
            "{\"\\u003ca\\u003e\":\"b \\u0026 \\u2028\\u2029\u{202a}€\"}"
        );
        let same: Value = serde_json::from_str(&escaped).unwrap();
        assert_eq!(same, serde_json::from_str::<Value>(document).unwrap());
    }

    #[test]
    fn a_format_string_makes_a_line_and_control_characters_make_no_other() {
        let document = r#"{"a":"x\ny\r\t\u001b[0m\u0085\\n","b":{"c":7}}"#;
        assert_eq!(
            line(&format("%{[b][c]}|%{[a]}|%{+yyyy}"), document).unwrap(),
            "7|x\\ny\\r\\t\\u001b[0m\\u0085\\n|2026"
        );
        let mut out = Vec::new();
        Encoder::messages("output.x", &format("%{[a]}"), None)
            .unwrap()
            .encode(&event(r#"{"a":"x\ny"}"#), &mut out)
            .unwrap();
        assert_eq!(out, b"x\ny", "a message is not told apart by lines");
    }

    #[test]
    fn an_event_without_the_field_is_rejected_and_leaves_nothing_behind() {
        let Err(Outcome::Rejected { reason, message }) = line(&format("a %{[b.c]} d"), "{}") else {
            panic!("not rejected");
        };
        assert_eq!(reason, DropReason::Encoding);
        assert!(
            message.contains("no text or number in b.c") && message.contains("%{[b.c]:-}"),
            "{message}"
        );
        let mut out = b"before".to_vec();
        let encoder = Encoder::lines("output.x", &format("a %{[b]}")).unwrap();
        encoder.encode(&event("{}"), &mut out).unwrap_err();
        assert_eq!(out, b"before");
    }

    #[test]
    fn messages_carry_what_a_reader_behind_a_queue_needs() {
        let metadata = Metadata::new("ecsbeat");
        for (pretty, lines) in [(false, 1), (true, 9)] {
            let encoder =
                Encoder::messages("output.x", &json_codec(pretty, false), Some(metadata.clone())).unwrap();
            let mut out = Vec::new();
            encoder.encode(&event(r#"{"a":1}"#), &mut out).unwrap();
            let found: Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(
                (&found["a"], &found["@metadata"]["beat"]),
                (&json!(1), &json!("ecsbeat"))
            );
            assert_eq!(String::from_utf8(out).unwrap().lines().count(), lines);
        }
    }

    #[test]
    fn errors_name_the_setting() {
        let error = Encoder::lines("output.file", &format("%{a}")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("output.file.codec.format.string: at character 3: "),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn nothing_in_an_event_looks_like_its_end(text: String, pretty: bool, escape_html: bool) {
            let document = json!({"a": text, "b": {"c": [text]}}).to_string();
            for codec in [json_codec(pretty, escape_html), format("x%{[a]}y")] {
                let encoder = Encoder::lines("output.x", &codec).unwrap();
                let mut out = Vec::new();
                encoder.encode(&event(&document), &mut out).unwrap();
                out.push(b'\n');
                let end = encoder.record_end();
                let ends = out.windows(end.len()).filter(|part| *part == end).count();
                prop_assert_eq!(ends, 1);
                prop_assert!(out.ends_with(end));
            }
        }

        #[test]
        fn escaped_json_means_the_same(text: String) {
            let document = json!({"a": text}).to_string();
            let escaped = line(&json_codec(false, true), &document).unwrap();
            let read: Value = serde_json::from_str(&escaped).unwrap();
            prop_assert_eq!(read["a"].as_str(), Some(&*text));
        }
    }
}
