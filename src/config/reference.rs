//! The grammar of `${…}`: a text is taken apart into what stands for itself and what is to be looked up.
//!
//! `${NAME}`, `${NAME:default}`, `${NAME:?message}`, `${NAME:+instead}`, `${file:/path}`; names and defaults may
//! hold references themselves; `$$` and `$}` are `$` and `}`. Looks nothing up.

use super::expand::{ExpandError, MAX_DEPTH};

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

/// Takes a text apart.
pub(super) fn parse(text: &str) -> Result<Vec<Piece>, ExpandError> {
    let mut scanner = Scanner { rest: text };
    scanner.pieces(&[], 0)
}

/// The name, if the text is one reference and nothing else.
pub(super) fn whole(text: &str) -> Option<String> {
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
