//! `add_tags`: appends to a list of tags.
//!
//! Owns no more than that: a tag that is there already is there twice, as in Beats.

use super::document::{Document, EditError};
use super::failure::Failure;
use crate::config;
use crate::transform::string;

/// The tags as JSON, and where they go.
#[derive(Debug)]
pub(super) struct AddTags {
    /// JSON strings with commas between them.
    tags: String,
    target: String,
}

// === impl AddTags ===

impl AddTags {
    pub(super) fn new(config: &config::AddTags) -> Self {
        Self {
            tags: as_json(&config.tags),
            target: config.target.clone(),
        }
    }

    /// Fails where the target is no list.
    pub(super) fn run(&self, document: &mut Document<'_>) -> Result<(), Failure> {
        append(document, &self.target, &self.tags)
    }
}

/// Appends JSON strings with commas between them to the list at `target`.
pub(super) fn append(document: &mut Document<'_>, target: &str, texts: &str) -> Result<(), Failure> {
    document.append(target, texts).map_err(|error| match error {
        EditError::NoObject => Failure::new(format!("could not add tags: {target} is no list")),
        error => Failure::edit(target, error),
    })
}

fn as_json(tags: &[String]) -> String {
    let mut out = Vec::new();
    for tag in tags {
        if !out.is_empty() {
            out.push(b',');
        }
        string(&mut out, tag);
    }
    // All that is written is text.
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::processor::samples::{check, fails};

    #[test]
    fn tags_are_appended() {
        let processors = r#"  - add_tags: {tags: [web, 'a "b"']}"#;
        check(processors, "{}", r#"{"tags":["web","a \"b\""]}"#);
        check(
            processors,
            r#"{"tags":["web"]}"#,
            r#"{"tags":["web","web","a \"b\""]}"#,
        );
        check(processors, r#"{"tags":[ ]}"#, r#"{"tags":["web","a \"b\""]}"#);
        check(
            "  - add_tags: {tags: [b], target: e.f}\n  - add_tags: {tags: [c], target: e.f}",
            r#"{"e":{"f":[1,"a"]}}"#,
            r#"{"e":{"f":[1,"a","b","c"]}}"#,
        );
    }

    #[test]
    fn what_is_no_list_stays_as_it_is() {
        for tags in [r#""x""#, "1", r#"{"a":1}"#, "null"] {
            let document = format!(r#"{{"tags":{tags}}}"#);
            let processors = "  - add_tags: {tags: [a]}";
            fails(
                processors,
                &document,
                &document,
                &["could not add tags: tags is no list"],
            );
        }
        fails(
            "  - add_tags: {tags: [a], target: x.y}",
            r#"{"x":1}"#,
            r#"{"x":1}"#,
            &["could not add tags: x.y is no list"],
        );
    }
}
