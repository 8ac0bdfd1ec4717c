//! Copies a JSON value from a reader straight into the document.
//!
//! Owns [`Plain`], which writes compactly, leaves out null members, `_links` and secrets at every depth, and
//! turns strings into numbers where the rule says so. It keeps nothing.

use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::numbers::{Rule, is_number};
use super::{Name, is_secret};

/// Writes `"name":`.
pub(super) fn name(out: &mut Vec<u8>, name: &str) {
    string(out, name);
    out.push(b':');
}

/// Writes a JSON string.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    scalar(out, text);
}

/// Writes a scalar. Writing to memory cannot fail, and a scalar has no keys that could be refused.
pub(super) fn scalar<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let start = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

/// Writes the value that is read; gives false, with nothing written, where the value is absent (null, or a text
/// that says so).
pub(super) struct Plain<'a> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) numbers: Rule,
    pub(super) depth: usize,
}

impl<'de> DeserializeSeed<'de> for Plain<'_> {
    type Value = bool;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Plain<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E>(self, value: bool) -> Result<bool, E> {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(true)
    }

    fn visit_u64<E>(self, value: u64) -> Result<bool, E> {
        scalar(self.out, &value);
        Ok(true)
    }

    fn visit_i64<E>(self, value: i64) -> Result<bool, E> {
        scalar(self.out, &value);
        Ok(true)
    }

    fn visit_f64<E>(self, value: f64) -> Result<bool, E> {
        scalar(self.out, &value);
        Ok(true)
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        if self.numbers == Rule::Numbers {
            if text.is_empty() || text == "N/A" {
                return Ok(false);
            }
            if is_number(text) {
                self.out.extend_from_slice(text.as_bytes());
                return Ok(true);
            }
        }
        string(self.out, text);
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        self.out.push(b'[');
        let start = self.out.len();
        loop {
            let before = self.out.len();
            if before > start {
                self.out.push(b',');
            }
            let plain = Plain {
                out: &mut *self.out,
                numbers: self.numbers,
                depth: self.depth + 1,
            };
            match list.next_element_seed(plain)? {
                Some(true) => {}
                Some(false) => self.out.truncate(before),
                None => {
                    self.out.truncate(before);
                    break;
                }
            }
        }
        self.out.push(b']');
        Ok(true)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        if self.depth > 64 {
            return Err(A::Error::custom("nested too deeply"));
        }
        self.out.push(b'{');
        let start = self.out.len();
        while let Some(Name(key)) = map.next_key()? {
            if key == "_links" || is_secret(&key) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let before = self.out.len();
            if before > start {
                self.out.push(b',');
            }
            name(self.out, &key);
            let numbers = match self.numbers {
                Rule::Strings => Rule::Strings,
                Rule::Numbers => Rule::of(&key, true),
            };
            if !map.next_value_seed(Plain {
                out: &mut *self.out,
                numbers,
                depth: self.depth + 1,
            })? {
                self.out.truncate(before);
            }
        }
        self.out.push(b'}');
        Ok(true)
    }
}
