//! Item 12, dashboards: what the events say when the values come in another form, are not there, or are too large
//! for a float. Each test compares with the events of the same moment without the oddity.

use std::collections::{BTreeMap, BTreeSet};

use ecs_sim::{Fault, FaultRule, Oddity};
use serde_json::{Map, Value};

use crate::support::bench::{Bench, failures, of, small};

const COMMANDS: [&str; 5] = [
    "{type: localzone}",
    "{type: nodes}",
    "{type: disks}",
    "{type: storagepools}",
    "{type: replicationgroups}",
];

/// 55 days, the age of a stale point.
const STALE: u64 = 55 * 86_400;

/// The members that come from ECS, by type and id of the record.
type Records = BTreeMap<String, Map<String, Value>>;

fn records(events: &[Value]) -> Records {
    assert_eq!(failures(events), []);
    let own = [
        "@timestamp",
        "@version",
        "agent",
        "ecsbeat",
        "event",
        "host",
        "ecs",
        "observer",
        "type",
    ];
    let mut records = Records::new();
    for event in events {
        let mut members = event.as_object().unwrap().clone();
        let key = format!(
            "{} {} {}",
            event["ecs-event-type"], event["id"], event["displayName"]
        );
        members.retain(|name, _| !own.contains(&name.as_str()) && !name.starts_with("ecs-"));
        assert!(records.insert(key, members).is_none(), "the same record twice");
    }
    records
}

/// The events without and with the oddity.
async fn both(oddity: Oddity) -> (Records, Records) {
    let bench = Bench::new(small()).await;
    let plain = records(&bench.events_of(&COMMANDS).await);
    // localzone, 2 nodes, 4 disks, a storage pool, a replication group
    assert_eq!(plain.len(), 9);
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(Fault::Odd { oddity }));
    let odd = records(&bench.events_of(&COMMANDS).await);
    (plain, odd)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Every member of `odd` is as in `plain`; gives how many are missing.
fn missing(plain: &Records, odd: &Records) -> usize {
    assert_eq!(plain.keys().collect::<Vec<_>>(), odd.keys().collect::<Vec<_>>());
    let mut missing = 0;
    for (key, members) in plain {
        // alertsNumUnack… is passed on as the list it is, with what is left of its points.
        for (name, value) in odd[key]
            .iter()
            .filter(|(name, _)| !name.starts_with("alertsNumUnack"))
        {
            assert_eq!(Some(value), members.get(name), "{key} {name}");
        }
        missing += members
            .keys()
            .filter(|name| !odd[key].contains_key(*name))
            .count();
    }
    missing
}

#[tokio::test]
async fn item_12_totals_are_the_sums_of_their_parts_to_the_last_byte() {
    let bench = Bench::new(small()).await;
    for huge in [false, true] {
        if huge {
            let oddity = Oddity::HugeValues;
            bench
                .sim
                .faults()
                .set(FaultRule::everywhere(Fault::Odd { oddity }));
        }
        let events = bench.events_of(&COMMANDS).await;
        let space =
            |event: &Value, what: &str| event[format!("diskSpace{what}Current_Space")].as_u64().unwrap();
        let zone = of(&events, "localzone")[0];
        let total = space(zone, "Total");
        assert_eq!(
            total,
            space(zone, "Allocated") + space(zone, "Free") + space(zone, "Reserved")
        );
        let disks = of(&events, "disks");
        assert_eq!(disks.iter().map(|disk| space(disk, "Total")).sum::<u64>(), total);
        assert_eq!(
            disks.iter().map(|disk| space(disk, "Allocated")).sum::<u64>(),
            space(zone, "Allocated")
        );
        let capacity = |name: &str| zone[format!("gc{name}Current_Capacity")].as_u64().unwrap();
        assert_eq!(
            capacity("CombinedPending"),
            capacity("SystemPending") + capacity("UserPending")
        );
        if huge {
            // An f64 would have rounded it.
            let large: Vec<u64> = disks.iter().map(|disk| space(disk, "Allocated")).collect();
            assert!(
                large.iter().any(|bytes| *bytes > 1 << 53 && bytes % 2 == 1),
                "{large:?}"
            );
        }
    }
}

#[tokio::test]
async fn item_12_exponents_are_numbers() {
    let (plain, odd) = both(Oddity::Exponents).await;
    for (key, members) in &plain {
        for (name, value) in members {
            if value.is_number() {
                let (want, found) = (number(value), number(&odd[key][name]));
                assert!(
                    (want - found).abs() <= want.abs() * 1e-12,
                    "{key} {name}: {want} {found}"
                );
            }
        }
    }
    assert_ne!(plain, odd, "the oddity has shown");
}

#[tokio::test]
async fn item_12_what_is_not_available_is_absent() {
    let (plain, odd) = both(Oddity::NotAvailable).await;
    assert!(missing(&plain, &odd) > 10);
    assert!(!format!("{odd:?}").contains("N/A"));
}

#[tokio::test]
async fn item_12_empty_strings_are_absent() {
    let (plain, odd) = both(Oddity::EmptyStrings).await;
    assert!(missing(&plain, &odd) > 10);
    let texts = odd.values().flat_map(Map::values);
    assert_eq!(texts.filter(|value| *value == "").count(), 0);
}

