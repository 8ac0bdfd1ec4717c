//! One reading of the merged tree: everything that is wrong, everything worth a warning, every key that is known.
//!
//! Sections register the keys they ask for, so that a key nobody asks for is unknown by construction and no
//! key can be documented but not read. Owns the collecting; [`super::field`] and [`super::section`] do the
//! reading.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use super::errors::{Problem, nearest};
use super::expand::Lookup;
use super::given::{Answer, Given};
use super::node::{Mark, Node};
use super::section::Section;

/// More siblings than this in a message are no help.
const MAX_SHOWN_KEYS: usize = 20;

/// Collects while sections read.
pub(super) struct Reader<'a> {
    pub(super) lookup: Lookup<'a>,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<String>>,
    unknown: RefCell<Vec<Unknown>>,
    schema: RefCell<BTreeSet<String>>,
    given: RefCell<Given>,
    muted: Cell<bool>,
}

/// A key nobody asked for.
struct Unknown {
    mark: Mark,
    path: String,
    key: String,
    siblings: Vec<&'static str>,
}

/// What a reading found beside the values.
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
    /// Paths of all keys that were asked for; entries of lists and of named mappings are `*`.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "compared with the sample file by a test")
    )]
    pub(super) schema: BTreeSet<String>,
    /// The values that were read.
    pub(super) given: Given,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: Lookup<'a>) -> Self {
        Self {
            lookup,
            problems: RefCell::default(),
            warnings: RefCell::default(),
            unknown: RefCell::default(),
            schema: RefCell::default(),
            given: RefCell::default(),
            muted: Cell::new(false),
        }
    }

    /// The settings as a section without a name.
    pub(super) fn root<T>(&'a self, settings: &'a Node, read: impl FnOnce(&Section<'a>) -> T) -> T {
        Section::read(
            self,
            Some(Cow::Borrowed(settings)),
            &settings.mark,
            String::new(),
            String::new(),
            read,
        )
    }

    pub(super) fn problem(&self, mark: &Mark, path: &str, message: impl Into<String>) {
        if !self.muted.get() {
            self.problems
                .borrow_mut()
                .push(located(mark, path, message.into()));
        }
    }

    /// Whether a problem of just this key was told.
    pub(super) fn has_problem(&self, path: &str) -> bool {
        self.problems.borrow().iter().any(|problem| problem.path == path)
    }

    pub(super) fn warning(&self, mark: &Mark, path: &str, message: impl Into<String>) {
        if !self.muted.get() {
            self.warnings
                .borrow_mut()
                .push(located(mark, path, message.into()).to_string());
        }
    }

    pub(super) fn unknown(&self, mark: &Mark, path: String, key: &str, siblings: &[&'static str]) {
        // `{password:ChangeMe}` is one key in YAML. Its second half is none of our business.
        if let Some((name, _)) = key.split_once(':') {
            let path = path.strip_suffix(key).unwrap_or_default().to_owned() + name;
            let message = "there must be a space behind the colon, else it belongs to the key";
            self.problems
                .borrow_mut()
                .push(located(mark, &path, message.to_owned()));
            return;
        }
        self.unknown.borrow_mut().push(Unknown {
            mark: mark.clone(),
            path,
            key: key.to_owned(),
            siblings: siblings.to_vec(),
        });
    }

    pub(super) fn known(&self, schema: String) {
        self.schema.borrow_mut().insert(schema);
    }

    /// Remembers a value that has an effect and that somebody wrote.
    pub(super) fn given(&self, mark: &Mark, path: &str, answer: Answer) {
        if !self.muted.get() && !mark.built_in {
            self.given.borrow_mut().add(path, answer);
        }
    }

    /// Remembers what was read at `path` as if it were at `to`; `None` = forgets it.
    pub(super) fn refile(&self, path: &str, to: Option<&str>) {
        self.given.borrow_mut().refile(path, to);
    }

    /// Reads what is switched off: its keys must be known, its values may be unfinished.
    pub(super) fn switched_off<T>(&self, read: impl FnOnce() -> T) -> T {
        let before = self.muted.replace(true);
        let value = read();
        self.muted.set(before);
        value
    }

    /// Ends the reading.
    pub(super) fn finish(self) -> Findings {
        let mut problems = self.problems.into_inner();
        let schema = self.schema.into_inner();
        for unknown in self.unknown.into_inner() {
            problems.push(located(&unknown.mark, &unknown.path, unknown.message(&schema)));
        }
        Findings {
            problems,
            warnings: self.warnings.into_inner(),
            schema,
            given: self.given.into_inner(),
        }
    }
}

impl Unknown {
    /// Proposes a sibling of nearly this name, else a key of this name in another place (a slip of
    /// indentation), else tells the siblings.
    fn message(&self, schema: &BTreeSet<String>) -> String {
        if let Some(key) = nearest(&self.key, self.siblings.iter().copied()) {
            return format!("unknown key, did you mean {key:?}?");
        }
        let mut elsewhere = schema.iter().filter(|path| {
            path.rsplit('.').next() == Some(self.key.as_str()) && !path.contains('*') && **path != self.path
        });
        if let (Some(path), None) = (elsewhere.next(), elsewhere.next()) {
            return format!("unknown key here, did you mean {path:?}?");
        }
        let mut siblings = self.siblings.clone();
        siblings.sort_unstable();
        siblings.dedup();
        match siblings.len() {
            0 => "unknown key, nothing is expected here".to_owned(),
            1..=MAX_SHOWN_KEYS => format!("unknown key, known here are {}", siblings.join(", ")),
            _ => "unknown key".to_owned(),
        }
    }
}

fn located(mark: &Mark, path: &str, message: String) -> Problem {
    Problem {
        file: mark.file.to_string(),
        line: (mark.line > 0).then_some(mark.line),
        path: path.to_owned(),
        message,
    }
}
