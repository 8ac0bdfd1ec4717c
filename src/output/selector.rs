//! Where an event goes: rules first, then a single value.
//!
//! Owns the engine behind `indices`/`index`, `pipelines`/`pipeline` and their like. The first rule whose
//! condition holds and which gives a non-empty text decides.

use std::collections::BTreeMap;

use super::BuildError;
use super::format::Format;
use crate::condition::holds;
use crate::config::{Condition, SelectorRule};
use crate::event::Event;

/// Chooses a name for each event.
#[derive(Debug, Clone)]
pub struct Selector {
    rules: Vec<Rule>,
    single: Option<Format>,
    lower_case: bool,
}

#[derive(Debug, Clone)]
struct Rule {
    format: Format,
    mappings: BTreeMap<String, String>,
    default: Option<String>,
    when: Option<Condition>,
}

impl Selector {
    /// `rules_key` and `single_key` are the settings' full paths, for errors.
    pub fn new(
        (rules_key, rules): (&str, &[SelectorRule]),
        (single_key, single): (&str, Option<&str>),
    ) -> Result<Self, BuildError> {
        let parse = |key: &str, text: &str| {
            Format::parse(text).map_err(|error| BuildError::Format {
                key: key.to_owned(),
                error,
            })
        };
        let rules = rules
            .iter()
            .enumerate()
            .map(|(position, rule)| {
                Ok(Rule {
                    format: parse(&format!("{rules_key}[{position}]"), &rule.value)?,
                    mappings: rule.mappings.clone(),
                    default: rule.default.clone(),
                    when: rule.when.clone(),
                })
            })
            .collect::<Result<_, BuildError>>()?;
        Ok(Self {
            rules,
            single: single.map(|text| parse(single_key, text)).transpose()?,
            lower_case: false,
        })
    }

    /// Gives lower-case names only, as Elasticsearch demands of indices.
    #[must_use]
    pub fn lower_case(mut self) -> Self {
        self.lower_case = true;
        self
    }

    /// The name for `event`; `None` when nothing gives one.
    pub fn select(&self, event: &Event) -> Option<String> {
        let name = self
            .rules
            .iter()
            .find_map(|rule| self.apply(rule, event))
            .or_else(|| self.single.as_ref()?.of(event).filter(|name| !name.is_empty()))?;
        Some(if self.lower_case {
            name.to_lowercase()
        } else {
            name
        })
    }

    fn apply(&self, rule: &Rule, event: &Event) -> Option<String> {
        if let Some(condition) = &rule.when
            && !holds(condition, &event.body)
        {
            return None;
        }
        let found = rule.format.of(event);
        let name = if rule.mappings.is_empty() {
            found
        } else {
            found.and_then(|found| self.mapped(&rule.mappings, &found))
        };
        name.filter(|name| !name.is_empty())
            .or_else(|| rule.default.clone())
            .filter(|name| !name.is_empty())
    }

    /// Where names are lower-case in the end, the mapping's keys are compared without regard to case as well.
    fn mapped(&self, mappings: &BTreeMap<String, String>, found: &str) -> Option<String> {
        if let Some(name) = mappings.get(found) {
            return Some(name.clone());
        }
        let wanted = self.lower_case.then(|| found.to_lowercase())?;
        mappings
            .iter()
            .find(|(key, _)| key.to_lowercase() == wanted)
            .map(|(_, name)| name.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::output::samples::event;

    fn rule(value: &str) -> SelectorRule {
        SelectorRule {
            value: value.to_owned(),
            mappings: BTreeMap::new(),
            default: None,
            when: None,
        }
    }

    fn select(rules: &[SelectorRule], single: Option<&str>, document: &str) -> Option<String> {
        Selector::new(("o.indices", rules), ("o.index", single))
            .unwrap()
            .lower_case()
            .select(&event(document))
    }

    #[test]
    fn the_first_rule_with_a_result_wins_then_the_single_value() {
        let rules = [rule("a-%{[x]}"), rule("b-%{[y]}")];
        let pick = |document| select(&rules, Some("Single"), document);
        assert_eq!(pick(r#"{"x":"1","y":"2"}"#).as_deref(), Some("a-1"));
        assert_eq!(pick(r#"{"y":"UP"}"#).as_deref(), Some("b-up"));
        assert_eq!(pick("{}").as_deref(), Some("single"));
        assert_eq!(select(&[], None, "{}"), None);
        assert_eq!(select(&[], Some("%{[gone]}"), "{}"), None);
        assert_eq!(
            select(&[], Some("%{[x]}"), r#"{"x":""}"#),
            None,
            "an empty name is none"
        );
    }

    #[test]
    fn a_rule_counts_only_where_its_condition_holds() {
        let when = Condition::Equals(BTreeMap::from([("kind".to_owned(), json!("alert"))]));
        let rules = [SelectorRule {
            when: Some(when),
            ..rule("alerts")
        }];
        let pick = |document| select(&rules, Some("rest"), document);
        assert_eq!(pick(r#"{"kind":"alert"}"#).as_deref(), Some("alerts"));
        assert_eq!(pick(r#"{"kind":"disk"}"#).as_deref(), Some("rest"));
    }

    #[test]
    fn mappings_replace_and_default_fills_in() {
        let mapped = SelectorRule {
            mappings: BTreeMap::from([("ERROR".to_owned(), "bad".to_owned())]),
            ..rule("%{[level]}")
        };
        let with_default = SelectorRule {
            default: Some("Other".to_owned()),
            ..mapped.clone()
        };
        for (document, plain, default) in [
            (r#"{"level":"ERROR"}"#, "bad", "bad"),
            (r#"{"level":"error"}"#, "bad", "bad"),
            (r#"{"level":"info"}"#, "rest", "other"),
            ("{}", "rest", "other"),
        ] {
            let pick = |rule: &SelectorRule| select(std::slice::from_ref(rule), Some("rest"), document);
            assert_eq!(pick(&mapped).as_deref(), Some(plain), "{document}");
            assert_eq!(pick(&with_default).as_deref(), Some(default), "{document}");
        }
    }

    #[test]
    fn errors_name_the_setting() {
        let error = Selector::new(("o.indices", &[rule("a"), rule("%{b}")]), ("o.index", None)).unwrap_err();
        assert!(
            error.to_string().starts_with("o.indices[1]: at character 3: "),
            "{error}"
        );
        let error = Selector::new(("o.indices", &[]), ("o.index", Some("%{+Q}"))).unwrap_err();
        assert!(
            error.to_string().starts_with("o.index: at character 4: "),
            "{error}"
        );
    }
}
