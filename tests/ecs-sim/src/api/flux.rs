//! The Flux query API, as far as a monitor uses it: a bucket, a range, filters on the measurement, `last`. It
//! must refuse whatever the real one refuses.

use serde_json::Value;

use super::{Answer, Ask};
use crate::clock;
use crate::config::User;
use crate::fault::{Fault, Oddity};
use crate::json;
use crate::profile::Flux;
use crate::seed::of_name;

const ALLOWED: [&str; 6] = ["from", "filter", "range", "last", "drop", "keep"];
/// Points are written every five minutes.
const CADENCE: i64 = 300;
const NOTHING: &str = r#"{"Series":[{"Datatypes":null,"Columns":null,"Values":null}]}"#;

/// Measurement, its tag and fields.
const MEASUREMENTS: [(&str, &str, &[&str]); 7] = [
    ("cpu", "cpu-total", &["usage_idle", "usage_user", "usage_system"]),
    ("mem", "", &["used_percent", "available_percent", "free", "total"]),
    ("net", "public", &["bytes_recv", "bytes_sent"]),
    (
        "procstat",
        "dataheadsvc",
        &["memory_rss", "cpu_usage", "num_threads"],
    ),
    ("dtquery_dt_status", "", &["total", "unready", "unknown"]),
    (
        "cq_performance_transaction",
        "",
        &["succeed_request_counter", "failed_request_counter"],
    ),
    ("cq_performance_latency", "ttfb_read", &["p50", "p99"]),
];

/// One row, as texts by column.
type Row = Vec<String>;

pub(super) fn answer(ask: &Ask<'_>, user: &User) -> Answer {
    let path: Vec<&str> = ask.segments.iter().map(String::as_str).collect();
    if path[..] != ["flux", "api", "external", "v2", "query"] {
        return Answer::not_found();
    }
    match ask.node.profile.flux() {
        Flux::Absent => return Answer::not_found(),
        Flux::Unavailable => return Answer::error(503, 6000, "Flux is not available"),
        Flux::RangeBug | Flux::Works => {}
    }
    if !super::session::may_read(user, false) || ask.is_forced(&Fault::Forbidden) {
        return Answer::error_with(500, 6401, "Insufficient permissions", Some(false));
    }
    if ask.request.method != "POST" {
        return Answer::error(405, 1001, "Method not allowed");
    }
    let accept = ask.request.header("accept").unwrap_or("*/*");
    if accept.contains("text/csv") {
        return flux_error(406, "unsupported media type text/csv");
    }
    let query = match ask.request.header("content-type") {
        Some(kind) if kind.contains("vnd.flux") => String::from_utf8_lossy(&ask.request.body).into_owned(),
        _ => match serde_json::from_slice::<Value>(&ask.request.body) {
            Ok(value) => value
                .get("query")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            Err(_) => return flux_error(500, "failed to decode request body"),
        },
    };
    if let Some(operation) = operations(&query).find(|operation| !ALLOWED.contains(operation)) {
        return flux_error(
            500,
            &format!("failed to compile query: undefined identifier \"{operation}\""),
        );
    }
    if !query.contains("from(") {
        return flux_error(500, "failed to compile query: missing from");
    }
    let rows = rows(ask, &query);
    if rows.is_empty() || ask.has(Oddity::FluxNull) {
        return Answer::json(NOTHING.to_owned());
    }
    if accept.contains("application/csv") {
        let mut lines = vec![columns().join(",")];
        lines.extend(rows.iter().map(|row| row.join(",")));
        return Answer::raw(200, "application/csv", &lines.join("\r\n"));
    }
    Answer::json(series(ask, &rows))
}

fn flux_error(status: u16, text: &str) -> Answer {
    let mut answer = Answer::json(json::object(|o| o.text("error", text)));
    answer.status = status;
    answer
}

/// The names in front of opening parentheses at the head of each step.
fn operations(query: &str) -> impl Iterator<Item = &str> {
    let steps = query.split("|>").map(str::trim).filter(|step| !step.is_empty());
    steps.filter_map(|step| step.split_once('(').map(|(name, _)| name.trim()))
}

