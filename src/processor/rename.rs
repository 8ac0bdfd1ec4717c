//! `rename` and `copy_fields`: a value under another name.
//!
//! Owns that neither overwrites a field that is there.

use super::Told;
use super::document::Document;
use super::failure::{Failure, each};
use crate::condition::Fields as _;
use crate::config::FromTo;

/// `rename`
pub(super) fn rename(
    config: &FromTo,
    document: &mut Document<'_>,
    tell: &mut dyn FnMut(Told),
) -> Result<(), Failure> {
    each(
        &config.fields,
        config.on_error,
        document,
        tell,
        |(from, to), document| {
            let what = "Failed to rename fields in processor: ";
            if !is_due(config, document, from, to).map_err(|failure| failure.of(what))? {
                return Ok(());
            }
            document
                .rename(from, to)
                .map_err(|error| Failure::edit(to, error).of(what))
        },
    )
}

/// `copy_fields`
pub(super) fn copy(
    config: &FromTo,
    document: &mut Document<'_>,
    tell: &mut dyn FnMut(Told),
) -> Result<(), Failure> {
    each(
        &config.fields,
        config.on_error,
        document,
        tell,
        |(from, to), document| {
            let what = "Failed to copy fields in copy_fields processor: ";
            if !is_due(config, document, from, to).map_err(|failure| failure.of(what))? {
                return Ok(());
            }
            let value = document
                .get(from)
                .ok_or_else(|| Failure::missing(from).of(what))?;
            document
                .put(to, value)
                .map_err(|error| Failure::edit(to, error).of(what))
        },
    )
}

/// Whether the source is there and the target is not.
fn is_due(config: &FromTo, document: &Document<'_>, from: &str, to: &str) -> Result<bool, Failure> {
    if document.find(to).is_some() {
        return Err(Failure::new(format!(
            "target field {to} already exists, drop or rename this field first"
        )));
    }
    match document.find(from) {
        Some(_) => Ok(true),
        None if config.on_error.ignore_missing => Ok(false),
        None => Err(Failure::missing(from)),
    }
}

#[cfg(test)]
mod tests {
    use crate::processor::samples::{check, fails};

    #[test]
    fn a_value_moves_whole() {
        let before = r#"{"n":9007199254740993,"o":{"x":1.50,"y":[1]},"a":{"b.c":"\u00fc"}}"#;
        check(
            "  - rename.fields: [{from: n, to: o.n}, {from: o.x, to: x}, {from: a.b.c, to: u}]",
            before,
            r#"{"o":{"y":[1],"n":9007199254740993},"a":{},"x":1.50,"u":"\u00fc"}"#,
        );
        check(
            "  - rename.fields: [{from: a, to: a.b}]",
            r#"{"a":{"c":1},"d":2}"#,
            r#"{"d":2,"a":{"b":{"c":1}}}"#,
        );
        check(
            "  - rename.fields: [{from: a.b, to: b}, {from: b, to: c.d}]",
            r#"{"a":{"b":1}}"#,
            r#"{"a":{},"c":{"d":1}}"#,
        );
    }

    #[test]
    fn a_copy_leaves_the_source() {
        check(
            "  - copy_fields.fields: [{from: event.id, to: id}, {from: o, to: p.q}]",
            r#"{"event":{"id":"5"},"o":{"x":[ 1 ]}}"#,
            r#"{"event":{"id":"5"},"o":{"x":[ 1 ]},"id":"5","p":{"q":{"x":[ 1 ]}}}"#,
        );
        // A copy does not follow its source.
        check(
            "  - copy_fields.fields: [{from: o, to: p}]\n  - add_fields: {target: o, fields: {x: 2}}",
            r#"{"o":{"x":1}}"#,
            r#"{"o":{"x":2},"p":{"x":1}}"#,
        );
    }

    #[test]
    fn what_is_missing_or_in_the_way_is_a_failure() {
        let before = r#"{"a":1,"s":"x"}"#;
        for (processor, what) in [
            ("rename", "Failed to rename fields in processor"),
            ("copy_fields", "Failed to copy fields in copy_fields processor"),
        ] {
            let with = |fields: &str, more: &str| {
                format!("  - {processor}: {{fields: [{fields}], fail_on_error: false{more}}}")
            };
            for (fields, why) in [
                (
                    "{from: no, to: b}",
                    "could not fetch value for key: no, Error: key not found",
                ),
                (
                    "{from: a.no, to: b}",
                    "could not fetch value for key: a.no, Error: key not found",
                ),
                (
                    "{from: a, to: s}",
                    "target field s already exists, drop or rename this field first",
                ),
                (
                    "{from: a, to: s.t}",
                    "could not put value: s.t: value is not a map",
                ),
            ] {
                fails(&with(fields, ""), before, before, &[&format!("{what}: {why}")]);
            }
            check(
                &with("{from: no, to: b}", ", ignore_missing: true"),
                before,
                before,
            );
        }
    }
}
