//! Decode → transform → encode of a 10 MB dashboard answer, against `serde_json` parsing and re-serialising the
//! same bytes as `Value`.
//!
//! Both are run in turn, so that a machine whose speed drifts slows both; the ratio of the medians is the figure.
//! Allocations are counted by divan's profiler in the table that follows.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a measurement: its output is the point, and it fails loudly"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use divan::AllocProfiler;
use divan::counter::BytesCount;
use ecsbeat::decode::Decoder;
use ecsbeat::document::{Facts, Frame, Identity, Origin};
use ecsbeat::event::EventId;
use ecsbeat::transform::{Rules, transform};
use jiff::Timestamp;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// Size of the answer.
const SIZE: usize = 10 * 1024 * 1024;
/// Bytes that arrive at once, as from a socket.
const PIECE: usize = 16 * 1024;
/// Turns for the ratio.
const TURNS: usize = 15;

fn main() {
    let body = answer();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        ours.push(time(|| product(&body)));
        theirs.push(time(|| value(&body)));
    }
    ours.sort_unstable();
    theirs.sort_unstable();
    let (ours, theirs) = (ours[TURNS / 2], theirs[TURNS / 2]);
    println!("{} MB, {} records", SIZE / 1024 / 1024, product(&body));
    println!("serde_json Value, parse and re-serialise: {theirs:?} (median of {TURNS})");
    println!("decode, transform, encode:                {ours:?} (median of {TURNS})");
    println!(
        "ratio: {:.2} times its speed",
        theirs.as_secs_f64() / ours.as_secs_f64()
    );
    divan::main();
}

fn time(work: impl FnOnce() -> usize) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

/// Disks, as localzone lists them, each with its identities and eleven metrics.
fn answer() -> Vec<u8> {
    let mut body =
        br#"{"title":"disks List","_links":{"self":{"href":"/x"}},"_embedded":{"_instances":["#.to_vec();
    let mut number = 0u64;
    while body.len() < SIZE {
        if number > 0 {
            body.push(b',');
        }
        number += 1;
        let point = |name: &str, value: u64| format!(r#""{name}":[{{"t":"1780000000","Space":"{value}"}}],"#);
        let mut record = format!(
            r#"{{"_links":{{"self":{{"href":"/dashboard/disks/{number}"}}}},"apiChange":"1","id":"5d1f-{number:08}","displayName":"disk {number}","nodeId":"7c0e4a1e-3b7a","nodeDisplayName":"n1.example.net","slotId":"{}","healthStatus":"Good","ssmL1Status":"Good(PD UP)","ssmL2Status":"Good(PD UP)","storagePoolId":"b40efcb6","storagePoolName":"sp1","#,
            number % 60
        );
        for name in ["Total", "Free", "Allocated"] {
            for tier in ["", "L1", "L2"] {
                record.push_str(&point(
                    &format!("diskSpace{name}Current{tier}"),
                    8_000_000_000_000 + number,
                ));
            }
        }
        record.push_str(r#""diskSpaceAllocatedPercentageCurrent":[{"t":"1780000000","Percent":"31.2"}],"#);
        record.push_str(r#""diskSpaceReservedCurrent":[{"t":"1780000000","Space":"1.2450503E8"}]}"#);
        body.extend_from_slice(record.as_bytes());
    }
    body.extend_from_slice(b"]}}");
    body
}

/// What a poll does with the bytes, up to the finished documents.
fn product(body: &[u8]) -> usize {
    let identity = Identity {
        agent_id: "a".into(),
        ephemeral_id: "e".into(),
        name: "host1".into(),
        instance: "host1".into(),
        cluster: None,
        tags: Vec::new(),
        fields: std::collections::BTreeMap::new(),
        fields_under_root: false,
    };
    let origin = Origin {
        customer: "EMC".into(),
        vdc: "VDC1".into(),
        vdc_id: "urn:storageos:VirtualDataCenterData:6f3a".into(),
        vdc_name: "vdc-north".into(),
    };
    let now = Timestamp::UNIX_EPOCH;
    let frame = Frame::new(&identity, &origin, "disks", "metric", 0, now, now);
    let rules = Rules {
        metrics: true,
        wanted: vec!["id".into(), "nodeId".into()],
        ..Rules::default()
    };
    let mut decoder = Decoder::new(None);
    let mut members = Vec::new();
    let mut records = 0;
    for piece in body.chunks(PIECE) {
        decoder.feed(piece).expect("an answer of our own");
        while let Some(record) = decoder.record().expect("an answer of our own") {
            members.clear();
            let found = transform(record, &rules, &mut members).expect("a record of our own");
            let key = found[0].as_deref().unwrap_or_default();
            let facts = Facts {
                id: EventId::of([&b"EMC"[..], b"VDC1", b"disks", key.as_bytes()]),
                timestamp: now,
                took: Duration::from_millis(5),
                node: None,
                error: None,
            };
            black_box(frame.document(&facts, &members));
            records += 1;
        }
    }
    records
}

fn value(body: &[u8]) -> usize {
    let value: serde_json::Value = serde_json::from_slice(body).expect("an answer of our own");
    serde_json::to_vec(&value).expect("a value of our own").len()
}

#[divan::bench]
fn decode_transform_encode(bencher: divan::Bencher<'_, '_>) {
    let body = answer();
    bencher
        .counter(BytesCount::new(body.len()))
        .bench_local(|| product(&body));
}

#[divan::bench]
fn serde_json_value(bencher: divan::Bencher<'_, '_>) {
    let body = answer();
    bencher
        .counter(BytesCount::new(body.len()))
        .bench_local(|| value(&body));
}
