//! `setup.template.*`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::OutputConfig;
use super::output::Outputs;
use super::section::Section;

/// `setup.template.*`.
#[derive(Debug, Clone)]
pub struct Template {
    /// Load the index template after the first connection.
    pub enabled: bool,
    /// Name; default `ecsbeat`.
    pub name: String,
    /// Index pattern; default follows the output's `index`.
    pub pattern: String,
    /// Make indices data streams (`setup.template.data_stream`, default false).
    pub data_stream: bool,
    /// Priority of the composable template.
    pub priority: u32,
    /// Replace a template of that name.
    pub overwrite: bool,
    /// Merged into `settings.index`.
    pub settings: BTreeMap<String, Value>,
}

/// Reads the section; the pattern follows the index unless it is given.
pub(super) fn read(section: &Section<'_>, outputs: &Outputs) -> Template {
    let index = outputs.enabled.iter().find_map(|output| match output {
        OutputConfig::Elasticsearch(output) => Some(output.index.as_str()),
        OutputConfig::Console(_)
        | OutputConfig::File(_)
        | OutputConfig::Logstash(_)
        | OutputConfig::Kafka(_)
        | OutputConfig::Redis(_) => None,
    });
    let enabled = section.flag("enabled", true);
    let pattern = section.some_text("pattern").or_else(|| {
        let derived = pattern_of(index.unwrap_or("ecsbeat-%{+yyyy.MM.dd}"));
        if derived.is_none() && enabled {
            section.missing(
                "pattern",
                "the index begins with a field, so it cannot be derived from it",
            );
        }
        derived
    });
    section.without_effect(
        "type",
        "the template is a composable one, or a legacy one on old servers",
    );
    section.without_effect("fields", "the mapping is made for the shapes ECS answers in");
    section.not_in_this_version("append_fields", ": add a component template of your own");
    section.not_in_this_version("json", ": load it yourself and set setup.template.enabled: false");
    Template {
        enabled,
        name: section.some_text("name").unwrap_or_else(|| "ecsbeat".to_owned()),
        pattern: pattern.unwrap_or_default(),
        data_stream: section.flag("data_stream", false),
        priority: section.number("priority", 0..=1_000_000).unwrap_or(150),
        overwrite: section.flag("overwrite", false),
        settings: settings(section),
    }
}

/// What stands before the first field or time, and `*`; a constant index is its own pattern.
fn pattern_of(index: &str) -> Option<String> {
    match index.split_once("%{") {
        None => Some(index.to_lowercase()),
        Some(("", _)) => None,
        Some((prefix, _)) => Some(format!("{}*", prefix.to_lowercase())),
    }
}

/// `index.*` of the settings, with or without the `index`.
fn settings(section: &Section<'_>) -> BTreeMap<String, Value> {
    let Some(field) = section.field("settings") else {
        return BTreeMap::new();
    };
    let Value::Object(mut all) = field.json() else {
        field.expected("a mapping");
        return BTreeMap::new();
    };
    if all.remove("_source").is_some() {
        field.warning("_source has no effect: documents are kept as they were sent");
    }
    if let Some(Value::Object(index)) = all.remove("index") {
        all.extend(index);
    }
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::pattern_of;

    #[test]
    fn the_pattern_follows_the_index() {
        assert_eq!(pattern_of("ecsbeat-%{+yyyy.MM.dd}").as_deref(), Some("ecsbeat-*"));
        assert_eq!(
            pattern_of("Metrics-ecs-default").as_deref(),
            Some("metrics-ecs-default")
        );
        assert_eq!(pattern_of("%{[fields.env]}-ecs"), None);
    }
}
