//! Item 15: the rules of bodies and windows, units, lag, odd rows.

use ecs_sim::{Config, Fault, FaultRule, Oddity, Profile, Sim};
use serde_json::{Value, json};

use crate::client::{Session, parse};

const INFO: &str = "/object/billing/namespace/info.json";
const SAMPLE: &str = "/object/billing/namespace/sample.json";
const BODY: &str = r#"{"id":["ns1","ns2","ns3","gone"]}"#;
/// 2026-03-02T10:40:30Z.
const NOW: i64 = 1_772_448_030;

async fn start(profile: Profile) -> (Sim, Session) {
    let sim = Sim::start(Config {
        profile,
        clock_start: Some(NOW),
        ..Config::for_tests()
    })
    .await
    .unwrap();
    sim.freeze_clock();
    let session = Session::open(&sim).await;
    (sim, session)
}

async fn rows(session: &Session, path: &str) -> Vec<Value> {
    let answer = session.post(path, BODY).await;
    assert_eq!(answer.status(), 200);
    let value = parse(answer).await;
    value
        .as_object()
        .unwrap()
        .values()
        .next()
        .unwrap()
        .as_array()
        .unwrap()
        .clone()
}

#[tokio::test]
async fn bodies_have_rules() {
    let (sim, session) = start(Profile::V4_3).await;
    for (body, status, code) in [
        ("", 415, 1003),
        ("[]", 400, 1013),
        ("null", 500, 999),
        ("{nonsense", 400, 1013),
        (r#"{"ids":["ns1"]}"#, 400, 1013),
    ] {
        let answer = session.post(INFO, body).await;
        assert_eq!(answer.status(), status, "{body}");
        assert_eq!(parse(answer).await["code"], code, "{body}");
    }
    let untyped = session.request("POST", INFO).body("{}").send().await.unwrap();
    assert_eq!(untyped.status(), 415);
    assert_eq!(
        parse(session.post(INFO, "{}").await).await["namespace_billing_infos"],
        json!([])
    );
    assert_eq!(
        rows(&session, INFO).await.len(),
        3,
        "a namespace that is gone is left out"
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn windows_are_on_the_grid_and_in_utc() {
    let (sim, session) = start(Profile::V4_3).await;
    for (start, end, code) in [
        ("2026-03-02T10:01", "2026-03-02T10:10", 1029),
        ("2026-03-02T10:10", "2026-03-02T10:10", 1008),
        ("2026-03-02T10:10", "never", 1008),
    ] {
        let answer = session
            .post(&format!("{SAMPLE}?start_time={start}&end_time={end}"), BODY)
            .await;
        assert_eq!(answer.status(), 400);
        assert_eq!(parse(answer).await["code"], code);
    }
    let path = format!("{SAMPLE}?start_time=2026-03-02T10:00&end_time=2026-03-02T10:20");
    let whole = rows(&session, &path).await;
    let truth = sim.billing_truth("ns1", NOW - 2430, NOW - 1230);
    assert_eq!(whole[0]["sample_start_time"], "2026-03-02T10:00:00Z");
    assert_eq!(whole[0]["ingress"], truth.ingress);
    assert_eq!(whole[0]["objects_created"], truth.objects_created);
    let mut sum = 0;
    for (start, end) in [("10:00", "10:05"), ("10:05", "10:20")] {
        let path = format!("{SAMPLE}?start_time=2026-03-02T{start}&end_time=2026-03-02T{end}");
        sum += rows(&session, &path).await[0]["bytes_delta"].as_i64().unwrap();
    }
    assert_eq!(sum, truth.bytes_delta);
    sim.shutdown().await;
}

#[tokio::test]
async fn what_is_not_booked_yet_is_missing() {
    let (sim, session) = start(Profile::V4_3).await;
    assert_eq!(sim.billing_complete_till(), NOW - 630);
    let path = format!("{SAMPLE}?start_time=2026-03-02T10:25&end_time=2026-03-02T10:40");
    let early = rows(&session, &path).await[0].clone();
    assert_eq!(early["uptodate_till"], "2026-03-02T10:30:00Z");
    assert_eq!(
        early["ingress"],
        sim.billing_truth("ns1", NOW - 930, NOW - 630).ingress
    );
    sim.advance_clock(std::time::Duration::from_secs(600));
    let late = rows(&session, &path).await[0].clone();
    assert_eq!(
        late["ingress"],
        sim.billing_truth("ns1", NOW - 930, NOW - 30).ingress
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn units_are_binary_and_types_differ() {
    let (sim, session) = start(Profile::V3_8_0).await;
    let bytes = sim
        .billing_truth("ns1", 0, sim.billing_complete_till())
        .total_bytes;
    let row = rows(&session, &format!("{INFO}?sizeunit=KB")).await[0].clone();
    assert_eq!(row["total_size"], (bytes as f64 / 1024.0).to_string());
    assert!(row.get("uptodate_till").is_none() && row.get("valid_namespace").is_none());
    let single = session
        .json("/object/billing/namespace/ns1/info.json?sizeunit=KB")
        .await;
    assert_eq!(single["total_size"], bytes as f64 / 1024.0);
    assert_eq!(
        session.post(&format!("{INFO}?sizeunit=TB"), BODY).await.status(),
        400
    );
    sim.vdc(0).node(0).upgrade(Profile::V3_1).unwrap();
    let old = rows(&session, &format!("{INFO}?sizeunit=GB")).await[0].clone();
    assert_eq!(old["total_size"], (bytes + (1 << 29)) >> 30);
    sim.vdc(0).node(0).upgrade(Profile::V4_3).unwrap();
    let new = rows(&session, &format!("{INFO}?sizeunit=BYTE")).await[0].clone();
    assert_eq!(
        (&new["total_size"], &new["valid_namespace"]),
        (&json!(bytes.to_string()), &json!("true"))
    );
    let detailed = rows(
        &session,
        &format!("{INFO}?include_bucket_detail=true&sizeunit=BYTE"),
    )
    .await[0]
        .clone();
    assert_eq!(detailed["bucket_billing_info"].as_array().unwrap().len(), 4);
    let bucket = parse(
        session
            .post("/object/billing/buckets/ns1/info.json", r#"{"id":["bucket2"]}"#)
            .await,
    )
    .await;
    assert_eq!(bucket["bucket_billing_infos"][0]["name"], "bucket2");
    sim.shutdown().await;
}

#[tokio::test]
async fn rows_take_odd_forms() {
    let (sim, session) = start(Profile::V4_3).await;
    let under = async |oddity| {
        sim.faults().clear();
        sim.faults().set(FaultRule::everywhere(Fault::Odd { oddity }));
        rows(&session, INFO).await
    };
    assert_eq!(under(Oddity::ReorderedRows).await[0]["namespace"], "ns3");
    assert_eq!(under(Oddity::MissingRows).await.len(), 2);
    assert_eq!(
        under(Oddity::InvalidNamespaces).await[2]["valid_namespace"],
        "false"
    );
    assert_eq!(
        under(Oddity::ValidNamespaceName).await[0]["valid_namespace"],
        "ns1"
    );
    assert!(under(Oddity::SizeNumbers).await[0]["total_size"].is_number());
    assert!(under(Oddity::SizeStrings).await[0]["total_size"].is_string());
    sim.faults().clear();
    sim.faults().set(FaultRule::everywhere(Fault::Odd {
        oddity: Oddity::EmptyBilling,
    }));
    assert_eq!(session.post(INFO, BODY).await.text().await.unwrap(), "");
    sim.faults().clear();
    sim.faults().set(FaultRule::everywhere(Fault::Odd {
        oddity: Oddity::WrappedCapacity,
    }));
    assert!(session.json("/object/capacity").await["cluster_capacity"]["totalFree_gb"].is_string());
    sim.shutdown().await;
}
