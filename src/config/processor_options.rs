//! The options of each processor.
//!
//! Owns their names, defaults and checks, which are those of Beats, and the check that none changes what an event is
//! known by ([`document::protected`]): that is told here, before anything runs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Pattern;
use super::dotted::join;
use super::duration;
use super::field::Field;
use super::processor::{
    AddFields, AddHostMetadata, AddTags, Conversion, Convert, DataType, DropFields, Encoding, Fingerprint,
    FromTo, HashMethod, OnError, ProcessorConfig, RateLimit, Replace, Replacement, TextLimit, TruncateFields,
};
use super::section::Section;
use crate::document;

/// Reads the options of one processor.
type Options = fn(&Section<'_>) -> ProcessorConfig;

/// Every processor there is.
pub(super) const PROCESSORS: [(&str, Options); 14] = [
    ("add_fields", add_fields),
    ("add_host_metadata", add_host_metadata),
    ("add_labels", add_labels),
    ("add_tags", add_tags),
    ("convert", convert),
    ("copy_fields", copy_fields),
    ("drop_event", |_| ProcessorConfig::DropEvent),
    ("drop_fields", drop_fields),
    ("fingerprint", fingerprint),
    ("include_fields", include_fields),
    ("rate_limit", rate_limit),
    ("rename", rename),
    ("replace", replace),
    ("truncate_fields", truncate_fields),
];

const TYPES: [(&str, DataType); 7] = [
    ("integer", DataType::Integer),
    ("long", DataType::Long),
    ("float", DataType::Float),
    ("double", DataType::Double),
    ("string", DataType::String),
    ("boolean", DataType::Boolean),
    ("ip", DataType::Ip),
];
const METHODS: [(&str, HashMethod); 4] = [
    ("sha256", HashMethod::Sha256),
    ("sha1", HashMethod::Sha1),
    ("sha384", HashMethod::Sha384),
    ("sha512", HashMethod::Sha512),
];
const ENCODINGS: [(&str, Encoding); 3] = [
    ("hex", Encoding::Hex),
    ("base32", Encoding::Base32),
    ("base64", Encoding::Base64),
];
const GEO: [&str; 8] = [
    "name",
    "location",
    "continent_name",
    "country_name",
    "country_iso_code",
    "region_name",
    "region_iso_code",
    "city_name",
];
/// The longest text that a limit can be meant for: a record has at most 8 MiB.
const MAX_TEXT: i64 = 64 << 20;
/// Events in the span of a rate; more is no limit.
const MAX_RATE: u32 = 1_000_000_000;

fn add_fields(section: &Section<'_>) -> ProcessorConfig {
    let target = section.text("target").unwrap_or_else(|| "fields".to_owned());
    if !target.is_empty() {
        well_formed(section, "target", &target);
    }
    let fields = object(section, "fields", "the fields to add");
    for path in leaves(&target, &fields) {
        let key = if fields.is_empty() { "target" } else { "fields" };
        untouched(section, key, &path);
    }
    ProcessorConfig::AddFields(AddFields { target, fields })
}

fn add_labels(section: &Section<'_>) -> ProcessorConfig {
    let mut flat = BTreeMap::new();
    for (name, value) in object(section, "labels", "the labels to add") {
        flatten(name, value, &mut flat);
    }
    ProcessorConfig::AddLabels(flat)
}

/// Objects and lists become names with dots, as ECS wants labels.
fn flatten(name: String, value: Value, flat: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                flatten(join(&name, &member), value, flat);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.into_iter().enumerate() {
                flatten(join(&name, &index.to_string()), value, flat);
            }
        }
        value => {
            flat.insert(name, value);
        }
    }
}

fn add_tags(section: &Section<'_>) -> ProcessorConfig {
    let tags = section.texts("tags").unwrap_or_default();
    if tags.is_empty() {
        section.missing("tags", "the tags to add");
    }
    let target = section.some_text("target").unwrap_or_else(|| "tags".to_owned());
    well_formed(section, "target", &target);
    untouched(section, "target", &target);
    ProcessorConfig::AddTags(AddTags { tags, target })
}

