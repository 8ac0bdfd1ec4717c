//! What `${…}` stands for: another setting, a variable of the environment, an entry of the keystore, a file.
//!
//! Owns the order in which a name is looked for (settings, environment, keystore). The grammar is
//! [`super::reference`]'s. An error names the reference, never a value.

use std::io::Read as _;
use std::path::Path;

use super::node::{Data, Node};
use super::reference::{self, Otherwise, Piece};

/// References within references beyond this are a mistake.
pub(super) const MAX_DEPTH: usize = 32;
/// A text is not longer than this, in bytes; a file that is, is the wrong one.
const MAX_TEXT: usize = 1 << 20;
/// References looked up for one text; more is a setting that multiplies itself.
const MAX_LOOKUPS: usize = 10_000;

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
    #[error("{} is no other setting, not set in the environment and not in the keystore; give a default with ${{NAME:default}}", shown(.0))]
    Undefined(String),
    #[error("references make the text or the configuration too large")]
    TooLarge,
    #[error("{0}")]
    Required(String),
    #[error("cyclic reference to {}", shown(.0))]
    Cycle(String),
    #[error("{} is a list or a mapping, not a text", shown(.0))]
    NotText(String),
    #[error("cannot read {path}: {reason}")]
    File { path: String, reason: String },
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

/// One filling-in: what was found on the way.
struct Run<'l, 'a> {
    lookup: &'l Lookup<'a>,
    /// Settings whose text is being filled in, outermost first.
    open: Vec<String>,
    /// References looked up so far.
    lookups: usize,
    /// A keystore entry or a file is in it: the text is what it is.
    literal: bool,
}

// === impl Lookup ===

impl Lookup<'_> {
    /// Fills the references of `text` in.
    pub(super) fn expand(&self, text: &str) -> Result<Expanded, ExpandError> {
        if !text.contains('$') {
            return Ok(Expanded {
                text: text.to_owned(),

                list: false,
            });
        }
        let pieces = reference::parse(text)?;
        let mut run = Run {
            lookup: self,
            open: Vec::new(),
            lookups: 0,
            literal: false,
        };
        let text = run.fill(&pieces)?;
        Ok(Expanded {
            text,
            // No list was written where nothing was referred to.
            list: run.lookups > 0 && !run.literal,
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
                    self.lookups += 1;
                    if self.lookups > MAX_LOOKUPS || text.len() > MAX_TEXT {
                        return Err(ExpandError::TooLarge);
                    }
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
                    let text = self.fill(&reference::parse(&scalar.text)?)?;
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
    file.take(MAX_TEXT as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| fail(error.to_string()))?;
    if bytes.len() > MAX_TEXT {
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
            ("${NONE}", "${NONE} is no other setting"),
            ("${EMPTY}", "${EMPTY} is no other setting"),
            ("${NONE:?set it}", "set it"),
            ("${HOST", "not closed"),
            ("${a}", "cyclic reference to ${a}"),
            ("${self}", "cyclic reference to ${self}"),
            ("x${list}", "${list} is a list"),
            ("${file:/nonexistent/x}", "cannot read /nonexistent/x"),
            ("pa${ss!}word", "${…} is no other setting"),
        ] {
            let error = expand_with(&settings, text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(expand_with(&settings, &"${".repeat(100_000)).is_err());
    }

    #[test]
    fn references_that_multiply_have_an_end() {
        for end in ["", "0123456789abcdef"] {
            let mut lines = vec![format!("a0: '{end}'")];
            lines.extend((1..30).map(|index| {
                let before = index - 1;
                format!("a{index}: '${{a{before}:}}${{a{before}:}}'")
            }));
            let text = lines.join("\n");
            let error = expand_with(&settings(&text), "${a29}").unwrap_err();
            assert!(error.contains("too large"), "{error}");
        }
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

                list: false
            }
        );
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
