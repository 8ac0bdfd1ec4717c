//! Item 10: nodes and VDCs that are down, slow, new or replaced; load balancers, IPv6.

use std::collections::BTreeSet;
use std::time::Duration;

use ecs_sim::{Fault, FaultRule};
use ecsbeat::app::Outcome;
use ecsbeat::clock::Clock;

use crate::support::{Builder, Rig, eventually, jump, text};

/// Polled of each VDC, a new record at every tick.
const OF_A_VDC: [&str; 6] = [
    "localzone",
    "nodes",
    "storagepools",
    "disks",
    "processes",
    "dtinfo",
];
/// The same, and of the system.
const GAUGES: [&str; 8] = [
    "localzone",
    "nodes",
    "storagepools",
    "disks",
    "processes",
    "dtinfo",
    "capacity",
    "nsbilling",
];
/// The same, and alerts.
const KINDS: [&str; 10] = [
    "localzone",
    "nodes",
    "storagepools",
    "disks",
    "processes",
    "dtinfo",
    "capacity",
    "nsbilling",
    "latestalert",
    "alert",
];

fn one() -> Builder {
    Rig::build().sim(|sim| sim.vdcs = 1)
}

fn simulated() -> Clock {
    Clock::simulated(jiff::Timestamp::now())
}

/// How often a type was polled with success, seen by its ticks.
fn ticks(rig: &Rig, kind: &str, vdc: usize) -> usize {
    let ticks: BTreeSet<String> = rig
        .events_of(kind, vdc)
        .iter()
        .map(|event| text(event, "ecsbeat.tick").to_owned())
        .collect();
    ticks.len()
}

#[tokio::test]
async fn item_10_node_that_is_down_costs_no_data() {
    let mut rig = one()
        .sim(|sim| sim.nodes_per_vdc = 3)
        .commands(&KINDS)
        .start()
        .await;
    rig.fresh("disks", &[]).await;
    rig.sim.vdc(0).node(0).down().unwrap();
    rig.fresh_all(&GAUGES, &[]).await;
    rig.stop().await;
    let failure = rig
        .all()
        .into_iter()
        .find(|event| text(event, "event.outcome") == "failure");
    assert!(failure.is_none(), "{failure:?}");
    // The dead node's disks are told by the others.
    let names = rig.values("disks", "ecs-node-name");
    assert_eq!(names.len(), 3);
}

#[tokio::test]
async fn item_10_blocked_node_is_left_alone() {
    let mut rig = one()
        .customer("blockduration: 60s")
        .commands(&["localzone", "nodes", "disks"])
        .prepare()
        .await;
    rig.sim.faults().set(
        FaultRule::everywhere(Fault::Status {
            codes: vec![503],
            retry_after: None,
            retryable: None,
            code: None,
            details: None,
        })
        .on_node(0, 1)
        .on_path("/dashboard"),
    );
    rig.run();
    eventually("the node fails once", || {
        rig.sim.requests().iter().any(|request| request.status == 503)
    })
    .await;
    rig.fresh("disks", &[]).await;
    let failed = |rig: &Rig| {
        let requests = rig.sim.requests();
        requests.iter().filter(|request| request.status == 503).count()
    };
    let before = failed(&rig);
    for _ in 0..2 {
        rig.fresh("disks", &[]).await;
    }
    assert_eq!(failed(&rig), before);
    // As many as were in flight when it failed first.
    assert!(before <= 4, "{before}");
    rig.stop().await;
}

#[tokio::test]
async fn item_10_slow_node_holds_up_nobody_else() {
    let mut rig = one()
        .customer("reqtimeout: 20s")
        .sim(|sim| sim.nodes_per_vdc = 3)
        .commands(&["localzone", "disks"])
        .start()
        .await;
    rig.fresh("disks", &[]).await;
    rig.sim.vdc(0).node(1).slow(Duration::from_millis(1500)).unwrap();
    rig.fresh("localzone", &[]).await;
    rig.fresh("disks", &[]).await;
    rig.stop().await;
    assert_eq!(rig.failures("disks").len() + rig.failures("localzone").len(), 0);
    // No target is asked twice at once, however late its answer is.
    let ids: Vec<String> = rig
        .all()
        .iter()
        .map(|event| text(event, "event.id").to_owned())
        .collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
}