fn columns() -> Vec<&'static str> {
    vec![
        "table",
        "_start",
        "_stop",
        "_time",
        "_value",
        "_field",
        "_measurement",
        "cpu",
        "host",
        "node_id",
        "tag",
    ]
}

/// How many seconds back `range(start: -15m)` begins.
fn range(query: &str) -> i64 {
    let parse = || {
        let text = query.split_once("start:")?.1.trim_start().strip_prefix('-')?;
        let digits = text.find(|character: char| !character.is_ascii_digit())?;
        let number: i64 = text[..digits].parse().ok()?;
        let unit = match text[digits..].chars().next()? {
            's' => 1,
            'h' => 3600,
            'd' => 86_400,
            _ => 60,
        };
        Some(number.saturating_mul(unit))
    };
    parse().unwrap_or(900).min(3600)
}

fn rows(ask: &Ask<'_>, query: &str) -> Vec<Row> {
    let reach = range(query);
    let gauges = ask.federation.gauges(false);
    let mut rows = Vec::new();
    let newest = ask.now.div_euclid(CADENCE) * CADENCE;
    let mut times: Vec<i64> = (0..=reach / CADENCE)
        .map(|step| newest - step * CADENCE)
        .collect();
    times.retain(|time| *time >= ask.now - reach);
    if ask.has(Oddity::FluxStale) {
        for time in &mut times {
            *time -= 1800;
        }
    }
    if query.contains("last(") {
        times.truncate(1);
    }
    if ask.has(Oddity::FluxOutOfRange) || ask.node.profile.flux() == Flux::RangeBug {
        times.push(newest - 86_400);
    }
    let is_named = |name: &str| query.contains(&format!("\"{name}\""));
    for (measurement, tag, fields) in MEASUREMENTS.iter().filter(|(name, ..)| is_named(name)) {
        let fields = fields
            .iter()
            .filter(|field| !query.contains("_field") || is_named(field));
        for (table, field) in fields.enumerate() {
            for node in &ask.vdc.nodes {
                for time in &times {
                    let draw = gauges.draw(of_name(field) ^ node.serial, *time, 10_000);
                    rows.push(vec![
                        table.to_string(),
                        clock::zulu_stamp(ask.now - reach),
                        clock::zulu_stamp(ask.now),
                        clock::zulu_stamp(*time + 9),
                        format!("{}.{:02}", draw / 100, draw % 100),
                        (*field).to_owned(),
                        (*measurement).to_owned(),
                        (*tag).to_owned(),
                        node.name.clone(),
                        node.uuid.clone(),
                        "system".to_owned(),
                    ]);
                }
            }
        }
    }
    rows
}

fn series(ask: &Ask<'_>, rows: &[Row]) -> String {
    let mut order: Vec<usize> = (0..columns().len()).collect();
    if ask.has(Oddity::FluxPermuted) {
        order.rotate_left(4);
        order.reverse();
    }
    let size = if ask.has(Oddity::FluxMultiSeries) {
        rows.len().div_ceil(3).max(1)
    } else {
        rows.len()
    };
    json::object(|o| {
        o.array("Series", |l| {
            for part in rows.chunks(size) {
                l.object(|o| {
                    o.array("Datatypes", |l| {
                        for column in &order {
                            l.text(datatype(columns()[*column]));
                        }
                    });
                    o.array("Columns", |l| {
                        for column in &order {
                            l.text(columns()[*column]);
                        }
                    });
                    o.array("Values", |l| {
                        for row in part {
                            l.array(|l| order.iter().for_each(|column| l.text(&row[*column])));
                        }
                    });
                });
            }
        });
    })
}

fn datatype(column: &str) -> &'static str {
    match column {
        "table" => "long",
        "_start" | "_stop" | "_time" => "dateTime:RFC3339",
        "_value" => "double",
        _ => "string",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_ranges_are_read() {
        let query = r#"from(bucket: "monitoring_op") |> range(start: -15m) |> filter(fn: (r) => r._measurement == "cpu") |> last()"#;
        assert_eq!(
            operations(query).collect::<Vec<_>>(),
            ["from", "range", "filter", "last"]
        );
        assert_eq!(range(query), 900);
        assert_eq!(range("range(start: -2h)"), 3600);
    }
}
