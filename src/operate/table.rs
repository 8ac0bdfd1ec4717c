//! The cluster as a table for people.
//!
//! Owns the columns and their widths. What others have written into etcd is shown on one line whatever it is.

use std::fmt::Write as _;

use serde_json::Value;

/// Letters of a configuration's hash that are shown: enough to tell two apart.
const HASH: usize = 8;
/// Between two columns.
const GAP: &str = "  ";

const HEAD: [&str; 11] = [
    "INSTANCE", "ROLE", "STATE", "HEALTH", "PRIORITY", "LAG", "OUTPUT", "ECS", "CONFIG", "VERSION", "ADDRESS",
];

/// A line about the cluster, and a row for each member of the answer of `/cluster`.
pub(super) fn of(cluster: &Value) -> String {
    let mut text = head(cluster);
    let members = cluster["members"].as_array().map_or(&[][..], Vec::as_slice);
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(members.iter().map(row));
    let mut widths = [0; HEAD.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}{GAP}");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn head(cluster: &Value) -> String {
    let mut line = match cluster["cluster"].as_str() {
        Some(name) => format!("cluster {}: ", plain(name)),
        None => String::new(),
    };
    let _ = match (cluster["leader"]["name"].as_str(), cluster["term"].as_u64()) {
        _ if cluster["ha_enabled"] == false => write!(line, "a single instance, without ha"),
        (Some(leader), Some(term)) => write!(line, "{} leads, term {term}", plain(leader)),
        (Some(leader), None) => write!(line, "{} leads", plain(leader)),
        (None, _) => write!(line, "NOBODY LEADS"),
    };
    if cluster["pause"] == true {
        line.push_str("; PAUSED: nobody takes over");
    }
    if let Some(order) = cluster["switchover"].as_object() {
        let to = order["candidate"].as_str().unwrap_or("another one");
        let _ = write!(line, "; a switchover to {} is under way", plain(to));
    }
    // The view is renewed every few seconds.
    if let Some(stale) = cluster["stale_ms"].as_u64().filter(|stale| *stale > 30_000) {
        let _ = write!(
            line,
            "; this is {} s old, since etcd does not answer",
            stale / 1000
        );
    }
    line.push('\n');
    line
}

fn row(member: &Value) -> [String; HEAD.len()] {
    let text = |key: &str| match &member[key] {
        Value::String(text) if !text.is_empty() => plain(text),
        Value::Number(number) => number.to_string(),
        _ => "-".to_owned(),
    };
    let reached = |key: &str| match member["probe"][key].as_bool() {
        Some(true) => "ok".to_owned(),
        Some(false) => "DOWN".to_owned(),
        None => "-".to_owned(),
    };
    let config = text("config_hash").chars().take(HASH).collect::<String>();
    let differs = if member["config_mismatch"] == true {
        " DIFFERS"
    } else {
        ""
    };
    let lag = match member["lag_s"].as_u64() {
        Some(lag) => format!("{lag} s"),
        None => "-".to_owned(),
    };
    [
        text("instance"),
        text("role"),
        text("state"),
        health(member),
        text("priority"),
        lag,
        reached("output"),
        reached("ecs"),
        format!("{config}{differs}"),
        text("version"),
        text("address"),
    ]
}

/// What `/health` answered there: the words for what is wrong, in capitals where that makes it unfit.
fn health(member: &Value) -> String {
    let told = match member.get("health") {
        None => return "-".to_owned(),
        Some(Value::Null) => return "NO ANSWER".to_owned(),
        Some(told) => told,
    };
    let reasons = told["reasons"].as_array().map_or(&[][..], Vec::as_slice);
    let reasons: Vec<_> = reasons.iter().filter_map(Value::as_str).map(plain).collect();
    match (told["status"].as_u64(), reasons.join(",")) {
        (Some(200), reasons) if reasons.is_empty() => "ok".to_owned(),
        (Some(200), reasons) => reasons,
        (status, reasons) if reasons.is_empty() => format!("ANSWERS {}", status.unwrap_or_default()),
        (_, reasons) => reasons.to_uppercase(),
    }
}

/// Without what could move a terminal's cursor.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let cluster = json!({
            "cluster": "prod", "ha_enabled": true, "leader": {"name": "node-a"}, "term": 42, "pause": false,
            "switchover": null, "stale_ms": 900,
            "members": [
                {"instance": "node-a", "role": "leader", "state": "leader", "priority": 1, "lag_s": 3,
                 "health": {"status": 200, "reasons": []}, "probe": {"output": true, "ecs": true}, "config_hash": "0123456789abcdef", "config_mismatch": false,
                 "version": "0.1.0", "address": "http://node-a:5066"},
                {"instance": "b\u{1b}[2J", "role": "replica", "state": "standby", "priority": 10, "lag_s": null,
                 "health": null, "probe": {"output": false, "ecs": true}, "config_hash": "ff23456789abcdef", "config_mismatch": true,
                 "version": "0.1.0", "address": ""},
            ],
        });
        let text = "\
cluster prod: node-a leads, term 42
INSTANCE  ROLE     STATE    HEALTH     PRIORITY  LAG  OUTPUT  ECS  CONFIG            VERSION  ADDRESS
node-a    leader   leader   ok         1         3 s  ok      ok   01234567          0.1.0    http://node-a:5066
b?[2J     replica  standby  NO ANSWER  10        -    DOWN    ok   ff234567 DIFFERS  0.1.0    -
";
        assert_eq!(of(&cluster), text);
    }

    #[test]
    fn what_is_wrong_with_a_member_is_named_and_loud_where_it_is_unfit() {
        for (told, shown) in [
            (json!({}), "-"),
            (json!({"health": null}), "NO ANSWER"),
            (json!({"health": {"status": 200, "reasons": []}}), "ok"),
            (
                json!({"health": {"status": 200, "reasons": ["output_down", "ecs_down"]}}),
                "output_down,ecs_down",
            ),
            (
                json!({"health": {"status": 503, "reasons": ["dcs_unreachable"]}}),
                "DCS_UNREACHABLE",
            ),
            (json!({"health": {"status": 502, "reasons": null}}), "ANSWERS 502"),
            (
                json!({"health": {"status": 503, "reasons": ["\u{1b}[2J", 7]}}),
                "?[2J",
            ),
        ] {
            assert_eq!(health(&told), shown, "{told}");
        }
    }

    #[test]
    fn what_is_out_of_order_stands_in_the_first_line() {
        let line = |cluster: Value| of(&cluster).lines().next().unwrap().to_owned();
        assert_eq!(
            line(json!({"cluster": "p", "leader": null, "pause": true, "stale_ms": 61_000, "members": []})),
            "cluster p: NOBODY LEADS; PAUSED: nobody takes over; this is 61 s old, since etcd does not answer"
        );
        assert_eq!(
            line(json!({"cluster": null, "ha_enabled": false, "leader": {"name": "x"}})),
            "a single instance, without ha"
        );
        assert_eq!(
            line(
                json!({"cluster": "p", "leader": {"name": "a"}, "term": 3, "switchover": {"candidate": null}})
            ),
            "cluster p: a leads, term 3; a switchover to another one is under way"
        );
        assert!(of(&Value::Null).starts_with("NOBODY LEADS\nINSTANCE"), "no panic");
    }
}