#[tokio::test]
async fn item_10_node_in_maintenance_is_polled_as_it_is() {
    let mut rig = one().commands(&["nodes", "disks"]).prepare().await;
    rig.sim.vdc(0).node(1).maintenance().unwrap();
    rig.run();
    rig.fresh("disks", &[]).await;
    rig.fresh("nodes", &[]).await;
    rig.stop().await;
    let name = rig.sim.vdc(0).node(1).name();
    assert!(rig.values("disks", "ecs-node-name").contains(&name));
    assert_eq!(rig.failures("disks").len(), 0);
}

#[tokio::test]
async fn item_10_vdc_that_is_down_does_not_touch_the_other() {
    let mut rig = Rig::build()
        .sim(|sim| {
            sim.journal.alerts_per_minute = 60;
        })
        .customer("reqtimeout: 5s")
        .commands(&KINDS)
        .start()
        .await;
    rig.fresh("disks", &[0, 1]).await;
    let begin = rig.sim.now();
    rig.sim.vdc(1).down().unwrap();
    rig.fresh_all(&OF_A_VDC, &[0]).await;
    for kind in OF_A_VDC {
        let failures = rig.failures(kind);
        let of_the_other = failures
            .iter()
            .find(|event| text(event, "ecs-vdc-cfgname") != "VDC1");
        assert!(of_the_other.is_none(), "{of_the_other:?}");
    }
    rig.fresh_all(&["capacity", "nsbilling"], &[]).await;
    for kind in ["capacity", "nsbilling"] {
        assert_eq!(
            rig.failures(kind).len(),
            0,
            "the system answers through the other VDC"
        );
    }
    eventually("the loss is told", || !rig.failures("localzone").is_empty()).await;
    let end = rig.sim.now();
    rig.sim.vdc(1).up().unwrap();
    rig.fresh("disks", &[0, 1]).await;
    // What was written during the outage is read after it.
    let truth = rig.sim.truth_between(begin, end);
    for (vdc, truth) in truth.vdcs.iter().enumerate() {
        assert!(!truth.alerts.is_empty());
        eventually("every alert", || {
            let events = rig.events_of("alert", vdc);
            let ids: BTreeSet<&str> = events.iter().map(|event| text(event, "id")).collect();
            truth.alerts.iter().all(|row| ids.contains(row.id.as_str()))
        })
        .await;
    }
    rig.stop().await;
    assert!(rig.bulk.duplicates().is_empty());
}

#[tokio::test]
async fn item_10_system_commands_take_the_next_vdc_when_the_first_is_down() {
    let mut rig = Rig::build()
        .customer("reqtimeout: 5s")
        .commands(&["capacity", "nsbilling"])
        .start()
        .await;
    rig.fresh("capacity", &[]).await;
    assert_eq!(
        rig.values("capacity", "ecs-vdc-cfgname"),
        ["VDC0".to_owned()].into()
    );
    rig.sim.vdc(0).down().unwrap();
    eventually("the other answers", || !rig.events_of("capacity", 1).is_empty()).await;
    eventually("for billing too", || !rig.events_of("nsbilling", 1).is_empty()).await;
    rig.stop().await;
    assert_eq!(
        rig.failures("capacity").len() + rig.failures("nsbilling").len(),
        0
    );
}

