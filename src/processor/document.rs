//! The document of one event while processors work on it.
//!
//! Owns which changes there are, and that none of them touches what an event is known by
//! ([`crate::document::PROTECTED`]). A document that nobody changed is not written anew. Paths are those of
//! [`crate::json::at`]; only names with dots are understood where something is changed.

use bytes::Bytes;

use super::object::{NoObject, Object, Sifted, Value};
use crate::condition::Fields;
use crate::document::{PROTECTED, protected};
use crate::json::{self, Found};

/// A document under way.
#[derive(Debug, Clone)]
pub(super) struct Document<'a> {
    root: Object<'a>,
    changed: bool,
}

/// Why a field was not changed; the document is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EditError {
    /// It is not there.
    Missing,
    /// Something on the way to it is no object.
    NoObject,
    /// It is the field, or above or below the field, that must stay.
    Protected(&'static str),
}

impl From<NoObject> for EditError {
    fn from(_: NoObject) -> Self {
        Self::NoObject
    }
}

// === impl Document ===

impl<'a> Document<'a> {
    /// Reads the members of a document, not what is in them. `None`: it is no JSON object.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        Some(Self {
            root: Object::read(body)?,
            changed: false,
        })
    }

    /// The finished document; `None`: nothing was changed. `size` is that of the one it was read from.
    pub(super) fn finish(&self, size: usize) -> Option<Bytes> {
        if !self.changed {
            return None;
        }
        let mut out = Vec::with_capacity(size + 512);
        self.root.write(&mut out);
        Some(out.into())
    }

    /// The value of a field, to put it somewhere else.
    pub(super) fn get(&self, path: &str) -> Option<Value<'a>> {
        self.root.get(path)
    }

    /// The names of the members of a member of the root; none where that is no object.
    pub(super) fn names_in(&self, name: &str) -> Vec<String> {
        let owned = |object: &Object<'_>| object.names().map(str::to_owned).collect();
        match self.root.member(name) {
            Some(Value::Object(object)) => owned(object),
            Some(Value::Read(json)) => Object::read(json.as_bytes())
                .as_ref()
                .map(owned)
                .unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// Sets a field; objects on the way to it are made.
    pub(super) fn put(&mut self, path: &str, value: Value<'a>) -> Result<(), EditError> {
        guard(path)?;
        self.root.put(path, value)?;
        self.changed = true;
        Ok(())
    }

    /// Takes a field out.
    pub(super) fn remove(&mut self, path: &str) -> Result<Value<'a>, EditError> {
        guard(path)?;
        let removed = self.root.remove(path).ok_or(EditError::Missing)?;
        self.changed = true;
        Ok(removed)
    }

    /// Takes a field out and sets another one. The source goes first, so that `a` can become `a.b`.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> Result<(), EditError> {
        guard(from)?;
        guard(to)?;
        // Nothing is on the way to a name without dots, and setting it cannot fail.
        let before = to.contains('.').then(|| self.clone());
        let value = self.remove(from)?;
        let result = self.put(to, value);
        if let (Err(_), Some(before)) = (result, before) {
            *self = before;
        }
        result
    }

    /// Adds texts, which are JSON strings with commas between them, to a list; it is made where there is none.
    pub(super) fn append(&mut self, path: &str, texts: &str) -> Result<(), EditError> {
        let list = match self.find(path) {
            None => format!("[{texts}]"),
            Some(Found::Json(json)) => match json.strip_prefix('[').and_then(|json| json.strip_suffix(']')) {
                Some(items) if items.trim().is_empty() => format!("[{texts}]"),
                Some(items) => format!("[{items},{texts}]"),
                None => return Err(EditError::NoObject),
            },
            Some(Found::Text(_) | Found::Object) => return Err(EditError::NoObject),
        };
        self.put(path, Value::json(list))
    }

    /// Lets `edit` change the root. Whoever calls this has seen to it that nothing protected is changed.
    pub(super) fn edit(&mut self, edit: impl FnOnce(&mut Object<'a>)) {
        edit(&mut self.root);
        self.changed = true;
    }

    /// Takes out every field that `goes` is true for, with all that is in it; gives the first protected one that it
    /// was true for, and that stays.
    pub(super) fn remove_where(&mut self, goes: impl Fn(&str) -> bool) -> Option<&'static str> {
        // What goes, of which a part stays: all that is below it goes without being asked about.
        let mut parted: Option<String> = None;
        let (mut stays, mut changed) = (None, false);
        self.root.sift("", &mut |path| {
            let is_below = parted.as_deref().is_some_and(|above| is_below(path, above));
            if !is_below && !goes(path) {
                return Sifted::Inside;
            }
            let Some(field) = protected(path) else {
                changed = true;
                return Sifted::Goes;
            };
            stays = stays.or(Some(field));
            if PROTECTED.contains(&path) {
                return Sifted::Stays;
            }
            if !is_below {
                parted = Some(path.to_owned());
            }
            Sifted::Inside
        });
        self.changed |= changed;
        stays
    }

    /// Takes out everything but the fields of `kept`, all that is in them, and what is protected.
    pub(super) fn keep(&mut self, kept: &[impl AsRef<str>]) {
        let mut changed = false;
        self.root.sift("", &mut |path| {
            let stays = |field: &str| field == path || is_below(path, field);
            let mut wanted = kept.iter().map(AsRef::as_ref).chain(PROTECTED);
            if wanted.clone().any(stays) {
                return Sifted::Stays;
            }
            changed = true;
            if wanted.any(|field| is_below(field, path)) {
                Sifted::OnlyInside
            } else {
                Sifted::Goes
            }
        });
        self.changed |= changed;
    }
}

