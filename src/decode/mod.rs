//! From the bytes of an answer to its records, by the answer's shape.
//!
//! Owns [`Decoder`]: it is fed the body as it arrives and hands out each record as soon as its last byte is
//! there, so that memory depends on the largest record and not on the answer. What surrounds the records (the
//! envelope: page markers and the like) is kept and looked at when the body has ended. Pure: no I/O, no clock;
//! no field of a record is known by name here.

pub mod diagnostics;
mod envelope;
mod scan;

use std::fmt;

use envelope::Records;
use scan::{Scanner, Step};

pub use envelope::Envelope;

/// How much of a body is quoted in an error.
const QUOTE: usize = 120;

/// What is wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No byte but blanks.
    #[error("the answer is empty")]
    Empty,
    /// HTML or XML where JSON was asked for.
    #[error("expected JSON, found {what}: {quote}")]
    NotJson {
        /// "HTML", "XML", or "something else".
        what: &'static str,
        /// The first bytes.
        quote: Quote,
    },
    /// The body ended too early.
    #[error("the answer breaks off after {bytes} bytes: {quote}")]
    Truncated {
        /// Bytes received.
        bytes: u64,
        /// The first bytes.
        quote: Quote,
    },
    /// Not JSON after all.
    #[error("the answer is not valid JSON near byte {at}: {message}")]
    Syntax {
        /// Offset into the body.
        at: u64,
        /// What was found.
        message: String,
    },
    /// JSON, but without the records that the command expects.
    #[error("{0}")]
    Shape(String),
}

impl DecodeError {
    /// Whether asking again may help: the answer was cut or came from something in between.
    pub fn may_pass(&self) -> bool {
        !matches!(self, Self::Shape(_))
    }
}

/// The first bytes of a body, made printable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote(String);

impl Quote {
    /// The first bytes of `body`, blanks folded, at most 120.
    pub fn of(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&body[..body.len().min(QUOTE)]);
        let folded: Vec<&str> = text.split_whitespace().collect();
        Self(folded.join(" ").chars().filter(|c| !c.is_control()).collect())
    }
}

impl fmt::Display for Quote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Splits one answer into records.
#[derive(Debug)]
pub struct Decoder {
    scanner: Scanner,
    head: Vec<u8>,
    received: u64,
}

impl Decoder {
    /// A decoder for one answer. `records` is the JSON pointer to its records (`/auditevent`); without one they
    /// are found by shape. A pointer also fits one level deeper, since some versions wrap the whole answer.
    pub fn new(records: Option<&str>) -> Self {
        Self {
            scanner: Scanner::new(Records::new(records)),
            head: Vec::new(),
            received: 0,
        }
    }

    /// Takes the next bytes of the body. Call [`Decoder::record`] until it gives `None` before the next call.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        if self.head.len() < QUOTE {
            self.head.extend_from_slice(&bytes[..bytes.len().min(QUOTE)]);
            self.received += bytes.len() as u64;
            self.sniff()?;
        } else {
            self.received += bytes.len() as u64;
        }
        self.scanner.feed(bytes);
        Ok(())
    }

    /// The next complete record, one JSON object, valid until the next call.
    pub fn record(&mut self) -> Result<Option<&[u8]>, DecodeError> {
        match self.scanner.step()? {
            Step::Record(range) => Ok(Some(self.scanner.bytes(range))),
            Step::NeedMore => Ok(None),
        }
    }

    /// Bytes held at the moment.
    #[cfg(test)]
    fn held(&self) -> usize {
        self.scanner.held()
    }

    /// The body has ended. Gives the envelope; where the whole answer is one record, it is in there.
    pub fn finish(self) -> Result<Envelope, DecodeError> {
        if !self.scanner.complete() {
            if self.head.iter().all(u8::is_ascii_whitespace) {
                return Err(DecodeError::Empty);
            }
            return Err(DecodeError::Truncated {
                bytes: self.received,
                quote: Quote::of(&self.head),
            });
        }
        self.scanner.finish()
    }

    /// Refuses what is visibly no JSON. `Content-Type` is not asked: it cannot be trusted.
    fn sniff(&self) -> Result<(), DecodeError> {
        let body = self.head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&self.head);
        let text = body.trim_ascii_start();
        let what = match text.first() {
            None | Some(b'{' | b'[') => return Ok(()),
            Some(b'<') => {
                let lower = String::from_utf8_lossy(text).to_ascii_lowercase();
                // `<` alone may be the first chunk; it is no JSON whatever follows.
                if lower.contains("<html") || lower.starts_with("<!doctype") {
                    "HTML"
                } else {
                    "XML"
                }
            }
            // A byte order mark that has not arrived whole.
            Some(0xEF) if self.head.len() < 3 => return Ok(()),
            Some(_) => "something else",
        };
        Err(DecodeError::NotJson {
            what,
            quote: Quote::of(&self.head),
        })
    }
}

#[cfg(test)]
mod tests;