#[tokio::test]
async fn item_12_empty_lists_of_points_are_absent() {
    let (plain, odd) = both(Oddity::EmptyArrays).await;
    assert!(plain["\"localzone\" \"localzone\" null"].contains_key("diskSpaceTotalCurrent_Space"));
    assert!(missing(&plain, &odd) > 10);
}

#[tokio::test]
async fn item_12_absent_keys_are_absent_and_the_rest_is_there() {
    let (plain, odd) = both(Oddity::AbsentKeys).await;
    assert!(missing(&plain, &odd) > 10);
}

#[tokio::test]
async fn item_12_a_stale_point_comes_with_its_own_time() {
    let (plain, odd) = both(Oddity::StalePoints).await;
    let mut stale = 0;
    for (key, members) in &plain {
        for (name, value) in members
            .iter()
            .filter(|(name, _)| !name.starts_with("alertsNumUnack"))
        {
            let found = &odd[key][name];
            if name.ends_with("_t") && found != value {
                assert_eq!(
                    found.as_u64(),
                    Some(value.as_u64().unwrap() - STALE),
                    "{key} {name}"
                );
                stale += 1;
            } else {
                assert_eq!(found, value, "{key} {name}");
            }
        }
    }
    assert!(stale > 10, "{stale}");
}

#[tokio::test]
async fn item_12_the_newest_of_two_points_counts_in_whatever_order() {
    for extra in [None, Some(Oddity::UnsortedPoints)] {
        let bench = Bench::new(small()).await;
        let plain = records(&bench.events_of(&COMMANDS).await);
        for oddity in [Some(Oddity::TwoPoints), extra].into_iter().flatten() {
            bench
                .sim
                .faults()
                .set(FaultRule::everywhere(Fault::Odd { oddity }));
        }
        let odd = records(&bench.events_of(&COMMANDS).await);
        for (key, members) in &plain {
            for (name, value) in members
                .iter()
                .filter(|(name, _)| !name.starts_with("alertsNumUnack"))
            {
                assert_eq!(&odd[key][name], value, "{key} {name}");
            }
        }
        // Lists that are no Current are passed on with all their points.
        let zone = &odd["\"localzone\" \"localzone\" null"];
        assert_eq!(zone["alertsNumUnackInfo"].as_array().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn item_12_fabricated_zeros_of_the_history_do_not_replace_the_current_value() {
    let bench = Bench::new(small()).await;
    let both = "{type: both, uri: /dashboard/zones/localzone, level: vdc, key: [id]}";
    let plain = bench.events_of(&[both]).await;
    let oddity = Oddity::FabricatedZeros;
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(Fault::Odd { oddity }));
    let odd = bench.events_of(&[both]).await;
    let (plain, odd) = (of(&plain, "both")[0], of(&odd, "both")[0]);
    assert_eq!(odd["diskSpaceTotal"][0]["Space"], 0, "the history is the zero");
    assert_eq!(odd["diskSpaceTotalSummary"]["Max"][0]["Space"], 0);
    for name in [
        "diskSpaceTotalCurrent_Space",
        "diskSpaceAllocatedCurrent_Space",
        "diskSpaceTotalCurrent_t",
    ] {
        assert!(odd[name].as_u64().unwrap() > 0);
        assert_eq!(odd[name], plain[name], "{name}");
    }
}

#[tokio::test]
async fn item_12_members_that_no_release_has_yet_are_kept() {
    let (plain, odd) = both(Oddity::UnknownKeys).await;
    let new: BTreeSet<&str> = [
        "quantumFluxCurrent_Furlongs",
        "quantumFluxCurrent_t",
        "newScalar",
        "newObject",
    ]
    .into();
    for (key, members) in &odd {
        let more: BTreeSet<&str> = members
            .keys()
            .map(String::as_str)
            .filter(|name| !plain[key].contains_key(*name))
            .collect();
        assert!(more.is_empty() || more == new, "{key}: {more:?}");
    }
    let zone = &odd["\"localzone\" \"localzone\" null"];
    assert_eq!(zone["quantumFluxCurrent_Furlongs"], 7.5);
    assert_eq!(zone["newScalar"], "new");
    assert_eq!(zone["newObject"]["deep"][0]["newer"], 1);
}

#[tokio::test]
async fn item_12_lists_under_the_old_key_are_read() {
    let (plain, odd) = both(Oddity::InstancesKey).await;
    assert_eq!(plain, odd);
}

#[tokio::test]
async fn item_12_bare_numbers_are_the_same_numbers() {
    let (plain, odd) = both(Oddity::BareNumbers).await;
    for (key, members) in &plain {
        for (name, value) in members {
            let found = &odd[key][name];
            if value.is_f64() {
                assert!((number(value) - number(found)).abs() < 1e-9, "{key} {name}");
            } else {
                assert_eq!(found, value, "{key} {name}");
            }
        }
    }
}

#[tokio::test]
async fn item_12_a_node_without_id_is_shipped() {
    let bench = Bench::new(small()).await;
    let oddity = Oddity::NodeWithoutId;
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(Fault::Odd { oddity }));
    let events = bench.events_of(&["{type: nodes}"]).await;
    let nodes = of(&events, "nodes");
    assert_eq!(nodes.len(), 2);
    assert_eq!(nodes.iter().filter(|node| node.get("id").is_none()).count(), 1);
    assert_ne!(nodes[0]["event"]["id"], nodes[1]["event"]["id"]);
    assert!(nodes.iter().all(|node| node["@timestamp"].is_string()));
}
