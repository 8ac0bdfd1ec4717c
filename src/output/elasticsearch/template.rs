//! The index template.
//!
//! Owns the one source from which the template is made, whether it is loaded on connecting or printed by
//! `export template`, for indices and for data streams. It must work on Elasticsearch 7.17 to 9 and on OpenSearch,
//! so each rule has one pattern only. A value that does not fit its field's type must cost that field, never the
//! event: `ignore_malformed` is on.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::config::Template;

/// The body of `PUT _index_template/<name>`.
pub fn index_template(template: &Template) -> Value {
    let mut body = json!({
        "index_patterns": [template.pattern],
        "priority": template.priority,
        "template": {
            "settings": {"index": settings(&template.settings)},
            "mappings": mappings(),
        },
    });
    if template.data_stream {
        body["data_stream"] = json!({});
    }
    body
}

/// Ours, with the user's in their place. Nested keys and dotted ones are the same to Elasticsearch, but one
/// setting must not be given both ways.
fn settings(own: &BTreeMap<String, Value>) -> Map<String, Value> {
    let mut settings = Map::from_iter([
        ("refresh_interval".to_owned(), json!("5s")),
        ("mapping.total_fields.limit".to_owned(), json!(10_000)),
        ("mapping.ignore_malformed".to_owned(), json!(true)),
    ]);
    for (key, value) in own {
        flatten(&mut settings, key, value);
    }
    settings
}

fn flatten(settings: &mut Map<String, Value>, key: &str, value: &Value) {
    if let Value::Object(inner) = value {
        for (name, value) in inner {
            flatten(settings, &format!("{key}.{name}"), value);
        }
    } else {
        let name = key.strip_prefix("index.").unwrap_or(key);
        settings.insert(name.to_owned(), value.clone());
    }
}

fn mappings() -> Value {
    json!({
        "_meta": {"beat": "ecsbeat", "version": env!("CARGO_PKG_VERSION")},
        // A text that looks like a date in one event need not in the next.
        "date_detection": false,
        "numeric_detection": false,
        "dynamic_templates": rules(),
        "properties": properties(),
    })
}

/// The rules for fields that no list names, the first that fits counts. Suffixes of dashboard values come first:
/// what `*Current`, `*CurrentL1` and `*CurrentL2` points are flattened to.
fn rules() -> Vec<Value> {
    // Times of points are in seconds since 1970.
    let time = json!({"type": "date", "format": "epoch_second||strict_date_optional_time"});
    let long = json!({"type": "long"});
    let double = json!({"type": "double"});
    let mut rules = vec![
        rule("current_t", &[("match", "*Current*_t")], &time),
        rule("point_t", &[("match", "t")], &time),
        rule("timestamps", &[("match", "*Timestamp")], &time),
        rule(
            "acknowledged",
            &[("match", "acknowledged")],
            &json!({"type": "boolean"}),
        ),
        rule("disks", &[("match", "*Disks")], &long),
    ];
    for unit in ["Space", "Capacity", "Bytes", "TotalSize", "Count"] {
        let (name, pattern) = (format!("current_{unit}"), format!("*Current*_{unit}"));
        rules.push(rule(&name, &[("match", &pattern)], &long));
    }
    for unit in ["Percent", "Bandwidth", "TPS", "Rate", "Latency", "diskIO"] {
        let (name, pattern) = (format!("current_{unit}"), format!("*Current*_{unit}"));
        rules.push(rule(&name, &[("match", &pattern)], &double));
    }
    rules.extend([
        rule("total_sizes", &[("match", "*TotalSize")], &long),
        rule("avg_sizes", &[("match", "*AvgSize")], &double),
        rule("avg_seal_sizes", &[("match", "*AvgSealSize")], &double),
        // Sizes in bytes are counted exactly; a double would round them above 2^53.
        rule(
            "bytes_suffix",
            &[("match", "*_bytes"), ("match_mapping_type", "long")],
            &long,
        ),
        rule(
            "bytes_prefix",
            &[("match", "bytes_*"), ("match_mapping_type", "long")],
            &long,
        ),
        rule(
            "times",
            &[("match", "*_time"), ("match_mapping_type", "string")],
            &json!({"type": "date", "format": "strict_date_optional_time"}),
        ),
        // The first value of a new field may be a whole number by chance.
        rule("integers", &[("match_mapping_type", "long")], &double),
        rule("floats", &[("match_mapping_type", "double")], &double),
        rule(
            "strings_as_keyword",
            &[("match_mapping_type", "string")],
            &keyword(),
        ),
    ]);
    rules
}

