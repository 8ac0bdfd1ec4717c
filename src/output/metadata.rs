//! `@metadata`: what a reader behind a queue needs beside the document.
//!
//! Owns its place and its members, which are those of Beats (a Logstash pipeline names its index by them) and `_id`,
//! so that a pipeline can set `document_id`. Elasticsearch gets none: there it is not part of a document.

use std::io::Write as _;

use crate::event::Event;

/// What `@metadata` says of every event of one output.
#[derive(Debug, Clone)]
pub(super) struct Metadata {
    /// Up to the value of `_id`, with its opening quote.
    prefix: Vec<u8>,
}

impl Metadata {
    /// `beat` is the root of the index name, as `index` of the output says it.
    pub(super) fn new(beat: &str) -> Self {
        let beat = serde_json::Value::from(beat);
        let version = env!("CARGO_PKG_VERSION");
        Self {
            prefix: format!(r#"{{"@metadata":{{"beat":{beat},"type":"_doc","version":"{version}","_id":""#)
                .into_bytes(),
        }
    }

    /// Appends the event's document with `@metadata` as its first member. The document's bytes are copied as they are.
    pub(super) fn write(&self, out: &mut Vec<u8>, event: &Event) {
        let inside = self.write_head(out, event);
        out.extend_from_slice(inside);
    }

    /// Appends what comes before the document's own members, and gives those, with the closing brace: for who has a
    /// better place for them than another copy.
    pub(super) fn write_head<'e>(&self, out: &mut Vec<u8>, event: &'e Event) -> &'e [u8] {
        let body: &[u8] = &event.body;
        let inside = body.trim_ascii_start();
        let inside = inside.strip_prefix(b"{").unwrap_or(inside);
        out.reserve(self.prefix.len() + 40);
        out.extend_from_slice(&self.prefix);
        // Writing to memory cannot fail.
        let _ = write!(out, "{}", event.id);
        out.extend_from_slice(b"\"}");
        if !inside.trim_ascii_start().starts_with(b"}") {
            out.push(b',');
        }
        inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples::event;

    fn written(beat: &str, document: &str) -> serde_json::Value {
        let mut out = Vec::new();
        Metadata::new(beat).write(&mut out, &event(document));
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn it_stands_beside_what_was_there() {
        let document = r#"{"a":1,"b":{"c":"}"}}"#;
        let found = written("ecs\"beat", document);
        assert_eq!(found["@metadata"]["beat"], "ecs\"beat");
        assert_eq!(found["@metadata"]["type"], "_doc");
        assert_eq!(found["@metadata"]["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(found["@metadata"]["_id"], event(document).id.to_string());
        assert_eq!(found["a"], 1);
        assert_eq!(found["b"]["c"], "}");
    }

    #[test]
    fn an_empty_document_and_one_with_space_in_it() {
        assert_eq!(written("x", "{}").as_object().unwrap().len(), 1);
        assert_eq!(written("x", " { } ").as_object().unwrap().len(), 1);
        assert_eq!(written("x", " { \"a\": 1 }")["a"], 1);
    }
}
