//! JSON texts taken apart without being decoded.
//!
//! Owns the way to a field by its dotted path, which is that of Beats, and [`Found`], a value as it stands in a
//! text. What is skipped is not kept, and what is found is borrowed: a number keeps its digits, and a text of
//! megabytes is copied by nobody who only looks at it. Pure; nothing here changes a document.

mod number;

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

pub use number::Number;

/// Calls `each` with the name (a JSON text with its quotes) and the value (a JSON text) of every member of the JSON
/// object `object`, in its order. Fails where it is no object, or a broken one; `each` may have been called before.
pub fn members<'d>(object: &'d [u8], each: impl FnMut(&'d str, &'d str)) -> serde_json::Result<()> {
    let mut reader = serde_json::Deserializer::from_slice(object);
    (&mut reader).deserialize_map(Members(each))?;
    reader.end()
}

struct Members<F>(F);

impl<'de, F: FnMut(&'de str, &'de str)> Visitor<'de> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<&'de RawValue>()? {
            let value = map.next_value::<&'de RawValue>()?;
            (self.0)(name.get(), value.get());
        }
        Ok(())
    }
}

/// The text that a JSON string stands for; borrowed unless it has escapes. `None`: it is no string.
pub fn string(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(json).ok().map(Cow::Owned)
}

/// The value at `path` of the JSON object `document`, as JSON.
///
/// `a.b.c` is looked for as Beats do: at each level a member with the whole rest of the path as its name is found
/// before one that is named by its first part. `[a][b]` is made of exact names. Lists are not entered.
pub fn at<'d>(document: &'d [u8], path: &str) -> Option<&'d str> {
    match bracketed(path) {
        Some(names) => exactly(document, &names.split("][").collect::<Vec<_>>()),
        None => dotted(document, path),
    }
}

/// The value of the member with the first name, of the member with the second name in that, and so on.
pub fn exactly<'d>(document: &'d [u8], names: &[&str]) -> Option<&'d str> {
    let (first, rest) = names.split_first()?;
    let found = member(document, first)?;
    match rest {
        [] => Some(found),
        rest => exactly(found.as_bytes(), rest),
    }
}

/// What is between the outer brackets of `[a][b]`: its names with `][` between them. `None`: the path has none.
pub fn bracketed(path: &str) -> Option<&str> {
    path.strip_prefix('[')?.strip_suffix(']')
}

fn dotted<'d>(object: &'d [u8], path: &str) -> Option<&'d str> {
    let parts = path.split_once('.');
    let (mut whole, mut first) = (None, None);
    members(object, |name, value| {
        if whole.is_none() && is_named(name, path) {
            whole = Some(value);
        } else if first.is_none() && parts.is_some_and(|(part, _)| is_named(name, part)) {
            first = Some(value);
        }
    })
    .ok()?;
    whole.or_else(|| dotted(first?.as_bytes(), parts?.1))
}

fn member<'d>(object: &'d [u8], wanted: &str) -> Option<&'d str> {
    let mut found = None;
    members(object, |name, value| {
        if found.is_none() && is_named(name, wanted) {
            found = Some(value);
        }
    })
    .ok()?;
    found
}

fn is_named(name: &str, wanted: &str) -> bool {
    string(name).is_some_and(|name| name == wanted)
}

/// A value as it stands in a document.
#[derive(Debug, Clone, Copy)]
pub enum Found<'f> {
    /// A JSON text without space around it.
    Json(&'f str),
    /// A text that is not written as JSON yet.
    Text(&'f str),
    /// An object whose members are not in one place.
    Object,
}

/// The kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Flag,
    /// A number.
    Number,
    /// A string.
    Text,
    /// An array.
    List,
    /// An object.
    Object,
}

impl fmt::Display for Kind {
    /// The names that JSON has for them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Flag => "boolean",
            Self::Number => "number",
            Self::Text => "string",
            Self::List => "array",
            Self::Object => "object",
        })
    }
}

// === impl Found ===

