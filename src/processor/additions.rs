//! Fields that are added to an event: `add_fields`, `add_labels`, and what is known of the host.
//!
//! Owns their form, in which values are written as JSON once, and the merging: objects are merged at every level, and
//! anything else takes the place of what is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::object::{Object, Value};
use crate::config::AddFields;

/// Fields to add.
#[derive(Debug, Clone, Default)]
pub(super) struct Additions(Vec<(Arc<str>, Addition)>);

#[derive(Debug, Clone)]
enum Addition {
    /// A value as JSON; no object.
    Value(Arc<str>),
    Object(Additions),
}

// === impl Additions ===

impl Additions {
    /// Those of `add_fields`.
    pub(super) fn fields(config: &AddFields) -> Self {
        let fields = Self::object(&config.fields);
        if config.target.is_empty() {
            return fields;
        }
        let names = config.target.split('.').rev();
        names.fold(fields, |inner, name| {
            Self(vec![(name.into(), Addition::Object(inner))])
        })
    }

    /// Those of `add_labels`: a name with dots is one name.
    pub(super) fn labels(labels: &BTreeMap<String, Json>) -> Self {
        let labels = labels
            .iter()
            .map(|(name, value)| (name.as_str().into(), Addition::new(value)));
        Self(vec![("labels".into(), Addition::Object(Self(labels.collect())))])
    }

    /// The members of an object.
    pub(super) fn object(object: &Map<String, Json>) -> Self {
        let members = object.iter();
        Self(
            members
                .map(|(name, value)| (name.as_str().into(), Addition::new(value)))
                .collect(),
        )
    }

    /// Adds them to `object`.
    pub(super) fn merge_into(&self, object: &mut Object<'_>) {
        for (name, addition) in &self.0 {
            match addition {
                Addition::Value(json) => object.set(name, Value::json(Arc::clone(json))),
                Addition::Object(inner) => object.within(name, |object| inner.merge_into(object)),
            }
        }
    }
}

impl Addition {
    fn new(value: &Json) -> Self {
        match value {
            Json::Object(object) => Self::Object(Additions::object(object)),
            value => Self::Value(value.to_string().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::processor::samples::check;

    #[test]
    fn fields_go_below_fields_unless_told() {
        let before = r#"{"fields":{"old":1,"a":"x"}}"#;
        check(
            "  - add_fields: {fields: {a: 'y', list: [1, {b: ü}], n: 9007199254740993}}",
            before,
            r#"{"fields":{"old":1,"a":"y","list":[1,{"b":"ü"}],"n":9007199254740993}}"#,
        );
        check(
            "  - add_fields: {target: '', fields: {a.b: true}}",
            r#"{"a":{"c":1}}"#,
            r#"{"a":{"c":1,"b":true}}"#,
        );
        check(
            "  - add_fields: {target: p.q, fields: {a: 1}}",
            r#"{"p":{"x":2}}"#,
            r#"{"p":{"x":2,"q":{"a":1}}}"#,
        );
    }

    #[test]
    fn what_is_there_gives_way_but_objects_are_merged() {
        let processors = "  - add_fields: {target: '', fields: {a: {b: {c: 1}}, d: 2, event.kind: enriched}}";
        check(
            processors,
            r#"{"a":"text","d":{"e":1},"event":{"id":"5","kind":"event"}}"#,
            r#"{"a":{"b":{"c":1}},"d":2,"event":{"id":"5","kind":"enriched"}}"#,
        );
        check(
            processors,
            r#"{"a":{"b":[1]}}"#,
            r#"{"a":{"b":{"c":1}},"d":2,"event":{"kind":"enriched"}}"#,
        );
    }

    #[test]
    fn labels_are_flat() {
        check(
            "  - add_labels.labels: {number: 1, with.dots: test, array: [do, {with.field: mi}]}",
            r#"{"labels":{"with.dots":"old","x":"y"}}"#,
            r#"{"labels":{"with.dots":"test","x":"y","array.0":"do","array.1.with.field":"mi","number":1}}"#,
        );
    }
}
