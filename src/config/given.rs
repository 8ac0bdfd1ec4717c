//! What was asked for, as it was understood: every value that was read, by the path of its key.
//!
//! Filled while sections read, so that a key without effect, a section that is switched off, and the way a value was
//! spelt (`60s`, `1m`) leave no trace. What nobody wrote, defaults and built-in commands, is not in it either: a
//! release that brings a new one must not look like another configuration. Secrets stay [`Secret`]s; what becomes of
//! all this is [`super::hashes`]'.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Secret;

/// A value that was read.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Plain(Value),
    Secret(Secret),
}

/// Values by path.
#[derive(Debug, Default)]
pub(super) struct Given(BTreeMap<String, Answer>);

// === impl Given ===

impl Given {
    /// Remembers a value; what was remembered of the same path before was a rougher reading of it.
    pub(super) fn add(&mut self, path: &str, answer: Answer) {
        self.0.insert(path.to_owned(), answer);
    }

    /// Puts everything at and below `path` at `to`; `None` = forgets it.
    pub(super) fn refile(&mut self, path: &str, to: Option<&str>) {
        let below = |found: &str| {
            let rest = found.strip_prefix(path)?;
            (rest.is_empty() || rest.starts_with('.')).then(|| rest.to_owned())
        };
        for (found, answer) in std::mem::take(&mut self.0) {
            match (below(&found), to) {
                (None, _) => self.0.insert(found, answer),
                (Some(rest), Some(to)) => self.0.insert(format!("{to}{rest}"), answer),
                (Some(_), None) => None,
            };
        }
    }

    /// Everything, in the order of paths.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Answer)> {
        self.0.iter().map(|(path, answer)| (path.as_str(), answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refiling_takes_what_is_below_and_nothing_else() {
        let mut given = Given::default();
        for path in ["a.1", "a.1.b", "a.10", "a.2.b"] {
            given.add(path, Answer::Plain(Value::Null));
        }
        given.refile("a.1", Some("a.x"));
        given.refile("a.2", None);
        let paths: Vec<&str> = given.entries().map(|(path, _)| path).collect();
        assert_eq!(paths, ["a.10", "a.x", "a.x.b"]);
    }
}
