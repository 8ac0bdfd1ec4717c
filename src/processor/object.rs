//! A JSON object that can be edited.
//!
//! Owns how it is held: a value that nobody changes is the piece of the text it was read from, so that numbers keep
//! their digits and a large value is copied once, when the document is written. Only objects on the way to a change
//! are taken apart. Members keep their order. What must not be changed is [`super::document`]'s to say.

use std::borrow::Cow;
use std::sync::Arc;

use crate::json::{self, Found, Kind};
use crate::transform::string;

/// An object as a list of members.
#[derive(Debug, Clone, Default)]
pub(super) struct Object<'a>(Vec<Member<'a>>);

#[derive(Debug, Clone)]
struct Member<'a> {
    name: Name<'a>,
    value: Value<'a>,
}

/// A member's name.
#[derive(Debug, Clone)]
enum Name<'a> {
    /// As it was read, with its quotes; it has no escapes.
    Plain(&'a str),
    /// As it was read, and what it stands for.
    Escaped(&'a str, Arc<str>),
    /// New.
    Made(Arc<str>),
}

/// A value. A copy costs little, whatever its size, but for an object that was taken apart.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    /// As it was read: JSON.
    Read(&'a str),
    /// JSON that was made; never an object.
    Made(Arc<str>),
    /// A text that was made, not written as JSON yet.
    Text(Arc<String>),
    /// An object that was taken apart, or made.
    Object(Object<'a>),
}

/// A member on the way to a field is no object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoObject;

// === impl Name ===

impl<'a> Name<'a> {
    fn read(json: &'a str) -> Self {
        match json::string(json) {
            Some(Cow::Owned(text)) => Self::Escaped(json, text.into()),
            // What is no string cannot be a name; the reader has seen to that.
            Some(Cow::Borrowed(_)) | None => Self::Plain(json),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Plain(json) => json.trim_matches('"'),
            Self::Escaped(_, text) | Self::Made(text) => text,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Plain(json) | Self::Escaped(json, _) => out.extend_from_slice(json.as_bytes()),
            Self::Made(text) => string(out, text),
        }
    }
}

// === impl Value ===

impl<'a> Value<'a> {
    /// A text.
    pub(super) fn text(text: String) -> Self {
        Self::Text(Arc::new(text))
    }

    /// JSON that is no object.
    pub(super) fn json(json: impl Into<Arc<str>>) -> Self {
        Self::Made(json.into())
    }

    /// The value to look at.
    pub(super) fn found(&self) -> Found<'_> {
        match self {
            Self::Read(json) => Found::Json(json),
            Self::Made(json) => Found::Json(json),
            Self::Text(text) => Found::Text(text),
            Self::Object(_) => Found::Object,
        }
    }

    /// Takes an object apart, if it is one.
    fn open(&mut self) -> Option<&mut Object<'a>> {
        if let Self::Read(json) = self
            && Found::Json(json).kind() == Kind::Object
        {
            *self = Self::Object(Object::read(json.as_bytes())?);
        }
        match self {
            Self::Object(object) => Some(object),
            Self::Read(_) | Self::Made(_) | Self::Text(_) => None,
        }
    }

    fn into_object(mut self) -> Option<Object<'a>> {
        self.open();
        match self {
            Self::Object(object) => Some(object),
            Self::Read(_) | Self::Made(_) | Self::Text(_) => None,
        }
    }

    fn find(&self, path: &str) -> Option<Found<'_>> {
        match self {
            Self::Object(object) => object.find(path),
            Self::Read(json) => json::at(json.as_bytes(), path).map(Found::Json),
            Self::Made(_) | Self::Text(_) => None,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Read(json) => out.extend_from_slice(json.as_bytes()),
            Self::Made(json) => out.extend_from_slice(json.as_bytes()),
            Self::Text(text) => string(out, text),
            Self::Object(object) => object.write(out),
        }
    }

    /// The value as JSON of its own.
    pub(super) fn to_json(&self) -> String {
        let mut out = Vec::new();
        self.write(&mut out);
        // All that is written is text.
        String::from_utf8(out).unwrap_or_default()
    }
}

impl Default for Value<'_> {
    fn default() -> Self {
        Self::Read("null")
    }
}

// === impl Object ===

