//! APIs that no code knows, by configuration alone: lists of other shapes, windows, pages, keys.

use std::collections::BTreeSet;
use std::time::Duration;

use ecs_sim::{Fault, FaultRule, Journal};
use ecsbeat::app::Outcome;
use serde_json::{Value, json};

use crate::support::bench::{Bench, START, failures, of, small, sorted};

#[tokio::test]
async fn all_disks_of_a_vdc_in_one_answer() {
    let bench = Bench::new(ecs_sim::Config { vdcs: 2, ..small() }).await;
    let command =
        "{type: alldisks, uri: '/dashboard/zones/localzone/disks?dataType=current', level: vdc, key: [id]}";
    assert_eq!(
        bench.once(&[command, "{type: disks}"]).await,
        Outcome::Well,
        "{:?}",
        failures(&bench.events())
    );
    let events = bench.events();
    let all = of(&events, "alldisks");
    assert_eq!(all.len(), 8);
    assert_eq!(
        sorted(&all, "id"),
        sorted(&of(&events, "disks"), "id"),
        "those of each node together"
    );
    for disk in all {
        // A disk belongs to a node, which is told as for any command.
        assert_eq!(disk["ecs-node-name"], disk["nodeDisplayName"]);
        assert!(disk["diskSpaceTotalCurrent_Space"].is_u64());
        assert!(disk.get("_links").is_none());
    }
}

#[tokio::test]
async fn replication_groups_of_the_object_layer_by_pointer() {
    let bench = Bench::new(small()).await;
    let command = "{type: vpools, uri: /vdc/data-service/vpools.json, level: vdc, \
                   records: /data_service_vpool, key: [id]}";
    assert_eq!(
        bench.once(&[command]).await,
        Outcome::Well,
        "{:?}",
        failures(&bench.events())
    );
    let events = bench.events();
    let pools = of(&events, "vpools");
    assert!(!pools.is_empty());
    for pool in &pools {
        assert!(
            pool["id"]
                .as_str()
                .unwrap()
                .starts_with("urn:storageos:ReplicationGroupInfo:"),
            "{pool}"
        );
        assert!(pool["varrayMappings"].is_array());
        assert_eq!(pool["event"]["dataset"], "ecsbeat.vpools");
    }
    // Without the pointer the list is found by its shape.
    let by_shape = "{type: vpools, uri: /vdc/data-service/vpools.json, level: vdc}";
    let events = bench.events_of(&[by_shape]).await;
    assert_eq!(sorted(&of(&events, "vpools"), "id"), sorted(&pools, "id"));
    // A pointer to what is not there is told with what is there.
    let wrong = "{type: vpools, uri: /vdc/data-service/vpools.json, level: vdc, records: /vpool}";
    let told = failures(&bench.events_of(&[wrong]).await);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].1.contains("/vpool") && told[0].1.contains("data_service_vpool"),
        "{}",
        told[0].1
    );
}

#[tokio::test]
async fn a_log_with_windows_pages_key_and_time_of_its_own() {
    let journal = Journal {
        events_per_minute: 11,
        late_one_in: 3,
        late_secs: 90,
        ..Journal::default()
    };
    let bench = Bench::new(ecs_sim::Config { journal, ..small() }).await;
    let command = "{type: changes, uri: '/vdc/events.json?namespace=', level: vdc, interval: 1s, records: /auditevent, \
                   window: {step: 2m, lag: 30s, overlap: 4m, max_span: 10m, format: second}, \
                   paginate: {marker: NextMarker, param: marker, limit: 4}, key: [id, eventType], time_field: timestamp}";
    let command = command.replace("?namespace=", "");
    for step in [0, 120, 47, 600, 1300] {
        bench.sim.advance_clock(Duration::from_secs(step));
        assert_eq!(
            bench.once(&[&command]).await,
            Outcome::Well,
            "{:?}",
            failures(&bench.events())
        );
    }
    let now = bench.sim.now();
    let end = (now - 30).div_euclid(120) * 120;
    // The first window of two minutes, and the overlap before it.
    let start = (START - 30).div_euclid(120) * 120 - 120 - 240;
    let truth = bench.sim.truth_between(start, end);
    let mut want: Vec<&str> = truth.vdcs[0]
        .audit_events
        .iter()
        .filter(|row| row.visible_at <= now)
        .map(|row| row.id.as_str())
        .collect();
    want.sort_unstable();
    let events = bench.events();
    assert_eq!(sorted(&of(&events, "changes"), "id"), want);
    let asked = bench.asked("/vdc/events");
    assert!(asked.iter().all(|request| request.query.contains("limit=4")));
    assert!(
        asked[0]
            .query
            .starts_with("start_time=2026-03-02T09:54:00&end_time=2026-03-02T10:00:00"),
        "{}",
        asked[0].query
    );
}

