//! Item 18: how hard ECS is asked.

use std::collections::BTreeMap;
use std::time::Duration;

use ecs_sim::{Fault, FaultRule, LoggedRequest};
use ecsbeat::app::Outcome;

use crate::support::{Builder, Rig, eventually, text};

const KINDS: [&str; 8] = [
    "localzone",
    "nodes",
    "storagepools",
    "replicationgroups",
    "disks",
    "processes",
    "latestalert",
    "nsbilling",
];

fn wide() -> Builder {
    Rig::build()
        .sim(|sim| {
            sim.vdcs = 1;
            sim.nodes_per_vdc = 12;
            sim.disks_per_node = 1;
            sim.processes_per_node = 1;
        })
        .commands(&KINDS)
}

async fn peak(max_in_flight: usize) -> usize {
    let mut rig = wide()
        .settings(&format!(
            "ecsbeat: {{once: true, max_in_flight: {max_in_flight}}}"
        ))
        .prepare()
        .await;
    rig.sim
        .faults()
        .set(FaultRule::everywhere(Fault::Latency { ms: 25, p99_ms: 0 }));
    rig.run();
    assert_eq!(rig.ended().await.unwrap(), Outcome::Well);
    assert_eq!(rig.values("disks", "ecs-node-name").len(), 12);
    rig.sim.max_in_flight(0)
}

#[tokio::test]
async fn item_18_requests_in_flight_are_bounded_and_the_bound_is_used() {
    for max_in_flight in [1, 3, 6] {
        assert_eq!(peak(max_in_flight).await, max_in_flight);
    }
}

#[tokio::test]
async fn item_18_four_requests_in_flight_unless_told() {
    let mut rig = wide().settings("ecsbeat.once: true").prepare().await;
    rig.sim
        .faults()
        .set(FaultRule::everywhere(Fault::Latency { ms: 25, p99_ms: 0 }));
    rig.run();
    rig.ended().await.unwrap();
    assert_eq!(rig.sim.max_in_flight(0), 4);
}

#[tokio::test]
async fn item_18_refusals_for_load_are_survived() {
    let mut rig = wide().prepare().await;
    // Two at once are too many for this ECS, four are asked; the delay makes them meet.
    rig.sim
        .faults()
        .set(FaultRule::everywhere(Fault::Latency { ms: 5, p99_ms: 0 }));
    rig.sim.faults().set(FaultRule::everywhere(Fault::Governor {
        max: 3,
        delay_ms: None,
    }));
    rig.run();
    eventually("refusals", || {
        rig.sim.requests().iter().any(|request| request.status == 503)
    })
    .await;
    eventually("all nodes", || {
        KINDS.iter().all(|kind| !rig.events(kind).is_empty())
            && rig.values("disks", "ecs-node-name").len() == 12
    })
    .await;
    assert!(rig.is_running());
    rig.stop().await;
    // A refusal for load is none of the account.
    assert_eq!(rig.sim.token_counts(0).bad_logins, 0);
    assert_eq!(rig.sim.token_counts(0).live, 0);
}

#[tokio::test]
async fn item_18_answers_delayed_for_load_are_waited_for() {
    let mut rig = wide().settings("ecsbeat.once: true").prepare().await;
    rig.sim.faults().set(FaultRule::everywhere(Fault::Governor {
        max: 1,
        delay_ms: Some(60),
    }));
    rig.run();
    assert_eq!(rig.ended().await.unwrap(), Outcome::Well);
    assert!(
        !rig.all()
            .iter()
            .any(|event| text(event, "event.outcome") == "failure")
    );
}

/// The first request of each command.
fn firsts(requests: &[LoggedRequest]) -> BTreeMap<String, u64> {
    let mut firsts = BTreeMap::new();
    for request in requests
        .iter()
        .filter(|request| request.path.starts_with("/dashboard"))
    {
        firsts
            .entry(request.path.clone())
            .or_insert(request.since_start_ms);
    }
    firsts
}

#[tokio::test]
async fn item_18_commands_that_are_due_together_are_spread() {
    let kinds = ["localzone", "nodes", "storagepools", "replicationgroups"];
    let entries = kinds
        .map(|kind| format!("  - {{type: {kind}, interval: 20s}}"))
        .join("\n");
    let mut rig = Rig::build()
        .sim(|sim| sim.vdcs = 1)
        .command_entries(&entries)
        .settings("ecsbeat.start_jitter: 5s")
        .start()
        .await;
    eventually("each once", || {
        kinds.iter().all(|kind| !rig.events(kind).is_empty())
    })
    .await;
    rig.stop().await;
    let firsts = firsts(&rig.sim.requests());
    assert_eq!(firsts.len(), 4);
    let (least, most) = (firsts.values().min().unwrap(), firsts.values().max().unwrap());
    assert!(most - least >= 500, "{firsts:?}");
    assert!(most - least <= 6000, "{firsts:?}");
}

#[tokio::test]
async fn item_18_without_jitter_they_begin_together() {
    let kinds = ["localzone", "nodes", "storagepools", "replicationgroups"];
    let mut rig = Rig::build()
        .sim(|sim| sim.vdcs = 1)
        .commands(&kinds)
        .settings("ecsbeat.once: true")
        .start()
        .await;
    let begin = std::time::Instant::now();
    rig.ended().await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(firsts(&rig.sim.requests()).len(), 4);
}
