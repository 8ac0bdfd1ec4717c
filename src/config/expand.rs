//! `${…}`: references to other settings, the environment, the keystore and files.
//!
//! Grammar: `${NAME}`, `${NAME:default}`, `${NAME:?message}`, `${NAME:+instead}`, `${file:/path}`, names and
//! defaults may hold references themselves; `$$` and `$}` are `$` and `}`. A name is looked for among the
//! settings, then in the environment, then in the keystore. An error names the reference, never a value.

use std::io::Read as _;
use std::path::Path;

use super::errors::Problem;
use super::node::{Data, Node};

/// References within references beyond this are a mistake.
const MAX_DEPTH: usize = 32;
/// A secret is not larger than this; more is the wrong file.
const MAX_FILE: u64 = 1 << 20;

/// Looks a name up.
pub(super) type Find<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where names are looked for, in this order.
#[derive(Clone, Copy)]
pub(super) struct Lookup<'a> {
    /// The merged settings.
    pub(super) settings: &'a Node,
    /// The environment; an empty value counts as none.
    pub(super) environment: Find<'a>,
    /// The keystore.
    pub(super) keystore: Find<'a>,
    /// What relative paths of `${file:…}` are relative to.
    pub(super) directory: &'a Path,
}

/// A text with its references filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) text: String,
    /// It had references: the text is not what stands in the file.
    pub(super) referred: bool,
    /// It may be read as a list (`a,b`) where one is expected. Not so for keystore and files: taken literally.
    pub(super) list: bool,
}

/// Why a text cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExpandError {
    #[error("a reference is not closed with }}; write $${{ for a literal ${{")]
    Open,
    #[error("references are nested too deeply")]
    TooDeep,
    #[error("{} is not set in the environment and is no other setting; give a default with ${{NAME:default}}", shown(.0))]
    Undefined(String),
    #[error("{0}")]
    Required(String),
    #[error("cyclic reference to {}", shown(.0))]
    Cycle(String),
    #[error("{} is a list or a mapping, not a text", shown(.0))]
    NotText(String),
    #[error("cannot read {path}: {reason}")]
    File { path: String, reason: String },
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Stands for itself.
    Literal(String),
    /// `${…}`.
    Reference { name: Vec<Piece>, otherwise: Otherwise },
}

/// What a reference does beside being replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// `${NAME}`: an error if it is not set.
    Fail,
    /// `${NAME:text}`.
    Default(Vec<Piece>),
    /// `${NAME:?text}`: an error with this text.
    Message(Vec<Piece>),
    /// `${NAME:+text}`: this if it is set, else nothing.
    Instead(Vec<Piece>),
}

/// A name for a message. What does not look like a name may be a piece of a password.
fn shown(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ':');
    if !name.is_empty() && name.chars().all(plain) {
        format!("${{{name}}}")
    } else {
        "${…}".to_owned()
    }
}

/// Takes a text apart.
pub(super) fn parse(text: &str) -> Result<Vec<Piece>, ExpandError> {
    let mut scanner = Scanner { rest: text };
    scanner.pieces(&[], 0)
}

/// Puts whole settings in the place of references to them: `ssl: ${output.elasticsearch.ssl}`.
pub(super) fn graft(root: &Node, problems: &mut Vec<Problem>) -> Node {
    graft_node(root, root, "", &mut Vec::new(), problems)
}