fn rule(name: &str, conditions: &[(&str, &str)], mapping: &Value) -> Value {
    let mut body = Map::new();
    for &(key, pattern) in conditions {
        body.insert(key.to_owned(), json!(pattern));
    }
    body.insert("mapping".to_owned(), mapping.clone());
    json!({ name: body })
}

fn keyword() -> Value {
    json!({"type": "keyword", "ignore_above": 1024})
}

fn keywords(names: &[&str]) -> Map<String, Value> {
    names.iter().map(|&name| (name.to_owned(), keyword())).collect()
}

fn object(keyword_names: &[&str], others: Value) -> Value {
    let mut properties = keywords(keyword_names);
    if let Value::Object(others) = others {
        properties.extend(others);
    }
    json!({ "properties": properties })
}

/// The fields that every event may have.
fn properties() -> Value {
    let mut properties = keywords(&[
        "@version",
        "type",
        "tags",
        "id",
        "severity",
        "ecs-customer",
        "ecs-event-type",
        "ecs-vdc-cfgname",
        "ecs-vdc-id",
        "ecs-vdc-name",
        "ecs-node-ip",
        "ecs-node-name",
        "ecs-version",
    ]);
    let text = json!({"type": "text"});
    let mut description = keyword();
    description["fields"] = json!({"text": text});
    let others = json!({
        // A data stream accepts no malformed time, and must be told so where that is the rule.
        "@timestamp": {"type": "date", "ignore_malformed": false},
        "message": text,
        "description": description,
        "timestamp": {"type": "date", "format": "strict_date_optional_time"},
        "dt-down": {"type": "long"},
        "dt-ready": {"type": "long"},
        "fields": {"type": "object"},
        "agent": object(&["type", "name", "version", "id", "ephemeral_id"], json!({})),
        "host": object(&["name", "hostname"], json!({})),
        "ecs": object(&["version"], json!({})),
        "event": object(
            &["id", "module", "dataset", "kind", "outcome", "action", "category", "type", "code"],
            json!({"created": {"type": "date"}, "duration": {"type": "long"}}),
        ),
        "observer": object(
            &["vendor", "product", "name", "hostname", "type", "version", "serial_number"],
            json!({"ip": {"type": "ip"}}),
        ),
        "error": object(&["type", "code"], json!({"message": text})),
        "ecsbeat": object(
            &["cluster", "instance"],
            json!({"term": {"type": "long"}, "tick": {"type": "date"}}),
        ),
    });
    if let Value::Object(others) = others {
        properties.extend(others);
    }
    Value::Object(properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(data_stream: bool, settings: &[(&str, Value)]) -> Template {
        Template {
            enabled: true,
            name: "ecsbeat".to_owned(),
            pattern: "ecsbeat-*".to_owned(),
            data_stream,
            priority: 200,
            overwrite: false,
            settings: settings
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect(),
        }
    }

    /// Set `ECSBEAT_BLESS` to write the file anew after a change that is meant.
    fn golden(name: &str, mut body: Value) {
        let path = format!("{}/tests/data/template/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let version = body["template"]["mappings"]["_meta"]["version"].take();
        assert_eq!(version, env!("CARGO_PKG_VERSION"));
        let mut text = serde_json::to_string_pretty(&body).unwrap();
        text.push('\n');
        if std::env::var_os("ECSBEAT_BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let wanted: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(body, wanted, "{path}");
    }

    #[test]
    fn index_and_data_stream_templates_are_as_written_down() {
        golden("index", index_template(&template(false, &[])));
        let settings = [
            ("number_of_shards", json!(3)),
            ("index.refresh_interval", json!("30s")),
            ("mapping", json!({"total_fields": {"limit": 2000}})),
            ("index", json!({"codec": "best_compression"})),
        ];
        golden("data_stream", index_template(&template(true, &settings)));
    }

    #[test]
    fn every_rule_has_a_name_of_its_own_and_one_pattern() {
        let rules = rules();
        let mut names: Vec<&String> = rules
            .iter()
            .flat_map(|rule| rule.as_object().unwrap().keys())
            .collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), rules.len());
        for rule in &rules {
            let body = rule.as_object().unwrap().values().next().unwrap();
            assert!(
                body.get("match").is_none_or(Value::is_string),
                "lists of patterns need Elasticsearch 8.9: {rule}"
            );
        }
    }
}
