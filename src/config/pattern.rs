//! Regular expressions.
//!
//! Owns [`Pattern`], compiled once when the configuration is read, and the words for one that cannot be. The syntax
//! is that of the crate `regex`, which is nearly that of Go (RE2), which Beats use.

use std::fmt;

use regex::Regex;

use super::field::Field;

/// A regular expression that can be used. It matches anywhere in a text unless it is anchored.
#[derive(Clone)]
pub struct Pattern(Regex);

// === impl Pattern ===

impl Pattern {
    /// Compiles an expression; the error is for the user who wrote it.
    pub fn new(text: &str) -> Result<Self, String> {
        Regex::new(text)
            .map(Self)
            .map_err(|error| reason(text, &error.to_string()))
    }

    /// The compiled expression.
    pub fn regex(&self) -> &Regex {
        &self.0
    }

    /// Whether it matches somewhere in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    pub(super) fn read(field: &Field<'_>) -> Option<Self> {
        field.parsed("a regular expression", Self::new)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.0.as_str())
    }
}

/// Why, in one line: the crate draws the place below the expression, its last line says what is wrong.
fn reason(text: &str, error: &str) -> String {
    let reason = error.lines().last().unwrap_or_default();
    let reason = reason.strip_prefix("error: ").unwrap_or(reason);
    if text.contains("\\Q") {
        return format!("{reason}; \\Q…\\E is not known here, escape the characters one by one");
    }
    if reason.contains("look-around") || reason.contains("backreference") {
        return format!("{reason}, nor by Beats");
    }
    reason.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong_in_one_line() {
        for (text, part) in [
            ("a(b", "unclosed group"),
            ("(?=a)", "is not supported, nor by Beats"),
            ("(?<!a)b", "is not supported, nor by Beats"),
            (r"(a)\1", "backreferences are not supported, nor by Beats"),
            (r"\Qa.b\E", "escape the characters one by one"),
            ("[z-a]", "invalid character class range"),
            ("a{1000}{1000}{1000}", "size limit"),
        ] {
            let reason = Pattern::new(text).unwrap_err();
            assert!(reason.contains(part), "{text}: {reason}");
            assert!(!reason.contains('\n'), "{text}: {reason}");
        }
        let pattern = Pattern::new("^a+").unwrap();
        assert!(pattern.is_match("aab") && !pattern.is_match("ba"));
        assert_eq!(format!("{pattern:?}"), "/^a+/");
    }
}