#[tokio::test]
async fn item_10_vdc_that_is_down_at_the_start_is_polled_in_full_when_it_is_back() {
    let mut rig = Rig::build()
        .clock(simulated)
        .customer("reqtimeout: 5s")
        .commands(&KINDS)
        .prepare()
        .await;
    rig.sim.vdc(1).down().unwrap();
    rig.run();
    rig.fresh("disks", &[0]).await;
    eventually("the loss is told", || {
        ["localzone", "disks", "dtinfo"].iter().all(|kind| {
            let failures = rig.failures(kind);
            failures
                .iter()
                .any(|event| text(event, "ecs-vdc-cfgname") == "VDC1")
        })
    })
    .await;
    assert!(rig.error_codes("disks").contains("no_inventory"));
    rig.sim.vdc(1).up().unwrap();
    // The inventory is tried again within a minute.
    jump(Duration::from_secs(70)).await;
    for kind in ["localzone", "nodes", "disks", "processes", "dtinfo"] {
        eventually(kind, || ticks(&rig, kind, 1) >= 2).await;
    }
    let id = rig.sim.vdc(1).id();
    eventually("with the names of ECS", || {
        let disks = rig.events_of("disks", 1);
        disks.last().is_some_and(|event| text(event, "ecs-vdc-id") == id)
    })
    .await;
    rig.stop().await;
}

#[tokio::test]
async fn item_10_new_and_replaced_nodes_are_found() {
    let mut rig = one()
        .customer("cfgrefreshinterval: 1s")
        .commands(&["disks", "processes", "nodes"])
        .start()
        .await;
    rig.fresh("disks", &[]).await;
    let added = rig.sim.vdc(0).add_node().unwrap();
    for kind in ["disks", "processes"] {
        eventually("the new node", || {
            rig.values(kind, "ecs-node-name").contains(&added.name())
        })
        .await;
    }
    let old = rig.sim.vdc(0).node(0).address();
    rig.sim.vdc(0).node(0).replace().unwrap();
    let new = rig.sim.vdc(0).node(0).address();
    assert_ne!(old, new);
    for kind in ["disks", "processes"] {
        eventually("the node in its place", || {
            rig.values(kind, "ecs-node-ip").contains(&new)
        })
        .await;
    }
    let refused = |rig: &Rig| rig.failures("disks").len();
    rig.fresh("disks", &[]).await;
    let before = refused(&rig);
    rig.fresh("disks", &[]).await;
    assert_eq!(refused(&rig), before, "the old node is forgotten");
    rig.stop().await;
}

#[tokio::test]
async fn item_10_load_balancer_alone_is_enough() {
    let mut rig = one()
        .sim(|sim| sim.nodes_per_vdc = 3)
        .hosts(|sim, vdc| sim.vdc(vdc).front_host().into_iter().collect())
        .commands(&KINDS)
        .customer("blockduration: 60s")
        .start()
        .await;
    rig.fresh_all(&GAUGES, &[]).await;
    assert_eq!(rig.values("disks", "ecs-node-name").len(), 3);
    // A failure must not block the only address there is.
    rig.sim.faults().set(
        FaultRule::everywhere(Fault::Status {
            codes: vec![503],
            retry_after: None,
            retryable: None,
            code: None,
            details: None,
        })
        .on_path("/dashboard/zones")
        .times(8),
    );
    rig.fresh("localzone", &[]).await;
    assert_eq!(rig.stop().await, Outcome::Well);
    assert_eq!(rig.failures("disks").len(), 0);
}

#[tokio::test]
async fn item_10_ipv6_nodes() {
    let mut rig = one()
        .sim(|sim| {
            sim.ipv6 = true;
            sim.diag_port = None;
            sim.front = false;
        })
        .commands(&["localzone", "disks"])
        .start()
        .await;
    rig.fresh("disks", &[]).await;
    rig.fresh("localzone", &[]).await;
    rig.stop().await;
    assert_eq!(rig.failures("disks").len() + rig.failures("localzone").len(), 0);
    assert_eq!(rig.values("disks", "ecs-node-ip"), ["::1".to_owned()].into());
    let nodes: BTreeSet<usize> = rig.sim.requests().iter().map(|request| request.node).collect();
    assert!(!nodes.is_empty());
}
