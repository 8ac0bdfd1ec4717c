//! One value of the configuration and what it can be read as.
//!
//! Owns the conversions and the wording `expected …, found …`. References are filled in here, at the last
//! moment, because only the key that is read knows whether it wants a text or a list. What a message shows is
//! the text of the file, never what a reference stands for, and nothing at all of a secret.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Value, json};

use super::dotted::join;
use super::expand::Expanded;
use super::given::Answer;
use super::node::{Data, Map, Node, Scalar, Style};
use super::reader::Reader;
use super::section::Section;
use super::{Secret, bytes, duration, overrides, redact};

/// Longer values are cut in messages.
const MAX_SHOWN_TEXT: usize = 60;

/// A value that is there, and its place.
#[derive(Clone)]
pub(super) struct Field<'a> {
    pub(super) reader: &'a Reader<'a>,
    pub(super) node: Cow<'a, Node>,
    /// For messages.
    pub(super) path: String,
    /// As `path`, entries of lists are `*`.
    pub(super) schema: String,
}

impl<'a> Field<'a> {
    pub(super) fn problem(&self, message: impl Into<String>) {
        self.reader.problem(&self.node.mark, &self.path, message);
    }

    pub(super) fn warning(&self, message: impl Into<String>) {
        self.reader.warning(&self.node.mark, &self.path, message);
    }

    /// Remembers what this was understood as.
    fn given(&self, value: impl Into<Value>) {
        self.reader
            .given(&self.node.mark, &self.path, Answer::Plain(value.into()));
    }

    /// As `given`, for a text; the user of a URL makes it a secret.
    fn given_text(&self, text: &str) {
        if redact::url_user(text) == text {
            self.given(text);
        } else {
            self.given_secret(&Secret::new(text));
        }
    }

    fn given_secret(&self, secret: &Secret) {
        self.reader
            .given(&self.node.mark, &self.path, Answer::Secret(secret.clone()));
    }

    /// Remembers that there is nothing in it: that it is there may be all that counts.
    pub(super) fn given_if_empty(&self) {
        match &self.node.data {
            Data::Null => self.given(Value::Null),
            Data::Map(map) if map.entries.is_empty() => self.given(json!({})),
            Data::Map(_) | Data::List(_) | Data::Scalar(_) => {}
        }
    }

    /// What stands here, for a message.
    pub(super) fn found(&self) -> String {
        let Data::Scalar(scalar) = &self.node.data else {
            return self.node.kind().to_owned();
        };
        let shown = redact::url_user(&scalar.text);
        let mut text: String = shown.chars().take(MAX_SHOWN_TEXT).collect();
        if text.len() < shown.len() {
            text.push('…');
        }
        if text.contains("${") {
            format!("the value of {text}")
        } else {
            format!("{text:?}")
        }
    }

    /// Whether there is a reference in it.
    fn refers(&self) -> bool {
        matches!(&self.node.data, Data::Scalar(scalar) if scalar.text.contains("${"))
    }

    /// `expected …, found …`.
    pub(super) fn expected(&self, what: &str) {
        self.problem(format!("expected {what}, found {}", self.found()));
    }

    /// Whether this is null, empty, false, or a section with `enabled: false`.
    pub(super) fn is_switched_off(&self) -> bool {
        match &self.node.data {
            Data::Null => true,
            Data::Scalar(_) => self.expand().is_ok_and(|text| {
                text.is_some_and(|text| text.text.is_empty() || parse_flag(&text.text) == Some(false))
            }),
            Data::List(items) => items.is_empty(),
            Data::Map(map) => map.entries.is_empty() || self.says_disabled(),
        }
    }

    /// Whether this is a section with `enabled: false`.
    pub(super) fn says_disabled(&self) -> bool {
        let Data::Map(map) = &self.node.data else {
            return false;
        };
        self.child("enabled", map.get("enabled"))
            .and_then(|field| field.expand().ok()?)
            .is_some_and(|text| parse_flag(&text.text) == Some(false))
    }

