//! Items 16 and 17: Flux, directory tables, ping.

use ecs_sim::{Config, Fault, FaultRule, Oddity, Profile, Sim};
use serde_json::{Value, json};

use crate::client::{Session, parse};

const FLUX: &str = "/flux/api/external/v2/query";
const QUERY: &str = r#"from(bucket: "monitoring_op") |> range(start: -15m) |> filter(fn: (r) => r._measurement == "cpu") |> last()"#;

async fn start(profile: Profile) -> (Sim, Session) {
    let sim = Sim::start(Config {
        profile,
        ..Config::for_tests()
    })
    .await
    .unwrap();
    let session = Session::open(&sim).await;
    (sim, session)
}

async fn query(session: &Session, text: &str) -> Value {
    let answer = session.post(FLUX, &json!({ "query": text }).to_string()).await;
    assert_eq!(answer.status(), 200);
    parse(answer).await
}

#[tokio::test]
async fn flux_answers_in_series() {
    let (sim, session) = start(Profile::V4_3).await;
    let answer = query(&session, QUERY).await;
    assert_eq!(answer["Series"][0]["Columns"][4], "_value");
    assert_eq!(answer["Series"][0]["Values"].as_array().unwrap().len(), 3 * 4);
    assert!(
        answer["Series"][0]["Values"][0]
            .as_array()
            .unwrap()
            .iter()
            .all(Value::is_string)
    );
    let nothing = query(&session, r#"from(bucket: "x") |> range(start: -15m)"#).await;
    assert_eq!(
        nothing,
        json!({"Series": [{"Datatypes": null, "Columns": null, "Values": null}]})
    );
    let refused = session
        .post(
            FLUX,
            &json!({ "query": format!("{QUERY} |> mean()") }).to_string(),
        )
        .await;
    assert_eq!(refused.status(), 500);
    assert!(parse(refused).await["error"].as_str().unwrap().contains("mean"));
    let csv = session
        .request("POST", FLUX)
        .header("Content-Type", "application/vnd.flux")
        .body(QUERY);
    assert_eq!(
        csv.header("Accept", "text/csv").send().await.unwrap().status(),
        406
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn flux_takes_odd_forms() {
    let (sim, session) = start(Profile::V4_3).await;
    let under = async |oddity| {
        sim.faults().clear();
        sim.faults().set(FaultRule::everywhere(Fault::Odd { oddity }));
        query(&session, QUERY).await
    };
    assert!(under(Oddity::FluxNull).await["Series"][0]["Values"].is_null());
    assert_ne!(
        under(Oddity::FluxPermuted).await["Series"][0]["Columns"][4],
        "_value"
    );
    assert_eq!(
        under(Oddity::FluxMultiSeries).await["Series"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    let rows = under(Oddity::FluxOutOfRange).await["Series"][0]["Values"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(rows, 3 * 4 * 2);
    let stale = under(Oddity::FluxStale).await["Series"][0]["Values"][0][3].clone();
    let usual = under(Oddity::TwoPoints).await["Series"][0]["Values"][0][3].clone();
    assert!(stale.as_str() < usual.as_str());
    sim.vdc(0).node(0).upgrade(Profile::V3_8_0).unwrap();
    sim.faults().clear();
    assert_eq!(
        query(&session, QUERY).await["Series"][0]["Values"]
            .as_array()
            .unwrap()
            .len(),
        rows
    );
    sim.shutdown().await;
}

async fn text(sim: &Sim, path: &str) -> String {
    let url = format!("http://{}{path}", sim.vdc(0).node(0).diag_host().unwrap());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.get(url).send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn directory_tables_are_owned_and_some_are_not_ready() {
    let (sim, _session) = start(Profile::V3_6).await;
    let dump = text(&sim, "/diagnostic/DumpOwnershipInfo/").await;
    assert_eq!(dump.lines().filter(|line| line.contains("[id:")).count(), 128);
    assert!(
        dump.ends_with('\n') && dump.contains(&format!("[owner: {}:9069]", sim.vdc(0).node(0).address()))
    );
    let states = text(&sim, "/stats/dt/DTInitStat").await;
    assert!(states.contains("<entry><total_dt_num>128</total_dt_num><unready_dt_num>1</unready_dt_num>"));
    assert_eq!(states.matches("<ERROR_INIT>").count(), 1);
    sim.shutdown().await;
}

#[tokio::test]
async fn diagnostics_take_odd_forms() {
    let (sim, _session) = start(Profile::V3_6).await;
    for oddity in [
        Oddity::DtJunkLines,
        Oddity::DtNoFinalNewline,
        Oddity::DtUnowned,
        Oddity::DtErrors,
    ] {
        sim.faults().set(FaultRule::everywhere(Fault::Odd { oddity }));
    }
    let dump = text(&sim, "/diagnostic/DumpOwnershipInfo").await;
    assert!(dump.lines().count() > 128 && !dump.ends_with('\n') && dump.contains("[owner: ]"));
    let states = text(&sim, "/stats/dt/DTInitStat").await;
    assert!(states.contains("<ERROR_RPC_CLIENT_NO_RESPONSE>[urn") && states.contains(": , urn"));
    sim.shutdown().await;
}

#[tokio::test]
async fn the_ping_tells_load_and_maintenance() {
    let (sim, session) = start(Profile::V4_3).await;
    let url = format!("https://{}/?ping", sim.vdc(0).node(0).ping_host().unwrap());
    let ping = async || session.http.get(&url).send().await.unwrap().text().await.unwrap();
    assert!(
        ping()
            .await
            .contains("<Name>MAINTENANCE_MODE</Name><Status>OFF</Status>")
    );
    sim.vdc(0).node(0).maintenance().unwrap();
    assert!(ping().await.contains("<Status>ON</Status>"));
    sim.faults().set(FaultRule::everywhere(Fault::Odd {
        oddity: Oddity::PingUnknown,
    }));
    sim.faults().set(FaultRule::everywhere(Fault::Odd {
        oddity: Oddity::PingReordered,
    }));
    let text = ping().await;
    assert!(text.contains("<Status>UNKNOWN</Status>"));
    assert!(text.find("MAINTENANCE_MODE") < text.find("LOAD_FACTOR"));
    sim.shutdown().await;
}
