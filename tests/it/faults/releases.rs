//! Item 11: every release delivers what it has, and what it has not is told and hurts nobody.

use ecs_sim::Profile;
use ecsbeat::app::Outcome;

use crate::support::{Rig, eventually, every, text};

const KINDS: [&str; 12] = [
    "auditevent",
    "alert",
    "latestalert",
    "localzone",
    "nodes",
    "replicationgroups",
    "storagepools",
    "disks",
    "processes",
    "capacity",
    "nsbilling",
    "nsbillingsample",
];

/// A Flux query and an API that no release has.
const MORE: &str = "  - {type: flux, level: vdc, interval: 1s, method: POST, uri: /flux/api/external/v2/query, \
                    records: /Series, body: '{\"query\": \"from(bucket: \\\"monitoring_main\\\") |> range(start: -30m) |> \
                    filter(fn: (r) => r._measurement == \\\"cpu\\\")\"}'}\n  - {type: future, level: vdc, interval: 1s, \
                    uri: /object/future.json}\n";

async fn delivers(profile: Profile, flux: bool, dtinfo: bool) {
    let mut kinds = KINDS.to_vec();
    kinds.push("dtinfo");
    let mut rig = Rig::build()
        .sim(|sim| {
            sim.vdcs = 1;
            sim.profile = profile;
            sim.journal.alerts_per_minute = 60;
            sim.journal.events_per_minute = 60;
        })
        .command_entries(&format!("{}{MORE}", every(kinds)))
        .settings("ecsbeat.once: true")
        .start()
        .await;
    assert_eq!(
        rig.ended().await.unwrap(),
        Outcome::Incomplete,
        "the future is not here"
    );
    for kind in KINDS {
        // The newest releases answer with an empty list.
        let empty = kind == "processes" && profile >= Profile::V4_1;
        assert!(
            empty || !rig.events(kind).is_empty(),
            "{profile}: {kind}: {:?}",
            rig.failures(kind)
        );
        assert_eq!(rig.failures(kind).len(), 0, "{profile}: {kind}");
    }
    assert_eq!(rig.error_codes("future"), ["unsupported".to_owned()].into());
    for (kind, there) in [("flux", flux), ("dtinfo", dtinfo)] {
        assert_eq!(
            !rig.events(kind).is_empty(),
            there,
            "{profile}: {kind}: {:?}",
            rig.failures(kind)
        );
        assert_eq!(rig.failures(kind).is_empty(), there, "{profile}: {kind}");
    }
    // Every node with its name, whatever ids the release has.
    assert_eq!(rig.values("disks", "ecs-node-name").len(), 2, "{profile}");
    assert_eq!(rig.values("nodes", "ecs-node-name").len(), 2, "{profile}");
    assert_eq!(
        rig.values("disks", "ecs-version"),
        [profile.version().to_owned()].into()
    );
    assert_eq!(rig.values("nsbilling", "namespace").len(), 3, "{profile}");
}

#[tokio::test]
async fn item_11_release_2_2() {
    delivers(Profile::V2_2, false, true).await;
}

#[tokio::test]
async fn item_11_release_3_1() {
    delivers(Profile::V3_1, false, true).await;
}

#[tokio::test]
async fn item_11_release_3_6() {
    delivers(Profile::V3_6, true, true).await;
}

#[tokio::test]
async fn item_11_release_3_8_0() {
    delivers(Profile::V3_8_0, true, true).await;
}

#[tokio::test]
async fn item_11_release_3_8_1_community_edition() {
    delivers(Profile::V3_8_1Ce, false, true).await;
}

#[tokio::test]
async fn item_11_release_4_1() {
    delivers(Profile::V4_1, true, false).await;
}

#[tokio::test]
async fn item_11_release_4_3() {
    delivers(Profile::V4_3, true, false).await;
}

#[tokio::test]
async fn item_11_upgrade_node_by_node() {
    let mut rig = Rig::build()
        .sim(|sim| {
            sim.vdcs = 1;
            sim.profile = Profile::V3_6;
        })
        .customer("cfgrefreshinterval: 1s")
        .commands(&["localzone", "disks", "nodes"])
        .start()
        .await;
    rig.fresh("disks", &[]).await;
    rig.sim.vdc(0).node(0).upgrade(Profile::V4_3).unwrap();
    eventually("two versions", || rig.values("disks", "ecs-version").len() == 2).await;
    for kind in ["localzone", "disks", "nodes"] {
        rig.fresh(kind, &[]).await;
        assert_eq!(rig.failures(kind).len(), 0);
    }
    let name = rig.sim.vdc(0).node(0).name();
    let disks = rig.events("disks");
    let newest = disks
        .iter()
        .rfind(|event| text(event, "ecs-node-name") == name)
        .unwrap();
    assert_eq!(text(newest, "ecs-version"), Profile::V4_3.version());
    rig.stop().await;
}

#[tokio::test]
async fn item_11_an_api_that_is_not_there_is_asked_seldom_and_no_fault() {
    let mut rig = Rig::build()
        .sim(|sim| {
            sim.vdcs = 1;
            sim.profile = Profile::V3_1;
        })
        .command_entries(MORE)
        .customer("cfgrefreshinterval: 1s")
        .http()
        .start()
        .await;
    // Both are asked at their first tick, the next one, and then two, four and eight ticks later.
    eventually("both are asked a few times", || {
        rig.failures("flux").len() >= 4 && rig.failures("future").len() >= 4
    })
    .await;
    let first = rig
        .failures("future")
        .first()
        .map(|event| text(event, "@timestamp").to_owned());
    let last = rig
        .failures("future")
        .last()
        .map(|event| text(event, "@timestamp").to_owned());
    let at = |time: Option<String>| time.unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    assert!(at(last) - at(first) >= 7, "{:?}", rig.failures("future"));
    let commands: serde_json::Value = {
        let answer = rig.get("/commands").await;
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    for command in commands["commands"].as_array().unwrap() {
        assert_eq!(command["unsupported"], true, "{command}");
        assert!(command["lag_ms"].is_null(), "{command}");
        assert!(
            command["last_error"].as_str().unwrap().contains("no such API"),
            "{command}"
        );
    }
    let health = rig.get("/health?strict=true").await;
    assert!(
        health.starts_with("HTTP/1.1 200") && health.contains("\"reasons\":[]"),
        "{health}"
    );
    let metrics = rig.get("/metrics").await;
    assert!(!metrics.contains("last_success"), "{metrics}");
    // A release that has the one and not the other.
    for node in rig.sim.vdc(0).nodes() {
        node.upgrade(Profile::V3_8_0).unwrap();
    }
    rig.fresh("flux", &[]).await;
    rig.stop().await;
}
