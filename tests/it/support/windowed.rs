//! What of the logs must have been delivered, and what was.
//!
//! Owns the commands that poll audit events and alerts in windows of a second, and the comparison of what arrived
//! with what the simulator's journal holds. The urn of a row is its identity: no two VDCs share one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ecs_sim::bulk::Bulk;
use ecs_sim::{Config, Journal, Sim};
use serde_json::Value;

/// Windows of a second. Audit events are stamped with their minute only: the question has to reach back over it.
pub(crate) const COMMANDS: &str = "
  start_jitter: 0s
  commands:
  - {type: auditevent, interval: 1s, window: {step: 1s, lag: 1s, overlap: 65s, format: rfc3339}}
  - {type: alert, interval: 1s, window: {step: 1s, lag: 1s, overlap: 3s, format: rfc3339}}
";

/// Two VDCs of two nodes with a few events and alerts each second, some of which show up late.
pub(crate) fn busy() -> Config {
    Config {
        nodes_per_vdc: 2,
        disks_per_node: 2,
        journal: Journal {
            events_per_minute: 120,
            alerts_per_minute: 60,
            late_one_in: 10,
            late_secs: 2,
            ..Journal::default()
        },
        ..Config::for_tests()
    }
}

/// A document that arrived, as far as it matters here.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// The urn of the audit event or alert.
    pub(crate) urn: String,
    /// `event.id`
    pub(crate) id: String,
}

/// The audit events and alerts among documents.
pub(crate) fn rows<'a>(documents: impl IntoIterator<Item = &'a [u8]>) -> Vec<Row> {
    documents.into_iter().filter_map(row).collect()
}

fn row(document: &[u8]) -> Option<Row> {
    let json: Value = serde_json::from_slice(document)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(document)));
    matches!(json["ecs-event-type"].as_str(), Some("auditevent" | "alert")).then_some(())?;
    Some(Row {
        urn: json["id"].as_str()?.to_owned(),
        id: json["event"]["id"].as_str().unwrap().to_owned(),
    })
}

/// Those of a fake Elasticsearch.
pub(crate) fn rows_of(bulk: &Bulk) -> Vec<Row> {
    let documents = bulk.documents();
    rows(documents.iter().map(|document| &document.source[..]))
}

/// Those of a directory of files with a document on each line; a broken line fails the test.
pub(crate) fn rows_in(directory: &Path) -> Vec<Row> {
    let lines = lines_in(directory);
    rows(lines.iter().map(String::as_bytes))
}

/// Every line of the files in a directory.
pub(crate) fn lines_in(directory: &Path) -> Vec<String> {
    texts_in(directory)
        .iter()
        .flat_map(|text| text.lines().map(str::to_owned))
        .collect()
}

/// As [`lines_in`], without what is being written: a line is there when its end is.
pub(crate) fn whole_lines_in(directory: &Path) -> Vec<String> {
    let whole = |text: &String| text[..text.rfind('\n').map_or(0, |end| end + 1)].to_owned();
    let texts: Vec<String> = texts_in(directory).iter().map(whole).collect();
    texts
        .iter()
        .flat_map(|text| text.lines().map(str::to_owned))
        .collect()
}

fn texts_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect()
}

/// The urns of every row from `from` to `to` (epoch seconds).
pub(crate) fn truth(sim: &Sim, from: i64, to: i64) -> BTreeSet<String> {
    let truth = sim.truth_between(from, to);
    let rows = truth
        .vdcs
        .into_iter()
        .flat_map(|vdc| vdc.audit_events.into_iter().chain(vdc.alerts));
    rows.map(|row| row.id).collect()
}

/// The rows from `from` to `to` that did not arrive.
pub(crate) fn missing(sim: &Sim, from: i64, to: i64, arrived: &[Row]) -> Vec<String> {
    let urns: BTreeSet<&str> = arrived.iter().map(|row| row.urn.as_str()).collect();
    let truth = truth(sim, from, to);
    truth
        .into_iter()
        .filter(|urn| !urns.contains(urn.as_str()))
        .collect()
}

/// The urns that arrived more than once, with the ids under which they did.
pub(crate) fn doubled(arrived: &[Row]) -> BTreeMap<&str, Vec<&str>> {
    let mut ids: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in arrived {
        ids.entry(&row.urn).or_default().push(&row.id);
    }
    ids.retain(|_, ids| ids.len() > 1);
    ids
}

/// Waits until every row from `from` to `to` has arrived; fails with those that have not.
pub(crate) async fn complete(
    sim: &Sim,
    from: i64,
    to: i64,
    limit: Duration,
    arrived: impl Fn() -> Vec<Row>,
) -> Vec<Row> {
    let start = Instant::now();
    loop {
        let rows = arrived();
        let missing = missing(sim, from, to, &rows);
        if missing.is_empty() {
            return rows;
        }
        assert!(
            start.elapsed() < limit,
            "{} rows of {from}..{to} are missing after {limit:?}, now is {}: {missing:?}",
            missing.len(),
            sim.now()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Nothing is stored twice, and nothing that never was.
#[track_caller]
pub(crate) fn exactly_once(sim: &Sim, arrived: &[Row]) {
    assert!(arrived.len() > 20, "too little to tell anything");
    let doubled = doubled(arrived);
    assert!(doubled.is_empty(), "stored more than once: {doubled:?}");
    let strange = strange(sim, arrived);
    assert!(strange.is_empty(), "never happened: {strange:?}");
}

/// The rows that never happened.
pub(crate) fn strange<'r>(sim: &Sim, arrived: &'r [Row]) -> Vec<&'r Row> {
    let truth = truth(sim, 0, sim.now() + 1);
    arrived.iter().filter(|row| !truth.contains(&row.urn)).collect()
}
