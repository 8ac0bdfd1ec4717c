//! Item 19: passwords, tokens and what ECS itself lets slip never leave the collector.

use ecs_sim::{Fault, FaultRule};

use crate::support::{Rig, eventually, every};

/// APIs whose answers hold secrets, polled as any other.
const INVENTORY: &str = "  - {type: vdcs, level: vdc, interval: 1s, uri: /object/vdcs/vdc/list.json}
  - {type: vdc, level: vdc, interval: 1s, uri: /object/vdcs/vdc/local.json}
  - {type: inventory, level: vdc, interval: 1s, uri: /vdc/nodes.json}
";

const KINDS: [&str; 9] = [
    "auditevent",
    "alert",
    "latestalert",
    "localzone",
    "nodes",
    "disks",
    "dtinfo",
    "capacity",
    "nsbilling",
];

#[tokio::test]
async fn item_19_secrets_are_in_no_event_log_metric_answer_or_file() {
    let mut rig = Rig::build()
        .command_entries(&format!("{}{INVENTORY}", every(KINDS)))
        .customer("tokenexpiry: 1s")
        .http()
        .log()
        .start()
        .await;
    rig.fresh_all(&["localzone", "vdc", "vdcs", "inventory"], &[0, 1])
        .await;
    // Everything that makes it talk: refusals, broken answers, wrong certificates.
    let login = FaultRule::everywhere(Fault::TokenLimit).on_path("/login");
    for rule in [
        FaultRule::everywhere(Fault::TokenGarbled),
        FaultRule::everywhere(Fault::Forbidden),
        FaultRule::everywhere(Fault::HtmlPage).on_path("/object"),
        FaultRule::everywhere(Fault::ResetMidBody),
        FaultRule::everywhere(Fault::LoginWithoutToken),
        login,
    ] {
        let number = rig.sim.faults().set(rule.on_vdc(1));
        let before = rig.failures("vdc").len();
        eventually("failures", || rig.failures("vdc").len() > before).await;
        rig.sim.faults().remove(number);
    }
    rig.fresh("vdcs", &[0]).await;
    let mut told = vec![
        ("config", rig.config().redacted_yaml),
        ("debug", format!("{:?}", rig.config())),
    ];
    for path in ["/", "/stats", "/state", "/metrics", "/health", "/commands"] {
        let answer = rig.get(path).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        told.push((path, answer));
    }
    rig.stop().await;
    let log = rig.log_text();
    assert!(log.contains("logged in") && log.contains("poll failed"), "{log}");
    let data = rig.data_text();
    assert!(data.contains("auditevent"), "{data}");
    let events: String = rig.all().iter().map(ToString::to_string).collect();
    assert!(events.contains("ecs-customer"));
    told.extend([("log", log), ("data", data), ("events", events)]);
    let canaries = rig.sim.canaries();
    assert!(canaries.len() >= 5);
    for (place, text) in told {
        for canary in &canaries {
            let found = text.find(canary.as_str());
            let around = found.map(|at| {
                let begin = text.floor_char_boundary(at.saturating_sub(200));
                text.get(begin..at)
            });
            assert!(found.is_none(), "{canary} is in {place}, after {around:?}");
        }
    }
}

#[tokio::test]
async fn item_19_the_secrets_are_there_to_be_found() {
    // What the test above relies on: the simulator does give them away.
    let mut rig = Rig::build()
        .sim(|sim| sim.vdcs = 1)
        .command_entries(INVENTORY)
        .settings("ecsbeat.once: true")
        .start()
        .await;
    rig.ended().await.unwrap();
    let events = rig.events("vdc");
    assert_eq!(events.len(), 1);
    assert!(events[0].get("vdcName").is_some(), "{}", events[0]);
    assert!(events[0].get("secretKeys").is_none(), "{}", events[0]);
    assert!(events[0].get("secretKeys_all").is_none());
}