fn graft_node(
    root: &Node,
    node: &Node,
    path: &str,
    stack: &mut Vec<String>,
    problems: &mut Vec<Problem>,
) -> Node {
    let data = match &node.data {
        Data::Scalar(scalar) => {
            let name = whole_reference(&scalar.text);
            let target = name.as_deref().and_then(|name| root.at(name));
            let (Some(name), Some(target)) = (name, target) else {
                return node.clone();
            };
            if !matches!(target.data, Data::List(_) | Data::Map(_)) {
                return node.clone();
            }
            // A setting that holds the reference to itself never ends, nor do two that hold each other.
            let inside = format!("{path}.").starts_with(&format!("{name}."));
            if inside || stack.contains(&name) || stack.len() > MAX_DEPTH {
                problems.push(Problem {
                    file: node.mark.file.to_string(),
                    line: (node.mark.line > 0).then_some(node.mark.line),
                    path: path.to_owned(),
                    message: ExpandError::Cycle(name).to_string(),
                });
                return Node {
                    data: Data::Null,
                    mark: node.mark.clone(),
                };
            }
            stack.push(name);
            let grafted = graft_node(root, target, path, stack, problems);
            stack.pop();
            return grafted;
        }
        Data::List(items) => {
            let mut list = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                let path = super::dotted::join(path, &index.to_string());
                list.push(graft_node(root, item, &path, stack, problems));
            }
            Data::List(list)
        }
        Data::Map(map) => {
            let mut map = map.clone();
            for (key, node) in &mut map.entries {
                *node = graft_node(root, node, &super::dotted::join(path, key), stack, problems);
            }
            Data::Map(map)
        }
        Data::Null => Data::Null,
    };
    Node {
        data,
        mark: node.mark.clone(),
    }
}

/// The name, if the text is one reference and nothing else.
fn whole_reference(text: &str) -> Option<String> {
    match parse(text).ok()?.as_slice() {
        [
            Piece::Reference {
                name,
                otherwise: Otherwise::Fail,
            },
        ] => match name.as_slice() {
            [Piece::Literal(name)] => Some(name.clone()),
            _ => None,
        },
        _ => None,
    }
}

struct Scanner<'t> {
    rest: &'t str,
}

// === impl Scanner ===

impl Scanner<'_> {
    /// Pieces up to one of `stops` (which is left) or, at the outermost level, the end.
    fn pieces(&mut self, stops: &[char], depth: usize) -> Result<Vec<Piece>, ExpandError> {
        if depth > MAX_DEPTH {
            return Err(ExpandError::TooDeep);
        }
        let mut pieces = Vec::new();
        let mut literal = String::new();
        loop {
            let Some(c) = self.rest.chars().next() else {
                if stops.is_empty() {
                    break;
                }
                return Err(ExpandError::Open);
            };
            if stops.contains(&c) {
                break;
            }
            if let Some(rest) = self.rest.strip_prefix("$$") {
                literal.push('$');
                self.rest = rest;
            } else if let Some(rest) = self.rest.strip_prefix("$}") {
                literal.push('}');
                self.rest = rest;
            } else if let Some(rest) = self.rest.strip_prefix("${") {
                self.rest = rest;
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(self.reference(depth + 1)?);
            } else {
                literal.push(c);
                self.rest = &self.rest[c.len_utf8()..];
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(pieces)
    }

    /// What follows `${`, the closing brace included.
    fn reference(&mut self, depth: usize) -> Result<Piece, ExpandError> {
        if let Some(rest) = self.rest.strip_prefix("file:") {
            self.rest = rest;
            let mut name = vec![Piece::Literal("file:".to_owned())];
            name.extend(self.pieces(&['}'], depth)?);
            self.rest = &self.rest[1..];
            return Ok(Piece::Reference {
                name,
                otherwise: Otherwise::Fail,
            });
        }
        let name = self.pieces(&[':', '}'], depth)?;
        let otherwise = match self.rest.strip_prefix(':') {
            None => Otherwise::Fail,
            Some(rest) => {
                let (make, rest): (fn(Vec<Piece>) -> Otherwise, &str) = match rest.chars().next() {
                    Some('?') => (Otherwise::Message, &rest[1..]),
                    Some('+') => (Otherwise::Instead, &rest[1..]),
                    _ => (Otherwise::Default, rest),
                };
                self.rest = rest;
                make(self.pieces(&['}'], depth)?)
            }
        };
        self.rest = &self.rest[1..];
        Ok(Piece::Reference { name, otherwise })
    }
}

/// One filling-in: what was found on the way.
struct Run<'l, 'a> {
    lookup: &'l Lookup<'a>,
    /// Settings whose text is being filled in, outermost first.
    open: Vec<String>,
    literal: bool,
}

// === impl Lookup ===

impl Lookup<'_> {
    /// Fills the references of `text` in.
    pub(super) fn expand(&self, text: &str) -> Result<Expanded, ExpandError> {
        if !text.contains('$') {
            return Ok(Expanded {
                text: text.to_owned(),
                referred: false,
                list: false,
            });
        }
        let pieces = parse(text)?;
        let referred = pieces
            .iter()
            .any(|piece| matches!(piece, Piece::Reference { .. }));
        let mut run = Run {
            lookup: self,
            open: Vec::new(),
            literal: false,
        };
        let text = run.fill(&pieces)?;
        Ok(Expanded {
            text,
            referred,
            list: referred && !run.literal,
        })
    }
}

