//! Item 8: statuses, what is asked again and what is not.

use std::collections::BTreeSet;
use std::time::Duration;

use ecs_sim::{Fault, FaultRule, LoggedRequest};
use ecsbeat::app::Outcome;

use crate::support::{Builder, Rig, eventually, text};

const LOCALZONE: &str = "/dashboard/zones/localzone";
const BILLING: &str = "/object/billing/namespace";

fn one(kinds: &[&str]) -> Builder {
    Rig::build().sim(|sim| sim.vdcs = 1).commands(kinds)
}

fn script(codes: &[u16]) -> Fault {
    Fault::Status {
        codes: codes.to_vec(),
        retry_after: None,
        retryable: None,
        code: None,
        details: None,
    }
}

/// Polls once, with the fault in force.
async fn once(builder: Builder, rule: FaultRule) -> (Rig, Outcome) {
    let mut rig = builder.settings("ecsbeat.once: true").prepare().await;
    rig.sim.faults().set(rule);
    rig.run();
    let outcome = rig.ended().await.unwrap();
    (rig, outcome)
}

fn statuses(requests: &[LoggedRequest]) -> Vec<u16> {
    requests.iter().map(|request| request.status).collect()
}

#[tokio::test]
async fn item_08_server_errors_are_tried_again_elsewhere() {
    let rule = FaultRule::everywhere(script(&[500, 503, 200])).on_path(LOCALZONE);
    let (rig, outcome) = once(one(&["localzone"]), rule).await;
    assert_eq!(outcome, Outcome::Well);
    let asked = rig.asked(LOCALZONE);
    assert_eq!(statuses(&asked), [500, 503, 200]);
    assert_ne!(asked[0].node, asked[1].node, "another node");
    assert!(
        asked[1].since_start_ms - asked[0].since_start_ms >= 95,
        "not at once"
    );
    assert_eq!(rig.events("localzone").len(), 1);
    assert_eq!(rig.failures("localzone").len(), 0);
}

#[tokio::test]
async fn item_08_tries_are_as_many_as_configured() {
    let rule = FaultRule::everywhere(script(&[502])).on_path(LOCALZONE);
    let builder = one(&["localzone"]);
    let (rig, outcome) = once(builder, rule).await;
    assert_eq!(outcome, Outcome::Incomplete);
    assert_eq!(statuses(&rig.asked(LOCALZONE)), [502, 502, 502]);
    let failures = rig.failures("localzone");
    assert_eq!(failures.len(), 1);
    assert_eq!(text(&failures[0], "error.code"), "server");
    assert!(text(&failures[0], "error.message").contains("502"));
}

#[tokio::test]
async fn item_08_retry_after_is_waited_for() {
    for status in [429, 503] {
        let fault = Fault::Status {
            codes: vec![status, 200],
            retry_after: Some(1),
            retryable: None,
            code: None,
            details: None,
        };
        let rule = FaultRule::everywhere(fault).on_path(LOCALZONE);
        let (rig, outcome) = once(one(&["localzone"]), rule).await;
        assert_eq!(outcome, Outcome::Well);
        let asked = rig.asked(LOCALZONE);
        assert_eq!(statuses(&asked), [status, 200]);
        assert!(asked[1].since_start_ms - asked[0].since_start_ms >= 1000);
    }
}

#[tokio::test]
async fn item_08_too_many_requests_is_a_reason_of_its_own() {
    let rule = FaultRule::everywhere(script(&[429])).on_path(LOCALZONE);
    let (rig, _) = once(one(&["localzone"]), rule).await;
    assert_eq!(rig.asked(LOCALZONE).len(), 3);
    assert_eq!(
        rig.error_codes("localzone"),
        ["too_many_requests".to_owned()].into()
    );
}

#[tokio::test]
async fn item_08_what_ecs_calls_not_retryable_is_not_tried_again() {
    let fault = Fault::Status {
        codes: vec![500],
        retry_after: None,
        retryable: Some(false),
        code: Some(7000),
        details: Some("the cause in its own words".to_owned()),
    };
    let rule = FaultRule::everywhere(fault).on_path(LOCALZONE);
    let (rig, outcome) = once(one(&["localzone"]), rule).await;
    assert_eq!(outcome, Outcome::Incomplete);
    assert_eq!(rig.asked(LOCALZONE).len(), 1);
    let failures = rig.failures("localzone");
    let message = text(&failures[0], "error.message");
    assert!(
        message.contains("the cause in its own words") && message.contains("7000"),
        "{message}"
    );
}

#[tokio::test]
async fn item_08_client_errors_are_not_tried_again() {
    for (status, code) in [(400, "bad_request"), (404, "unsupported"), (415, "bad_request")] {
        let rule = FaultRule::everywhere(script(&[status])).on_path(LOCALZONE);
        let (rig, _) = once(one(&["localzone"]), rule).await;
        assert_eq!(rig.asked(LOCALZONE).len(), 1, "{status}");
        assert_eq!(rig.error_codes("localzone"), [code.to_owned()].into());
        assert_eq!(rig.sim.token_counts(0).issued, 1, "no login for {status}");
    }
}

