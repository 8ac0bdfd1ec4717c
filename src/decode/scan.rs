//! Finds the borders of records in a JSON text that arrives in pieces.
//!
//! Owns the byte-level walk. It follows the structure of the envelope member by member, hands out each element
//! of the list of records as a range of its buffer, and keeps everything else as a smaller document (the list
//! emptied) for [`Envelope`]. It only finds borders: whether a record is valid JSON is found by who reads it.

use std::ops::Range;

use super::DecodeError;
use super::envelope::{Envelope, Records};

/// Containers in one another, as in `serde_json`.
const MAX_DEPTH: usize = 120;

/// Longest text of the envelope that is kept; a longer one is left out as it comes in.
const MAX_TEXT: usize = 1024 * 1024;
/// Longest name of a member, and longest number.
const MAX_NAME: usize = 64 * 1024;
/// Largest record, and largest envelope.
pub(super) const MAX_RECORD: usize = 8 * 1024 * 1024;

/// What a step found.
#[derive(Debug)]
pub(super) enum Step {
    /// A record, as a range of the buffer; see [`Scanner::bytes`].
    Record(Range<usize>),
    /// Nothing more in what was fed so far.
    NeedMore,
}

#[derive(Debug)]
pub(super) struct Scanner {
    records: Records,
    /// What was fed and is still needed.
    buffer: Vec<u8>,
    /// Everything before it has been dealt with.
    position: usize,
    /// Bytes dropped from the front of the buffer, for offsets in errors.
    dropped: u64,
    /// The document without its records.
    rest: Vec<u8>,
    stack: Vec<Container>,
    expect: Expect,
    found_list: bool,
    record: Option<RecordScan>,
    /// How far an unfinished text has been looked through.
    looked: usize,
    /// In a text that is too long to keep.
    skipping: bool,
}

#[derive(Debug)]
enum Container {
    /// An object, with the name of the member that is being read.
    Object(String),
    /// A list.
    List,
    /// The list of records.
    Records,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// A value: the root, a member's, or a list's next element.
    Value,
    /// The first element of a list, or its end.
    ValueOrEnd,
    /// A member's name.
    Name,
    /// The first member's name, or the object's end.
    NameOrEnd,
    /// A comma, or the container's end.
    CommaOrEnd,
    /// Blanks only.
    Nothing,
}

/// A record that has begun at `start` and has been looked at up to `at`.
#[derive(Debug)]
struct RecordScan {
    start: usize,
    at: usize,
    depth: usize,
    in_string: bool,
    /// Part of a list of records, or the only one, in place of a list.
    single: bool,
}

impl Scanner {
    pub(super) fn new(records: Records) -> Self {
        Self {
            records,
            buffer: Vec::new(),
            position: 0,
            dropped: 0,
            rest: Vec::new(),
            stack: Vec::new(),
            expect: Expect::Value,
            found_list: false,
            record: None,
            looked: 0,
            skipping: false,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let done = self.record.as_ref().map_or(self.position, |record| record.start);
        if done > 0 {
            self.buffer.drain(..done);
            self.dropped += done as u64;
            self.position -= done;
            self.looked = self.looked.saturating_sub(done);
            if let Some(record) = &mut self.record {
                record.start -= done;
                record.at -= done;
            }
        }
        self.buffer.extend_from_slice(bytes);
    }

    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.buffer.len() + self.rest.len()
    }

    /// Whether the root value has ended.
    pub(super) fn complete(&self) -> bool {
        self.expect == Expect::Nothing && self.record.is_none()
    }

    pub(super) fn finish(self) -> Result<Envelope, DecodeError> {
        Envelope::new(&self.rest, &self.records, self.found_list)
    }

    /// Goes on to the end of the next record, or as far as it can.
    pub(super) fn step(&mut self) -> Result<Step, DecodeError> {
        loop {
            if self.rest.len() > MAX_RECORD {
                return Err(too_large(
                    "what the answer has beside its list of records, or its only record,",
                ));
            }
            if self.skipping && !self.skip() {
                return Ok(Step::NeedMore);
            }
            if let Some(record) = &mut self.record {
                let Some(end) = record.end(&self.buffer) else {
                    if self.buffer.len() - record.start > MAX_RECORD {
                        return Err(too_large("a record"));
                    }
                    return Ok(Step::NeedMore);
                };
                let range = record.start..end;
                let single = record.single;
                self.record = None;
                self.position = end;
                if single {
                    self.rest.extend_from_slice(b"[]");
                }
                self.expect = Expect::CommaOrEnd;
                return Ok(Step::Record(range));
            }
            if !self.skip_blanks() {
                return Ok(Step::NeedMore);
            }
            let Some(&byte) = self.buffer.get(self.position) else {
                return Ok(Step::NeedMore);
            };
            let went_on = match self.expect {
                Expect::Nothing => return Err(self.syntax("more text after the end of the document")),
                Expect::CommaOrEnd => self.comma_or_end(byte)?,
                Expect::NameOrEnd if byte == b'}' => self.close(byte)?,
                Expect::ValueOrEnd if byte == b']' => self.close(byte)?,
                Expect::Name | Expect::NameOrEnd => self.name(byte)?,
                Expect::Value | Expect::ValueOrEnd => self.value(byte)?,
            };
            if !went_on {
                return Ok(Step::NeedMore);
            }
        }
    }

