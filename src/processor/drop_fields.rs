//! `drop_fields`: takes fields out by name or by expression.
//!
//! Owns that what is missing keeps nothing else from being dropped, and that a protected field which an expression
//! matches is told instead of dropped.

use super::Told;
use super::document::{Document, EditError};
use super::failure::Failure;
use crate::config::DropFields;

/// Fails, with all others dropped, where a field is missing and that is not ignored.
pub(super) fn run(
    config: &DropFields,
    document: &mut Document<'_>,
    tell: &mut dyn FnMut(Told),
) -> Result<(), Failure> {
    let mut missing = Vec::new();
    for name in &config.names {
        match document.remove(name) {
            Ok(_) => {}
            Err(EditError::Protected(field)) => tell(Told::Protected(field)),
            Err(EditError::Missing | EditError::NoObject) => missing.push(name.as_str()),
        }
    }
    if !config.patterns.is_empty() {
        let goes = |path: &str| config.patterns.iter().any(|pattern| pattern.is_match(path));
        if let Some(field) = document.remove_where(goes) {
            tell(Told::Protected(field));
        }
    }
    if missing.is_empty() || config.ignore_missing {
        return Ok(());
    }
    Err(Failure::new(format!(
        "failed to drop field [{}], error: key not found",
        missing.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use crate::processor::samples::{check, fails};

    const BEFORE: &str = r#"{"a":{"b":1,"c.d":2,"c":{"d":3}},"a.b":4,"x_id":5,"list":[{"x_id":6}]}"#;

    #[test]
    fn by_name() {
        check(
            "  - drop_fields.fields: [list]",
            BEFORE,
            r#"{"a":{"b":1,"c.d":2,"c":{"d":3}},"a.b":4,"x_id":5}"#,
        );
        // A name with dots before a nested one.
        check(
            "  - drop_fields.fields: [a.b, list]",
            BEFORE,
            r#"{"a":{"b":1,"c.d":2,"c":{"d":3}},"x_id":5}"#,
        );
        check(
            "  - drop_fields.fields: [a.b, a.b, a.c.d, a.c.d, list]",
            BEFORE,
            r#"{"a":{"c":{}},"x_id":5}"#,
        );
        check("  - drop_fields.fields: []", BEFORE, BEFORE);
        check(
            "  - drop_fields.fields: [a]",
            r#"{"a":1,"b":2,"a":3}"#,
            r#"{"b":2}"#,
        );
    }

    #[test]
    fn by_expression_in_objects_but_not_in_lists() {
        check(
            "  - drop_fields.fields: [/_id$/]",
            BEFORE,
            &BEFORE.replace(r#""x_id":5,"#, ""),
        );
        check(
            "  - drop_fields.fields: ['/^a\\.c/', /^nothing$/]",
            BEFORE,
            r#"{"a":{"b":1},"a.b":4,"x_id":5,"list":[{"x_id":6}]}"#,
        );
        check("  - drop_fields.fields: ['/^a$/', '/./']", BEFORE, "{}");
        // A slash alone, or two, is a name.
        check(
            "  - drop_fields: {fields: [/, //], ignore_missing: true}",
            BEFORE,
            BEFORE,
        );
    }

    #[test]
    fn what_is_missing_keeps_nothing_else_from_being_dropped() {
        fails(
            "  - drop_fields.fields: [no, x_id, a.no]",
            BEFORE,
            &BEFORE.replace(r#""x_id":5,"#, ""),
            &["failed to drop field [no, a.no], error: key not found"],
        );
        let ignored = "  - drop_fields: {fields: [no, x_id, a.b.c, list.0], ignore_missing: true}";
        check(ignored, BEFORE, &BEFORE.replace(r#""x_id":5,"#, ""));
    }
}
