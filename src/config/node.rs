//! The tree that every source of settings is turned into, with the place each value came from.
//!
//! Owns the shape only. Scalars keep the text as it was written: whether `0600` is a number, a mode or a
//! password is for the key that is read to decide, never for the parser.

use std::sync::Arc;

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) data: Data,
    pub(super) mark: Mark,
}

/// The place of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// The file as the user named it, or `-E`.
    pub(super) file: Arc<str>,
    /// From 1; 0 where lines mean nothing.
    pub(super) line: usize,
    /// Nobody wrote it: it is part of a built-in command.
    pub(super) built_in: bool,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Data {
    /// `~`, `null` or nothing.
    Null,
    /// Any single value.
    Scalar(Scalar),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping.
    Map(Map),
}

/// A single value as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) style: Style,
}

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Without quotes: may be a number or a bool.
    Plain,
    /// In quotes or as a block: always text.
    Quoted,
    /// Text of the command line that is a list where one is expected (`a,b`), else itself.
    Argument,
}

/// A mapping in the order of the file.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Map {
    pub(super) entries: Vec<(String, Node)>,
    /// The mapping stands for a dot in a key, nobody wrote it as a mapping of its own.
    pub(super) implied: bool,
}

// === impl Mark ===

impl Mark {
    /// A place without lines.
    pub(super) fn of(file: &str) -> Self {
        Self {
            file: Arc::from(file),
            line: 0,
            built_in: false,
        }
    }
}

// === impl Node ===

impl Node {
    /// A mapping nobody has written anything into.
    pub(super) fn empty_map(mark: Mark) -> Self {
        Self {
            data: Data::Map(Map::default()),
            mark,
        }
    }

    /// The value below a dotted path; numbers address the entries of lists.
    pub(super) fn at(&self, path: &str) -> Option<&Node> {
        path.split('.').try_fold(self, |node, part| match &node.data {
            Data::Map(map) => map.get(part),
            Data::List(list) => list.get(part.parse::<usize>().ok()?),
            Data::Null | Data::Scalar(_) => None,
        })
    }

    /// Gives this and everything below it one place.
    pub(super) fn place_at(&mut self, mark: &Mark) {
        self.mark = mark.clone();
        match &mut self.data {
            Data::List(items) => items.iter_mut().for_each(|item| item.place_at(mark)),
            Data::Map(map) => map.entries.iter_mut().for_each(|(_, node)| node.place_at(mark)),
            Data::Null | Data::Scalar(_) => {}
        }
    }

    /// What this is, for a message; never its content.
    pub(super) fn kind(&self) -> &'static str {
        match self.data {
            Data::Null => "nothing",
            Data::Scalar(_) => "a single value",
            Data::List(_) => "a list",
            Data::Map(_) => "a mapping",
        }
    }
}

// === impl Map ===

impl Map {
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, node)| node)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries
            .iter_mut()
            .find(|(name, _)| name == key)
            .map(|(_, node)| node)
    }
}
