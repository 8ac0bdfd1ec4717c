//! Bugs of the 2017 collector that must not come back, one test each. `bug_05` is number 5 of the list that was made
//! by reading it, `seen_11` number 11 of the one that was made by watching it. Those not here have a test among the
//! faults, or are no matter of polling.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ecs_sim::bulk::{BulkFault, BulkRule};
use ecs_sim::{Fault, FaultRule, Oddity, RowTruth};
use ecsbeat::app::Outcome;
use serde_json::Value;

use crate::support::{Builder, Rig, eventually, text};

fn one(kinds: &[&str]) -> Builder {
    Rig::build().sim(|sim| sim.vdcs = 1).commands(kinds)
}

fn odd(oddity: Oddity) -> FaultRule {
    FaultRule::everywhere(Fault::Odd { oddity })
}

fn status(status: u16) -> Fault {
    Fault::Status {
        codes: vec![status],
        retry_after: None,
        retryable: None,
        code: None,
        details: None,
    }
}

/// Polls everything once with these rules in force.
async fn once(builder: Builder, rules: Vec<FaultRule>) -> (Rig, Outcome) {
    let mut rig = builder.settings("ecsbeat.once: true").prepare().await;
    for rule in rules {
        rig.sim.faults().set(rule);
    }
    rig.run();
    let outcome = rig.ended().await.unwrap();
    (rig, outcome)
}

fn ids(events: &[Value]) -> BTreeSet<String> {
    events.iter().map(|event| text(event, "id").to_owned()).collect()
}

fn delivered(rig: &Rig, kind: &str, vdc: usize, rows: &[RowTruth]) -> bool {
    let ids = ids(&rig.events_of(kind, vdc));
    rows.iter().all(|row| ids.contains(&row.id))
}

/// Waits until the simulator's clock has gone on by so many seconds.
async fn pass(rig: &Rig, seconds: i64) {
    let begin = rig.sim.now();
    eventually("time passes", || rig.sim.now() >= begin + seconds).await;
}

fn busy_journal(sim: &mut ecs_sim::Config) {
    sim.journal.alerts_per_minute = 60;
    sim.journal.events_per_minute = 60;
}

#[tokio::test]
async fn bug_06_system_commands_ask_one_vdc_and_say_which() {
    let mut rig = Rig::build()
        .sim(|sim| sim.vdcs = 3)
        .commands(&["capacity", "nsbilling"])
        .start()
        .await;
    rig.fresh_all(&["capacity", "nsbilling"], &[]).await;
    rig.fresh_all(&["capacity", "nsbilling"], &[]).await;
    rig.stop().await;
    for kind in ["capacity", "nsbilling"] {
        assert_eq!(rig.values(kind, "ecs-vdc-cfgname"), ["VDC0".to_owned()].into());
        assert_eq!(rig.values(kind, "ecs-vdc-id"), [rig.sim.vdc(0).id()].into());
        assert_eq!(rig.values(kind, "ecs-vdc-name"), [rig.sim.vdc(0).name()].into());
    }
}

#[tokio::test]
async fn bug_07_a_failed_node_or_group_does_not_end_the_poll() {
    let builder = one(&[]).sim(|sim| sim.nodes_per_vdc = 4).command_entries(
        "  - {type: disks, interval: 1s}\n  - {type: nsbilling, interval: 1s, batch: {size: 1}}",
    );
    let mut rig = builder.settings("ecsbeat.once: true").prepare().await;
    let id = rig.sim.vdc(0).node(0).id();
    rig.sim
        .faults()
        .set(FaultRule::everywhere(status(500)).on_path(&format!("/dashboard/nodes/{id}")));
    // The first of three groups, in all its tries.
    rig.sim.faults().set(
        FaultRule::everywhere(status(400))
            .on_path("/object/billing")
            .times(1),
    );
    rig.run();
    assert_eq!(rig.ended().await.unwrap(), Outcome::Incomplete);
    assert_eq!(rig.values("disks", "ecs-node-name").len(), 3);
    assert_eq!(rig.failures("disks").len(), 1);
    assert_eq!(rig.values("nsbilling", "namespace").len(), 2);
    assert_eq!(rig.error_codes("nsbilling"), ["bad_request".to_owned()].into());
}

