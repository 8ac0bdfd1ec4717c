//! `truncate_fields`: cuts texts that are too long.
//!
//! Owns where they are cut, which is always between two characters, and the mark `log.flags: [truncated]` on an event
//! whose text was cut.

use super::Told;
use super::add_tags::append;
use super::document::Document;
use super::failure::{Failure, each};
use super::object::Value;
use crate::condition::Fields as _;
use crate::config::{TextLimit, TruncateFields};
use crate::json::Found;

/// Each of the fields.
pub(super) fn run(
    config: &TruncateFields,
    document: &mut Document<'_>,
    tell: &mut dyn FnMut(Told),
) -> Result<(), Failure> {
    each(
        &config.fields,
        config.on_error,
        document,
        tell,
        |field, document| {
            let what = "Failed to truncate fields: ";
            let Some(found) = document.find(field) else {
                return if config.on_error.ignore_missing {
                    Ok(())
                } else {
                    Err(Failure::missing(field).of(what))
                };
            };
            if is_short(found, config.limit) {
                return Ok(());
            }
            let Some(text) = found.text() else {
                let kind = found.kind();
                return Err(Failure::new(format!(
                    "{what}value cannot be truncated: {field} is of type {kind}"
                )));
            };
            let Some(end) = end(&text, config.limit) else {
                return Ok(());
            };
            // In bounds and between two characters, as `end` gives it.
            let cut = text.get(..end).unwrap_or_default().to_owned();
            document
                .put(field, Value::text(cut))
                .map_err(|error| Failure::edit(field, error).of(what))?;
            // An event that has something else there has no room for the mark.
            let _ = append(document, "log.flags", r#""truncated""#);
            Ok(())
        },
    )
}

/// Whether it is a text that needs no cutting, told from its size alone: as JSON it is never shorter than itself.
fn is_short(found: Found<'_>, limit: TextLimit) -> bool {
    let (TextLimit::Bytes(most) | TextLimit::Characters(most)) = limit;
    match found {
        Found::Json(json) => json.starts_with('"') && json.len() <= most.saturating_add(2),
        Found::Text(text) => text.len() <= most,
        Found::Object => false,
    }
}

/// Where a text that is too long is cut, in bytes; `None`: it is not too long.
fn end(text: &str, limit: TextLimit) -> Option<usize> {
    match limit {
        TextLimit::Bytes(most) if text.len() <= most => None,
        TextLimit::Bytes(most) => (0..=most).rev().find(|end| text.is_char_boundary(*end)),
        TextLimit::Characters(most) => text.char_indices().nth(most).map(|(end, _)| end),
    }
}

#[cfg(test)]
mod tests {
    use crate::processor::samples::{check, fails};

    #[test]
    fn cuts_between_characters_and_says_so() {
        let bytes = |most: usize| format!("  - truncate_fields: {{fields: [message], max_bytes: {most}}}");
        let characters =
            |most: usize| format!("  - truncate_fields: {{fields: [message], max_characters: {most}}}");
        let of = |text: &str| format!(r#"{{"message":"{text}"}}"#);
        let cut = |text: &str| format!(r#"{{"message":"{text}","log":{{"flags":["truncated"]}}}}"#);
        check(&bytes(3), &of("too long line"), &cut("too"));
        check(&bytes(15), &of("shorter line"), &of("shorter line"));
        check(&bytes(6), &of("ez jó"), &of("ez jó"));
        check(&bytes(5), &of("ez jó"), &cut("ez j"));
        check(&bytes(5), &of(r"ez j\u00f3"), &cut("ez j"));
        check(&bytes(6), &of(r"ez j\u00f3"), &of(r"ez j\u00f3"));
        check(&bytes(1), &of("ü"), &cut(""));
        check(&characters(10), &of("ez egy túl hosszú sor"), &cut("ez egy túl"));
        check(&characters(5), &of("ez jó"), &of("ez jó"));
        check(&characters(2), &of(r#"\"\"\""#), &cut(r#"\"\""#));
    }

    #[test]
    fn marks_once_for_each_field_and_does_without_where_there_is_no_room() {
        let processors = "  - truncate_fields: {fields: [a, b.c], max_bytes: 1}";
        check(
            processors,
            r#"{"log":{"flags":["x"]},"a":"12","b":{"c":"34"}}"#,
            r#"{"log":{"flags":["x","truncated","truncated"]},"a":"1","b":{"c":"3"}}"#,
        );
        check(
            processors,
            r#"{"log":"x","a":"12","b":{"c":""}}"#,
            r#"{"log":"x","a":"1","b":{"c":""}}"#,
        );
    }

    #[test]
    fn other_values_and_missing_ones_are_failures() {
        fails(
            "  - truncate_fields: {fields: [a, b], max_bytes: 1, fail_on_error: false}",
            r#"{"a":12345}"#,
            r#"{"a":12345}"#,
            &[
                "Failed to truncate fields: value cannot be truncated: a is of type number",
                "Failed to truncate fields: could not fetch value for key: b, Error: key not found",
            ],
        );
        check(
            "  - truncate_fields: {fields: [b], max_bytes: 1, ignore_missing: true}",
            "{}",
            "{}",
        );
    }
}