    /// False while a byte order mark at the very start, which counts as blank, has not arrived whole.
    fn skip_blanks(&mut self) -> bool {
        if self.dropped == 0 && self.position == 0 && self.buffer.first() == Some(&0xEF) {
            if self.buffer.len() < 3 {
                return false;
            }
            self.position = 3;
        }
        while self
            .buffer
            .get(self.position)
            .is_some_and(u8::is_ascii_whitespace)
        {
            self.position += 1;
        }
        true
    }

    fn in_records(&self) -> bool {
        matches!(self.stack.last(), Some(Container::Records))
    }

    fn comma_or_end(&mut self, byte: u8) -> Result<bool, DecodeError> {
        if byte != b',' {
            return self.close(byte);
        }
        let (expect, keep) = match self.stack.last() {
            Some(Container::Object(_)) => (Expect::Name, true),
            Some(Container::List) => (Expect::Value, true),
            Some(Container::Records) => (Expect::Value, false),
            None => return Err(self.syntax("a comma after the end of the document")),
        };
        if keep {
            self.rest.push(byte);
        }
        self.position += 1;
        self.expect = expect;
        Ok(true)
    }

    fn close(&mut self, byte: u8) -> Result<bool, DecodeError> {
        match (self.stack.pop(), byte) {
            (Some(Container::Object(_)), b'}') | (Some(Container::List | Container::Records), b']') => {}
            _ => return Err(self.syntax("expected a comma or the end of the list or object")),
        }
        self.rest.push(byte);
        self.position += 1;
        self.expect = if self.stack.is_empty() {
            Expect::Nothing
        } else {
            Expect::CommaOrEnd
        };
        Ok(true)
    }

    fn name(&mut self, byte: u8) -> Result<bool, DecodeError> {
        if byte != b'"' {
            return Err(self.syntax("expected a member's name"));
        }
        let Some(end) = string_end(&self.buffer, self.position + 1) else {
            if self.buffer.len() - self.position > MAX_NAME {
                return Err(self.syntax("a member's name longer than 64 KiB"));
            }
            return Ok(false);
        };
        // The colon belongs to the name, so that the two are dealt with at once.
        let mut colon = end;
        while self.buffer.get(colon).is_some_and(u8::is_ascii_whitespace) {
            colon += 1;
        }
        match self.buffer.get(colon) {
            None => return Ok(false),
            Some(b':') => {}
            Some(_) => return Err(self.syntax("expected a colon after a member's name")),
        }
        let text = &self.buffer[self.position..end];
        let name: String = serde_json::from_slice(text).map_err(|_| self.syntax("a broken name"))?;
        self.rest.extend_from_slice(text);
        self.rest.push(b':');
        if let Some(Container::Object(current)) = self.stack.last_mut() {
            *current = name;
        }
        self.position = colon + 1;
        self.expect = Expect::Value;
        Ok(true)
    }

    fn value(&mut self, byte: u8) -> Result<bool, DecodeError> {
        if self.in_records() {
            if byte != b'{' {
                return Err(self.syntax("expected an object as record"));
            }
            self.begin_record(false);
            return Ok(true);
        }
        match byte {
            b'{' | b'[' => {
                if self.is_place_of_records() {
                    self.found_list = true;
                    if byte == b'{' {
                        self.begin_record(true);
                        return Ok(true);
                    }
                    self.open(Container::Records, byte, Expect::ValueOrEnd)
                } else if byte == b'{' {
                    self.open(Container::Object(String::new()), byte, Expect::NameOrEnd)
                } else {
                    self.open(Container::List, byte, Expect::ValueOrEnd)
                }
            }
            _ => self.scalar(byte),
        }
    }

    fn is_place_of_records(&self) -> bool {
        let mut path = Vec::with_capacity(self.stack.len());
        for container in &self.stack {
            match container {
                Container::Object(name) => path.push(name.as_str()),
                _ => return false,
            }
        }
        self.records.at(&path)
    }