#[tokio::test]
async fn bug_08_a_hung_vdc_delays_nobody() {
    let kinds = ["localzone", "disks", "alert"];
    let mut rig = Rig::build()
        .sim(busy_journal)
        .customer("reqtimeout: 20s")
        .settings("shutdown_timeout: 1s")
        .commands(&kinds)
        .start()
        .await;
    rig.fresh_all(&kinds, &[0, 1]).await;
    rig.sim.faults().set(FaultRule::everywhere(Fault::Hang).on_vdc(1));
    eventually("it hangs", || rig.sim.in_flight(1) >= 2).await;
    let begin = Instant::now();
    for _ in 0..2 {
        rig.fresh_all(&kinds, &[0]).await;
    }
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    rig.stop().await;
}

/// The windows that were asked for, in the order of asking, first pages only.
fn windows(rig: &Rig, path: &str) -> Vec<(String, String)> {
    let mut windows = Vec::new();
    for request in rig.asked(path) {
        let query: BTreeMap<&str, &str> = request
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        if let (Some(start), Some(end), None) = (
            query.get("start_time"),
            query.get("end_time"),
            query.get("marker"),
        ) {
            windows.push((start.replace("%3A", ":"), end.replace("%3A", ":")));
        }
    }
    windows
}

#[tokio::test]
async fn bug_09_windows_are_in_utc_and_billing_takes_whole_granules() {
    let mut rig = one(&[])
        .command_entries("  - {type: alert, interval: 60s}\n  - {type: nsbillingsample, interval: 300s}")
        .settings("ecsbeat.once: true")
        .start()
        .await;
    assert_eq!(rig.ended().await.unwrap(), Outcome::Well);
    let now = jiff::Timestamp::now();
    for (path, step, most) in [
        ("/vdc/alerts", 60, 10 * 60),
        ("/object/billing/namespace/sample", 300, 25 * 60),
    ] {
        let windows = windows(&rig, path);
        assert!(!windows.is_empty(), "{path}");
        for (start, end) in windows {
            for border in [&start, &end] {
                assert_eq!(border.len(), "2026-03-02T10:41".len());
                let border: jiff::Timestamp = format!("{border}:00Z").parse().unwrap();
                assert_eq!(border.as_second() % step, 0, "{path} {start} {end}");
                let age = now.as_second() - border.as_second();
                assert!((0..=most).contains(&age), "{path}: {border} is {age} s ago");
            }
        }
    }
    assert_eq!(rig.values("nsbillingsample", "namespace").len(), 3);
}

#[tokio::test]
async fn bug_10_windows_follow_each_other_without_gap_or_overlap() {
    let mut rig = one(&[])
        .sim(busy_journal)
        .command_entries(
            "  - {type: alert, interval: 1s, \
             window: {step: 1s, lag: 1s, overlap: 0s, max_span: 10m, format: rfc3339}}",
        )
        .start()
        .await;
    let path = "/vdc/alerts";
    eventually("some windows", || windows(&rig, path).len() >= 3).await;
    // The clock of ECS stands still for a moment, a request fails, time goes on.
    rig.sim
        .faults()
        .set(FaultRule::everywhere(status(503)).on_path(path).times(3));
    eventually("more windows", || windows(&rig, path).len() >= 9).await;
    rig.stop().await;
    assert!(!rig.failures("alert").is_empty());
    let mut good: Vec<(String, String)> = windows(&rig, path);
    // A window that failed is asked for again from where it began, as far as is possible by then.
    good.reverse();
    good.dedup_by(|earlier, last| earlier.0 == last.0);
    good.reverse();
    assert!(good.len() >= 3);
    for pair in good.windows(2) {
        assert_eq!(pair[0].1, pair[1].0, "{good:?}");
    }
    assert!(rig.bulk.repeated().is_empty());
}

