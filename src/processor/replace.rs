//! `replace`: changes texts by a regular expression.
//!
//! Owns no more than that; what an expression can be is [`crate::config::Pattern`]'s.

use std::borrow::Cow;

use super::Told;
use super::document::Document;
use super::failure::{Failure, each};
use super::object::Value;
use crate::condition::Fields as _;
use crate::config::Replace;

/// Every match in each of the fields.
pub(super) fn run(
    config: &Replace,
    document: &mut Document<'_>,
    tell: &mut dyn FnMut(Told),
) -> Result<(), Failure> {
    each(
        &config.fields,
        config.on_error,
        document,
        tell,
        |replacement, document| {
            let what = "Failed to replace fields in processor: ";
            let field = &replacement.field;
            let Some(found) = document.find(field) else {
                return if config.on_error.ignore_missing {
                    Ok(())
                } else {
                    Err(Failure::missing(field).of(what))
                };
            };
            let Some(text) = found.text() else {
                let kind = found.kind();
                return Err(Failure::new(format!(
                    "{what}key '{field}' expected type string, but got {kind}"
                )));
            };
            let replaced = replacement
                .pattern
                .regex()
                .replace_all(&text, replacement.replacement.as_str());
            // Borrowed: nothing matched.
            let Cow::Owned(replaced) = replaced else {
                return Ok(());
            };
            document
                .put(field, Value::text(replaced))
                .map_err(|error| Failure::edit(field, error).of(what))
        },
    )
}

#[cfg(test)]
mod tests {
    use crate::processor::samples::{check, fails};

    #[test]
    fn every_match_is_replaced() {
        check(
            "  - replace.fields: [{field: file.path, pattern: /usr/, replacement: /usr/local/}]",
            r#"{"file":{"path":"/usr/bin:/usr/lib"}}"#,
            r#"{"file":{"path":"/usr/local/bin:/usr/local/lib"}}"#,
        );
        // In YAML a dollar sign in front of a brace is written twice, else it is a reference.
        check(
            r#"  - replace.fields: [{field: t, pattern: '(?P<first>\w+)-(\w+)', replacement: '$2 "$${first}"'}]"#,
            r#"{"t":"\u00fc-b, c-d"}"#,
            r#"{"t":"b \"ü\", d \"c\""}"#,
        );
        check(
            "  - replace.fields: [{field: t, pattern: x, replacement: ''}]",
            r#"{"t":"\u00e4"}"#,
            r#"{"t":"\u00e4"}"#,
        );
        check(
            "  - replace.fields: [{field: t, pattern: a.*, replacement: ''}]",
            r#"{"t":"abc"}"#,
            r#"{"t":""}"#,
        );
    }

    #[test]
    fn only_texts_can_be_changed() {
        let what = "Failed to replace fields in processor: ";
        for (value, kind) in [
            ("1", "number"),
            ("true", "boolean"),
            ("[\"a\"]", "array"),
            ("{}", "object"),
            ("null", "null"),
        ] {
            let before = format!(r#"{{"t":{value}}}"#);
            fails(
                "  - replace: {fields: [{field: t, pattern: a, replacement: b}], fail_on_error: false}",
                &before,
                &before,
                &[&format!("{what}key 't' expected type string, but got {kind}")],
            );
        }
        fails(
            "  - replace: {fields: [{field: t, pattern: a, replacement: b}, {field: no, pattern: a, replacement: b}]}",
            r#"{"t":"a"}"#,
            r#"{"t":"a","error":{"message":"Failed to replace fields in processor: could not fetch value for key: no, Error: key not found"}}"#,
            &[&format!(
                "{what}could not fetch value for key: no, Error: key not found"
            )],
        );
        check(
            "  - replace: {fields: [{field: no, pattern: a, replacement: b}], ignore_missing: true}",
            "{}",
            "{}",
        );
    }
}
