//! Item 12: identities of the figures, and the forms that they can take.

use ecs_sim::{Config, Fault, FaultRule, Oddity, Sim};
use serde_json::Value;

use crate::client::Session;

const ZONE: &str = "/dashboard/zones/localzone";

async fn start() -> (Sim, Session) {
    let sim = Sim::start(Config::for_tests()).await.unwrap();
    let session = Session::open(&sim).await;
    (sim, session)
}

/// The zone under one oddity.
async fn zone(oddity: Oddity, path: &str) -> Value {
    let (sim, session) = start().await;
    sim.faults().set(FaultRule::everywhere(Fault::Odd { oddity }));
    let zone = session.json(path).await;
    sim.shutdown().await;
    zone
}

fn number(object: &Value, key: &str, tag: &str) -> i128 {
    object[key][0][tag]
        .as_str()
        .unwrap_or_else(|| panic!("{key}"))
        .parse()
        .unwrap()
}

fn check_identities(object: &Value) {
    let space = |key: &str| number(object, key, "Space");
    let total = space("diskSpaceTotalCurrent");
    let reserved = space("diskSpaceReservedCurrent");
    assert_eq!(
        total,
        space("diskSpaceAllocatedCurrent") + space("diskSpaceFreeCurrent") + reserved
    );
    assert_eq!(reserved, total / 10);
}

#[tokio::test]
async fn figures_obey_their_identities() {
    let (sim, session) = start().await;
    sim.freeze_clock();
    let zone = session.json(ZONE).await;
    check_identities(&zone);
    let newest = zone["diskSpaceFree"].as_array().unwrap().last().unwrap()["Space"].clone();
    let newest: i128 = newest.as_str().unwrap().parse().unwrap();
    assert_eq!(
        newest,
        number(&zone, "diskSpaceFreeCurrent", "Space") + number(&zone, "diskSpaceReservedCurrent", "Space")
    );
    assert_eq!(zone["diskSpaceTotal"].as_array().unwrap().len(), 120);
    for part in ["Pending", "Reclaimed", "TotalDetected", "Unreclaimable"] {
        let of = |kind: &str| number(&zone, &format!("gc{kind}{part}Current"), "Capacity");
        assert_eq!(of("Combined"), of("System") + of("User"));
    }
    let garbage = |part: &str| number(&zone, &format!("gcUser{part}Current"), "Capacity");
    assert_eq!(
        garbage("TotalDetected"),
        garbage("Pending") + garbage("Unreclaimable") + garbage("Reclaimed")
    );
    let nodes = session
        .json("/dashboard/zones/localzone/nodes?dataType=current")
        .await;
    let nodes = nodes["_embedded"]["_instances"].as_array().unwrap().clone();
    nodes.iter().for_each(check_identities);
    let sum: i128 = nodes
        .iter()
        .map(|node| number(node, "diskSpaceAllocatedCurrent", "Space"))
        .sum();
    assert_eq!(sum, number(&zone, "diskSpaceAllocatedCurrent", "Space"));
    let id = nodes[0]["id"].as_str().unwrap();
    let disks = session
        .json(&format!("/dashboard/nodes/{id}/disks?dataType=current"))
        .await;
    let disks = disks["_embedded"]["_instances"].as_array().unwrap().clone();
    assert_eq!(disks.len(), 12);
    let sum: i128 = disks
        .iter()
        .map(|disk| number(disk, "diskSpaceAllocatedCurrent", "Space"))
        .sum();
    assert_eq!(sum, number(&nodes[0], "diskSpaceAllocatedCurrent", "Space"));
    assert!(nodes[0].get("diskSpaceAllocated").is_none(), "current only");
    let processes = session
        .json(&format!("/dashboard/nodes/{id}/processes?dataType=current"))
        .await;
    assert_eq!(processes["_embedded"]["_instances"].as_array().unwrap().len(), 14);
    sim.shutdown().await;
}