#[tokio::test]
async fn bug_11_what_happened_while_it_was_stopped_is_read_after_the_start() {
    let mut rig = one(&["alert", "auditevent"]).sim(busy_journal).start().await;
    let begin = rig.sim.now();
    pass(&rig, 2).await;
    eventually("alerts", || !rig.events("alert").is_empty()).await;
    assert_eq!(rig.stop().await, Outcome::Well);
    pass(&rig, 3).await;
    let end = rig.sim.now();
    rig.run();
    let truth = rig.sim.truth_between(begin, end);
    let truth = &truth.vdcs[0];
    assert!(truth.alerts.len() >= 4);
    eventually("all", || {
        delivered(&rig, "alert", 0, &truth.alerts) && delivered(&rig, "auditevent", 0, &truth.audit_events)
    })
    .await;
    rig.stop().await;
    assert!(rig.bulk.repeated().is_empty(), "{:?}", rig.bulk.repeated());
}

#[tokio::test]
async fn bug_12_all_pages_of_events_and_alerts_are_read() {
    let mut rig = one(&["alert", "auditevent"])
        .sim(|sim| {
            busy_journal(sim);
            sim.journal.page_size = 4;
        })
        .start()
        .await;
    // The first question reaches two minutes back, and audit events are stamped up to a minute early.
    let end = rig.sim.now();
    let truth = rig.sim.truth_between(end - 55, end);
    let truth = &truth.vdcs[0];
    assert!(truth.alerts.len() > 20 && truth.audit_events.len() > 20);
    eventually("all pages", || {
        delivered(&rig, "alert", 0, &truth.alerts) && delivered(&rig, "auditevent", 0, &truth.audit_events)
    })
    .await;
    rig.stop().await;
    assert!(rig.bulk.repeated().is_empty());
    assert!(
        rig.asked("/vdc/alerts")
            .iter()
            .any(|request| request.query.contains("marker="))
    );
}

#[tokio::test]
async fn bug_13_the_last_page_of_namespaces_ends_the_list() {
    for oddity in [Oddity::MarkerNull, Oddity::MarkerAbsent, Oddity::MarkerEmpty] {
        let builder = one(&["nsbilling"]).sim(|sim| {
            sim.page_size = 2;
            sim.namespaces = 5;
        });
        let (rig, outcome) = once(builder, vec![odd(oddity)]).await;
        assert_eq!(outcome, Outcome::Well, "{oddity:?}");
        assert_eq!(rig.values("nsbilling", "namespace").len(), 5, "{oddity:?}");
        assert_eq!(rig.asked("/object/namespaces").len(), 3, "{oddity:?}");
    }
}

#[tokio::test]
async fn bug_13_a_marker_that_never_ends_is_an_error_and_no_loop() {
    let builder = one(&["nsbilling"]).sim(|sim| {
        sim.page_size = 2;
        sim.namespaces = 5;
    });
    let (rig, outcome) = once(builder, vec![odd(Oddity::MarkerLoop)]).await;
    assert_eq!(outcome, Outcome::Incomplete);
    assert_eq!(rig.error_codes("nsbilling"), ["marker_loop".to_owned()].into());
    assert!(rig.asked("/object/namespaces").len() <= 4);
}