#[tokio::test]
async fn item_08_redirect_elsewhere_is_not_followed_and_shows_nobody_the_token() {
    let mut rig = one(&["localzone"])
        .settings("ecsbeat.once: true")
        .sim(|sim| sim.vdcs = 2)
        .prepare()
        .await;
    let elsewhere = rig.sim.vdc(1).node(0).mgmt_host();
    let fault = Fault::Redirect {
        location: format!("https://{elsewhere}{LOCALZONE}/stolen"),
        status: 307,
    };
    rig.sim
        .faults()
        .set(FaultRule::everywhere(fault).on_path(LOCALZONE).on_vdc(0));
    rig.run();
    rig.ended().await.unwrap();
    assert_eq!(rig.error_codes("localzone"), ["redirect".to_owned()].into());
    assert_eq!(rig.events_of("localzone", 1).len(), 1);
    assert!(rig.asked(&format!("{LOCALZONE}/stolen")).is_empty());
}

#[tokio::test]
async fn item_08_node_that_vanished_is_told_and_the_others_go_on() {
    let mut rig = one(&["disks"]).sim(|sim| sim.nodes_per_vdc = 3).start().await;
    eventually("three nodes", || rig.values("disks", "ecs-node-name").len() == 3).await;
    let gone = rig.sim.vdc(0).node(2);
    let (id, name) = (gone.id(), gone.name());
    rig.sim
        .faults()
        .set(FaultRule::everywhere(script(&[404])).on_path(&format!("/dashboard/nodes/{id}")));
    let ticks_of = |rig: &Rig, node: &str| {
        let mut events = rig.events("disks");
        events.retain(|event| text(event, "ecs-node-name") == node);
        events
            .iter()
            .map(|event| text(event, "ecsbeat.tick").to_owned())
            .collect::<BTreeSet<_>>()
            .len()
    };
    rig.fresh_failures("disks").await;
    let others: Vec<String> = (0..2).map(|node| rig.sim.vdc(0).node(node).name()).collect();
    for other in &others {
        let before = ticks_of(&rig, other);
        eventually("the others go on", || ticks_of(&rig, other) > before).await;
    }
    for failure in rig.failures("disks") {
        assert_eq!(text(&failure, "ecs-node-name"), name);
        assert_eq!(text(&failure, "error.code"), "unsupported");
    }
    rig.stop().await;
}

fn posts(rig: &Rig) -> Vec<LoggedRequest> {
    let mut posts = rig.asked(BILLING);
    posts.retain(|request| request.method == "POST");
    posts
}

fn assert_whole_bodies(posts: &[LoggedRequest]) {
    for post in posts {
        let body: serde_json::Value = serde_json::from_slice(&post.body).unwrap();
        assert_eq!(
            body,
            serde_json::json!({"id": ["ns1", "ns2", "ns3"]}),
            "{}",
            post.status
        );
        let length = post
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        assert_eq!(length.unwrap().1, post.body_length.to_string());
    }
}

#[tokio::test]
async fn item_08_post_is_repeated_with_its_whole_body() {
    let rule = FaultRule::everywhere(script(&[503, 500, 200]))
        .on_path(BILLING)
        .on_method("POST");
    let (rig, outcome) = once(one(&["nsbilling"]), rule).await;
    assert_eq!(outcome, Outcome::Well);
    let posts = posts(&rig);
    assert_eq!(statuses(&posts), [503, 500, 200]);
    assert_whole_bodies(&posts);
    assert_eq!(rig.values("nsbilling", "namespace").len(), 3);
}

#[tokio::test]
async fn item_08_post_is_repeated_with_its_whole_body_after_a_new_login() {
    let rule = FaultRule::everywhere(Fault::TokenExpired)
        .on_path(BILLING)
        .times(1);
    let (rig, outcome) = once(one(&["nsbilling"]), rule).await;
    assert_eq!(outcome, Outcome::Well);
    let posts = posts(&rig);
    assert_eq!(statuses(&posts), [302, 200]);
    assert_whole_bodies(&posts);
}

#[tokio::test]
async fn item_08_post_is_repeated_with_its_whole_body_after_a_broken_connection() {
    let rule = FaultRule::everywhere(Fault::Reset)
        .on_path(BILLING)
        .on_method("POST")
        .times(2);
    let (rig, outcome) = once(one(&["nsbilling"]), rule).await;
    assert_eq!(outcome, Outcome::Well);
    let posts = posts(&rig);
    assert_eq!(posts.len(), 3);
    assert_whole_bodies(&posts);
    assert_eq!(rig.values("nsbilling", "namespace").len(), 3);
}

#[tokio::test]
async fn item_08_batch_billing_that_is_not_there_is_asked_one_by_one() {
    for status in [405, 501] {
        let rule = FaultRule::everywhere(script(&[status]))
            .on_path(BILLING)
            .on_method("POST");
        let (rig, outcome) = once(one(&["nsbilling", "nsbillingsample"]), rule).await;
        assert_eq!(outcome, Outcome::Well, "{status}");
        for kind in ["nsbilling", "nsbillingsample"] {
            let expected: BTreeSet<String> = ["ns1", "ns2", "ns3"].map(str::to_owned).into();
            assert_eq!(rig.values(kind, "namespace"), expected, "{kind} after {status}");
        }
        assert_eq!(posts(&rig).len(), 2, "asked once in a batch by each command");
    }
}

#[tokio::test]
async fn item_08_a_node_that_hangs_costs_its_time_and_no_data() {
    let mut rig = one(&["localzone"])
        .customer("reqtimeout: 500ms")
        .settings("ecsbeat.once: true")
        .prepare()
        .await;
    rig.sim
        .faults()
        .set(FaultRule::everywhere(Fault::Hang).on_path(LOCALZONE).times(1));
    rig.run();
    let begin = std::time::Instant::now();
    assert_eq!(rig.ended().await.unwrap(), Outcome::Well);
    assert!(begin.elapsed() >= Duration::from_millis(500));
    assert_eq!(rig.events("localzone").len(), 1);
}
