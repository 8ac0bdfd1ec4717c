//! What the replicas poll: a simulated federation, and what of it must be delivered.
//!
//! Owns the commands of the replicas, the size of the federation, and the translation of the simulator's truth into
//! records of a recording. Every number is small: windows and ticks of seconds, so that a fault of a few seconds hits
//! several of them.

use std::fmt::Write as _;

use anyhow::Context as _;
use ecs_sim::{Billing, Config, Journal, Sim};
use serde_json::Value;

use crate::record::{Gauge, Record, Truth};

/// Windowed: rows of the logs, of which one in ten shows up two seconds late, and billing in windows of five seconds.
/// Gauges: one for the customer, one for each VDC, each second.
const COMMANDS: &str = "
  start_jitter: 0s
  max_in_flight: 8
  commands:
  - {type: auditevent, interval: 1s, window: {step: 1s, lag: 1s, overlap: 65s, max_span: 1m, format: rfc3339}}
  - {type: alert, interval: 1s, window: {step: 1s, lag: 1s, overlap: 4s, max_span: 1m, format: rfc3339}}
  - type: nsbillingsample
    interval: 5s
    window: {step: 5s, granularity: 5s, lag: 3s, overlap: 0s, max_span: 5s, format: rfc3339, complete_field: uptodate_till}
  - {type: capacity, interval: 1s}
  - {type: localzone, interval: 1s}
";

const BILLING: &str = "nsbillingsample";
const BILLING_STEP: i64 = 5;
const LATE: i64 = 2;

/// The federation.
pub(crate) async fn start(seed: u64) -> anyhow::Result<Sim> {
    let config = Config {
        seed,
        vdcs: 2,
        nodes_per_vdc: 1,
        disks_per_node: 1,
        processes_per_node: 1,
        namespaces: 3,
        diag_port: None,
        ping_port: None,
        front: false,
        journal: Journal {
            events_per_minute: 30,
            alerts_per_minute: 60,
            late_one_in: 10,
            late_secs: LATE,
            history_mins: 5,
            ..Journal::default()
        },
        billing: Billing {
            lag_secs: 1,
            grid_secs: BILLING_STEP,
        },
        request_log: 1,
        ..Config::for_tests()
    };
    Sim::start(config).await.context("start the simulator")
}

/// The section `ecsbeat` for a replica that reaches each VDC at the address given for it.
pub(crate) fn section(sim: &Sim, authority: &str, hosts: &[String]) -> String {
    let mut text = format!("ecsbeat:\n{COMMANDS}");
    // The proxies have addresses that no certificate names.
    let _ = write!(
        text,
        "  customers:\n  - customername: sim\n    username: monitor\n    password: CANARY-password-monitor\n    \
         reqtimeout: 3s\n    ssl: {{certificate_authorities: ['{authority}'], verification_mode: certificate}}\n    \
         vdcs:\n"
    );
    for (vdc, host) in hosts.iter().enumerate() {
        let name = sim.vdc(vdc).name();
        let _ = writeln!(text, "    - {{vdcname: {name}, nodes: [{{host: '{host}'}}]}}");
    }
    text
}

/// The series that have a record for each tick.
pub(crate) fn gauges(sim: &Sim) -> Vec<Gauge> {
    let gauge = |kind: &str, vdc| Gauge {
        kind: kind.to_owned(),
        vdc,
        interval: 1,
    };
    let mut gauges = vec![gauge("capacity", None)];
    gauges.extend((0..sim.vdcs()).map(|vdc| gauge("localzone", Some(sim.vdc(vdc).name()))));
    gauges
}

/// Which record of the source an event is of.
pub(crate) fn key(event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    if event["ecs-event-type"] == BILLING {
        billing_key(
            text("namespace"),
            text("sample_start_time"),
            text("sample_end_time"),
        )
    } else {
        text("id").to_owned()
    }
}

fn billing_key(namespace: &str, start: &str, end: &str) -> String {
    format!("{namespace} {start} {end}")
}

/// Everything there was up to now, and what of it must have been delivered: what happened from `from` on and could
/// be seen before `to`, seconds since 1970.
pub(crate) fn truth(sim: &Sim, from: i64, to: i64) -> Truth {
    let mut records = Vec::new();
    for vdc in sim.truth().vdcs {
        let rows = [("auditevent", vdc.audit_events), ("alert", vdc.alerts)];
        for (kind, rows) in rows {
            records.extend(rows.into_iter().map(|row| Record {
                kind: kind.to_owned(),
                due: row.at >= from && row.at.max(row.visible_at) < to,
                key: row.id,
                time: row.at,
            }));
        }
    }
    let stamp = |second: i64| {
        let time = jiff::Timestamp::from_second(second).unwrap_or_default();
        time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    // Back to before the first window of the first leader.
    let mut start = (from - 300).div_euclid(BILLING_STEP) * BILLING_STEP;
    while start + BILLING_STEP <= sim.now() {
        let end = start + BILLING_STEP;
        for namespace in sim.truth_between(0, 0).namespaces {
            records.push(Record {
                kind: BILLING.to_owned(),
                key: billing_key(&namespace, &stamp(start), &stamp(end)),
                time: start,
                due: start >= from && end < to,
            });
        }
        start = end;
    }
    Truth { from, to, records }
}
