//! One record in, the members of its event out: generic, in one pass, without an intermediate tree.
//!
//! Owns the rules by which fields are flattened, turned into numbers, renamed or left out; they go by shape and
//! by the endings of names, so that a new API needs no code. Pure. Secrets are left out here, before anything
//! else sees the record.
//!
//! - `_links` is left out, and so are null, and (in metrics) `""` and `"N/A"`.
//! - `XCurrent: [{t, Key: v}, …]` becomes `XCurrent_Key: v` of the newest point, with its time as `XCurrent_t`;
//!   likewise `XCurrentL1`, `XCurrentL2`. `XCurrent: {Tag: [{t, Key: v}]}` becomes `XCurrent_Tag_Key: v`.
//! - In metrics a string that is a number becomes one, digit by digit.
//! - A field that has the name of one of the event's own is kept as `ecs-<name>`.

mod numbers;
mod point;
mod write;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};

use crate::decode::DecodeError;

pub(crate) use write::string;

/// Names of an event's own fields, which a record may not take.
const OWN: [&str; 16] = [
    "@timestamp",
    "@version",
    "agent",
    "data_stream",
    "ecs",
    "ecsbeat",
    "error",
    "event",
    "fields",
    "host",
    "labels",
    "message",
    "observer",
    "tags",
    "type",
    "@metadata",
];

/// What to do with the records of one command.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The records are metrics of the dashboards: strings that are numbers become numbers.
    pub metrics: bool,
    /// Fields whose text the caller wants to know: key, time and the like.
    pub wanted: Vec<String>,
    /// The user's fields at the root, which win over the record's.
    pub shadowed: BTreeSet<String>,
}

/// The texts of the wanted fields, in the order of [`Rules::wanted`].
pub type Found = Vec<Option<String>>;

/// Appends the members of the event to `out`: `"a":1,"b":2`, without braces and line breaks, and gives the texts
/// of the wanted fields. On an error `out` is as before.
pub fn transform(record: &[u8], rules: &Rules, out: &mut Vec<u8>) -> Result<Found, DecodeError> {
    let start = out.len();
    let mut found = vec![None; rules.wanted.len()];
    let mut reader = serde_json::Deserializer::from_slice(record);
    let result = Record {
        rules,
        out: &mut *out,
        found: &mut found,
    }
    .deserialize(&mut reader);
    match result.and_then(|()| reader.end()) {
        Ok(()) => Ok(found),
        Err(error) => {
            out.truncate(start);
            Err(DecodeError::Syntax {
                at: error.column() as u64,
                message: error.to_string(),
            })
        }
    }
}

/// Whether a field of this name holds a secret.
pub fn is_secret(name: &str) -> bool {
    const NAMES: [&str; 14] = [
        "secretkeys",
        "secretkey",
        "secret_key",
        "secret_key_1",
        "secret_key_2",
        "secret_keys",
        "secret",
        "password",
        "passwd",
        "token",
        "access_token",
        "private_key",
        "privatekey",
        "x-sds-auth-token",
    ];
    // Most names are decided by one look at their letters.
    let suspicious = name
        .bytes()
        .any(|byte| matches!(byte, b'k' | b'K' | b'w' | b'W' | b'c' | b'C'));
    if !suspicious {
        return false;
    }
    let lower = name.to_ascii_lowercase();
    NAMES.contains(&lower.as_str()) || lower.ends_with("_password") || lower.ends_with("_secret_key")
}

/// The record itself: its members are treated by their names.
struct Record<'a> {
    rules: &'a Rules,
    out: &'a mut Vec<u8>,
    found: &'a mut Found,
}

impl<'de> DeserializeSeed<'de> for Record<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Record<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let start = self.out.len();
        while let Some(Name(name)) = map.next_key()? {
            if name == "_links" || is_secret(&name) || self.rules.shadowed.contains(name.as_ref()) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let before = self.out.len();
            if before > start {
                self.out.push(b',');
            }
            if is_current(&name) {
                let wrote = map.next_value_seed(point::Current {
                    name: &name,
                    out: self.out,
                })?;
                if !wrote {
                    self.out.truncate(before);
                }
                continue;
            }
            let own = OWN.contains(&name.as_ref());
            if own {
                write::name(self.out, &format!("ecs-{name}"));
            } else {
                write::name(self.out, &name);
            }
            let value = self.out.len();
            let numbers = numbers::Rule::of(&name, self.rules.metrics);
            let wrote = map.next_value_seed(write::Plain {
                out: self.out,
                numbers,
                depth: 0,
            })?;
            if !wrote {
                self.out.truncate(before);
                continue;
            }
            if let Some(index) = self.rules.wanted.iter().position(|wanted| *wanted == name) {
                self.found[index] = text(&self.out[value..]);
            }
        }
        Ok(())
    }
}

/// A member's name, borrowed where the text has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Name<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Cow<'de, str>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        reader.deserialize_str(Text).map(Name)
    }
}

fn is_current(name: &str) -> bool {
    let stem = name
        .strip_suffix("L1")
        .or_else(|| name.strip_suffix("L2"))
        .unwrap_or(name);
    stem.ends_with("Current")
}

/// The text of a written scalar; `None` for objects and lists.
fn text(json: &[u8]) -> Option<String> {
    match json.first()? {
        b'"' => serde_json::from_slice(json).ok(),
        b'{' | b'[' => None,
        _ => String::from_utf8(json.to_vec()).ok(),
    }
}

#[cfg(test)]
mod tests;
