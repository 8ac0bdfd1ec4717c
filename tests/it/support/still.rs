//! A small federation whose clock stands still, so that every run finds the same, and what must be delivered of it.
//!
//! Owns how much of everything there is in it.

use std::collections::{BTreeMap, BTreeSet};

use ecs_sim::{Billing, Config, Sim};
use serde_json::Value;

pub(crate) const NODES: usize = 3;
pub(crate) const DISKS: usize = 4;
pub(crate) const PROCESSES: usize = 5;
const NAMESPACES: usize = 7;
const TABLES: usize = 16;

/// A small world whose clock stands still, so that every run finds the same.
pub(crate) async fn world() -> Sim {
    let sim = Sim::start(Config {
        nodes_per_vdc: NODES,
        disks_per_node: DISKS,
        processes_per_node: PROCESSES,
        namespaces: NAMESPACES,
        directory_tables: TABLES,
        billing: Billing {
            lag_secs: 0,
            ..Billing::default()
        },
        ..Config::for_tests()
    })
    .await
    .unwrap();
    sim.freeze_clock();
    sim
}

/// How many documents there must be of each type.
pub(crate) fn expected(sim: &Sim) -> BTreeMap<String, usize> {
    let vdcs = sim.vdcs();
    // The first window: one minute, a minute behind the clock, and five minutes before it.
    let end = (sim.now() - 60).div_euclid(60) * 60;
    let truth = sim.truth_between(end - 360, end);
    let events = truth.vdcs.iter().map(|vdc| vdc.audit_events.len()).sum();
    let alerts = truth.vdcs.iter().map(|vdc| vdc.alerts.len()).sum();
    [
        ("auditevent", events),
        ("alert", alerts),
        ("latestalert", 20 * vdcs),
        ("localzone", vdcs),
        ("nodes", NODES * vdcs),
        ("disks", NODES * DISKS * vdcs),
        ("processes", NODES * PROCESSES * vdcs),
        ("capacity", 1),
        ("nsbilling", NAMESPACES),
        ("nsbillingsample", NAMESPACES),
        ("dtinfo", TABLES * vdcs),
    ]
    .map(|(kind, count)| (kind.to_owned(), count))
    .into()
}

/// Documents by type, without those whose number the world decides; every id but once.
pub(crate) fn counted<'a>(
    sim: &Sim,
    lines: impl Iterator<Item = &'a str>,
) -> (BTreeMap<String, usize>, BTreeSet<String>) {
    let mut counts = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for line in lines {
        let json: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(json["error"].is_null(), "{line}");
        *counts
            .entry(json["ecs-event-type"].as_str().unwrap().to_owned())
            .or_default() += 1;
        assert!(
            ids.insert(json["event"]["id"].as_str().unwrap().to_owned()),
            "twice: {line}"
        );
        for canary in sim.canaries() {
            assert!(!line.contains(&canary), "{canary} in {line}");
        }
    }
    for kind in ["replicationgroups", "storagepools"] {
        let count = counts.remove(kind).unwrap_or(0);
        assert!(count >= sim.vdcs(), "{count} {kind}");
    }
    (counts, ids)
}
