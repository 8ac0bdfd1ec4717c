//! The Grafana dashboard.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::promql::missing;
use super::promtool::promtool;
use super::read;
use super::told::told;

const FILE: &str = "deploy/grafana/ecsbeat.json";

fn dashboard() -> Value {
    serde_json::from_str(&read(FILE)).unwrap()
}

/// Every value of a member of that name, at any depth.
fn all<'v>(value: &'v Value, name: &str, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get(name));
            members.values().for_each(|member| all(member, name, found));
        }
        Value::Array(items) => items.iter().for_each(|item| all(item, name, found)),
        _ => {}
    }
}

/// Every expression, its variables given values.
fn expressions(dashboard: &Value) -> Vec<String> {
    let mut found = Vec::new();
    all(dashboard, "expr", &mut found);
    let mut expressions: Vec<String> = found
        .iter()
        .map(|text| text.as_str().unwrap().to_owned())
        .collect();
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        // label_values(series, label)
        if let Some(query) = variable["definition"].as_str() {
            let inside = query
                .strip_prefix("label_values(")
                .unwrap()
                .strip_suffix(')')
                .unwrap();
            let (series, label) = inside.rsplit_once(", ").unwrap();
            expressions.push(format!("count by ({label}) ({series})"));
        }
    }
    let values = [("$__rate_interval", "5m"), ("$cluster", ".*"), ("$vdc", ".*")];
    for expression in &mut expressions {
        for (variable, value) in values {
            *expression = expression.replace(variable, value);
        }
        assert!(!expression.contains('$'), "an unknown variable: {expression}");
    }
    expressions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_series_of_the_dashboard_exists_and_nearly_all_series_are_shown() {
    let samples = told().await.samples();
    let dashboard = dashboard();
    let expressions = expressions(&dashboard);
    assert!(expressions.len() > 60);
    for expression in &expressions {
        let missing = missing(expression, &samples);
        assert!(missing.is_empty(), "{missing:?}");
    }
    let text = expressions.join("\n");
    let hidden: Vec<&String> = (samples.keys())
        .filter(|name| !name.ends_with("_sum") && !name.ends_with("_count") && !text.contains(name.as_str()))
        .collect();
    // What others show as well, and what only who debugs needs.
    let known = [
        // Told by its alert.
        "ecsbeat_certificate_not_after_timestamp_seconds",
        "ecsbeat_event_data_dropped_events_total",
        "ecsbeat_ha_cluster_unlocked",
        "ecsbeat_ha_failover_gap_seconds_bucket",
        "ecsbeat_ha_last_renew_timestamp_seconds",
        "ecsbeat_leader",
        "ecsbeat_trace_dropped_exchanges_total",
        "leader_election_master_status",
    ];
    assert!(
        hidden.iter().all(|name| known.contains(&name.as_str())),
        "not shown: {hidden:?}"
    );
}

#[test]
fn prometheus_understands_every_expression_of_the_dashboard() {
    let directory = tempfile::tempdir().unwrap();
    let rules: Vec<Value> = (expressions(&dashboard()).iter().enumerate())
        .map(|(number, expression)| serde_json::json!({"record": format!("panel:{number}"), "expr": expression}))
        .collect();
    // YAML takes JSON.
    let file = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    fs::write(directory.path().join("rules.yml"), file.to_string()).unwrap();
    if let Some(verdict) = promtool(directory.path(), &["check", "rules", "rules.yml"], "") {
        assert!(verdict.is_good, "{}", verdict.said);
    }
}

#[test]
fn the_dashboard_is_for_grafana_10_and_names_no_data_source_of_ours() {
    let dashboard = dashboard();
    assert_eq!(dashboard["schemaVersion"], 38);
    assert_eq!(dashboard["id"], Value::Null);
    let mut sources = Vec::new();
    all(&dashboard, "datasource", &mut sources);
    for source in sources {
        let uid = source["uid"].as_str().unwrap();
        assert!(["${datasource}", "-- Grafana --"].contains(&uid), "{source}");
    }
    let variables: Vec<&str> = (dashboard["templating"]["list"].as_array().unwrap().iter())
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    assert_eq!(variables, ["datasource", "cluster", "vdc"]);
    let panels = dashboard["panels"].as_array().unwrap();
    let rows: Vec<&str> = (panels.iter())
        .filter(|panel| panel["type"] == "row")
        .map(|panel| panel["title"].as_str().unwrap())
        .collect();
    assert_eq!(
        rows,
        [
            "Leadership",
            "Polling",
            "Lag",
            "Outputs",
            "Queue",
            "etcd",
            "Process"
        ]
    );
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(
            ids.insert(panel["id"].as_u64().unwrap()),
            "{title} has the id of another"
        );
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{title} does not fit");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{title} covers another");
            }
        }
        let targets = panel["targets"].as_array();
        assert_eq!(
            panel["type"] == "row",
            targets.is_none_or(Vec::is_empty),
            "{title}"
        );
        let references: BTreeSet<&str> = (targets.into_iter().flatten())
            .map(|target| target["refId"].as_str().unwrap())
            .collect();
        assert_eq!(references.len(), targets.map_or(0, Vec::len), "{title}");
    }
}
