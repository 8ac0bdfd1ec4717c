//! A processor that failed on an event.
//!
//! Owns the words of failures, which follow those of Beats, and what `fail_on_error` means: the document is as it was,
//! and its `error.message` tells why. A failure names fields of the configuration and kinds of values, never a value:
//! it is logged.

use super::Told;
use super::document::{Document, EditError};
use super::object::Value;
use crate::config::OnError;

/// Why a processor failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure(String);

// === impl Failure ===

impl Failure {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// A field that a processor wants to read is not there.
    pub(super) fn missing(field: &str) -> Self {
        Self(format!(
            "could not fetch value for key: {field}, Error: key not found"
        ))
    }

    /// A field could not be set or taken out.
    pub(super) fn edit(field: &str, error: EditError) -> Self {
        match error {
            EditError::Missing => Self::missing(field),
            EditError::NoObject => Self(format!("could not put value: {field}: value is not a map")),
            EditError::Protected(protected) => Self(format!("{protected} must stay as it is")),
        }
    }

    /// The same with what failed before it: `Failed to rename fields: `.
    #[must_use]
    pub(super) fn of(self, what: &str) -> Self {
        Self(format!("{what}{}", self.0))
    }

    pub(super) fn told(self) -> Told {
        Told::Failed(self.0)
    }
}

/// Does `edit` for each item, as `fail_on_error` says. `edit` changes nothing where it fails.
pub(super) fn each<'a, T>(
    items: &[T],
    on_error: OnError,
    document: &mut Document<'a>,
    tell: &mut dyn FnMut(Told),
    edit: impl Fn(&T, &mut Document<'a>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // With one item there is nothing to undo.
    let before = (on_error.fail_on_error && items.len() > 1).then(|| document.clone());
    for item in items {
        let Err(failure) = edit(item, document) else {
            continue;
        };
        if !on_error.fail_on_error {
            tell(failure.told());
            continue;
        }
        if let Some(before) = before {
            *document = before;
        }
        return Err(mark(document, failure));
    }
    Ok(())
}

/// Notes a failure in the document.
pub(super) fn mark(document: &mut Document<'_>, failure: Failure) -> Failure {
    // Where `error` is a value of its own there is no room for it; it is in the log.
    let _ = document.put("error.message", Value::text(failure.0.clone()));
    failure
}