impl<'f> Found<'f> {
    /// What kind of value it is.
    pub fn kind(self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Object => Kind::Object,
            Self::Json(json) => match json.as_bytes().first() {
                Some(b'"') => Kind::Text,
                Some(b'{') => Kind::Object,
                Some(b'[') => Kind::List,
                Some(b't' | b'f') => Kind::Flag,
                Some(b'n') | None => Kind::Null,
                Some(_) => Kind::Number,
            },
        }
    }

    /// The text, of a text.
    pub fn text(self) -> Option<Cow<'f, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Json(json) => string(json),
            Self::Object => None,
        }
    }

    /// The flag, of a flag.
    pub fn flag(self) -> Option<bool> {
        match self {
            Self::Json("true") => Some(true),
            Self::Json("false") => Some(false),
            _ => None,
        }
    }

    /// The number, of a number.
    pub fn number(self) -> Option<Number> {
        match self {
            Self::Json(json) if self.kind() == Kind::Number => Number::parse(json),
            _ => None,
        }
    }

    /// A scalar as text: a text itself, anything else as it is written. `None`: a list or an object.
    pub fn scalar(self) -> Option<Cow<'f, str>> {
        match (self, self.kind()) {
            (_, Kind::Text) => self.text(),
            (Self::Json(json), Kind::Null | Kind::Flag | Kind::Number) => Some(Cow::Borrowed(json)),
            _ => None,
        }
    }

    /// The entries of a list; none for anything else.
    pub fn items(self) -> Vec<Found<'f>> {
        match self {
            Self::Json(json) if self.kind() == Kind::List => serde_json::from_str::<Vec<&RawValue>>(json)
                .unwrap_or_default()
                .into_iter()
                .map(|item| Self::Json(item.get()))
                .collect(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &[u8] =
        br#" { "a": {"b": "x", "c.d": [1, "y"], "c": {"d": 0}}, "a.b.e": 1.50, "b\u002ec": 2,
        "f.g": {"h": true}, "f": {"g": {"i": null}}, "n": 9007199254740993, "t": "\u00fc\n" } "#;

    fn find(path: &str) -> Option<&'static str> {
        at(DOCUMENT, path)
    }

    #[test]
    fn the_whole_rest_of_a_path_is_found_before_its_first_part() {
        assert_eq!(find("a.b"), Some("\"x\""));
        assert_eq!(
            find("a.b.e"),
            Some("1.50"),
            "a name with dots, though `a` is there"
        );
        assert_eq!(find("a.c.d"), Some(r#"[1, "y"]"#), "also below the first level");
        assert_eq!(find("b.c"), Some("2"), "whatever way the name is written");
        assert_eq!(find("f.g"), Some(r#"{"h": true}"#));
        assert_eq!(
            find("f.g.i"),
            Some("null"),
            "the first part is cut at the first dot"
        );
        for missing in ["f.g.h", "x", "", ".", "a.", "a.b.x", "a.c.d.0", "n.a"] {
            assert_eq!(find(missing), None, "{missing}");
        }
    }

    #[test]
    fn names_in_brackets_are_exact() {
        assert_eq!(find("[a][c][d]"), Some("0"));
        assert_eq!(find("[f.g][h]"), Some("true"));
        assert_eq!(find("[a.b]"), None);
        for broken in ["[", "]", "[]", "[a", "[a][", "[a]x"] {
            assert_eq!(find(broken), None, "{broken}");
        }
        for broken in ["", "[]", "1", "{", r#"{"a":1"#, r#"{"a":1}}"#, "\u{0}"] {
            assert_eq!(at(broken.as_bytes(), "a"), None, "{broken}");
        }
        assert_eq!(at(b"{\"a\":\"\xff\"}", "a"), None);
    }

    #[test]
    fn a_value_is_read_as_what_it_is() {
        let found = |path| Found::Json(find(path).unwrap());
        assert_eq!(found("t").text().as_deref(), Some("ü\n"));
        assert!(matches!(found("a.b").text(), Some(Cow::Borrowed("x"))));
        assert_eq!(found("n").scalar().as_deref(), Some("9007199254740993"));
        assert_eq!(found("a.b.e").scalar().as_deref(), Some("1.50"), "every digit");
        assert_eq!(found("f.g.i").scalar().as_deref(), Some("null"));
        assert_eq!(found("a").scalar(), None);
        assert_eq!(found("[f.g][h]").flag(), Some(true));
        assert_eq!(found("a.b").flag(), None);
        assert!(found("a.b").number().is_none() && found("n").number().is_some());
        let items = found("a.c.d").items();
        assert_eq!(items.len(), 2);
        assert_eq!((items[0].kind(), items[1].kind()), (Kind::Number, Kind::Text));
        assert!(found("a").items().is_empty());
        assert_eq!(Found::Text("[").kind(), Kind::Text);
        assert_eq!(Found::Object.kind(), Kind::Object);
    }
}
