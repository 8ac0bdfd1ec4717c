//! Item 9: connections that close, header names, clocks that differ.

use ecs_sim::{Fault, FaultRule, RowTruth};

use crate::support::{Builder, Rig, eventually, text};

fn one() -> Builder {
    Rig::build().sim(|sim| sim.vdcs = 1)
}

#[tokio::test]
async fn item_09_connections_that_close_without_a_word_lose_nothing() {
    for announce in [false, true] {
        let mut rig = one()
            .commands(&["localzone", "nodes", "disks", "latestalert", "nsbilling"])
            .prepare()
            .await;
        let requests = if announce { 2 } else { 3 };
        rig.sim
            .faults()
            .set(FaultRule::everywhere(Fault::CloseAfter { requests, announce }));
        rig.run();
        rig.fresh("disks", &[]).await;
        rig.fresh("localzone", &[]).await;
        rig.stop().await;
        let failures = rig.all();
        let failure = failures
            .iter()
            .find(|event| text(event, "event.outcome") == "failure");
        assert!(failure.is_none(), "{failure:?}");
        assert!(
            rig.sim
                .requests()
                .iter()
                .all(|request| request.nth_on_connection <= requests)
        );
    }
}

#[tokio::test]
async fn item_09_idle_connections_are_used_again_or_made_anew() {
    let mut rig = one()
        .sim(|sim| sim.keep_alive_secs = 1)
        .command_entries("  - {type: localzone, interval: 2s}")
        .start()
        .await;
    rig.fresh("localzone", &[]).await;
    rig.stop().await;
    assert_eq!(rig.failures("localzone").len(), 0);
}

#[tokio::test]
async fn item_09_connections_are_kept() {
    let mut rig = one().commands(&["localzone"]).start().await;
    rig.fresh("localzone", &[]).await;
    rig.fresh("localzone", &[]).await;
    rig.stop().await;
    assert!(rig.sim.requests().len() >= 7);
    assert!(rig.sim.handshakes(0) <= 2, "{}", rig.sim.handshakes(0));
}

#[tokio::test]
async fn item_09_names_of_headers_in_any_case() {
    for fault in [Fault::LowerCaseHeaders, Fault::UpperCaseHeaders] {
        let mut rig = one().prepare().await;
        rig.sim.faults().set(FaultRule::everywhere(fault));
        rig.run();
        rig.fresh("localzone", &[]).await;
        rig.stop().await;
        assert_eq!(rig.sim.token_counts(0).issued, 1);
        assert_eq!(rig.failures("localzone").len(), 0);
    }
}

/// Whether these rows were delivered, each once.
fn has_all(rig: &Rig, kind: &str, rows: &[RowTruth]) -> bool {
    let delivered = rig.values(kind, "id");
    rows.iter().all(|row| delivered.contains(&row.id))
}

async fn skewed(at_start: bool, node: Option<usize>, secs: i64) {
    let mut rig = one()
        .sim(|sim| {
            sim.journal.alerts_per_minute = 60;
            sim.journal.events_per_minute = 60;
        })
        .commands(&["alert", "auditevent"])
        .prepare()
        .await;
    let begin = rig.sim.now();
    let mut rule = FaultRule::everywhere(Fault::DateSkew { secs });
    if let Some(node) = node {
        rule = rule.on_node(0, node);
    }
    if at_start {
        rig.sim.faults().set(rule.clone());
    }
    rig.run();
    eventually("alerts", || !rig.events("alert").is_empty()).await;
    if !at_start {
        rig.sim.faults().set(rule);
    }
    let then = rig.sim.now();
    eventually("time passes", || rig.sim.now() > then + 2).await;
    rig.sim.faults().clear();
    let end = rig.sim.now();
    let truth = rig.sim.truth_between(begin, end);
    assert!(truth.vdcs[0].alerts.len() >= 2);
    eventually("every alert", || has_all(&rig, "alert", &truth.vdcs[0].alerts)).await;
    eventually("every audit event", || {
        has_all(&rig, "auditevent", &truth.vdcs[0].audit_events)
    })
    .await;
    rig.stop().await;
    assert!(rig.bulk.repeated().is_empty(), "{:?}", rig.bulk.repeated());
    assert_eq!(rig.failures("alert").len() + rig.failures("auditevent").len(), 0);
}

#[tokio::test]
async fn item_09_date_behind_from_the_start_loses_no_record() {
    skewed(true, None, -600).await;
}

#[tokio::test]
async fn item_09_date_ahead_from_the_start_loses_no_record() {
    skewed(true, None, 600).await;
}

#[tokio::test]
async fn item_09_date_that_jumps_back_loses_no_record() {
    skewed(false, None, -600).await;
}

#[tokio::test]
async fn item_09_date_of_one_node_that_is_off_loses_no_record() {
    skewed(false, Some(0), 600).await;
    skewed(true, Some(0), -600).await;
}