#[tokio::test]
async fn objects_are_found_by_their_links() {
    let (sim, session) = start().await;
    for list in ["nodes", "storagepools", "replicationgroups", "disks"] {
        let list = session.json(&format!("{ZONE}/{list}")).await;
        let first = &list["_embedded"]["_instances"][0];
        let href = first["_links"]["self"]["href"].as_str().unwrap();
        assert_eq!(session.json(href).await["id"], first["id"], "{href}");
    }
    let failed = session.json("/dashboard/zones/localzone/rglinksFailed").await;
    assert_eq!(failed["title"], "rglinksFailedList");
    assert_eq!(
        session
            .status("/dashboard/nodes/00000000-0000-0000-0000-000000000000")
            .await,
        404
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn numbers_take_odd_forms() {
    let text = zone(Oddity::Exponents, ZONE).await.to_string();
    assert!(text.contains("E1"));
    assert!(zone(Oddity::NotAvailable, ZONE).await.to_string().contains("N/A"));
    let huge = zone(Oddity::HugeValues, ZONE).await;
    assert!(number(&huge, "diskSpaceTotalCurrent", "Space") > 1 << 53);
    check_identities(&huge);
    assert!(zone(Oddity::BareNumbers, ZONE).await["numNodes"].is_number());
    assert!(
        zone(Oddity::EmptyStrings, ZONE)
            .await
            .to_string()
            .contains(r#":"""#)
    );
}

#[tokio::test]
async fn points_take_odd_forms() {
    let path = "/dashboard/zones/localzone?dataType=current";
    let usual = zone(Oddity::WrappedAlerts, path).await;
    let lists = |zone: &Value, length: usize| {
        let members = zone.as_object().unwrap().iter();
        members
            .filter(|(key, list)| {
                key.ends_with("Current") && list.as_array().is_some_and(|list| list.len() == length)
            })
            .count()
    };
    assert_eq!(lists(&usual, 0), 0);
    assert!(lists(&zone(Oddity::EmptyArrays, path).await, 0) > 3);
    let two = zone(Oddity::TwoPoints, path).await;
    let points = &two["diskSpaceTotalCurrent"];
    assert!(points[0]["t"].as_str() < points[1]["t"].as_str());
    assert!(
        zone(Oddity::AbsentKeys, path).await.as_object().unwrap().len() < usual.as_object().unwrap().len()
    );
    assert!(zone(Oddity::UnknownKeys, path).await["quantumFluxCurrent"].is_array());
    let stale = zone(Oddity::StalePoints, path).await;
    let times: std::collections::BTreeSet<_> = stale
        .as_object()
        .unwrap()
        .values()
        .filter_map(|list| list[0]["t"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(times.len(), 2);
    let fabricated = zone(Oddity::FabricatedZeros, ZONE).await;
    assert_eq!(fabricated["diskSpaceTotal"][0]["Space"], "0");
    assert_ne!(fabricated["diskSpaceTotalCurrent"][0]["Space"], "0");
    let unsorted = zone(Oddity::UnsortedPoints, ZONE).await;
    let times: Vec<i64> = unsorted["diskSpaceTotal"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| point["t"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(!times.is_sorted());
    let nodes = zone(Oddity::InstancesKey, "/dashboard/zones/localzone/nodes").await;
    assert!(nodes["_embedded"]["instances"].is_array());
    let nodes = zone(Oddity::NodeWithoutId, "/dashboard/zones/localzone/nodes").await;
    assert!(nodes["_embedded"]["_instances"][0].get("id").is_none());
}

#[tokio::test]
async fn a_lone_vdc_replicates_nothing() {
    let sim = Sim::start(Config {
        vdcs: 1,
        ..Config::for_tests()
    })
    .await
    .unwrap();
    let session = Session::open(&sim).await;
    let groups = session.json("/dashboard/zones/localzone/replicationgroups").await;
    let group = &groups["_embedded"]["_instances"][0];
    assert_eq!(group["replicationIngressTrafficCurrent"], serde_json::json!([]));
    assert!(group.get("replicationRpoTimestamp").is_none());
    sim.shutdown().await;
}