fn add_host_metadata(section: &Section<'_>) -> ProcessorConfig {
    let cache_ttl = section.section("cache", |cache| cache.field("ttl").and_then(|field| ttl(&field)));
    let geo: BTreeMap<&'static str, String> = section.section("geo", |geo| {
        let location = geo.some_text("location");
        if location.is_some_and(|location| !is_location(&location)) {
            geo.problem(
                "location",
                "must be latitude and longitude, as in 40.7128, -74.0060",
            );
        }
        GEO.into_iter()
            .filter_map(|key| Some((key, geo.text(key).filter(|text| !text.trim().is_empty())?)))
            .collect()
    });
    ProcessorConfig::AddHostMetadata(AddHostMetadata {
        netinfo: section.section("netinfo", |netinfo| netinfo.flag("enabled", true)),
        cache_ttl: cache_ttl.unwrap_or(Duration::from_secs(300)),
        geo,
        replace_fields: section.flag("replace_fields", true),
    })
}

/// Negative is no caching, as 0 is.
fn ttl(field: &Field<'_>) -> Option<Duration> {
    let text = field.text()?;
    match text.trim().strip_prefix('-') {
        Some(rest) if duration::parse(rest).is_ok() => Some(Duration::ZERO),
        _ => field.duration(),
    }
}

fn is_location(text: &str) -> bool {
    let mut parts = text.split(',');
    let mut within = |most: f64| {
        let part = parts.next().and_then(|part| part.trim().parse::<f64>().ok());
        part.is_some_and(|degrees| degrees.abs() <= most)
    };
    within(90.0) && within(180.0) && parts.next().is_none()
}

fn convert(section: &Section<'_>) -> ProcessorConfig {
    let rename = section.one_of("mode", &[("copy", false), ("rename", true)]);
    let rename = rename.unwrap_or(false);
    let fields = list(section, "fields", |entry| {
        let from = name(entry, "from", "the field to convert");
        let to = entry.some_text("to");
        let kind = entry.one_of("type", &TYPES);
        if to.is_none() && kind.is_none() && !entry.is_wrong("type") {
            entry.problem("", "needs `to` or `type`, or both");
        }
        if let Some(to) = &to {
            well_formed(entry, "to", to);
            untouched(entry, "to", to);
        }
        if to.is_none() || rename {
            untouched(entry, "from", &from);
        }
        // In its own place; nothing must be taken out afterwards.
        let to = to.filter(|to| *to != from);
        Conversion { from, to, kind }
    });
    ProcessorConfig::Convert(Convert {
        fields,
        tag: section.text("tag").unwrap_or_default(),
        rename,
        on_error: on_error(section),
    })
}

fn copy_fields(section: &Section<'_>) -> ProcessorConfig {
    ProcessorConfig::CopyFields(from_to(section, false))
}

fn rename(section: &Section<'_>) -> ProcessorConfig {
    ProcessorConfig::Rename(from_to(section, true))
}

fn from_to(section: &Section<'_>, moved: bool) -> FromTo {
    let fields = list(section, "fields", |entry| {
        let from = name(entry, "from", "the field that is there");
        let to = name(entry, "to", "the field that it becomes");
        if moved {
            untouched(entry, "from", &from);
        }
        untouched(entry, "to", &to);
        if from == to && !from.is_empty() {
            entry.problem("to", "is the field itself, which is not overwritten");
        }
        (from, to)
    });
    FromTo {
        fields,
        on_error: on_error(section),
    }
}

fn drop_fields(section: &Section<'_>) -> ProcessorConfig {
    let (mut names, mut patterns) = (Vec::new(), Vec::new());
    let items = section.field("fields").and_then(|field| field.items());
    if items.is_none() {
        section.missing("fields", "the fields to drop");
    }
    for item in items.unwrap_or_default() {
        let Some(text) = item.text() else { continue };
        let inner = text.strip_prefix('/').and_then(|text| text.strip_suffix('/'));
        if let Some(inner) = inner.filter(|inner| !inner.is_empty()) {
            if let Some(pattern) = item.parsed("a regular expression", |_| Pattern::new(inner)) {
                tell_protected(&item, &pattern);
                patterns.push(pattern);
            }
        } else {
            check_name(&item, &text);
            check_untouched(&item, &text);
            names.push(text);
        }
    }
    ProcessorConfig::DropFields(DropFields {
        names,
        patterns,
        ignore_missing: section.flag("ignore_missing", false),
    })
}