impl<'a> Object<'a> {
    /// Takes a JSON object apart; `None`: it is none.
    pub(super) fn read(json: &'a [u8]) -> Option<Self> {
        let mut members = Vec::with_capacity(64);
        json::members(json, |name, value| {
            members.push(Member {
                name: Name::read(name),
                value: Value::Read(value),
            });
        })
        .ok()?;
        Some(Self(members))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (index, member) in self.0.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            member.name.write(out);
            out.push(b':');
            member.value.write(out);
        }
        out.push(b'}');
    }

    /// The member of this name.
    pub(super) fn member(&self, name: &str) -> Option<&Value<'a>> {
        let member = self.0.iter().find(|member| member.name.text() == name)?;
        Some(&member.value)
    }

    fn member_mut(&mut self, name: &str) -> Option<&mut Value<'a>> {
        let member = self.0.iter_mut().find(|member| member.name.text() == name)?;
        Some(&mut member.value)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of the members, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|member| member.name.text())
    }

    /// Looks for a field as [`json::at`] does.
    pub(super) fn find(&self, path: &str) -> Option<Found<'_>> {
        if let Some(value) = self.member(path) {
            return Some(value.found());
        }
        let (first, rest) = path.split_once('.')?;
        self.member(first)?.find(rest)
    }

    /// Looks for the field with exactly these names.
    pub(super) fn exactly(&self, names: &[&str]) -> Option<Found<'_>> {
        let (first, rest) = names.split_first()?;
        match self.member(first)? {
            value if rest.is_empty() => Some(value.found()),
            Value::Object(object) => object.exactly(rest),
            Value::Read(json) => json::exactly(json.as_bytes(), rest).map(Found::Json),
            Value::Made(_) | Value::Text(_) => None,
        }
    }

    /// The value of a field, to put it somewhere else.
    pub(super) fn get(&self, path: &str) -> Option<Value<'a>> {
        if let Some(value) = self.member(path) {
            return Some(value.clone());
        }
        let (first, rest) = path.split_once('.')?;
        match self.member(first)? {
            Value::Object(object) => object.get(rest),
            Value::Read(json) => json::at(json.as_bytes(), rest).map(Value::Read),
            Value::Made(_) | Value::Text(_) => None,
        }
    }

    /// Sets a field; objects on the way are made. Fails, with nothing changed, where something on the way is no
    /// object.
    pub(super) fn put(&mut self, path: &str, value: Value<'a>) -> Result<(), NoObject> {
        if let Some(old) = self.member_mut(path) {
            *old = value;
            return Ok(());
        }
        let Some((first, rest)) = path.split_once('.') else {
            self.push(path, value);
            return Ok(());
        };
        if let Some(inner) = self.member_mut(first) {
            return inner.open().ok_or(NoObject)?.put(rest, value);
        }
        let mut inner = Self::default();
        inner.put(rest, value)?;
        self.push(first, Value::Object(inner));
        Ok(())
    }

    /// Adds a member of a name that is not there.
    pub(super) fn push(&mut self, name: impl Into<Arc<str>>, value: Value<'a>) {
        let name = Name::Made(name.into());
        self.0.push(Member { name, value });
    }

    /// Takes a field out; `None`: it is not there, and nothing is changed.
    pub(super) fn remove(&mut self, path: &str) -> Option<Value<'a>> {
        if self.member(path).is_some() {
            let mut removed = None;
            self.0.retain_mut(|member| {
                let goes = member.name.text() == path;
                if goes && removed.is_none() {
                    removed = Some(std::mem::take(&mut member.value));
                }
                !goes
            });
            return removed;
        }
        let (first, rest) = path.split_once('.')?;
        let inner = self.member_mut(first)?;
        // Looked for first: what is not there need not be taken apart.
        inner.find(rest)?;
        inner.open()?.remove(rest)
    }

    /// Edits the object of this name, which takes the place of whatever else is there.
    pub(super) fn within(&mut self, name: &Arc<str>, edit: impl FnOnce(&mut Object<'a>)) {
        let old = self.member_mut(name).map(std::mem::take);
        let mut object = old.and_then(Value::into_object).unwrap_or_default();
        edit(&mut object);
        self.set(name, Value::Object(object));
    }

    /// Sets a member, at its place if it is there.
    pub(super) fn set(&mut self, name: &Arc<str>, value: Value<'a>) {
        match self.member_mut(name) {
            Some(old) => *old = value,
            None => self.push(Arc::clone(name), value),
        }
    }

    /// Goes through all fields, those inside of objects after the object. `visit` gets the path of a field and says
    /// what becomes of it.
    pub(super) fn sift(&mut self, prefix: &str, visit: &mut dyn FnMut(&str) -> Sifted) {
        self.0.retain_mut(|member| {
            let path = if prefix.is_empty() {
                Cow::Borrowed(member.name.text())
            } else {
                Cow::Owned(format!("{prefix}.{}", member.name.text()))
            };
            match visit(&path) {
                Sifted::Goes => false,
                Sifted::Stays => true,
                Sifted::Inside => {
                    let path = path.into_owned();
                    if let Some(object) = member.value.open() {
                        object.sift(&path, visit);
                    }
                    true
                }
                Sifted::OnlyInside => {
                    let path = path.into_owned();
                    member.value.open().is_some_and(|object| {
                        object.sift(&path, visit);
                        !object.is_empty()
                    })
                }
            }
        });
    }
}

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sifted {
    /// It is taken out, with all that is in it.
    Goes,
    /// It stays as it is.
    Stays,
    /// It stays; of an object the members are asked about.
    Inside,
    /// It stays if it is an object of which a member stays.
    OnlyInside,
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