    fn child(&self, key: &str, node: Option<&Node>) -> Option<Field<'a>> {
        let node = Cow::Owned(node?.clone());
        Some(Field {
            reader: self.reader,
            node,
            path: join(&self.path, key),
            schema: join(&self.schema, key),
        })
    }

    /// The text with references filled in; `Ok(None)` if this is no single value.
    fn expand(&self) -> Result<Option<Expanded>, String> {
        match &self.node.data {
            Data::Scalar(scalar) => self
                .reader
                .lookup
                .expand(&scalar.text)
                .map(Some)
                .map_err(|error| error.to_string()),
            _ => Ok(None),
        }
    }

    fn expanded(&self, what: &str) -> Option<Expanded> {
        match self.expand() {
            Ok(Some(expanded)) => Some(expanded),
            Ok(None) => {
                self.expected(what);
                None
            }
            Err(message) => {
                self.problem(message);
                None
            }
        }
    }

    /// Reads a single value with `parse`, whose error is the reason told.
    pub(super) fn parsed<T>(&self, what: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.expanded(what)?.text;
        match parse(&text) {
            Ok(value) => {
                self.given_text(text.trim());
                Some(value)
            }
            // A reason may quote the value, which of a reference is not told.
            Err(reason) if reason.is_empty() || self.refers() => {
                self.expected(what);
                None
            }
            Err(reason) => {
                self.problem(format!("expected {what}, found {}: {reason}", self.found()));
                None
            }
        }
    }

    pub(super) fn text(&self) -> Option<String> {
        let text = self.expanded("a text")?.text;
        self.given_text(&text);
        Some(text)
    }

    /// A text that messages never show.
    pub(super) fn secret(&self) -> Option<Secret> {
        let secret = Secret::new(self.expanded("a text")?.text);
        self.given_secret(&secret);
        Some(secret)
    }

    pub(super) fn flag(&self) -> Option<bool> {
        let flag = self.parsed("true or false", |text| parse_flag(text).ok_or_else(String::new))?;
        self.given(flag);
        Some(flag)
    }

    pub(super) fn duration(&self) -> Option<Duration> {
        let duration = self.parsed(
            "a duration such as 30s, 5m or 1h30m (a bare number is seconds)",
            |text| {
                duration::parse(text).map_err(|error| match error {
                    duration::DurationError::Syntax => String::new(),
                    error => error.to_string(),
                })
            },
        )?;
        self.given(duration::show(duration));
        Some(duration)
    }

    pub(super) fn bytes(&self) -> Option<u64> {
        let bytes = self.parsed("a size such as 64MB or 10GiB (a bare number is bytes)", |text| {
            bytes::parse(text).map_err(|error| match error {
                bytes::SizeError::Syntax => String::new(),
                error => error.to_string(),
            })
        })?;
        self.given(bytes);
        Some(bytes)
    }

    pub(super) fn number<T: TryFrom<i64>>(&self, range: RangeInclusive<i64>) -> Option<T> {
        let what = match (*range.start(), *range.end()) {
            (least, i64::MAX) => format!("a whole number of at least {least}"),
            (least, most) => format!("a whole number from {least} to {most}"),
        };
        let number = self.parsed(&what, |text| {
            bytes::parse_integer(text)
                .filter(|number| range.contains(number) && T::try_from(*number).is_ok())
                .ok_or_else(String::new)
        })?;
        self.given(number);
        T::try_from(number).ok()
    }

    /// A file mode, not wider than `most`.
    pub(super) fn mode(&self, most: u32) -> Option<u32> {
        let mode = self.parsed(
            &format!("a file mode in octal such as 0600, at most {most:04o}"),
            |text| {
                bytes::parse_mode(text)
                    .filter(|mode| mode & !most == 0)
                    .ok_or_else(String::new)
            },
        )?;
        self.given(mode);
        Some(mode)
    }

    pub(super) fn one_of<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let (name, value) = self.parsed(&format!("one of {}", names.join(", ")), |text| {
            let mut choices = choices.iter();
            let found = choices.find(|(name, _)| name.eq_ignore_ascii_case(text.trim()));
            found.copied().ok_or_else(String::new)
        })?;
        self.given(name);
        Some(value)
    }

    /// The value as a section.
    pub(super) fn section<T>(&self, read: impl FnOnce(&Section<'a>) -> T) -> T {
        let (path, schema) = (self.path.clone(), self.schema.clone());
        Section::read(
            self.reader,
            Some(self.node.clone()),
            &self.node.mark,
            path,
            schema,
            read,
        )
    }

    /// The entries of a list. One value is a list of one; text of the command line or the environment is split
    /// at its commas; a mapping with the keys 0, 1, 2 … is a list given by index.
    pub(super) fn items(&self) -> Option<Vec<Field<'a>>> {
        let nodes: Vec<Cow<'a, Node>> = match &self.node {
            Cow::Borrowed(Node {
                data: Data::List(items),
                ..
            }) => items.iter().map(Cow::Borrowed).collect(),
            Cow::Owned(Node {
                data: Data::List(items),
                ..
            }) => items.iter().cloned().map(Cow::Owned).collect(),
            node => match &node.data {
                Data::Map(map) if !map.entries.is_empty() && is_indexed(map) => (0..map.entries.len())
                    .filter_map(|index| map.get(&index.to_string()).cloned())
                    .map(Cow::Owned)
                    .collect(),
                Data::Scalar(_) => vec![node.clone()],
                _ => {
                    self.expected("a list");
                    return None;
                }
            },
        };
        self.given(json!([]));
        let mut items = Vec::with_capacity(nodes.len());
        for node in nodes {
            // A part of a text is an entry of its own, with a number of its own.
            let numbered = |number: usize, node| Field {
                reader: self.reader,
                node,
                path: join(&self.path, &number.to_string()),
                schema: join(&self.schema, "*"),
            };
            let item = numbered(items.len(), node);
            match item.split() {
                Some(parts) => {
                    for part in parts {
                        items.push(numbered(items.len(), Cow::Owned(part)));
                    }
                }
                None => items.push(item),
            }
        }
        Some(items)
    }

    /// The parts of a single value that may be a list; `None` if it may not or cannot be read.
    fn split(&self) -> Option<Vec<Node>> {
        let Data::Scalar(scalar) = &self.node.data else {
            return None;
        };
        let expanded = self.expand().ok()??;
        if !expanded.list && scalar.style != Style::Argument {
            return None;
        }
        let mut parts = overrides::parse_list(&expanded.text, &self.node.mark).ok()?;
        for part in &mut parts {
            if let Data::Scalar(scalar) = &mut part.data {
                // Filled in already: a dollar sign of the environment stands for itself.
                scalar.text = scalar.text.replace('$', "$$");
            }
        }
        Some(parts)
    }

    /// The entries of a mapping, one level, in the order of the file; `None` if it is none.
    pub(super) fn entries(&self) -> Option<Vec<(String, Field<'a>)>> {
        let Data::Map(map) = &self.node.data else {
            return None;
        };
        let entries = map.entries.iter();
        entries
            .map(|(key, node)| Some((key.clone(), self.child(key, Some(node))?)))
            .collect()
    }

    /// The entries of a mapping by name, or of a list without names. A name with dots is put together again
    /// where the mapping below it stands for the dot and holds none of `known`.
    pub(super) fn named_items(&self, known: &[&str]) -> Option<Vec<(Option<String>, Field<'a>)>> {
        match &self.node.data {
            Data::Map(map) if !is_indexed(map) => {
                let mut items = Vec::new();
                self.named(map, "", known, &mut items);
                let names = items.iter().filter_map(|(name, _)| name.clone());
                self.given(names.collect::<Vec<_>>());
                Some(items)
            }
            _ => Some(self.items()?.into_iter().map(|item| (None, item)).collect()),
        }
    }

    fn named(&self, map: &Map, prefix: &str, known: &[&str], items: &mut Vec<(Option<String>, Field<'a>)>) {
        for (key, node) in &map.entries {
            let name = join(prefix, key);
            match &node.data {
                Data::Map(inner) if is_dot(inner, known) => self.named(inner, &name, known, items),
                _ => items.push((
                    Some(name.clone()),
                    Field {
                        reader: self.reader,
                        node: Cow::Owned(node.clone()),
                        path: join(&self.path, &name),
                        schema: join(&self.schema, "*"),
                    },
                )),
            }
        }
    }

    /// The entries of a mapping whose keys may hold dots, put together again: `http.status: 200`.
    pub(super) fn flat(&self) -> Option<Vec<(String, Field<'a>)>> {
        let Data::Map(map) = &self.node.data else {
            self.expected("a mapping");
            return None;
        };
        let mut pairs = Vec::new();
        for (key, node) in &map.entries {
            let Some(field) = self.child(key, Some(node)) else {
                continue;
            };
            match &node.data {
                Data::Map(inner) if !inner.entries.is_empty() => {
                    let below = field.flat()?;
                    pairs.extend(below.into_iter().map(|(name, field)| (join(key, &name), field)));
                }
                _ => pairs.push((key.clone(), field)),
            }
        }
        Some(pairs)
    }

    /// The value as free data: text without quotes may be a number or a bool.
    pub(super) fn json(&self) -> Value {
        let value = self.free();
        self.given(value.clone());
        value
    }

    fn free(&self) -> Value {
        match &self.node.data {
            Data::Null => Value::Null,
            Data::Scalar(scalar) => self
                .expanded("a value")
                .map_or(Value::Null, |expanded| typed(scalar, expanded)),
            Data::List(items) => {
                let fields = items
                    .iter()
                    .enumerate()
                    .filter_map(|(index, node)| self.child(&index.to_string(), Some(node)));
                Value::Array(fields.map(|field| field.free()).collect())
            }
            Data::Map(map) => {
                let fields = map
                    .entries
                    .iter()
                    .filter_map(|(key, node)| Some((key, self.child(key, Some(node))?)));
                Value::Object(fields.map(|(key, field)| (key.clone(), field.free())).collect())
            }
        }
    }
}

fn typed(scalar: &Scalar, expanded: Expanded) -> Value {
    let text = expanded.text;
    if scalar.style == Style::Quoted {
        return Value::String(text);
    }
    let digits = text.trim_start_matches('-');
    let leading_zero = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    match text.as_str() {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Value::Bool(false),
        _ if leading_zero => Value::String(text),
        // JSON's own numbers, and nothing that would lose a digit.
        _ => match serde_json::from_str::<Value>(&text) {
            Ok(Value::Number(number)) if number.is_i64() || number.is_u64() || text.len() <= 16 => {
                Value::Number(number)
            }
            _ => Value::String(text),
        },
    }
}

/// Bools as YAML 1.1 and the command line write them.
fn parse_flag(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "on" | "1" => Some(true),
        "false" | "f" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Whether the keys are 0, 1, 2 …
fn is_indexed(map: &Map) -> bool {
    !map.entries.is_empty() && (0..map.entries.len()).all(|index| map.get(&index.to_string()).is_some())
}

fn is_dot(map: &Map, known: &[&str]) -> bool {
    map.implied
        && map
            .entries
            .iter()
            .all(|(key, node)| !known.contains(&key.as_str()) && matches!(node.data, Data::Map(_)))
}