// === impl Run ===

impl Run<'_, '_> {
    fn fill(&mut self, pieces: &[Piece]) -> Result<String, ExpandError> {
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Reference { name, otherwise } => {
                    let name = self.fill(name)?;
                    let found = self.find(&name)?;
                    match (found, otherwise) {
                        (Some(_), Otherwise::Instead(instead)) => text.push_str(&self.fill(instead)?),
                        (None, Otherwise::Instead(_)) => {}
                        (Some(found), _) => text.push_str(&found),
                        (None, Otherwise::Default(default)) => text.push_str(&self.fill(default)?),
                        (None, Otherwise::Message(message)) => {
                            return Err(ExpandError::Required(self.fill(message)?));
                        }
                        (None, Otherwise::Fail) => return Err(ExpandError::Undefined(name)),
                    }
                }
            }
        }
        Ok(text)
    }

    /// The value of a name, if it has one that is not empty.
    fn find(&mut self, name: &str) -> Result<Option<String>, ExpandError> {
        if let Some(path) = name.strip_prefix("file:") {
            self.literal = true;
            return read_file(&self.lookup.directory.join(path)).map(Some);
        }
        if let Some(node) = self.lookup.settings.at(name) {
            match &node.data {
                Data::Null => {}
                Data::List(_) | Data::Map(_) => return Err(ExpandError::NotText(name.to_owned())),
                Data::Scalar(scalar) => {
                    if self.open.iter().any(|open| open == name) {
                        return Err(ExpandError::Cycle(name.to_owned()));
                    }
                    if self.open.len() > MAX_DEPTH {
                        return Err(ExpandError::TooDeep);
                    }
                    self.open.push(name.to_owned());
                    let text = self.fill(&parse(&scalar.text)?)?;
                    self.open.pop();
                    return Ok(Some(text).filter(|text| !text.is_empty()));
                }
            }
        }
        if let Some(text) = (self.lookup.environment)(name).filter(|text| !text.is_empty()) {
            return Ok(Some(text));
        }
        let kept = (self.lookup.keystore)(name).filter(|text| !text.is_empty());
        self.literal |= kept.is_some();
        Ok(kept)
    }
}

