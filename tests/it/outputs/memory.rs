//! A long outage: what is held is bounded, polling waits, and what has a window is made up for.

use std::time::Instant;

use chaos::Fault;
use ecs_sim::{Config, Journal};

use super::elasticsearch::Elasticsearch;
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
/// How long the outage lasts by the clock of ECS, from when the queue is full, in seconds.
const OUTAGE: i64 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_outage_holds_no_more_than_the_queue_and_is_made_up_for() {
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
    let mut world = World::<Elasticsearch>::start(setup).await.unwrap();
    let before = world.process.rss();
    world.chaos.as_ref().unwrap().set(Fault::Refuse);
    let (begin, mut full_since, mut most) = (Instant::now(), None, 0);
    loop {
        let metrics = get(world.http, "/metrics").await;
        let filled = metrics.metric("ecsbeat_queue_filled_bytes").unwrap();
        assert!(filled <= BOUND, "{filled} bytes are in a queue of {BOUND}");
        most = most.max(world.process.rss());
        // Full where no further document fits.
        if full_since.is_none() && filled > BOUND * 0.98 {
            full_since = Some(world.sim.now());
        }
        if full_since.is_some_and(|since| world.sim.now() >= since + OUTAGE) {
            break;
        }
        assert!(begin.elapsed() < 2 * SOON, "the queue does not fill: {filled}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    world.chaos.as_ref().unwrap().pass();
    world.complete("a long outage", world.sim.now()).await;
    world.is_well("a long outage").await;
    let commands = get(world.http, "/commands").await.json();
    let sum = |member: &str| -> u64 {
        let commands = commands["commands"].as_array().unwrap();
        commands
            .iter()
            .map(|command| command[member].as_u64().unwrap())
            .sum()
    };
    let missed = sum("missed_ticks");
    assert!(missed > 0, "a full queue holds the polls up: {commands}");
    println!(
        "an outage of {:?} with {VDCS} VDCs: {missed} ticks missed, RSS {before} KiB before, at most {most} KiB \
         during, {} KiB after it",
        begin.elapsed(),
        world.process.rss()
    );
    world.stop().await;
}