#[tokio::test]
async fn bug_21_a_certificate_of_an_unknown_authority_is_refused_before_the_password_is_sent() {
    for fault in [
        Fault::CertOtherAuthority,
        Fault::CertSelfSigned,
        Fault::CertOtherName,
        Fault::CertExpired,
    ] {
        let (rig, outcome) = once(one(&["localzone"]), vec![FaultRule::everywhere(fault.clone())]).await;
        assert_eq!(outcome, Outcome::Incomplete);
        assert_eq!(rig.error_codes("localzone"), ["transport".to_owned()].into());
        assert!(rig.sim.requests().is_empty(), "{fault:?}");
    }
    // As it was in 2017, on request.
    let builder = one(&["localzone"]).customer("ssl.verification_mode: none");
    let (rig, outcome) = once(builder, vec![FaultRule::everywhere(Fault::CertSelfSigned)]).await;
    assert_eq!(outcome, Outcome::Well);
    assert_eq!(rig.events("localzone").len(), 1);
}

#[tokio::test]
async fn bug_24_directory_tables_of_every_vdc() {
    for oddity in [Oddity::DtNoFinalNewline, Oddity::DtJunkLines, Oddity::DtUnowned] {
        let builder = Rig::build()
            .sim(|sim| sim.directory_tables = 20)
            .commands(&["dtinfo"]);
        let (rig, outcome) = once(builder, vec![odd(oddity)]).await;
        assert_eq!(outcome, Outcome::Well, "{oddity:?}: {:?}", rig.failures("dtinfo"));
        for vdc in 0..2 {
            let tables = rig.events_of("dtinfo", vdc);
            let names: BTreeSet<&str> = tables.iter().map(|event| text(event, "dt-id")).collect();
            assert_eq!((tables.len(), names.len()), (20, 20), "{oddity:?}");
            assert!(names.iter().all(|name| name.trim() == *name && !name.is_empty()));
        }
    }
}

#[tokio::test]
async fn bug_25_alerts_keep_their_time_and_come_once() {
    let mut rig = one(&["latestalert", "alert"]).sim(busy_journal).start().await;
    rig.fresh_all(&["latestalert", "alert"], &[]).await;
    rig.fresh("alert", &[]).await;
    rig.stop().await;
    for kind in ["latestalert", "alert"] {
        let events = rig.events(kind);
        assert_eq!(ids(&events).len(), events.len(), "{kind}: each alert once");
        for event in events {
            let stamp = text(&event, "timestamp");
            assert_eq!(text(&event, "@timestamp"), format!("{stamp}.000Z"));
            assert_eq!(text(&event, "type"), "ecsbeat");
        }
    }
    let own = rig.values("alert", "ecs-type");
    let known = ["RPO", "DISK", "CAPACITY", "NODE", "LICENSE"]
        .map(str::to_owned)
        .into();
    assert!(
        !own.is_empty() && own.is_subset(&known),
        "the alert's own type is kept: {own:?}"
    );
}

#[tokio::test]
async fn bug_26_a_node_without_id_is_an_event_like_any_other() {
    let (rig, outcome) = once(one(&["nodes"]), vec![odd(Oddity::NodeWithoutId)]).await;
    assert_eq!(outcome, Outcome::Well);
    let events = rig.events("nodes");
    assert_eq!(events.len(), 2);
    assert!(events.iter().any(|event| event.get("id").is_none()));
    for event in events {
        for member in ["@timestamp", "ecs-customer", "ecs-vdc-id", "event.id"] {
            assert!(!text(&event, member).is_empty(), "{member}: {event}");
        }
    }
}