impl Fields for Document<'_> {
    fn find(&self, path: &str) -> Option<Found<'_>> {
        match json::bracketed(path) {
            Some(names) => self.root.exactly(&names.split("][").collect::<Vec<_>>()),
            None => self.root.find(path),
        }
    }
}

fn guard(path: &str) -> Result<(), EditError> {
    protected(path).map_or(Ok(()), |field| Err(EditError::Protected(field)))
}

/// Whether `path` lies below `above`.
fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] =
        br#"{"@timestamp":"t","event":{"id":"5","kind":"event"},"ecsbeat":{"tick":"t","x":1},"a":{"b":[1]}}"#;

    fn read() -> Document<'static> {
        Document::read(BODY).unwrap()
    }

    fn written(document: &Document<'_>) -> String {
        let finished = document.finish(BODY.len());
        String::from_utf8(finished.unwrap_or(Bytes::from_static(BODY)).to_vec()).unwrap()
    }

    #[test]
    fn no_change_touches_what_is_protected() {
        let mut document = read();
        for (path, field) in [
            ("@timestamp", "@timestamp"),
            ("event", "event.id"),
            ("event.id", "event.id"),
            ("event.id.x", "event.id"),
            ("ecsbeat", "ecsbeat.cluster"),
            ("ecsbeat.tick", "ecsbeat.tick"),
        ] {
            let no = EditError::Protected(field);
            assert_eq!(document.put(path, Value::json("1")), Err(no), "{path}");
            assert_eq!(document.remove(path).err(), Some(no), "{path}");
            assert_eq!(document.rename(path, "x"), Err(no), "{path}");
            assert_eq!(document.rename("a", path), Err(no), "{path}");
        }
        assert_eq!(document.finish(0), None, "nothing was changed");
        document.put("event.kind", Value::json("1")).unwrap();
        document.remove("ecsbeat.x").unwrap();
        assert_eq!(
            written(&document),
            r#"{"@timestamp":"t","event":{"id":"5","kind":1},"ecsbeat":{"tick":"t"},"a":{"b":[1]}}"#
        );
    }

    #[test]
    fn what_failed_left_the_document_as_it_was() {
        let mut document = read();
        assert_eq!(document.rename("a.b", "event.kind.x"), Err(EditError::NoObject));
        assert_eq!(document.rename("a.c", "x"), Err(EditError::Missing));
        assert_eq!(document.put("a.b.c", Value::json("1")), Err(EditError::NoObject));
        assert_eq!(document.append("a", "1"), Err(EditError::NoObject));
        assert_eq!(written(&document).as_bytes(), BODY);
        assert_eq!(document.finish(0), None);
    }

    #[test]
    fn fields_are_found_by_exact_names_too() {
        let document = read();
        let json = |path: &str| match document.find(path) {
            Some(Found::Json(json)) => Some(json.to_owned()),
            _ => None,
        };
        assert_eq!(json("[a][b]").as_deref(), Some("[1]"));
        assert_eq!(json("[event][id]"), json("event.id"));
        assert_eq!(json("[a.b]"), None);
        let mut document = document.clone();
        document.put("a.c", Value::json("2")).unwrap();
        assert!(
            matches!(document.find("[a][c]"), Some(Found::Json("2"))),
            "also where it was made"
        );
        assert_eq!(document.names_in("a"), ["b", "c"]);
        assert_eq!(document.names_in("event"), ["id", "kind"]);
        assert!(document.names_in("@timestamp").is_empty() && document.names_in("x").is_empty());
    }
}
