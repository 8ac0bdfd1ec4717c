//! Rules that choose an index or a pipeline by the event, and their conditions.
//!
//! Owns the types and their reading: what a format string or a condition says of an event is the output's.

use std::collections::BTreeMap;

use serde_json::Value;

use super::field::Field;
use super::section::Section;

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

/// `when`: conditions on an event's fields.
#[derive(Debug, Clone)]
pub enum Condition {
    /// Every field equals its value (string, integer or bool).
    Equals(BTreeMap<String, Value>),
    /// Every field (a string or a list of strings) contains its value.
    Contains(BTreeMap<String, String>),
    /// Every field exists.
    HasFields(Vec<String>),
    /// Every field lies within its bounds.
    Range(BTreeMap<String, Bounds>),
    /// All of them hold.
    And(Vec<Condition>),
    /// One of them holds.
    Or(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
}

/// Bounds of a `range` condition.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bounds {
    /// `lt`
    pub lt: Option<f64>,
    /// `lte`
    pub lte: Option<f64>,
    /// `gt`
    pub gt: Option<f64>,
    /// `gte`
    pub gte: Option<f64>,
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
        when: rule.field("when").and_then(|field| condition(&field)),
    }
}

/// Tells a format string that cannot be one: `%{` opens a field in brackets or a time.
pub(super) fn check_format(section: &Section<'_>, key: &str, format: &str) {
    let mut rest = format;
    while let Some((_, after)) = rest.split_once("%{") {
        let Some((inner, behind)) = after.split_once('}') else {
            section.problem(key, "%{ is not closed with }");
            return;
        };
        if !inner.starts_with(['[', '+']) {
            section.problem(
                key,
                "%{ must be followed by [field] or by a time such as +yyyy.MM.dd",
            );
            return;
        }
        rest = behind;
    }
}

fn condition(field: &Field<'_>) -> Option<Condition> {
    field.section(|section| {
        let mut found = Vec::new();
        if let Some(field) = section.field("equals") {
            found.push(Condition::Equals(equals(&field)));
        }
        if section.field("contains").is_some() {
            found.push(Condition::Contains(
                section.pairs("contains").into_iter().collect(),
            ));
        }
        if let Some(fields) = section.texts("has_fields") {
            found.push(Condition::HasFields(fields));
        }
        if let Some(field) = section.field("range") {
            found.push(Condition::Range(range(&field)));
        }
        for (key, make) in [
            ("and", Condition::And as fn(Vec<Condition>) -> Condition),
            ("or", Condition::Or),
        ] {
            if let Some(items) = section.field(key).and_then(|field| field.items()) {
                if items.is_empty() {
                    section.problem(key, "needs at least one condition");
                }
                found.push(make(items.iter().filter_map(condition).collect()));
            }
        }
        if let Some(field) = section.field("not") {
            found.extend(condition(&field).map(|inner| Condition::Not(Box::new(inner))));
        }
        section.not_in_this_version("regexp", ": use equals, contains, has_fields or range");
        section.not_in_this_version("network", ": use equals, contains, has_fields or range");
        if found.len() > 1 {
            section.problem("", "one condition is expected; join several with `and` or `or`");
        } else if found.is_empty() {
            section.problem(
                "",
                "needs one of equals, contains, has_fields, range, and, or, not",
            );
        }
        found.pop()
    })
}

fn equals(field: &Field<'_>) -> BTreeMap<String, Value> {
    let mut fields = BTreeMap::new();
    for (name, field) in field.flat().unwrap_or_default() {
        match field.json() {
            value @ (Value::String(_) | Value::Bool(_)) => {
                fields.insert(name, value);
            }
            Value::Number(number) if number.is_i64() || number.is_u64() => {
                fields.insert(name, Value::Number(number));
            }
            _ => field.expected("a text, a whole number or a bool"),
        }
    }
    fields
}

/// `range: {field: {gte: 1}}` and `range.field.gte: 1` are the same.
fn range(field: &Field<'_>) -> BTreeMap<String, Bounds> {
    let mut fields: BTreeMap<String, Bounds> = BTreeMap::new();
    for (name, field) in field.flat().unwrap_or_default() {
        let Some((name, operator)) = name.rsplit_once('.') else {
            field.problem("needs one of lt, lte, gt, gte");
            continue;
        };
        let number = field.parsed("a number", |text| {
            text.trim()
                .parse::<f64>()
                .ok()
                .filter(|number| number.is_finite())
                .ok_or_else(String::new)
        });
        let bounds = fields.entry(name.to_owned()).or_default();
        match operator {
            "lt" => bounds.lt = number,
            "lte" => bounds.lte = number,
            "gt" => bounds.gt = number,
            "gte" => bounds.gte = number,
            _ => field.problem("needs one of lt, lte, gt, gte"),
        }
    }
    fields
}
