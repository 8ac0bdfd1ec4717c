//! The body of a bulk request.
//!
//! Owns the NDJSON framing: an action line and a document line for each event, compressed while it is written so
//! that the plain text is never held as a whole. A document reaches the body on exactly one line, or one bad
//! document would spoil the lines after it.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

use super::super::document::single_line;
use crate::event::EventId;

/// A body under construction.
pub(super) struct Bulk {
    out: Out,
    ids: Vec<EventId>,
}

enum Out {
    Plain(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
}

/// A finished body.
pub(super) struct Finished {
    pub(super) bytes: Vec<u8>,
    pub(super) gzip: bool,
    /// The ids in the order of the body.
    pub(super) ids: Vec<EventId>,
}

#[derive(Serialize)]
struct Action<'a> {
    create: Target<'a>,
}

#[derive(Serialize)]
struct Target<'a> {
    #[serde(rename = "_index")]
    index: &'a str,
    #[serde(rename = "_id")]
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pipeline: Option<&'a str>,
}

impl Bulk {
    /// An empty body; `level` 0 is plain, 1..=9 gzip.
    pub(super) fn new(level: u32) -> Self {
        Self {
            out: match level {
                0 => Out::Plain(Vec::new()),
                level => Out::Gzip(GzEncoder::new(Vec::new(), Compression::new(level.min(9)))),
            },
            ids: Vec::new(),
        }
    }

    /// Appends the creation of a document, which must be a JSON object.
    pub(super) fn create(
        &mut self,
        index: &str,
        pipeline: Option<&str>,
        id: EventId,
        document: &[u8],
    ) -> io::Result<()> {
        let text = id.to_string();
        let action = Action {
            create: Target {
                index,
                id: &text,
                pipeline,
            },
        };
        serde_json::to_writer(&mut self.out, &action)?;
        self.out.write_all(b"\n")?;
        self.out.write_all(&single_line(document))?;
        self.out.write_all(b"\n")?;
        self.ids.push(id);
        Ok(())
    }

    pub(super) fn finish(self) -> io::Result<Finished> {
        let (bytes, gzip) = match self.out {
            Out::Plain(bytes) => (bytes, false),
            Out::Gzip(encoder) => (encoder.finish()?, true),
        };
        Ok(Finished {
            bytes,
            gzip,
            ids: self.ids,
        })
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn build(level: u32) -> Finished {
        let id = EventId::parse("000102030405060708090a0b0c0d0e0f").unwrap();
        let mut bulk = Bulk::new(level);
        bulk.create("i-\"x\"", None, id, b"{\"a\":1}").unwrap();
        bulk.create("i", Some("p"), id, b"{\n\"b\":\"\\n\"}").unwrap();
        bulk.finish().unwrap()
    }

    const WANT: &str = concat!(
        r#"{"create":{"_index":"i-\"x\"","_id":"000102030405060708090a0b0c0d0e0f"}}"#,
        "\n",
        r#"{"a":1}"#,
        "\n",
        r#"{"create":{"_index":"i","_id":"000102030405060708090a0b0c0d0e0f","pipeline":"p"}}"#,
        "\n",
        r#"{ "b":"\n"}"#,
        "\n"
    );

    #[test]
    fn two_lines_for_each_document() {
        let plain = build(0);
        assert!(!plain.gzip);
        assert_eq!(String::from_utf8(plain.bytes).unwrap(), WANT);
        assert_eq!(plain.ids.len(), 2);
    }

    #[test]
    fn gzip_unpacks_to_the_same() {
        for level in [1, 9] {
            let packed = build(level);
            assert!(packed.gzip);
            let mut text = String::new();
            flate2::read::GzDecoder::new(&packed.bytes[..])
                .read_to_string(&mut text)
                .unwrap();
            assert_eq!(text, WANT);
        }
    }
}