/// An expression that means many fields may well match a protected one, which then stays.
fn tell_protected(field: &Field<'_>, pattern: &Pattern) {
    let above = ["event", "ecsbeat"];
    let matched = document::PROTECTED.into_iter().chain(above);
    if let Some(matched) = matched.into_iter().find(|name| pattern.is_match(name))
        && let Some(stays) = document::protected(matched)
    {
        field.warning(format!("matches {matched}: {stays} stays all the same"));
    }
}

fn include_fields(section: &Section<'_>) -> ProcessorConfig {
    let items = section.field("fields").and_then(|field| field.items());
    if items.is_none() {
        section.missing("fields", "the fields to keep");
    }
    let names = items.unwrap_or_default();
    let names = names.iter().filter_map(|item| {
        let text = item.text()?;
        check_name(item, &text);
        Some(text)
    });
    ProcessorConfig::IncludeFields(names.collect())
}

fn fingerprint(section: &Section<'_>) -> ProcessorConfig {
    let mut fields = names(section, "fields", "the fields that the fingerprint is made of");
    fields.sort();
    fields.dedup();
    let target_field = section
        .some_text("target_field")
        .unwrap_or_else(|| "fingerprint".to_owned());
    well_formed(section, "target_field", &target_field);
    untouched(section, "target_field", &target_field);
    ProcessorConfig::Fingerprint(Fingerprint {
        fields,
        target_field,
        method: section.one_of("method", &METHODS).unwrap_or(HashMethod::Sha256),
        encoding: section.one_of("encoding", &ENCODINGS).unwrap_or(Encoding::Hex),
        ignore_missing: section.flag("ignore_missing", false),
    })
}

fn rate_limit(section: &Section<'_>) -> ProcessorConfig {
    let rate = section.field("limit").map(|field| {
        field.parsed("a rate such as 100/s, 500/m or 1000/h", |text| {
            rate(text)
                .ok_or_else(|| format!("write a whole number from 1 to {MAX_RATE}, / and one of s, m, h"))
        })
    });
    if rate.is_none() {
        section.missing("limit", "a rate such as 100/s, 500/m or 1000/h");
    }
    let (events, per) = rate.flatten().unwrap_or((1, Duration::from_secs(1)));
    let fields = match section.field("fields") {
        Some(_) => names(section, "fields", "the fields whose values have a limit each"),
        None => Vec::new(),
    };
    ProcessorConfig::RateLimit(RateLimit { events, per, fields })
}

fn rate(text: &str) -> Option<(u32, Duration)> {
    let (number, unit) = text.split_once('/')?;
    let seconds = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    let events = number.trim().parse().ok()?;
    (1..=MAX_RATE)
        .contains(&events)
        .then_some((events, Duration::from_secs(seconds)))
}

fn replace(section: &Section<'_>) -> ProcessorConfig {
    let fields = list(section, "fields", |entry| {
        let field = name(entry, "field", "the field to change");
        untouched(entry, "field", &field);
        let pattern = entry.field("pattern").map(|field| Pattern::read(&field));
        if pattern.is_none() {
            entry.missing("pattern", "a regular expression");
        }
        let replacement = entry.text("replacement");
        if replacement.is_none() {
            entry.missing("replacement", "what takes the place of a match, '' for nothing");
        }
        Some(Replacement {
            field,
            pattern: pattern.flatten()?,
            replacement: replacement?,
        })
    });
    ProcessorConfig::Replace(Replace {
        fields: fields.into_iter().flatten().collect(),
        on_error: on_error(section),
    })
}

fn truncate_fields(section: &Section<'_>) -> ProcessorConfig {
    let fields = names(section, "fields", "the fields to truncate");
    for field in &fields {
        untouched(section, "fields", field);
    }
    let bytes = section.number("max_bytes", 1..=MAX_TEXT).map(TextLimit::Bytes);
    let characters = section.number("max_characters", 1..=MAX_TEXT);
    let characters = characters.map(TextLimit::Characters);
    let wrong = section.is_wrong("max_bytes") || section.is_wrong("max_characters");
    match (bytes, characters) {
        (Some(_), Some(_)) => {
            section.problem("max_bytes", "give either max_bytes or max_characters, not both");
        }
        (None, None) if !wrong => section.problem("", "needs max_bytes or max_characters"),
        _ => {}
    }
    ProcessorConfig::TruncateFields(TruncateFields {
        fields,
        limit: bytes.or(characters).unwrap_or(TextLimit::Bytes(1)),
        on_error: on_error(section),
    })
}

