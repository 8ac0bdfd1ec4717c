//! What each output makes of a batch: against one copy of the documents or, where it compresses, against the
//! compression alone on the same bytes.
//!
//! All are run in turn, so that a machine whose speed drifts slows all of them: the ratios of the medians are the
//! figures. Divan's table follows.
//!
//! The column of bytes is what is allocated, and no count of what is copied. It is told for each byte of the documents,
//! so a copy of the batch into memory of its own shows as 1 more. What does not show: a copy into a buffer that is there
//! already and used again; what moves when a buffer grows, of which only the growth counts; and all that comes after the
//! encoder, in TLS, in the kernel, and in librdkafka, which copies for itself. Those copies are in the times as far as the
//! encoder makes them.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a measurement: its output is the point, and it fails loudly"
)]

use std::alloc::System;
use std::collections::BTreeMap;
use std::fmt;
use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

use divan::AllocProfiler;
use divan::counter::{BytesCount, ItemsCount};
use ecsbeat::clock::Clock;
use ecsbeat::config::{Sources, Template, load};
use ecsbeat::event::{Event, EventId};
use ecsbeat::output::{Output, build};
use ecsbeat::pipeline::ack::Ack;
use ecsbeat::telemetry::metrics::Metrics;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use jiff::Timestamp;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATIONS: AllocProfiler<&StatsAlloc<System>> = AllocProfiler::new(&INSTRUMENTED_SYSTEM);

/// Events of a batch: as many as it has by default.
const EVENTS: usize = 2048;
/// Turns for a median.
const TURNS: usize = 25;
/// Bytes before what a window compresses.
const WINDOW_HEADER: usize = 6;

/// An output as it is configured.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    output: &'static str,
    against: Against,
}

/// What has to be done in any case.
#[derive(Clone, Copy)]
enum Against {
    /// The documents are copied once.
    Copy,
    /// What another case makes, without its first bytes, is compressed.
    Zlib(u32, &'static str, usize),
    Gzip(u32, &'static str),
}

const HEAD: &str = "| encoder | bytes an event | events/s | ns an event | ns alone | ratio | bytes allocated for each \
                    byte of the event | allocations an event |\n|---|---|---|---|---|---|---|---|";
const BULK: &str = "Elasticsearch, `_bulk`";
const FRAMES: &str = "Logstash, bare frames";

const CASES: [Case; 9] = [
    Case {
        name: BULK,
        output: "elasticsearch: {hosts: ['http://127.0.0.1:9'], compression_level: 0}",
        against: Against::Copy,
    },
    Case {
        name: "Elasticsearch, `_bulk`, gzip 1",
        output: "elasticsearch: {hosts: ['http://127.0.0.1:9'], compression_level: 1}",
        against: Against::Gzip(1, BULK),
    },
    Case {
        name: FRAMES,
        output: "logstash: {hosts: ['127.0.0.1:9'], compression_level: 0}",
        against: Against::Copy,
    },
    Case {
        name: "Logstash, frames, zlib 3",
        output: "logstash: {hosts: ['127.0.0.1:9'], compression_level: 3}",
        against: Against::Zlib(3, FRAMES, WINDOW_HEADER),
    },
    Case {
        name: "Kafka, messages",
        output: "kafka: {hosts: ['127.0.0.1:9'], topic: ecsbeat}",
        against: Against::Copy,
    },
    Case {
        name: "Redis, `RPUSH`",
        output: "redis: {hosts: ['127.0.0.1:9'], key: ecsbeat}",
        against: Against::Copy,
    },
    Case {
        name: "file and console, `json`",
        output: "file: {path: /nowhere}",
        against: Against::Copy,
    },
    Case {
        name: "file and console, `json`, `pretty`",
        output: "file: {path: /nowhere, codec.json.pretty: true}",
        against: Against::Copy,
    },
    Case {
        name: "file and console, `format` of 4 fields",
        output: "file: {path: /nowhere, codec.format.string: \
                 '%{+yyyy.MM.dd} %{[ecs-vdc-name]} %{[displayName]} %{[healthStatus]} %{[event][dataset]}'}",
        against: Against::Copy,
    },
];

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

fn main() {
    table();
    divan::main();
}

/// Every case against what has to be done in any case, as a table in Markdown.
fn table() {
    let events = events();
    let documents: usize = events.iter().map(|event| event.body.len()).sum();
    let outputs = CASES.map(|case| output(case.output));
    let made: BTreeMap<&str, Vec<u8>> = CASES
        .iter()
        .zip(&outputs)
        .map(|(case, output)| (case.name, encoded(output, &events).concat()))
        .collect();
    let (mut times, mut alone) = (vec![Vec::new(); CASES.len()], BTreeMap::new());
    for _ in 0..TURNS {
        for ((case, output), times) in CASES.iter().zip(&outputs).zip(&mut times) {
            times.push(time(|| encoded(output, &events)));
            // One copy is the same for all.
            let alone: &mut Vec<Duration> = alone.entry(case.against.to_string()).or_default();
            alone.push(time(|| necessary(case.against, &events, &made)));
        }
    }
    println!(
        "{EVENTS} events of {} bytes, medians:\n\n{HEAD}",
        documents / EVENTS
    );
    for ((case, output), times) in CASES.iter().zip(&outputs).zip(times) {
        let alone = median(alone[&case.against.to_string()].clone());
        let ours = median(times);
        let region = Region::new(&INSTRUMENTED_SYSTEM);
        let bytes: usize = encoded(output, &events).iter().map(Vec::len).sum();
        let spent = region.change();
        println!(
            "| {case} | {} | {:.0} | {:.0} | {:.0} ({}) | {:.2} | {:.2} | {:.2} |",
            bytes / EVENTS,
            EVENTS as f64 / ours.as_secs_f64(),
            each(ours),
            each(alone),
            case.against,
            ours.as_secs_f64() / alone.as_secs_f64(),
            spent.bytes_allocated as f64 / documents as f64,
            (spent.allocations + spent.reallocations) as f64 / EVENTS as f64,
        );
    }
    println!();
}

impl fmt::Display for Against {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy => f.write_str("one copy"),
            Self::Zlib(level, ..) => write!(f, "zlib {level}"),
            Self::Gzip(level, _) => write!(f, "gzip {level}"),
        }
    }
}

fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Nanoseconds an event.
fn each(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9 / EVENTS as f64
}

/// The output of a section of the configuration. Nothing is reached.
fn output(section: &str) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    let text = format!(
        "ecsbeat.customers: [{{customername: c, username: u, password: p, vdcs: [{{vdcname: v, nodes: [192.0.2.1]}}]}}]\n\
         path.data: '{}'\noutput.{section}\n",
        directory.path().display()
    );
    let file = directory.path().join("ecsbeat.yml");
    std::fs::write(&file, text).expect("a file");
    let sources = Sources {
        files: vec![file],
        strict_perms: false,
        ..Sources::default()
    };
    let config = load(&sources, &|_| None).expect("a configuration of our own");
    let template: &Template = &config.template;
    let outputs = build(&config.outputs[0], template, &Metrics::new(), &Clock::system());
    outputs.expect("an output of our own").remove(0)
}

fn encoded(output: &Output, events: &[Event]) -> Vec<Vec<u8>> {
    output.encoded(events).expect("events of our own")
}

fn necessary(against: Against, events: &[Event], made: &BTreeMap<&str, Vec<u8>>) -> Vec<u8> {
    match against {
        Against::Copy => {
            let mut copy = Vec::with_capacity(events.iter().map(|event| event.body.len()).sum());
            for event in events {
                copy.extend_from_slice(&event.body);
            }
            copy
        }
        Against::Zlib(level, of, from) => {
            let mut zlib = ZlibEncoder::new(Vec::new(), Compression::new(level));
            zlib.write_all(&made[of][from..]).expect("memory");
            zlib.finish().expect("memory")
        }
        Against::Gzip(level, of) => {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::new(level));
            gzip.write_all(&made[of]).expect("memory");
            gzip.finish().expect("memory")
        }
    }
}

/// Disks, as they come out of a poll; the same each time.
fn events() -> Vec<Event> {
    fastrand::seed(7);
    let event = |number: u64| {
        let id = EventId::of([&number.to_be_bytes()[..]]);
        let mut document = format!(
            r#"{{"@timestamp":"2026-03-02T10:41:00.000Z","@version":"1","type":"ecsbeat","event":{{"id":"{id}","module":"ecsbeat","dataset":"ecsbeat.disks","kind":"metric","duration":5000000}},"ecs-customer":"EMC","ecs-event-type":"disks","ecs-vdc-cfgname":"VDC1","ecs-vdc-name":"vdc-north","ecs-node-ip":"10.1.83.{}","ecs-node-name":"n{}.example.net","agent":{{"name":"host1","type":"ecsbeat","version":"0.1.0"}},"id":"5d1f-{number:08}","displayName":"disk {number}","healthStatus":"Good""#,
            number % 200,
            number % 200
        );
        for name in ["Total", "Free", "Allocated"] {
            for tier in ["", "L1", "L2"] {
                // No two alike, as in life: else they compress too well.
                let value = 1_000_000_000_000 + fastrand::u64(0..8_000_000_000_000);
                document = format!(r#"{document},"diskSpace{name}Current{tier}_Space":{value}"#);
            }
        }
        document.push('}');
        Event::new(
            id,
            Timestamp::UNIX_EPOCH,
            "disks".into(),
            document.into(),
            Ack::none(),
        )
    };
    (0..EVENTS as u64).map(event).collect()
}

#[divan::bench(args = CASES)]
fn encoder(bencher: divan::Bencher<'_, '_>, case: Case) {
    let (events, output) = (events(), output(case.output));
    let bytes: usize = events.iter().map(|event| event.body.len()).sum();
    bencher
        .counter(ItemsCount::new(EVENTS))
        .counter(BytesCount::new(bytes))
        .bench_local(|| encoded(&output, &events));
}
