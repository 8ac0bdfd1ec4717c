//! The alerts.

use std::collections::{BTreeMap, BTreeSet};

use ecsbeat::ecs::EcsError;
use serde_yaml::Value;

use super::promql::{asked, missing};
use super::promtool::promtool;
use super::told::told;
use super::{path, read};

const DIRECTORY: &str = "deploy/prometheus";
const RULES: &str = "deploy/prometheus/ecsbeat.rules.yml";
const TESTS: &str = "deploy/prometheus/ecsbeat.rules.test.yml";

/// The alerts, by name.
fn alerts() -> BTreeMap<String, Value> {
    let rules: Value = serde_yaml::from_str(&read(RULES)).unwrap();
    let groups = rules["groups"].as_sequence().unwrap();
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_sequence().unwrap());
    let mut alerts = BTreeMap::new();
    for rule in rules {
        let name = rule["alert"].as_str().unwrap().to_owned();
        assert!(
            alerts.insert(name.clone(), rule.clone()).is_none(),
            "{name} twice"
        );
    }
    assert!(alerts.len() > 20);
    alerts
}

/// The expressions, by name.
fn expressions() -> BTreeMap<String, String> {
    let expression = |rule: &Value| rule["expr"].as_str().unwrap().to_owned();
    alerts()
        .iter()
        .map(|(name, rule)| (name.clone(), expression(rule)))
        .collect()
}

#[test]
fn prometheus_takes_the_rules_and_the_example_and_their_tests_pass() {
    for arguments in [
        ["check", "rules", "ecsbeat.rules.yml"],
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "ecsbeat.rules.test.yml"],
    ] {
        if let Some(verdict) = promtool(&path(DIRECTORY), &arguments, "") {
            assert!(verdict.is_good, "{arguments:?}: {}", verdict.said);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_series_of_an_alert_exists() {
    let samples = told().await.samples();
    for (name, expression) in expressions() {
        let missing = missing(&expression, &samples);
        assert!(missing.is_empty(), "{name}: {missing:?}");
    }
}

#[test]
fn every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() {
    let tests: Value = serde_yaml::from_str(&read(TESTS)).unwrap();
    let mut seen: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    for test in tests["tests"].as_sequence().unwrap() {
        for alert in test["alert_rule_test"].as_sequence().unwrap() {
            let fires = !alert["exp_alerts"].as_sequence().unwrap().is_empty();
            let name = alert["alertname"].as_str().unwrap().to_owned();
            // A calm of which nothing could come proves nothing.
            let expression = &expressions()[&name];
            let given: Vec<&str> = (test["input_series"].as_sequence().unwrap().iter())
                .filter_map(|series| series["series"].as_str()?.split('{').next())
                .collect();
            for selector in asked(expression).series {
                let is_given = given.contains(&selector.name.as_str());
                let without = ["or", "unless"];
                let optional = expression.split_whitespace().any(|word| without.contains(&word))
                    || expression.contains("absent");
                assert!(is_given || optional, "{name}: {}", selector.name);
            }
            seen.entry(name).or_default().insert(fires);
        }
    }
    for name in alerts().keys() {
        assert_eq!(seen.get(name), Some(&BTreeSet::from([false, true])), "{name}");
    }
    assert_eq!(seen.len(), alerts().len());
}

#[test]
fn every_alert_says_how_grave_it_is_what_it_means_and_where_to_read_on() {
    // The file with the headings; where it is missing there is nothing to point into yet.
    let headings: Option<Vec<String>> =
        std::fs::read_to_string(path("docs/troubleshooting.md"))
            .ok()
            .map(|text| {
                let lines = text.lines().filter(|line| line.starts_with('#'));
                lines
                    .map(|line| line.trim_start_matches('#').trim().to_owned())
                    .collect()
            });
    let explained = read("docs/monitoring.md");
    for (name, rule) in alerts() {
        assert!(name.starts_with("Ecsbeat"), "{name}");
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(
            ["critical", "warning", "info"].contains(&severity),
            "{name}: {severity}"
        );
        let annotations = &rule["annotations"];
        for key in ["summary", "description"] {
            assert!(
                annotations[key].as_str().is_some_and(|text| text.len() > 20),
                "{name}: {key}"
            );
        }
        let runbook = format!("docs/troubleshooting.md#{}", name.to_lowercase());
        assert_eq!(annotations["runbook"].as_str(), Some(runbook.as_str()), "{name}");
        if let Some(headings) = &headings {
            assert!(
                headings.contains(&name),
                "docs/troubleshooting.md has no heading {name}"
            );
        }
        assert!(
            explained.contains(&format!("| `{name}` |")),
            "docs/monitoring.md does not explain {name}"
        );
    }
}

#[test]
fn the_reasons_that_alerts_wait_for_are_those_that_are_counted() {
    let (node, said) = (String::new(), String::new());
    let user = String::new();
    let expressions = expressions();
    for (name, error) in [
        (
            "EcsbeatTokenLimit",
            EcsError::TokenLimit {
                node: node.clone(),
                user: user.clone(),
                said: said.clone(),
            },
        ),
        (
            "EcsbeatLoginFails",
            EcsError::BadCredentials {
                node: node.clone(),
                user,
                said: said.clone(),
            },
        ),
        (
            "EcsbeatLoginFails",
            EcsError::Forbidden {
                node: node.clone(),
                said: said.clone(),
            },
        ),
        ("EcsbeatLoginFails", EcsError::Unauthorized { node, said }),
    ] {
        let expression = &expressions[name];
        let (_, matcher) = expression.split_once("reason=").unwrap();
        let words = matcher.split('"').nth(1).unwrap();
        assert!(
            words.split('|').any(|word| word == error.reason()),
            "{name} waits for {words}"
        );
    }
}

/// Whether a matcher of `reason`, as `="x"` or `!~"x|y"`, lets this one through.
fn lets_through(matcher: &str, reason: &str) -> bool {
    let (sign, text) = matcher.split_once('"').unwrap();
    let words = text.split('"').next().unwrap();
    let is_named = words
        .split('|')
        .any(|word| word == reason || word == ".*" || word == ".+");
    match sign {
        "=" | "=~" => is_named,
        "!=" | "!~" => !is_named,
        _ => panic!("{matcher}"),
    }
}

#[test]
fn no_alert_counts_an_api_that_a_release_lacks() {
    let lack = EcsError::Unsupported {
        node: String::new(),
        status: 404,
        path: String::new(),
        said: String::new(),
    };
    let mut counted = 0;
    for (name, expression) in expressions() {
        for rest in expression.split("ecsbeat_poll_errors_total").skip(1) {
            let labels = rest.strip_prefix('{').and_then(|rest| rest.split('}').next());
            let matcher = labels.and_then(|labels| labels.split_once("reason"));
            let (_, matcher) = matcher.unwrap_or_else(|| panic!("{name} counts every reason"));
            assert!(
                !lets_through(matcher, lack.reason()),
                "{name} counts {}",
                lack.reason()
            );
            counted += 1;
        }
    }
    assert!(counted >= 2, "{counted}");
}