// --- what several have ---

fn on_error(section: &Section<'_>) -> OnError {
    OnError {
        ignore_missing: section.flag("ignore_missing", false),
        fail_on_error: section.flag("fail_on_error", true),
    }
}

/// The entries of a list that must not be empty, each a section.
fn list<T>(section: &Section<'_>, key: &'static str, read: impl Fn(&Section<'_>) -> T) -> Vec<T> {
    let items = section.field(key).and_then(|field| field.items());
    let items = items.unwrap_or_default();
    if items.is_empty() {
        section.missing(key, "at least one entry");
    }
    items.iter().map(|item| item.section(&read)).collect()
}

/// The names of a list that must not be empty.
fn names(section: &Section<'_>, key: &'static str, what: &str) -> Vec<String> {
    let items = section.field(key).and_then(|field| field.items());
    let items = items.unwrap_or_default();
    if items.is_empty() {
        section.missing(key, what);
    }
    let names = items.iter().filter_map(|item| {
        let text = item.text()?;
        check_name(item, &text);
        Some(text)
    });
    names.collect()
}

/// A field that has to be named.
fn name(section: &Section<'_>, key: &'static str, what: &str) -> String {
    let Some(name) = section.some_text(key) else {
        section.missing(key, what);
        return String::new();
    };
    well_formed(section, key, &name);
    name
}

fn object(section: &Section<'_>, key: &'static str, what: &str) -> Map<String, Value> {
    let Some(field) = section.field(key) else {
        section.missing(key, what);
        return Map::new();
    };
    if let Value::Object(map) = field.json() {
        return map;
    }
    field.expected("a mapping");
    Map::new()
}

/// The paths of everything that `fields` puts below `target`: of what is no object, and of objects with nothing in
/// them, which take the place of another value all the same.
fn leaves(target: &str, fields: &Map<String, Value>) -> Vec<String> {
    if fields.is_empty() && !target.is_empty() {
        return vec![target.to_owned()];
    }
    let mut found = Vec::new();
    for (name, value) in fields {
        let path = if target.is_empty() {
            name.clone()
        } else {
            join(target, name)
        };
        match value {
            Value::Object(members) => found.extend(leaves(&path, members)),
            _ => found.push(path),
        }
    }
    found
}

fn well_formed(section: &Section<'_>, key: &str, name: &str) {
    if let Some(problem) = misnamed(name) {
        section.problem(key, problem);
    }
}

fn check_name(field: &Field<'_>, name: &str) {
    if let Some(problem) = misnamed(name) {
        field.problem(problem);
    }
}

/// What is wrong with the path of a field.
fn misnamed(name: &str) -> Option<&'static str> {
    if name == "@metadata" || name.starts_with("@metadata.") {
        return Some("events have no @metadata here, only fields");
    }
    if name.starts_with('[') {
        return Some("write the path of a field with dots: a.b");
    }
    name.split('.')
        .any(str::is_empty)
        .then_some("the name of a field must not be empty, nor begin or end with a dot")
}

fn untouched(section: &Section<'_>, key: &str, name: &str) {
    if let Some(problem) = touched(name) {
        section.problem(key, problem);
    }
}

fn check_untouched(field: &Field<'_>, name: &str) {
    if let Some(problem) = touched(name) {
        field.problem(problem);
    }
}

/// What to tell of a change to what an event is known by.
fn touched(name: &str) -> Option<String> {
    let field = document::protected(name)?;
    Some(if name == field {
        format!("{field} must stay as it is: an event is known by it")
    } else if field.len() > name.len() {
        format!("{name} holds {field}, which must stay as it is: name what is meant below {name}")
    } else {
        format!("{name} lies below {field}, which must stay as it is")
    })
}
