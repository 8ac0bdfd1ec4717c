//! Rules that choose an index or a pipeline by the event.
//!
//! Owns the type and its reading: what a format string says of an event is the output's.

use std::collections::BTreeMap;

use super::condition::{self, Condition};
use super::section::Section;
use crate::format::Format;

/// One rule of `indices`, `pipelines` and their like.
#[derive(Debug, Clone)]
pub struct SelectorRule {
    /// The format string.
    pub value: String,
    /// Result → replacement.
    pub mappings: BTreeMap<String, String>,
    /// Used when the format string's field is missing or no mapping fits.
    pub default: Option<String>,
    /// The rule counts only for events that this condition holds for.
    pub when: Option<Condition>,
}

/// Reads the list `list` of rules whose format string is under `value`.
pub(super) fn rules(section: &Section<'_>, list: &'static str, value: &'static str) -> Vec<SelectorRule> {
    let items = section
        .field(list)
        .and_then(|field| field.items())
        .unwrap_or_default();
    items
        .iter()
        .map(|item| item.section(|rule| read_rule(rule, value)))
        .collect()
}

fn read_rule(rule: &Section<'_>, value: &'static str) -> SelectorRule {
    let format = rule.some_text(value).unwrap_or_else(|| {
        rule.missing(
            value,
            "a name or a format string such as ecsbeat-%{[ecs-event-type]}",
        );
        String::new()
    });
    check_format(rule, value, &format);
    SelectorRule {
        value: format,
        mappings: rule.pairs("mappings").into_iter().collect(),
        default: rule.some_text("default"),
        when: rule.field("when").and_then(|field| condition::read(&field)),
    }
}

/// Tells a format string that cannot be one, and where.
pub(super) fn check_format(section: &Section<'_>, key: &str, text: &str) {
    if let Err(error) = Format::parse(text) {
        section.problem(key, format!("not a format string: {error}"));
    }
}
