//! A long outage: what is held is bounded, polling waits, and what has a window is made up for.
//!
//! Owns the outage and what must hold of it for every output; `make outputs` prints what was measured. It knows no
//! protocol.

use std::time::{Duration, Instant};

use chaos::Fault;
use ecs_sim::{Config, Journal};

use super::receiver::Receiver;
use super::world::{Setup, World};
use crate::support::process::{SOON, get};
use crate::support::windowed::busy;

/// Bytes that the queue holds; the smallest that may be configured.
const BOUND: f64 = 1_000_000.0;
const QUEUE: &str =
    "queue.mem: {events: 100000, max_bytes: 1MB, flush.min_events: 200, flush.timeout: 100ms}\n";
/// Each for every VDC and second.
const GAUGES: &str = "  - {type: nodes, interval: 1s}\n  - {type: localzone, interval: 1s}\n  \
                      - {type: storagepools, interval: 1s}\n  - {type: disks, interval: 1s}\n";
const VDCS: usize = 12;
/// How long each part of the outage lasts by the clock of ECS, from when the queue is full, in seconds.
const PART: i64 = 10;
/// By how much resident memory may grow during the outage: the queue, and far more than sending takes.
const GROWTH_KIB: u64 = 1_000 + 30 * 1024;

/// What was seen while the output was away.
#[derive(Debug)]
struct Seen {
    /// Events and bytes in the queue, at most.
    events: f64,
    bytes: f64,
    /// Resident memory when the queue was full, at most from then on, and at the end; in KiB.
    full: u64,
    most: u64,
    end: u64,
    /// From the beginning of the outage until the queue was full.
    filling: Duration,
}

/// The output is away until the queue is full, and for long after that: first nothing listens, then nothing answers. An
/// output without a network does wrong what only it can.
pub(crate) async fn outage<R: Receiver>() {
    let sim = Config {
        vdcs: VDCS,
        journal: Journal {
            events_per_minute: 240,
            alerts_per_minute: 240,
            ..busy().journal
        },
        ..busy()
    };
    let setup = Setup {
        commands: GAUGES,
        queue: Some(QUEUE),
        sim: Some(sim),
        ..Setup::default()
    };
    let Some(mut world) = World::<R>::start(setup).await else {
        return;
    };
    let (before, missed_before) = (world.process.rss(), missed(&world).await);
    let begin = Instant::now();
    let seen = away(&mut world).await;
    let length = begin.elapsed();

    let (back, now) = (Instant::now(), world.sim.now());
    world.complete("a long outage", now).await;
    let recovery = back.elapsed();
    world.is_well("a long outage").await;
    let missed = missed(&world).await - missed_before;
    assert!(missed > 0, "a full queue holds the polls up: {seen:?}");
    assert!(
        seen.most <= before + GROWTH_KIB,
        "resident memory grew from {before} KiB to {} KiB",
        seen.most
    );
    let mb = |kib: u64| kib as f64 / 1024.0;
    println!(
        "\n{}: an outage of {:.0} s with {VDCS} VDCs: queue full after {:.1} s with {} events, {} of {BOUND} bytes; {missed} \
         ticks missed; RSS {:.1} MB before, {:.1} MB when full, {:.1} MB at most, {:.1} MB at the end, {:.1} MB after; \
         every row there {:.1} s after",
        R::NAME,
        length.as_secs_f64(),
        seen.filling.as_secs_f64(),
        seen.events,
        seen.bytes,
        mb(before),
        mb(seen.full),
        mb(seen.most),
        mb(seen.end),
        mb(world.process.rss()),
        recovery.as_secs_f64(),
    );
    world.stop().await;
}

/// Goes through the outage and ends it.
async fn away<R: Receiver>(world: &mut World<R>) -> Seen {
    let mut seen = Seen {
        events: 0.0,
        bytes: 0.0,
        full: 0,
        most: 0,
        end: 0,
        filling: Duration::ZERO,
    };
    let Some(chaos) = &world.chaos else {
        let own = R::OWN
            .first()
            .expect("an output without a network fails somehow")
            .name;
        world.receiver.strike(own).await;
        until_full(world, &mut seen).await;
        lasting(world, &mut seen, 2 * PART).await;
        world.receiver.undo(own).await;
        return seen;
    };
    chaos.set(Fault::Refuse);
    until_full(world, &mut seen).await;
    lasting(world, &mut seen, PART).await;
    world.chaos.as_ref().unwrap().set(Fault::HalfOpen);
    lasting(world, &mut seen, PART).await;
    world.chaos.as_ref().unwrap().pass();
    seen
}

async fn until_full<R: Receiver>(world: &World<R>, seen: &mut Seen) {
    let begin = Instant::now();
    // Full where no further document fits.
    while look(world, seen).await <= BOUND * 0.98 {
        assert!(begin.elapsed() < 2 * SOON, "the queue does not fill: {seen:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    seen.filling = begin.elapsed();
    seen.full = world.process.rss();
}

async fn lasting<R: Receiver>(world: &World<R>, seen: &mut Seen, seconds: i64) {
    let until = world.sim.now() + seconds;
    while world.sim.now() < until {
        look(world, seen).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    seen.end = world.process.rss();
}

/// What the queue holds: never more than its bound, in bytes.
async fn look<R: Receiver>(world: &World<R>, seen: &mut Seen) -> f64 {
    let metrics = get(world.http, "/metrics").await;
    let filled = metrics.metric("ecsbeat_queue_filled_bytes").unwrap();
    assert!(filled <= BOUND, "{filled} bytes are in a queue of {BOUND}");
    seen.bytes = seen.bytes.max(filled);
    let events = metrics.metric("ecsbeat_queue_filled_events").unwrap();
    seen.events = seen.events.max(events);
    seen.most = seen.most.max(world.process.rss());
    filled
}

/// Ticks that passed without a poll, of all commands.
async fn missed<R: Receiver>(world: &World<R>) -> u64 {
    let commands = get(world.http, "/commands").await.json();
    let commands = commands["commands"].as_array().unwrap();
    commands
        .iter()
        .map(|command| command["missed_ticks"].as_u64().unwrap())
        .sum()
}