fn read_file(path: &Path) -> Result<String, ExpandError> {
    let fail = |reason: String| ExpandError::File {
        path: path.display().to_string(),
        reason,
    };
    let file = std::fs::File::open(path).map_err(|error| fail(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| fail(error.to_string()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(fail("it is larger than 1 MiB".to_owned()));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| fail("it is not UTF-8 text".to_owned()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::{dotted, source};
    use super::*;
    use proptest::prelude::*;

    fn settings(text: &str) -> Node {
        dotted::expand(source::parse("x.yml", text).unwrap(), &mut Vec::new())
    }

    fn expand_with(settings: &Node, text: &str) -> Result<String, String> {
        let environment = |name: &str| match name {
            "HOST" => Some("es1".to_owned()),
            "EMPTY" => Some(String::new()),
            "WHICH" => Some("HOST".to_owned()),
            "name" => Some("from the environment".to_owned()),
            "DOLLAR" => Some("a${HOST}".to_owned()),
            _ => None,
        };
        let keystore = |name: &str| (name == "KEPT" || name == "HOST").then(|| "k,1".to_owned());
        let lookup = Lookup {
            settings,
            environment: &environment,
            keystore: &keystore,
            directory: Path::new("/nonexistent"),
        };
        lookup
            .expand(text)
            .map(|expanded| expanded.text)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn follows_the_grammar() {
        let settings = settings("name: here\nother: x-${name}\nlist: [1]\nnothing: ~\n");
        for (text, expected) in [
            ("plain $word", "plain $word"),
            ("${HOST}:9200", "es1:9200"),
            ("${NONE:a:b}", "a:b"),
            ("${EMPTY:default}", "default"),
            ("${NONE:${HOST}}", "es1"),
            ("${${WHICH}}", "es1"),
            ("${NONE:+yes}", ""),
            ("${HOST:+yes}", "yes"),
            ("${name}", "here"),
            ("${other}", "x-here"),
            ("${nothing:d}", "d"),
            ("$${HOST}", "${HOST}"),
            ("a$$b", "a$b"),
            ("${NONE:a$}b}", "a}b"),
            ("${KEPT}", "k,1"),
            ("${HOST:?needed}", "es1"),
            // A value is not looked through again: a password may hold anything.
            ("${DOLLAR}", "a${HOST}"),
        ] {
            assert_eq!(expand_with(&settings, text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_filled_in_is_an_error() {
        let settings = settings("a: ${b}\nb: ${a}\nself: x${self}\nlist: [1]\n");
        for (text, expected) in [
            ("${NONE}", "${NONE} is not set"),
            ("${EMPTY}", "${EMPTY} is not set"),
            ("${NONE:?set it}", "set it"),
            ("${HOST", "not closed"),
            ("${a}", "cyclic reference to ${a}"),
            ("${self}", "cyclic reference to ${self}"),
            ("x${list}", "${list} is a list"),
            ("${file:/nonexistent/x}", "cannot read /nonexistent/x"),
            ("pa${ss!}word", "${…} is not set"),
        ] {
            let error = expand_with(&settings, text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(expand_with(&settings, &"${".repeat(100_000)).is_err());
    }

    #[test]
    fn files_lose_one_newline_and_are_literal() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("secret"), "a,b\n\n").unwrap();
        let settings = settings("");
        let none = |_: &str| None;
        let lookup = Lookup {
            settings: &settings,
            environment: &none,
            keystore: &none,
            directory: directory.path(),
        };
        let expanded = lookup.expand("${file:secret}").unwrap();
        assert_eq!(
            expanded,
            Expanded {
                text: "a,b\n".to_owned(),
                referred: true,
                list: false
            }
        );
    }

    #[test]
    fn whole_settings_take_the_place_of_their_reference() {
        let root = settings("a: {b: 1, c: [2]}\nx: ${a}\ny: {z: '${x}', w: '${a.c}', v: '${a.b}'}\n");
        let mut problems = Vec::new();
        let grafted = graft(&root, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        assert!(grafted.at("x.b").is_some() && grafted.at("y.w.0").is_some());
        assert!(matches!(grafted.at("y.v").unwrap().data, Data::Scalar(_)));

        let root = settings("a: {b: '${a}'}\nc: {d: '${e}'}\ne: {f: '${c}'}\n");
        graft(&root, &mut problems);
        assert!(problems[0].message.contains("cyclic"), "{problems:?}");
        assert!(problems.len() >= 3);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = expand_with(&settings("a: ${b}"), &text);
        }

        #[test]
        fn never_panics_on_near_misses(text in "[$ {}:?+aAé.]{0,60}") {
            let _ = expand_with(&settings("a: ${A}"), &text);
        }

        #[test]
        fn text_without_a_dollar_is_itself(text in "[^$]*") {
            prop_assert_eq!(expand_with(&settings(""), &text), Ok(text));
        }
    }
}
