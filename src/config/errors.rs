//! What is wrong with a configuration, all of it at once.
//!
//! Owns the wording's frame (`file:line: key: message`) and the search for the nearest known key. It must
//! never hold the value of a secret: whoever makes a [`Problem`] leaves such values out.

use std::fmt;

/// One thing the user has to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as the user named it, `-E`, or a flag; empty where nothing was given.
    pub file: String,
    /// Line in the file, from 1.
    pub line: Option<usize>,
    /// Dotted path of the key; empty for the file as a whole.
    pub path: String,
    /// What was found and what is allowed: lower case, no full stop.
    pub message: String,
}

/// Everything that is wrong, ordered by file and line. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Errors(Vec<Problem>);

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            f.write_str(&self.file)?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

// === impl Errors ===

impl Errors {
    /// Orders the problems by the position of their file in `files`, then by line; those without a place come
    /// last, in the order they were found.
    pub(super) fn new(mut problems: Vec<Problem>, files: &[String]) -> Self {
        problems.sort_by_key(|problem| {
            let file = files
                .iter()
                .position(|name| *name == problem.file)
                .unwrap_or(files.len());
            (problem.file.is_empty(), file, problem.line.unwrap_or(usize::MAX))
        });
        problems.dedup();
        Self(problems)
    }

    /// Each of them.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// The known key that `found` is most likely a misspelling of.
pub(super) fn nearest<'k>(found: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let allowed = (found.chars().count() / 3).max(1);
    known
        .map(|key| (distance(&found.to_lowercase(), key), key))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, key)| key)
}

/// Edits (insert, delete, replace, swap of neighbours) that make one text of the other.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, &a) in left.iter().enumerate() {
        let mut row = Vec::with_capacity(last.len());
        row.push(i + 1);
        for (j, &b) in right.iter().enumerate() {
            let mut best = (last[j] + usize::from(a != b))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && a == right[j - 1] && left[i - 1] == b {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits_and_swaps() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("usrname", "username"), 1);
        assert_eq!(distance("hsot", "host"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn proposes_what_is_near_and_nothing_else() {
        let known = ["username", "password", "vdcs"];
        assert_eq!(nearest("pasword", known.into_iter()), Some("password"));
        assert_eq!(nearest("Username", known.into_iter()), Some("username"));
        assert_eq!(nearest("vdc", known.into_iter()), Some("vdcs"));
        assert_eq!(nearest("colour", known.into_iter()), None);
    }

    #[test]
    fn reads_in_the_order_of_the_files() {
        let problem = |file: &str, line, path: &str| Problem {
            file: file.to_owned(),
            line,
            path: path.to_owned(),
            message: "no".to_owned(),
        };
        let errors = Errors::new(
            vec![
                problem("", None, "last"),
                problem("b.yml", Some(2), "b"),
                problem("a.yml", Some(9), "a9"),
                problem("a.yml", Some(1), "a1"),
            ],
            &["a.yml".to_owned(), "b.yml".to_owned()],
        );
        assert_eq!(
            errors.to_string(),
            "a.yml:1: a1: no\na.yml:9: a9: no\nb.yml:2: b: no\nlast: no"
        );
    }
}
