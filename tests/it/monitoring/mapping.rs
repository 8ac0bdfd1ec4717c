//! How the index template maps a field of an event.
//!
//! Owns [`mapped`]: properties first, then the dynamic templates in their order, as Elasticsearch goes by them.

use serde_json::Value;

/// The type of a field with this value, by the template's mappings. `None` = none of its own: an object.
pub(super) fn mapped(mappings: &Value, field: &str, value: &Value) -> Option<String> {
    let mut place = mappings;
    for name in field.split('.') {
        place = &place["properties"][name];
    }
    if let Some(kind) = place["type"].as_str() {
        return Some(kind.to_owned());
    }
    let kind = match value {
        Value::String(_) => "string",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "double",
        Value::Number(_) => "long",
        _ => return None,
    };
    let leaf = field.rsplit('.').next().unwrap_or(field);
    let rules = mappings["dynamic_templates"].as_array().unwrap();
    let rules = rules.iter().flat_map(|rule| rule.as_object().unwrap().values());
    for rule in rules {
        let fits = |key: &str, fits: &dyn Fn(&str) -> bool| rule[key].as_str().is_none_or(fits);
        if fits("match", &|pattern| globs(pattern, leaf))
            && fits("match_mapping_type", &|wanted| wanted == kind)
        {
            return rule["mapping"]["type"].as_str().map(str::to_owned);
        }
    }
    // What Elasticsearch does by itself with a boolean.
    Some(kind.to_owned())
}

/// Whether a text is as a pattern with asterisks says.
fn globs(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(rest) = text.strip_prefix(head) else {
        return false;
    };
    (0..=rest.len())
        .filter(|at| rest.is_char_boundary(*at))
        .any(|at| globs(tail, &rest[at..]))
}

#[test]
fn properties_come_first_then_the_first_rule_that_fits() {
    let mappings = serde_json::json!({
        "dynamic_templates": [
            {"space": {"match": "*Current*_Space", "mapping": {"type": "long"}}},
            {"whole": {"match_mapping_type": "long", "mapping": {"type": "double"}}},
            {"text": {"match_mapping_type": "string", "mapping": {"type": "keyword"}}},
        ],
        "properties": {"id": {"type": "keyword"}, "a": {"properties": {"b": {"type": "date"}}}},
    });
    for (field, value, kind) in [
        ("id", Value::from(1), "keyword"),
        ("a.b", "2026".into(), "date"),
        ("diskCurrentL1_Space", 1.into(), "long"),
        ("disk_Space", 1.into(), "double"),
        ("a.Current_Space", "x".into(), "long"),
        ("name", "x".into(), "keyword"),
        ("flag", true.into(), "boolean"),
    ] {
        assert_eq!(mapped(&mappings, field, &value).as_deref(), Some(kind), "{field}");
    }
}