/// What becomes of an answer of an API that there is not.
async fn of_answer(body: &Value, more: &str) -> Vec<Value> {
    let bench = Bench::new(small()).await;
    let answer = Fault::Answer {
        status: 200,
        content_type: None,
        body: body.to_string(),
    };
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(answer).on_path("/new/api"));
    let command = format!("{{type: new, uri: /new/api, level: vdc{more}}}");
    bench.events_of(&[&command]).await
}

#[tokio::test]
async fn records_without_id_are_told_apart_by_their_content() {
    let body = json!({"thing": [{"a": 1}, {"a": 2}, {"a": 1}]});
    let events = of_answer(&body, "").await;
    let ids: BTreeSet<&str> = events
        .iter()
        .map(|event| event["event"]["id"].as_str().unwrap())
        .collect();
    assert_eq!((events.len(), ids.len()), (2, 2), "the same record twice is one");
}

#[tokio::test]
async fn a_key_of_several_fields_tells_records_apart() {
    let body = json!({"thing": [{"id": "x", "part": 1}, {"id": "x", "part": 2}]});
    assert_eq!(of_answer(&body, ", key: [id, part]").await.len(), 2);
    assert_eq!(of_answer(&body, ", key: [id]").await.len(), 1);
}

#[tokio::test]
async fn a_time_field_is_the_time_of_the_event() {
    let times = json!({"rows": [
        {"id": "a", "at": "2026-03-01T01:02:03.5Z"}, {"id": "b", "at": "2026-03-01T01:02"},
        {"id": "c", "at": 1_772_326_923}, {"id": "d", "at": "1772326923000"}, {"id": "e", "at": "yesterday"},
    ]});
    let events = of_answer(&times, ", records: /rows, time_field: at").await;
    let time = |id: &str| {
        let event = events.iter().find(|event| event["id"] == id).unwrap();
        event["@timestamp"].as_str().unwrap().to_owned()
    };
    assert_eq!(time("a"), "2026-03-01T01:02:03.500Z");
    assert_eq!(time("b"), "2026-03-01T01:02:00.000Z");
    assert_eq!(time("c"), "2026-03-01T01:02:03.000Z");
    assert_eq!(time("d"), time("c"));
    assert!(time("e").as_str() > "2026-03-02", "the tick");
}

#[tokio::test]
async fn a_deeper_pointer_with_escapes_and_one_object_in_place_of_a_list() {
    let body = json!({"a/b": {"c~d": {"id": "only"}}, "other": [1, 2]});
    let events = of_answer(&body, ", records: /a~1b/c~0d").await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["id"], "only");
}

#[tokio::test]
async fn headers_and_body_of_a_post_are_those_configured() {
    let bench = Bench::new(small()).await;
    let answer = Fault::Answer {
        status: 200,
        content_type: None,
        body: r#"{"rows":[{"id":1}]}"#.into(),
    };
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(answer).on_path("/new/api"));
    let command = "{type: new, uri: /new/api, level: vdc, method: POST, body: '{\"q\": 1}', headers: {X-Extra: yes-please}}";
    assert_eq!(
        bench.once(&[command]).await,
        Outcome::Well,
        "{:?}",
        failures(&bench.events())
    );
    let asked = &bench.asked("/new/api")[0];
    assert_eq!(
        (asked.method.as_str(), &asked.body[..]),
        ("POST", &b"{\"q\": 1}"[..])
    );
    let extra = asked
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("x-extra"));
    assert_eq!(extra.map(|(_, value)| value.as_str()), Some("yes-please"));
}
