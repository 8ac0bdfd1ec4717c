//! A mapping of known keys.
//!
//! Every key is asked for by its name, present or not; when the section ends, keys nobody asked for are
//! unknown. The typed methods are shorthands for [`Field`]'s; each returns `None` for a key that is absent,
//! null, or wrong (then the problem is already told).

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::Value;

use super::Secret;
use super::dotted::join;
use super::field::Field;
use super::given::Answer;
use super::node::{Data, Mark, Node};
use super::reader::Reader;

/// A mapping that is being read.
pub(super) struct Section<'a> {
    reader: &'a Reader<'a>,
    node: Option<Cow<'a, Node>>,
    mark: Mark,
    path: String,
    schema: String,
    /// Keys that we offer.
    known: RefCell<Vec<&'static str>>,
    /// Keys that are dealt with and never proposed.
    tolerated: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// Hands the mapping to `read` and then looks for keys it did not ask for. Anything but a mapping is a
    /// problem and read as if it were absent.
    pub(super) fn read<T>(
        reader: &'a Reader<'a>,
        node: Option<Cow<'a, Node>>,
        mark: &Mark,
        path: String,
        schema: String,
        read: impl FnOnce(&Self) -> T,
    ) -> T {
        let node = node.filter(|node| match node.data {
            Data::Map(_) => true,
            Data::Null => false,
            Data::Scalar(_) | Data::List(_) => {
                reader.problem(
                    &node.mark,
                    &path,
                    format!("expected a mapping, found {}", node.kind()),
                );
                false
            }
        });
        let section = Self {
            reader,
            node,
            mark: mark.clone(),
            path,
            schema,
            known: RefCell::default(),
            tolerated: RefCell::default(),
        };
        let value = read(&section);
        section.finish();
        value
    }

    fn finish(self) {
        let known = self.known.into_inner();
        let tolerated = self.tolerated.into_inner();
        if let Some(Data::Map(map)) = self.node.as_ref().map(|node| &node.data) {
            for (key, node) in &map.entries {
                if !known.contains(&key.as_str()) && !tolerated.contains(&key.as_str()) {
                    self.reader
                        .unknown(&node.mark, join(&self.path, key), key, &known);
                }
            }
        }
    }

    /// The key's value; `None` if it is absent or null.
    pub(super) fn field(&self, key: &'static str) -> Option<Field<'a>> {
        self.entry(key)
            .filter(|field| !matches!(field.node.data, Data::Null))
    }

    /// The key's value, null included.
    pub(super) fn entry(&self, key: &'static str) -> Option<Field<'a>> {
        self.reader.known(join(&self.schema, key));
        self.known.borrow_mut().push(key);
        let field = self.at(key)?;
        field.given_if_empty();
        Some(field)
    }

    /// As `entry`, for keys that are no part of what we offer.
    fn tolerated(&self, key: &'static str) -> Option<Field<'a>> {
        self.tolerated.borrow_mut().push(key);
        self.at(key)
    }

    fn at(&self, key: &str) -> Option<Field<'a>> {
        let node = match self.node.as_ref()? {
            Cow::Borrowed(Node {
                data: Data::Map(map), ..
            }) => Cow::Borrowed(map.get(key)?),
            Cow::Owned(Node {
                data: Data::Map(map), ..
            }) => Cow::Owned(map.get(key)?.clone()),
            _ => return None,
        };
        Some(Field {
            reader: self.reader,
            node,
            path: join(&self.path, key),
            schema: join(&self.schema, key),
        })
    }

    /// Another name of a key that the sample does not show; `None` if it is absent or null.
    pub(super) fn alias(&self, key: &'static str) -> Option<Field<'a>> {
        self.tolerated(key)
            .filter(|field| !matches!(field.node.data, Data::Null))
    }

    /// The key's value, null included, before it is known whether it counts; also a key of Beats that is no part of
    /// what we offer.
    pub(super) fn peek(&self, key: &'static str) -> Option<Field<'a>> {
        self.tolerated(key)
    }

    /// Remembers what `key` comes to where that it is here says it already.
    pub(super) fn given(&self, key: &str, value: impl Into<Value>) {
        self.reader
            .given(&self.mark, &join(&self.path, key), Answer::Plain(value.into()));
    }

    /// Whether anything was written here at all.
    pub(super) fn is_present(&self) -> bool {
        self.node.is_some()
    }

    /// The reading this section belongs to.
    pub(super) fn reader(&self) -> &'a Reader<'a> {
        self.reader
    }

    /// A section below this one; read even if it is absent, so that its keys are known.
    pub(super) fn section<T>(&self, key: &'static str, read: impl FnOnce(&Section<'a>) -> T) -> T {
        let field = self.entry(key);
        let mark = field
            .as_ref()
            .map_or_else(|| self.mark.clone(), |field| field.node.mark.clone());
        let (path, schema) = (join(&self.path, key), join(&self.schema, key));
        Section::read(
            self.reader,
            field.map(|field| field.node),
            &mark,
            path,
            schema,
            read,
        )
    }

    /// Tells a problem of `key`, at its line if it is there, else at the section's.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) {
        self.reader
            .problem(&self.mark_of(key), &join(&self.path, key), message);
    }

    /// Tells a warning of `key`.
    pub(super) fn warning(&self, key: &str, message: impl Into<String>) {
        self.reader
            .warning(&self.mark_of(key), &join(&self.path, key), message);
    }

    fn mark_of(&self, key: &str) -> Mark {
        let node = self
            .node
            .as_ref()
            .and_then(|node| if key.is_empty() { None } else { node.at(key) });
        node.map_or_else(|| self.mark.clone(), |node| node.mark.clone())
    }

    /// Dotted path of `key`, for messages about two keys.
    pub(super) fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Whether `key` was given and is wrong.
    pub(super) fn is_wrong(&self, key: &str) -> bool {
        self.reader.has_problem(&join(&self.path, key))
    }

    /// Tells that `key` has to be given, unless it was given and is wrong.
    pub(super) fn missing(&self, key: &str, what: &str) {
        if self.is_wrong(key) {
            return;
        }
        self.problem(key, format!("missing: {what}"));
    }

    /// A key of Beats that changes nothing here: one warning, unless it is switched off.
    pub(super) fn without_effect(&self, key: &'static str, why: &str) {
        if let Some(field) = self.tolerated(key).filter(|field| !field.is_switched_off()) {
            field.warning(format!("has no effect: {why}"));
        }
    }

    /// A former name: the value, with a warning.
    pub(super) fn deprecated(&self, key: &'static str, now: &str) -> Option<Field<'a>> {
        let field = self.alias(key)?;
        field.warning(format!("is deprecated, use {now}"));
        Some(field)
    }

    /// What another product calls one of our keys: unknown here, with our name for it.
    pub(super) fn misnamed(&self, theirs: &'static str, ours: &str) {
        if let Some(field) = self.tolerated(theirs) {
            field.problem(format!("unknown key, did you mean {ours:?}?"));
        }
    }

    /// A key that would change something if this version knew it: an error, unless it is switched off.
    pub(super) fn not_in_this_version(&self, key: &'static str, instead: &str) {
        if let Some(field) = self.tolerated(key).filter(|field| !field.is_switched_off()) {
            field.problem(format!("not in this version{instead}"));
        }
    }

    // --- typed shorthands ---

    pub(super) fn text(&self, key: &'static str) -> Option<String> {
        self.field(key)?.text()
    }

    /// As `text`, an empty one counts as absent.
    pub(super) fn some_text(&self, key: &'static str) -> Option<String> {
        self.text(key).filter(|text| !text.is_empty())
    }

    pub(super) fn secret(&self, key: &'static str) -> Option<Secret> {
        self.field(key)?.secret()
    }

    /// As `secret`, an empty one counts as absent.
    pub(super) fn some_secret(&self, key: &'static str) -> Option<Secret> {
        self.secret(key).filter(|secret| !secret.expose().is_empty())
    }

    pub(super) fn flag(&self, key: &'static str, default: bool) -> bool {
        self.maybe_flag(key).unwrap_or(default)
    }

    pub(super) fn maybe_flag(&self, key: &'static str) -> Option<bool> {
        self.field(key)?.flag()
    }

    pub(super) fn duration(&self, key: &'static str, default: Duration) -> Duration {
        self.maybe_duration(key).unwrap_or(default)
    }

    pub(super) fn maybe_duration(&self, key: &'static str) -> Option<Duration> {
        self.field(key)?.duration()
    }

    /// A duration that must not be zero.
    pub(super) fn positive_duration(&self, key: &'static str, default: Duration) -> Duration {
        let duration = self.duration(key, default);
        if duration.is_zero() {
            self.problem(key, "must be longer than 0s");
            return default;
        }
        duration
    }

    pub(super) fn bytes(&self, key: &'static str, default: u64) -> u64 {
        self.field(key).and_then(|field| field.bytes()).unwrap_or(default)
    }

    pub(super) fn number<T: TryFrom<i64>>(&self, key: &'static str, range: RangeInclusive<i64>) -> Option<T> {
        self.field(key)?.number(range)
    }

    pub(super) fn mode(&self, key: &'static str, default: u32, most: u32) -> u32 {
        self.field(key)
            .and_then(|field| field.mode(most))
            .unwrap_or(default)
    }

    pub(super) fn one_of<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        self.field(key)?.one_of(choices)
    }

    /// Texts of a list; one text is a list of one.
    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<String>> {
        let items = self.field(key)?.items()?;
        Some(items.iter().filter_map(Field::text).collect())
    }

    /// `name: text` pairs.
    pub(super) fn pairs(&self, key: &'static str) -> Vec<(String, String)> {
        self.pairs_of(key, Field::text)
    }

    /// As `pairs`, for headers and the like: each text may be a secret.
    pub(super) fn secret_pairs(&self, key: &'static str) -> Vec<(String, String)> {
        self.pairs_of(key, |field| Some(field.secret()?.expose().to_owned()))
    }

    fn pairs_of(
        &self,
        key: &'static str,
        read: impl Fn(&Field<'a>) -> Option<String>,
    ) -> Vec<(String, String)> {
        let Some(field) = self.field(key) else {
            return Vec::new();
        };
        let pairs = field.flat().unwrap_or_default();
        pairs
            .into_iter()
            .filter_map(|(name, field)| Some((name, read(&field)?)))
            .collect()
    }
}
