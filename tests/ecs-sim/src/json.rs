//! A writer of JSON text, member after member, without a tree in between: dashboards have hundreds of members
//! and are asked for thousands of times a second. It must never decide what is written.

use std::fmt::{Display, Write as _};

/// An object being written.
pub(crate) struct Obj<'a> {
    out: &'a mut String,
    first: bool,
}

/// An array being written.
pub(crate) struct Arr<'a> {
    out: &'a mut String,
    first: bool,
}

/// The text of one object.
pub(crate) fn object(fill: impl FnOnce(&mut Obj<'_>)) -> String {
    let mut out = String::with_capacity(1024);
    write_object(&mut out, fill);
    out
}

fn write_object(out: &mut String, fill: impl FnOnce(&mut Obj<'_>)) {
    out.push('{');
    fill(&mut Obj { out, first: true });
    out.push('}');
}

fn write_array(out: &mut String, fill: impl FnOnce(&mut Arr<'_>)) {
    out.push('[');
    fill(&mut Arr { out, first: true });
    out.push(']');
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    if text
        .bytes()
        .all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
    {
        out.push_str(text);
    } else {
        for character in text.chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                control if u32::from(control) < 0x20 => {
                    let _ = write!(out, "\\u{:04x}", u32::from(control));
                }
                other => out.push(other),
            }
        }
    }
    out.push('"');
}

// === impl Obj ===

impl Obj<'_> {
    fn key(&mut self, key: &str) -> &mut String {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
        write_text(self.out, key);
        self.out.push(':');
        self.out
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        write_text(self.key(key), value);
    }

    /// A number, or anything else whose printed form is JSON already.
    pub(crate) fn raw(&mut self, key: &str, value: impl Display) {
        let _ = write!(self.key(key), "{value}");
    }

    /// A number inside quotation marks, as dashboards write them.
    pub(crate) fn quoted(&mut self, key: &str, value: impl Display) {
        let _ = write!(self.key(key), "\"{value}\"");
    }

    pub(crate) fn object(&mut self, key: &str, fill: impl FnOnce(&mut Obj<'_>)) {
        write_object(self.key(key), fill);
    }

    pub(crate) fn array(&mut self, key: &str, fill: impl FnOnce(&mut Arr<'_>)) {
        write_array(self.key(key), fill);
    }

    pub(crate) fn null(&mut self, key: &str) {
        self.key(key).push_str("null");
    }
}

// === impl Arr ===

impl Arr<'_> {
    fn next(&mut self) -> &mut String {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
        self.out
    }

    pub(crate) fn text(&mut self, value: &str) {
        write_text(self.next(), value);
    }

    pub(crate) fn object(&mut self, fill: impl FnOnce(&mut Obj<'_>)) {
        write_object(self.next(), fill);
    }

    pub(crate) fn array(&mut self, fill: impl FnOnce(&mut Arr<'_>)) {
        write_array(self.next(), fill);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_json() {
        let text = object(|o| {
            o.text("a\"b", "line\nbreak \\ \"quoted\" ünïcode");
            o.raw("n", 7);
            o.quoted("q", 9_007_199_254_740_993_u64);
            o.null("z");
            o.object("o", |o| o.raw("x", true));
            o.array("l", |l| {
                l.text("t");
                l.object(|o| o.raw("y", 2));
                l.array(|_| {});
            });
        });
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["a\"b"], "line\nbreak \\ \"quoted\" ünïcode");
        assert_eq!(value["q"], "9007199254740993");
        assert_eq!(value["l"][1]["y"], 2);
    }
}
