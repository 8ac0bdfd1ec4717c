//! An event through chains of processors, against the making of the event.
//!
//! Each figure is the median of turns that are taken one after the other, so that a machine whose speed drifts slows
//! all of them. Allocations are counted by divan's profiler in the table that follows.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a measurement: its output is the point, and it fails loudly"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use divan::AllocProfiler;
use ecsbeat::clock::Clock;
use ecsbeat::config::{Sources, load};
use ecsbeat::document::{Facts, Frame, Identity, Origin};
use ecsbeat::event::EventId;
use ecsbeat::processor::{Chain, Host, Processors, Surroundings, Verdict};
use jiff::Timestamp;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// Turns for a median.
const TURNS: usize = 21;
/// Events in a turn.
const EVENTS: usize = 2000;

/// A chain as people write it: one sorts out, one adds, one renames.
const THREE: &str = "
processors:
  - drop_event.when.equals: {healthStatus: Removed}
  - add_fields: {target: '', fields: {site: north, team.name: storage}}
  - rename: {fields: [{from: slotId, to: disk.slot}], ignore_missing: true}
";

/// Conditions on a nested field and by expression, an undo, a hash.
const HEAVY: &str = "
processors:
  - if.regexp: {event.dataset: '^ecsbeat[.]d'}
    then:
      - convert: {fields: [{from: slotId, type: integer}, {from: observer.type, to: kind}], ignore_missing: true}
      - drop_fields.fields: ['/_t$/']
      - fingerprint.fields: [id, nodeId]
";

fn main() {
    let event = Bytes::from(event());
    let chains = [
        ("no processors", chain("")),
        ("three processors", chain(THREE)),
        ("five, with expressions and a hash", chain(HEAVY)),
    ];
    println!("one event of {} bytes", event.len());
    let mut times = vec![Vec::new(); chains.len() + 1];
    for _ in 0..TURNS {
        for (times, (_, chain)) in times.iter_mut().zip(&chains) {
            times.push(time(|| run(chain, &event)));
        }
        let (members, frame) = (members(), frame());
        times[chains.len()].push(time(|| document(&frame, &members)));
    }
    let names = chains
        .iter()
        .map(|(name, _)| *name)
        .chain(["making its document"]);
    for (name, times) in names.zip(&mut times) {
        times.sort_unstable();
        let each = times[TURNS / 2] / u32::try_from(EVENTS).expect("few");
        println!("{name:<36} {each:?} an event (median of {TURNS})");
    }
    divan::main();
}

fn time(work: impl Fn() -> usize) -> Duration {
    let start = Instant::now();
    for _ in 0..EVENTS {
        black_box(work());
    }
    start.elapsed()
}

/// The chain of a configuration.
fn chain(processors: &str) -> Chain {
    let directory = tempfile::tempdir().expect("a directory");
    let base = "\
ecsbeat.customers: [{customername: c, username: u, password: p, vdcs: [{vdcname: v, nodes: [192.0.2.1]}]}]
output.console: ~
";
    let file = directory.path().join("ecsbeat.yml");
    std::fs::write(&file, format!("{base}{processors}")).expect("a file");
    let sources = Sources {
        files: vec![file],
        strict_perms: false,
        ..Sources::default()
    };
    let config = load(&sources, &|_| None).expect("a configuration of our own");
    let surroundings = Surroundings {
        clock: Clock::system(),
        host: Host::default,
    };
    Processors::new(&config.processors, &config.ecsbeat.commands, &surroundings).chain("disks")
}

fn frame() -> Frame {
    let identity = Identity {
        agent_id: "8f0a9f4e-6f0a-4f41-9a27-1d3d3c1f7e55".into(),
        ephemeral_id: "1c1d2e3f-6f0a-4f41-9a27-1d3d3c1f7e55".into(),
        name: "host1".into(),
        instance: "host1".into(),
        cluster: Some("prod".into()),
        tags: vec!["prod".into()],
        fields: BTreeMap::new(),
        fields_under_root: false,
    };
    let origin = Origin {
        customer: "EMC".into(),
        vdc: "VDC1".into(),
        vdc_id: "urn:storageos:VirtualDataCenterData:6f3a".into(),
        vdc_name: "vdc-north".into(),
    };
    let now = Timestamp::UNIX_EPOCH;
    Frame::new(&identity, &origin, "disks", "metric", 7, now, now)
}

/// A disk with its identities and metrics.
fn members() -> String {
    let mut members = r#""apiChange":"1","id":"5d1f-00000001","displayName":"disk 1","nodeId":"7c0e4a1e-3b7a","slotId":"17","healthStatus":"Good","storagePoolName":"sp1""#.to_owned();
    for name in ["Total", "Free", "Allocated"] {
        for tier in ["", "L1", "L2"] {
            let name = format!("diskSpace{name}Current{tier}");
            // Writing to a text cannot fail.
            let _ = write!(members, r#","{name}_t":1780000000,"{name}_Space":8000000000001"#);
        }
    }
    members
}

fn document(frame: &Frame, members: &str) -> usize {
    let facts = Facts {
        id: EventId::of([&b"EMC"[..], b"VDC1", b"disks", b"5d1f"]),
        timestamp: Timestamp::UNIX_EPOCH,
        took: Duration::from_millis(5),
        node: None,
        error: None,
    };
    frame.document(&facts, members.as_bytes()).len()
}

fn event() -> Vec<u8> {
    let facts = Facts {
        id: EventId::of([&b"x"[..]]),
        timestamp: Timestamp::UNIX_EPOCH,
        took: Duration::from_millis(5),
        node: None,
        error: None,
    };
    frame().document(&facts, members().as_bytes()).to_vec()
}

fn run(chain: &Chain, event: &Bytes) -> usize {
    let mut notices = Vec::new();
    let verdict = chain.run(event.clone(), &mut notices);
    assert!(notices.is_empty(), "{notices:?}");
    match verdict {
        Verdict::Keep(body) => body.len(),
        Verdict::Drop(processor) => unreachable!("{processor} drops nothing here"),
    }
}

#[divan::bench]
fn no_processors(bencher: divan::Bencher<'_, '_>) {
    let (chain, event) = (chain(""), Bytes::from(event()));
    bencher.bench_local(|| run(&chain, &event));
}

#[divan::bench]
fn three_processors(bencher: divan::Bencher<'_, '_>) {
    let (chain, event) = (chain(THREE), Bytes::from(event()));
    bencher.bench_local(|| run(&chain, &event));
}
