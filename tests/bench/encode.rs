//! Windows of the Lumberjack protocol, against zlib alone on the same bytes.
//!
//! Both are run in turn, so that a machine whose speed drifts slows both; the ratio of the medians is the figure, and
//! what is above 1 is the price of the frames. The table that follows is divan's, with the bytes that are allocated: a
//! copy of the batch would show there.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a measurement: its output is the point, and it fails loudly"
)]

use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

use divan::AllocProfiler;
use divan::counter::{BytesCount, ItemsCount};
use ecsbeat::event::{Event, EventId};
use ecsbeat::output::logstash::frame::Encoder;
use ecsbeat::pipeline::ack::Ack;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use jiff::Timestamp;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// Events of a window: as many as a batch has by default.
const EVENTS: usize = 2048;
/// Turns for the ratio.
const TURNS: usize = 15;
/// The default of `compression_level`.
const LEVEL: u32 = 3;

fn main() {
    let events = events();
    for level in [LEVEL, 0] {
        let plain = frames(&events);
        let (mut ours, mut alone) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            ours.push(time(|| window(&events, level)));
            alone.push(time(|| compress(&plain, level)));
        }
        ours.sort_unstable();
        alone.sort_unstable();
        let (ours, alone) = (ours[TURNS / 2], alone[TURNS / 2]);
        let what = if level == 0 { "one copy" } else { "zlib" };
        println!(
            "level {level}: {EVENTS} events, {} bytes, as a window {} bytes",
            plain.len(),
            window(&events, level)
        );
        println!("  {what} alone: {alone:?} (median of {TURNS})");
        println!(
            "  a window: {ours:?} (median of {TURNS}), {:.0} events/s",
            EVENTS as f64 / ours.as_secs_f64()
        );
        println!(
            "  ratio: {:.3} times the time",
            ours.as_secs_f64() / alone.as_secs_f64()
        );
    }
    divan::main();
}

fn time(work: impl FnOnce() -> usize) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

/// Disks, as they come out of a poll.
fn events() -> Vec<Event> {
    let event = |number: u64| {
        let mut document = format!(
            r#"{{"@timestamp":"2026-03-02T10:41:00.000Z","@version":"1","type":"ecsbeat","event":{{"id":"{number:032x}","module":"ecsbeat","dataset":"ecsbeat.disks","kind":"metric","duration":5000000}},"ecs-customer":"EMC","ecs-event-type":"disks","ecs-vdc-cfgname":"VDC1","ecs-vdc-name":"vdc-north","ecs-node-ip":"10.1.83.{}","ecs-node-name":"n{}.example.net","agent":{{"name":"host1","type":"ecsbeat","version":"0.1.0"}},"id":"5d1f-{number:08}","displayName":"disk {number}","healthStatus":"Good""#,
            number % 200,
            number % 200
        );
        for name in ["Total", "Free", "Allocated"] {
            for tier in ["", "L1", "L2"] {
                let value = 8_000_000_000_000 + number * 7919;
                document = format!(r#"{document},"diskSpace{name}Current{tier}_Space":{value}"#);
            }
        }
        document.push('}');
        Event::new(
            EventId::of([&number.to_be_bytes()[..]]),
            Timestamp::UNIX_EPOCH,
            "disks".into(),
            document.into(),
            Ack::none(),
        )
    };
    (0..EVENTS as u64).map(event).collect()
}

fn window(events: &[Event], level: u32) -> usize {
    let encoder = Encoder::new("ecsbeat", level);
    encoder.window(events.iter()).expect("events of our own").len()
}

/// The frames of the events as plain text, which is what a window compresses.
fn frames(events: &[Event]) -> Vec<u8> {
    let encoder = Encoder::new("ecsbeat", 0);
    encoder
        .window(events.iter())
        .expect("events of our own")
        .split_off(6)
}

/// What has to be done in any case.
fn compress(plain: &[u8], level: u32) -> usize {
    if level == 0 {
        return black_box(plain.to_vec()).len();
    }
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::new(level));
    zlib.write_all(plain).expect("memory");
    zlib.finish().expect("memory").len()
}

#[divan::bench(args = [LEVEL, 0])]
fn lumberjack_window(bencher: divan::Bencher<'_, '_>, level: u32) {
    let events = events();
    bencher
        .counter(ItemsCount::new(EVENTS))
        .counter(BytesCount::new(frames(&events).len()))
        .bench_local(|| window(&events, level));
}

#[divan::bench(args = [LEVEL, 0])]
fn zlib_or_copy_alone(bencher: divan::Bencher<'_, '_>, level: u32) {
    let plain = frames(&events());
    bencher
        .counter(ItemsCount::new(EVENTS))
        .counter(BytesCount::new(plain.len()))
        .bench_local(|| compress(&plain, level));
}