    fn begin_record(&mut self, single: bool) {
        self.record = Some(RecordScan {
            start: self.position,
            at: self.position,
            depth: 0,
            in_string: false,
            single,
        });
    }

    fn open(&mut self, container: Container, byte: u8, expect: Expect) -> Result<bool, DecodeError> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(self.syntax("nested too deeply"));
        }
        self.stack.push(container);
        self.rest.push(byte);
        self.position += 1;
        self.expect = expect;
        Ok(true)
    }

    fn scalar(&mut self, byte: u8) -> Result<bool, DecodeError> {
        let end = if byte == b'"' {
            let from = self.looked.max(self.position + 1);
            string_end(&self.buffer, from)
        } else {
            // A number or word ends before the next mark; where none has arrived yet, it may go on.
            self.buffer[self.position..]
                .iter()
                .position(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n'))
                .map(|length| self.position + length)
        };
        let Some(end) = end else {
            if self.stack.is_empty() {
                return Err(self.syntax("expected an object or a list"));
            }
            self.unfinished(byte)?;
            return Ok(false);
        };
        self.looked = 0;
        if end == self.position {
            return Err(self.syntax("expected a value"));
        }
        self.rest.extend_from_slice(&self.buffer[self.position..end]);
        self.position = end;
        self.expect = if self.stack.is_empty() {
            Expect::Nothing
        } else {
            Expect::CommaOrEnd
        };
        Ok(true)
    }

    /// The scalar at the position goes on in bytes that have not arrived.
    fn unfinished(&mut self, byte: u8) -> Result<(), DecodeError> {
        let length = self.buffer.len() - self.position;
        if byte != b'"' {
            return if length > MAX_NAME {
                Err(self.syntax("a number longer than 64 KiB"))
            } else {
                Ok(())
            };
        }
        // What follows a backslash at the end is not known yet. An even number of them is complete.
        let slashes = self
            .buffer
            .iter()
            .rev()
            .take_while(|byte| **byte == b'\\')
            .count();
        self.looked = self.buffer.len() - slashes % 2;
        if length > MAX_TEXT {
            self.rest.extend_from_slice(b"null");
            self.position = self.looked;
            self.looked = 0;
            self.skipping = true;
        }
        Ok(())
    }

    /// Goes on to the end of a text that is not kept; false while it has not arrived.
    fn skip(&mut self) -> bool {
        if let Some(end) = string_end(&self.buffer, self.position) {
            self.position = end;
            self.skipping = false;
            self.expect = Expect::CommaOrEnd;
            return true;
        }
        let slashes = self.buffer[self.position..]
            .iter()
            .rev()
            .take_while(|byte| **byte == b'\\')
            .count();
        self.position = self.buffer.len() - slashes % 2;
        false
    }

    fn syntax(&self, message: &str) -> DecodeError {
        DecodeError::Syntax {
            at: self.dropped + self.position as u64,
            message: message.to_owned(),
        }
    }
}

impl RecordScan {
    /// The offset behind the record's last byte, if that is in the buffer.
    fn end(&mut self, buffer: &[u8]) -> Option<usize> {
        let mut at = self.at;
        loop {
            if self.in_string {
                // From here to the next quote that is not escaped.
                let Some(found) = memchr::memchr2(b'"', b'\\', &buffer[at..]) else {
                    self.at = buffer.len();
                    return None;
                };
                at += found;
                if buffer[at] == b'\\' {
                    if at + 1 >= buffer.len() {
                        self.at = at;
                        return None;
                    }
                    at += 2;
                    continue;
                }
                at += 1;
                self.in_string = false;
            }
            loop {
                match buffer.get(at) {
                    None => {
                        self.at = at;
                        return None;
                    }
                    Some(b'"') => {
                        at += 1;
                        self.in_string = true;
                        break;
                    }
                    Some(b'{' | b'[') => {
                        at += 1;
                        self.depth += 1;
                    }
                    Some(b'}' | b']') => {
                        at += 1;
                        self.depth = self.depth.saturating_sub(1);
                        if self.depth == 0 {
                            return Some(at);
                        }
                    }
                    Some(_) => at += 1,
                }
            }
        }
    }
}

/// The offset behind the closing quote of a string, looked for from `at` within it.
fn string_end(buffer: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', buffer.get(at..)?)?;
        if buffer[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

fn too_large(what: &str) -> DecodeError {
    DecodeError::Shape(format!(
        "{what} is larger than {} MiB; if it is a list, name its place in the command's `records`",
        MAX_RECORD / 1024 / 1024
    ))
}
