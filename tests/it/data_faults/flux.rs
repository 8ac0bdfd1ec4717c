//! Item 16, Flux, by configuration alone. What works: the query is a POST with a body of its own, every series is
//! one event with its `Columns` and `Values` as they came, and errors are told in Flux's words. What does not: a row
//! does not become an event of its own, since its fields are named by another member of the answer.

use std::collections::BTreeSet;

use ecs_sim::{Fault, FaultRule, Oddity, Profile};
use ecsbeat::app::Outcome;
use serde_json::{Value, json};

use crate::support::bench::{Bench, failures, of, small};

const PATH: &str = "/flux/api/external/v2/query";

fn command(query: &str) -> String {
    let body = json!({ "query": query }).to_string();
    format!("{{type: cpu, uri: {PATH}, level: vdc, method: POST, body: '{body}', records: /Series}}")
}

fn cpu() -> String {
    command(
        "from(bucket: \"monitoring_op\") |> range(start: -15m) |> filter(fn: (r) => r._measurement == \"cpu\") |> last()",
    )
}

async fn bench(oddities: &[Oddity]) -> Bench {
    let bench = Bench::new(ecs_sim::Config {
        profile: Profile::V4_3,
        ..small()
    })
    .await;
    for oddity in oddities {
        bench
            .sim
            .faults()
            .set(FaultRule::everywhere(Fault::Odd { oddity: *oddity }));
    }
    bench
}

/// Every cell by its column, whatever the order of columns and the number of series.
fn rows(events: &[Value]) -> BTreeSet<Vec<(String, String)>> {
    let mut rows = BTreeSet::new();
    for series in of(events, "cpu") {
        let columns = series["Columns"].as_array().unwrap();
        for row in series["Values"].as_array().unwrap() {
            let cells = row.as_array().unwrap();
            assert_eq!(cells.len(), columns.len());
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let mut row: Vec<(String, String)> = columns
                .iter()
                .zip(cells)
                .map(|(column, cell)| (text(column), text(cell)))
                .collect();
            row.sort();
            assert!(rows.insert(row), "a row twice");
        }
    }
    rows
}

#[tokio::test]
async fn item_16_every_series_comes_with_its_columns_and_rows() {
    let bench = bench(&[]).await;
    assert_eq!(
        bench.once(&[&cpu()]).await,
        Outcome::Well,
        "{:?}",
        failures(&bench.events())
    );
    let plain = rows(&bench.events());
    // Two nodes, three fields of cpu.
    assert_eq!(plain.len(), 6);
    let asked = &bench.asked(PATH)[0];
    let body: Value = serde_json::from_slice(&asked.body).unwrap();
    assert!(body["query"].as_str().unwrap().ends_with("|> last()"));

    let oddity = Oddity::FluxPermuted;
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(Fault::Odd { oddity }));
    assert_eq!(rows(&bench.events_of(&[&cpu()]).await), plain, "other columns");
    let oddity = Oddity::FluxMultiSeries;
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(Fault::Odd { oddity }));
    let events = bench.events_of(&[&cpu()]).await;
    assert_eq!(of(&events, "cpu").len(), 3, "several series");
    assert_eq!(rows(&events), plain);
}

#[tokio::test]
async fn item_16_stale_rows_and_rows_out_of_range_come_with_their_time() {
    for oddity in [Oddity::FluxStale, Oddity::FluxOutOfRange] {
        let bench = bench(&[oddity]).await;
        let rows = rows(&bench.events_of(&[&cpu()]).await);
        let times: BTreeSet<&str> = rows
            .iter()
            .flatten()
            .filter(|(column, _)| column == "_time")
            .map(|(_, cell)| cell.as_str())
            .collect();
        let want = match oddity {
            Oddity::FluxStale => BTreeSet::from(["2026-03-02T09:30:09Z"]),
            _ => BTreeSet::from(["2026-03-01T10:00:09Z", "2026-03-02T10:00:09Z"]),
        };
        assert_eq!(times, want, "{oddity:?}");
    }
}

#[tokio::test]
async fn item_16_nothing_found_is_a_series_without_rows_and_no_failure() {
    let bench = bench(&[Oddity::FluxNull]).await;
    assert_eq!(bench.once(&[&cpu()]).await, Outcome::Well);
    let events = bench.events();
    assert!(
        of(&events, "cpu")
            .iter()
            .all(|series| series.get("Values").is_none())
    );
}

#[tokio::test]
async fn item_16_a_query_that_does_not_compile_is_told_and_not_asked_again() {
    let bench = bench(&[]).await;
    let query = command("from(bucket: \"monitoring_op\") |> range(start: -15m) |> mean()");
    let events = bench.events_of(&[&query, "{type: capacity}"]).await;
    let told = failures(&events);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].1.contains("undefined identifier \"mean\""),
        "{}",
        told[0].1
    );
    assert_eq!(
        bench.asked(PATH).len(),
        1,
        "it would not compile the next time either"
    );
    assert_eq!(of(&events, "capacity").len(), 1);
}

#[tokio::test]
async fn item_16_a_missing_role_is_told_and_not_asked_again() {
    let bench = bench(&[]).await;
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(Fault::Forbidden).on_path(PATH));
    let events = bench.events_of(&[&cpu()]).await;
    let told = failures(&events);
    assert_eq!((told.len(), told[0].0.as_str()), (1, "forbidden"), "{told:?}");
    assert!(told[0].1.contains("SYSTEM_MONITOR"), "{}", told[0].1);
    assert_eq!(bench.asked(PATH).len(), 1);
}

#[tokio::test]
async fn item_16_a_wrong_accept_is_told() {
    let bench = bench(&[]).await;
    let query = "{type: cpu, uri: /flux/api/external/v2/query, level: vdc, method: POST, body: 'x', records: /Series}";
    let refused = Fault::Answer {
        status: 406,
        content_type: Some("application/json".into()),
        body: r#"{"error":"unsupported media type text/csv"}"#.into(),
    };
    bench
        .sim
        .faults()
        .set(FaultRule::everywhere(refused).on_path(PATH));
    let told = failures(&bench.events_of(&[query]).await);
    assert_eq!((told.len(), told[0].0.as_str()), (1, "bad_request"), "{told:?}");
    assert!(told[0].1.contains("unsupported media type"), "{}", told[0].1);
    assert_eq!(bench.asked(PATH).len(), 1);
}

#[tokio::test]
async fn item_16_a_release_without_flux_says_so_and_others_go_on() {
    for (profile, code) in [(Profile::V3_1, "unsupported"), (Profile::V3_8_1Ce, "server")] {
        let bench = Bench::new(ecs_sim::Config { profile, ..small() }).await;
        let events = bench.events_of(&[&cpu(), "{type: capacity}"]).await;
        let told = failures(&events);
        assert_eq!((told.len(), told[0].0.as_str()), (1, code), "{told:?}");
        assert_eq!(of(&events, "capacity").len(), 1);
    }
}
