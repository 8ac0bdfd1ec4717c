//! Item 17, directory tables: the odd texts of port 9101, every VDC, and the next node where one fails. What is
//! expected is read from the same answers by other means.

use std::collections::BTreeMap;

use ecs_sim::{Fault, FaultRule, Oddity, Port};
use ecsbeat::app::Outcome;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::bench::{Bench, failures, of, small, sorted};

const TABLES: &str = "{type: dtinfo}";

fn diag(fault: Fault) -> FaultRule {
    FaultRule::everywhere(fault).on_port(Port::Diag)
}

async fn odd(oddities: &[Oddity]) -> Bench {
    let bench = Bench::new(ecs_sim::Config {
        vdcs: 2,
        directory_tables: 60,
        ..small()
    })
    .await;
    for oddity in oddities {
        bench.sim.faults().set(diag(Fault::Odd { oddity: *oddity }));
    }
    bench
}

/// An answer of the diagnostics port of a VDC.
async fn raw(bench: &Bench, vdc: usize, path: &str) -> String {
    let host = bench.sim.vdc(vdc).node(0).diag_host().unwrap();
    let mut stream = tokio::net::TcpStream::connect(&host).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Every urn of a text, without its last colon.
fn urns(text: &str) -> Vec<String> {
    let mut urns: Vec<String> = text
        .split("urn:storageos:OwnershipInfo:")
        .skip(1)
        .map(|rest| {
            let end = rest
                .find(|c: char| c == ']' || c == ',' || c.is_whitespace())
                .unwrap_or(rest.len());
            format!(
                "urn:storageos:OwnershipInfo:{}",
                rest[..end].trim_end_matches(':')
            )
        })
        .collect();
    urns.sort();
    urns
}

/// The number in the first element of this name: that of all tables together.
fn total(xml: &str, element: &str) -> usize {
    let rest = xml.split_once(&format!("<{element}>")).unwrap().1;
    rest.split_once('<').unwrap().0.parse().unwrap()
}

fn counts(tables: &[&Value]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for table in tables {
        *counts
            .entry(table["dt-status"].as_str().unwrap().to_owned())
            .or_default() += 1;
        let down = table["dt-status"] != "ready";
        assert_eq!(
            (table["dt-down"].as_u64(), table["dt-ready"].as_u64()),
            (Some(down.into()), Some((!down).into()))
        );
        assert_eq!(table.get("dt-error").is_some(), down, "{table}");
    }
    counts
}

/// The tables of every VDC are those of its own answers, with their states.
async fn all_tables(bench: &Bench) -> Vec<Value> {
    assert_eq!(
        bench.once(&[TABLES]).await,
        Outcome::Well,
        "{:?}",
        failures(&bench.events())
    );
    let events = bench.events();
    let all = of(&events, "dtinfo");
    for vdc in 0..2 {
        let name = format!("VDC{}", vdc + 1);
        let own: Vec<&Value> = all
            .iter()
            .copied()
            .filter(|table| table["ecs-vdc-cfgname"] == name.as_str())
            .collect();
        let ownership = raw(bench, vdc, "/diagnostic/DumpOwnershipInfo/").await;
        assert_eq!(sorted(&own, "dt-id"), urns(&ownership), "{name}");
        assert_eq!(own.len(), 60);
        let states = raw(bench, vdc, "/stats/dt/DTInitStat/").await;
        let counts = counts(&own);
        let count = |status: &str| counts.get(status).copied().unwrap_or_default();
        assert_eq!(count("unready"), total(&states, "unready_dt_num"));
        assert_eq!(count("unknown"), total(&states, "unknown_dt_num"));
        let failing: Vec<&Value> = own
            .iter()
            .copied()
            .filter(|table| table["dt-down"] == 1)
            .collect();
        assert_eq!(sorted(&failing, "dt-id"), urns(&states));
    }
    events
}

#[tokio::test]
async fn item_17_the_tables_of_every_vdc() {
    let bench = odd(&[]).await;
    let events = all_tables(&bench).await;
    let addresses: Vec<String> = (0..2)
        .flat_map(|vdc| bench.sim.vdc(vdc).nodes())
        .map(|node| node.address())
        .collect();
    for table in of(&events, "dtinfo") {
        assert!(
            addresses
                .iter()
                .any(|address| table["dt-owner-ip"] == address.as_str()),
            "{table}"
        );
        let parts: Vec<&str> = table["dt-id"].as_str().unwrap().split('_').collect();
        assert_eq!(table["dt-type"], parts[2]);
        assert_eq!(table["dt-partition"], parts[3]);
        assert_eq!(table["dt-level"], parts[5]);
        assert_eq!(table["dt-type-level"], format!("{}_{}", parts[2], parts[5]));
    }
    assert_eq!(
        bench
            .sim
            .requests()
            .iter()
            .filter(|request| request.port == Port::Diag)
            .count(),
        8
    );
}

#[tokio::test]
async fn item_17_lines_that_are_none_and_no_line_break_at_the_end() {
    let bench = odd(&[Oddity::DtJunkLines, Oddity::DtNoFinalNewline]).await;
    all_tables(&bench).await;
}

#[tokio::test]
async fn item_17_a_table_without_owner_has_none() {
    let bench = odd(&[Oddity::DtUnowned]).await;
    let events = all_tables(&bench).await;
    let all = of(&events, "dtinfo");
    let without = all
        .iter()
        .filter(|table| table.get("dt-owner-ip").is_none())
        .count();
    assert_eq!(without, 2 * 60_usize.div_ceil(7));
}

#[tokio::test]
async fn item_17_several_tables_with_an_error_and_blanks_between() {
    let bench = odd(&[Oddity::DtErrors]).await;
    let events = all_tables(&bench).await;
    let all = of(&events, "dtinfo");
    let errors: Vec<&str> = all
        .iter()
        .filter_map(|table| table["dt-error"].as_str())
        .collect();
    assert!(errors.len() > 20, "{}", errors.len());
    for table in all
        .iter()
        .filter(|table| table["dt-error"] == "ERROR_RPC_CLIENT_NO_RESPONSE")
    {
        assert_eq!(table["dt-status"], "unknown");
    }
    assert!(
        all.iter()
            .all(|table| !table["dt-id"].as_str().unwrap().contains(' '))
    );
}

/// One node of each VDC cannot tell; the other does.
async fn the_next_node(fault: Fault) {
    let mut bench = odd(&[]).await;
    bench.customer("reqtimeout", "600ms");
    for vdc in 0..2 {
        bench.sim.faults().set(diag(fault.clone()).on_node(vdc, 0));
    }
    assert_eq!(
        bench.once(&[TABLES]).await,
        Outcome::Well,
        "{:?}",
        failures(&bench.events())
    );
    let events = bench.events();
    let ids = sorted(&of(&events, "dtinfo"), "dt-id");
    let mut distinct = ids.clone();
    distinct.dedup();
    assert_eq!((ids.len(), distinct.len(), events.len()), (120, 120, 120));
}

#[tokio::test]
async fn item_17_the_next_node_where_the_port_is_closed() {
    the_next_node(Fault::Refused).await;
}

#[tokio::test]
async fn item_17_the_next_node_where_there_is_no_answer() {
    the_next_node(Fault::Hang).await;
}

#[tokio::test]
async fn item_17_the_next_node_where_the_answer_is_cut() {
    the_next_node(Fault::Truncate {
        chunked: false,
        percent: 50,
    })
    .await;
}

#[tokio::test]
async fn item_17_the_next_node_where_the_answer_is_a_page() {
    the_next_node(Fault::HtmlPage).await;
}

#[tokio::test]
async fn item_17_the_next_node_where_the_answer_is_an_error() {
    the_next_node(Fault::Status {
        codes: vec![500],
        retry_after: None,
        retryable: None,
        code: None,
        details: None,
    })
    .await;
}

#[tokio::test]
async fn item_17_the_next_node_where_the_answer_is_empty() {
    the_next_node(Fault::EmptyBody).await;
}

#[tokio::test]
async fn item_17_a_closed_port_is_told_for_each_vdc_and_others_go_on() {
    let bench = Bench::new(ecs_sim::Config {
        vdcs: 2,
        separate_networks: true,
        ..small()
    })
    .await;
    let events = bench.events_of(&[TABLES, "{type: capacity}"]).await;
    let told = failures(&events);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|(code, _)| code == "transport"), "{told:?}");
    assert_eq!(of(&events, "capacity").len(), 1);
}

#[tokio::test]
async fn item_17_behind_a_load_balancer_the_nodes_themselves_are_asked() {
    let mut bench = Bench::new(ecs_sim::Config {
        directory_tables: 30,
        ..small()
    })
    .await;
    let front = bench.sim.vdc(0).front_host().unwrap();
    bench.customer("vdcs", &format!("[{{vdcname: VDC1, nodes: [{front:?}]}}]"));
    assert_eq!(
        bench.once(&[TABLES]).await,
        Outcome::Well,
        "{:?}",
        failures(&bench.events())
    );
    assert_eq!(of(&bench.events(), "dtinfo").len(), 30);
}
