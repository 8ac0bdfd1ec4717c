//! Orderly and less orderly ends.

use std::time::Duration;

use ecs_sim::bulk::{self, Bulk, BulkFault, BulkRule};
use ecs_sim::{Fault, FaultRule, Port, Sim};
use rustix::process::Signal;

use crate::support::process::{Home, PASSWORD, Process, SOON, customers, customers_with, eventually};
use crate::support::windowed::{COMMANDS, busy, complete, exactly_once, rows_of};

/// Gauges beside the windows.
const NODES: &str = "  - {type: nodes, interval: 1s}\n";

struct World {
    sim: Sim,
    bulk: Bulk,
    home: Home,
}

impl World {
    async fn new(settings: &str) -> Self {
        let sim = Sim::start(busy()).await.unwrap();
        let bulk = Bulk::start(bulk::Config::for_tests()).await.unwrap();
        let home = Home::new();
        home.configure(&format!(
            "ecsbeat:\n{COMMANDS}{NODES}{}queue.mem.flush.timeout: 100ms\n\
             output.elasticsearch: {{hosts: ['{}'], backoff: {{init: 100ms, max: 500ms}}}}\n{settings}",
            customers_with(&sim, &home, PASSWORD, "reqtimeout: 60s"),
            bulk.url()
        ));
        Self { sim, bulk, home }
    }

    async fn delivering(&self) -> Process {
        let process = self.home.start(&[]);
        let before = self.bulk.len();
        eventually("documents arrive", SOON, || {
            (self.bulk.len() > before + 20).then_some(())
        })
        .await;
        process
    }

    fn live_tokens(&self) -> usize {
        (0..self.sim.vdcs())
            .map(|vdc| self.sim.live_tokens("monitor", vdc))
            .sum()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_signal_drains_the_queue_writes_checkpoints_and_logs_out() {
    let world = World::new("").await;
    let from = world.sim.now() + 1;
    for (signal, name) in [
        (Signal::TERM, "terminated"),
        (Signal::INT, "interrupt"),
        (Signal::HUP, "hangup"),
    ] {
        let mut process = world.delivering().await;
        assert!(world.live_tokens() >= 2);
        process.signal(signal);
        let ended = process.ended(SOON).await;
        ended.expect(0);
        assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
        assert!(
            ended
                .stderr
                .contains(&format!("Received signal \\\"{name}\\\", stopping")),
            "{}",
            ended.stderr
        );
        assert!(ended.stderr.contains("ecsbeat stopped."));
        assert_eq!(world.live_tokens(), 0, "logged out");
    }
    let to = world.sim.now();
    let mut process = world.home.start(&[]);
    complete(&world.sim, from, to, SOON, || rows_of(&world.bulk)).await;
    process.stopped().await.expect(0);
    exactly_once(&world.sim, &rows_of(&world.bulk));
    // The queue was drained and every checkpoint written: nothing had to be sent again.
    assert_eq!(world.bulk.repeated(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hanging_nodes_do_not_hold_up_the_end() {
    let world = World::new("shutdown_timeout: 2s\n").await;
    let mut process = world.delivering().await;
    // Open connections hang with their next request, new ones at once.
    world
        .sim
        .faults()
        .set(FaultRule::everywhere(Fault::Hang).on_port(Port::Mgmt));
    world.sim.faults().set(FaultRule::everywhere(Fault::AcceptHang));
    eventually("requests hang in both VDCs", SOON, || {
        (world.sim.in_flight(0) > 0 && world.sim.in_flight(1) > 0).then_some(())
    })
    .await;
    process.signal(Signal::TERM);
    let ended = process.ended(SOON).await;
    ended.expect(0);
    assert!(
        ended.took < Duration::from_secs(3),
        "{:?}\n{}",
        ended.took,
        ended.stderr
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_that_is_down_does_not_hold_up_the_end_and_everything_comes_after_the_restart() {
    let world = World::new("shutdown_timeout: 2s\n").await;
    let from = world.sim.now() + 1;
    for fault in [BulkFault::Refuse, BulkFault::Hang] {
        let mut process = world.delivering().await;
        world.bulk.set(BulkRule::always(fault.clone()).on_all());
        if fault == BulkFault::Refuse {
            process.logged("the output fails").await;
        } else {
            eventually("a bulk hangs", SOON, || {
                (world.bulk.requests().last()?.status == 0).then_some(())
            })
            .await;
        }
        process.signal(Signal::TERM);
        let ended = process.ended(SOON).await;
        ended.expect(0);
        assert!(ended.took < Duration::from_secs(3), "{:?}", ended.took);
        assert!(
            ended.stderr.contains("shutdown_timeout is over"),
            "{}",
            ended.stderr
        );
        assert_eq!(world.live_tokens(), 0, "logged out");
        world.bulk.clear_faults();
    }
    let to = world.sim.now();
    let mut process = world.home.start(&[]);
    complete(&world.sim, from, to, SOON, || rows_of(&world.bulk)).await;
    process.stopped().await.expect(0);
    exactly_once(&world.sim, &rows_of(&world.bulk));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once_and_with_an_error() {
    let world = World::new("shutdown_timeout: 60s\n").await;
    let mut process = world.delivering().await;
    world.bulk.set(BulkRule::always(BulkFault::Refuse));
    process.logged("the output fails").await;
    process.signal(Signal::TERM);
    process.logged("Received signal").await;
    assert!(process.runs(), "it drains");
    process.signal(Signal::INT);
    let ended = process.ended(SOON).await;
    ended.expect(1);
    assert!(ended.took < Duration::from_secs(2), "{:?}", ended.took);
    assert!(
        ended.stderr.contains("Exiting: stopped by a second signal"),
        "{}",
        ended.stderr
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_is_for_one_process() {
    let sim = Sim::start(busy()).await.unwrap();
    let home = Home::new();
    home.configure(&format!(
        "ecsbeat:\n{COMMANDS}{}output.console: {{}}\n",
        customers(&sim, &home)
    ));
    let mut first = home.start(&[]);
    first.logged("ecsbeat start running.").await;
    let second = home.run(&[]).await;
    second.expect(1);
    assert!(
        second
            .stderr
            .contains("Exiting: data path already locked by another beat"),
        "{}",
        second.stderr
    );
    assert!(first.runs(), "the first goes on");
    first.signal(Signal::KILL);
    first.ended(SOON).await;
    // A killed process leaves no lock behind.
    let mut third = home.start(&[]);
    third.logged("ecsbeat start running.").await;
}