#[tokio::test]
async fn bug_27_the_newest_point_counts_and_numbers_are_exact() {
    let (plain, _) = once(
        one(&["localzone"]).sim(|sim| sim.clock_start = Some(1_772_448_060)),
        vec![],
    )
    .await;
    let rules = vec![odd(Oddity::TwoPoints), odd(Oddity::HugeValues)];
    let (rig, outcome) = once(
        one(&["localzone"]).sim(|sim| sim.clock_start = Some(1_772_448_060)),
        rules,
    )
    .await;
    assert_eq!(outcome, Outcome::Well);
    let (plain, odd) = (&plain.events("localzone")[0], &rig.events("localzone")[0]);
    let times = |event: &Value| -> BTreeMap<String, Value> {
        let members = event.as_object().unwrap();
        members
            .iter()
            .filter(|(name, _)| name.ends_with("Current_t"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    assert!(times(plain).len() >= 3, "{plain}");
    assert_eq!(times(plain), times(odd), "the time of the newer point");
    let huge: Vec<i64> = odd
        .as_object()
        .unwrap()
        .values()
        .filter_map(Value::as_i64)
        .filter(|value| *value > 1 << 53)
        .collect();
    assert!(
        huge.iter().any(|value| value % 2 == 1),
        "no odd number beyond 2^53: {huge:?}"
    );
}

#[tokio::test]
async fn bug_30_what_was_polled_is_delivered_before_the_end() {
    let mut rig = one(&["disks", "processes", "localzone", "nsbilling"])
        .settings("ecsbeat.once: true")
        .prepare()
        .await;
    rig.bulk.set(BulkRule::always(BulkFault::Slow { ms: 400 }));
    rig.run();
    assert_eq!(rig.ended().await.unwrap(), Outcome::Well);
    for (kind, count) in [("disks", 4), ("processes", 4), ("localzone", 1), ("nsbilling", 3)] {
        assert_eq!(rig.events(kind).len(), count, "{kind}");
    }
}

#[tokio::test]
async fn bug_30_a_stop_delivers_what_is_queued() {
    let mut rig = one(&["disks"])
        .sim(|sim| sim.disks_per_node = 40)
        .settings("queue.mem.flush: {min_events: 10, timeout: 10ms}")
        .prepare()
        .await;
    rig.bulk.set(BulkRule::always(BulkFault::Slow { ms: 50 }));
    rig.run();
    eventually("some are there", || !rig.bulk.is_empty()).await;
    assert_eq!(rig.stop().await, Outcome::Well);
    let mut ticks: BTreeMap<String, usize> = BTreeMap::new();
    for event in rig.events("disks") {
        *ticks.entry(text(&event, "ecsbeat.tick").to_owned()).or_default() += 1;
    }
    assert!(ticks.values().all(|count| *count == 80), "{ticks:?}");
}

#[tokio::test]
async fn bug_32_a_token_is_logged_out_only_when_nobody_uses_it() {
    let mut rig = one(&["localzone", "nodes", "disks", "processes", "storagepools"])
        .customer("tokenexpiry: 1s")
        .prepare()
        .await;
    rig.sim
        .faults()
        .set(FaultRule::everywhere(Fault::Latency { ms: 150, p99_ms: 0 }));
    rig.run();
    eventually("three tokens", || rig.sim.token_counts(0).issued >= 4).await;
    rig.stop().await;
    let refused = rig
        .sim
        .requests()
        .into_iter()
        .find(|request| request.status != 200);
    assert!(refused.is_none(), "{refused:?}");
    assert_eq!(rig.sim.token_counts(0).live, 0);
}

#[tokio::test]
async fn seen_01_run_once_says_when_something_failed() {
    let (rig, outcome) = once(one(&["localzone"]).password("CANARY-wrong"), vec![]).await;
    assert_eq!(outcome, Outcome::Incomplete);
    assert_eq!(rig.events("localzone").len(), 0);
    assert_eq!(rig.failures("localzone").len(), 1);
}

#[tokio::test]
async fn seen_09_rows_of_the_border_come_once_where_the_end_belongs_to_the_window() {
    let mut rig = one(&["alert", "auditevent"])
        .sim(|sim| {
            busy_journal(sim);
            sim.journal.inclusive_end = true;
        })
        .start()
        .await;
    let begin = rig.sim.now();
    pass(&rig, 4).await;
    let truth = rig.sim.truth_between(begin, rig.sim.now());
    eventually("all", || delivered(&rig, "alert", 0, &truth.vdcs[0].alerts)).await;
    rig.stop().await;
    assert!(rig.bulk.repeated().is_empty(), "{:?}", rig.bulk.repeated());
}

#[tokio::test]
async fn seen_11_truncated_answers_are_asked_for_again() {
    for chunked in [false, true] {
        let fault = Fault::Truncate { chunked, percent: 60 };
        let rule = FaultRule::everywhere(fault).on_path("/dashboard/nodes").times(2);
        let (rig, outcome) = once(one(&["disks"]).sim(|sim| sim.disks_per_node = 20), vec![rule]).await;
        assert_eq!(outcome, Outcome::Well);
        assert_eq!(rig.events("disks").len(), 40);
        assert!(
            rig.bulk.repeated().is_empty(),
            "what came before the break came once"
        );
    }
}

#[tokio::test]
async fn seen_13_empty_lists_of_alerts_are_no_event_and_no_error() {
    for oddity in [Oddity::EmptyObject, Oddity::NullList] {
        let builder = one(&["alert", "auditevent", "latestalert"]).sim(|sim| {
            sim.journal.alerts_per_minute = 0;
            sim.journal.events_per_minute = 0;
        });
        let (rig, outcome) = once(builder, vec![odd(oddity)]).await;
        assert_eq!(outcome, Outcome::Well, "{oddity:?}: {:?}", rig.all());
        assert_eq!(rig.all().len(), 0, "{oddity:?}: {:?}", rig.all());
    }
}

#[tokio::test]
async fn seen_17_a_stop_does_not_wait_for_nodes_that_hang() {
    let mut rig = one(&["localzone", "disks"])
        .customer("reqtimeout: 60s")
        .settings("shutdown_timeout: 500ms")
        .start()
        .await;
    rig.fresh("disks", &[]).await;
    rig.sim
        .faults()
        .set(FaultRule::everywhere(Fault::Hang).on_path("/dashboard"));
    eventually("it hangs", || rig.sim.in_flight(0) >= 2).await;
    let begin = Instant::now();
    rig.stop().await;
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(rig.sim.token_counts(0).live, 0);
}

#[tokio::test]
async fn seen_17_a_stop_does_not_wait_for_a_login_that_hangs() {
    let mut rig = one(&["localzone"])
        .customer("reqtimeout: 60s")
        .settings("shutdown_timeout: 500ms")
        .prepare()
        .await;
    rig.sim.faults().set(FaultRule::everywhere(Fault::Hang));
    rig.run();
    eventually("it hangs", || rig.sim.in_flight(0) >= 1).await;
    let begin = Instant::now();
    rig.stop().await;
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn seen_22_nothing_is_lost_while_the_output_is_down() {
    let mut rig = one(&["alert", "auditevent"]).sim(busy_journal).start().await;
    eventually("alerts", || !rig.events("alert").is_empty()).await;
    let begin = rig.sim.now();
    rig.bulk.set(BulkRule::always(BulkFault::Refuse));
    pass(&rig, 4).await;
    rig.bulk.clear_faults();
    let truth = rig.sim.truth_between(begin, rig.sim.now());
    let truth = &truth.vdcs[0];
    eventually("all", || {
        delivered(&rig, "alert", 0, &truth.alerts) && delivered(&rig, "auditevent", 0, &truth.audit_events)
    })
    .await;
    rig.stop().await;
    assert!(rig.bulk.duplicates().is_empty());
}

#[tokio::test]
async fn seen_26_a_hung_node_costs_no_cycle() {
    let mut rig = one(&["localzone", "nodes", "storagepools"])
        .customer("reqtimeout: 400ms")
        .prepare()
        .await;
    rig.sim
        .faults()
        .set(FaultRule::everywhere(Fault::Hang).on_node(0, 1));
    rig.run();
    for _ in 0..2 {
        rig.fresh_all(&["localzone", "nodes", "storagepools"], &[]).await;
    }
    rig.stop().await;
    for kind in ["localzone", "nodes", "storagepools"] {
        assert_eq!(rig.failures(kind).len(), 0, "{kind}");
    }
}
