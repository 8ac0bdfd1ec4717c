//! `--once`: everything once to each output, and an exit code that tells whether it was everything.

use std::collections::BTreeSet;
use std::time::Duration;

use ecs_sim::bulk::{self, Bulk, BulkFault, BulkRule};
use ecs_sim::{Fault, FaultRule};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::process::{Home, SOON, customers, customers_with, eventually};
use crate::support::still::{DISKS, NODES, PROCESSES, counted, expected, world};
use crate::support::windowed::lines_in;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_delivers_all_types_to_the_console_and_nothing_else_is_there() {
    let (sim, home) = (world().await, Home::new());
    home.configure(&format!(
        "ecsbeat:\n{}output.console: {{}}\n",
        customers(&sim, &home)
    ));
    let ended = home.run(&["--once"]).await;
    ended.expect(0);
    assert!(ended.stdout.ends_with('\n'));
    let (counts, _) = counted(&sim, ended.stdout.lines());
    assert_eq!(counts, expected(&sim), "{}", ended.stderr);
    assert_eq!(
        (sim.live_tokens("monitor", 0), sim.live_tokens("monitor", 1)),
        (0, 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_delivers_all_types_to_a_file() {
    let (sim, home) = (world().await, Home::new());
    let out = home.path().join("out");
    home.configure(&format!(
        "ecsbeat:\n{}output.file.path: '{}'\n",
        customers(&sim, &home),
        out.display()
    ));
    let ended = home.run(&["run", "--once"]).await;
    assert_eq!(ended.expect(0).stdout, "");
    let lines = lines_in(&out);
    let (counts, _) = counted(&sim, lines.iter().map(String::as_str));
    assert_eq!(counts, expected(&sim), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_delivers_all_types_to_elasticsearch_under_their_event_ids() {
    let (sim, home) = (world().await, Home::new());
    let bulk = Bulk::start(bulk::Config::for_tests()).await.unwrap();
    home.configure(&format!(
        "ecsbeat:\n{}output.elasticsearch.hosts: ['{}']\n",
        customers(&sim, &home),
        bulk.url()
    ));
    let ended = home.run(&["--once"]).await;
    ended.expect(0);
    let documents = bulk.documents();
    let texts: Vec<String> = documents
        .iter()
        .map(|document| String::from_utf8(document.source.to_vec()).unwrap())
        .collect();
    let (counts, ids) = counted(&sim, texts.iter().map(String::as_str));
    assert_eq!(counts, expected(&sim), "{}", ended.stderr);
    let stored: BTreeSet<String> = documents.iter().map(|document| document.id.clone()).collect();
    assert_eq!(stored, ids, "_id is event.id");
    assert_eq!((bulk.conflicts(), bulk.repeated().len()), (0, 0));
    assert!(
        bulk.count_by_index()
            .keys()
            .all(|index| index.starts_with("ecsbeat-2"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_fails_when_a_vdc_is_down_and_still_delivers_the_other() {
    let (sim, home) = (world().await, Home::new());
    home.configure(&format!(
        "ecsbeat:\n{}output.console: {{}}\n",
        customers(&sim, &home)
    ));
    sim.vdc(1).down().unwrap();
    let ended = home.run(&["--once"]).await;
    ended.expect(1);
    let documents: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |vdc: usize, failed: bool| {
        let name = sim.vdc(vdc).name();
        let wanted = documents.iter().filter(|json| {
            json["ecs-vdc-cfgname"] == name && (json["event"]["outcome"] == "failure") == failed
        });
        wanted.count()
    };
    assert!(of(0, false) > NODES * (DISKS + PROCESSES), "{}", ended.stderr);
    assert_eq!(of(0, true), 0, "the healthy VDC does not suffer");
    assert_eq!(of(1, false), 0);
    // Every command of the VDC but the three of the customer tells its failure.
    assert_eq!(of(1, true), 10, "{}", ended.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_fails_with_a_wrong_password_and_does_not_hammer_the_login() {
    let (sim, home) = (world().await, Home::new());
    home.configure(&format!(
        "ecsbeat:\n{}output.console: {{}}\n",
        customers_with(&sim, &home, "wrong-one", "reqtimeout: 5s")
    ));
    let ended = home.run(&["--once"]).await;
    ended.expect(1);
    let logins = sim
        .requests()
        .iter()
        .filter(|request| request.path == "/login")
        .count();
    assert!(logins <= 2 * sim.vdcs(), "{logins} logins lock accounts");
    assert!(!ended.stderr.contains("wrong-one") && !ended.stdout.contains("wrong-one"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_configuration_is_told_whole_and_exits_with_78() {
    let home = Home::new();
    home.configure("ecsbeat:\n  perid: 5s\n  max_attempts: many\n  customers: []\noutput.console: {}\nshutdown_timeot: 3s\n");
    let ended = home.run(&["--once"]).await;
    ended.expect(78);
    assert!(ended.stderr.starts_with("Exiting: "), "{}", ended.stderr);
    for part in [
        "ecsbeat.perid",
        "ecsbeat.max_attempts",
        "ecsbeat.customers",
        "shutdown_timeot",
        "shutdown_timeout",
    ] {
        assert!(ended.stderr.contains(part), "{part} is not in:\n{}", ended.stderr);
    }
    assert_eq!(ended.stdout, "");
    assert!(!home.data().exists(), "nothing is touched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_once_early_and_its_exit_code_tells_that_it_was_not_everything() {
    let (sim, home) = (world().await, Home::new());
    let bulk = Bulk::start(bulk::Config::for_tests()).await.unwrap();
    bulk.set(BulkRule::always(BulkFault::Status {
        status: 503,
        retry_after: None,
    }));
    home.configure(&format!(
        "ecsbeat:\n{}output.elasticsearch.hosts: ['{}']\nshutdown_timeout: 2s\n",
        customers(&sim, &home),
        bulk.url()
    ));
    let mut process = home.start(&["--once"]);
    eventually("a bulk is refused", SOON, || {
        (!bulk.requests().is_empty()).then_some(())
    })
    .await;
    assert!(process.runs(), "what cannot be delivered is waited for");
    process.signal(Signal::TERM);
    let ended = process.ended(SOON).await;
    ended.expect(1);
    assert!(ended.took < Duration::from_secs(4), "{:?}", ended.took);
    assert_eq!(sim.live_tokens("monitor", 0), 0, "logged out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_once_while_ecs_hangs() {
    let (sim, home) = (world().await, Home::new());
    sim.faults()
        .set(FaultRule::everywhere(Fault::Hang).on_path("/dashboard"));
    home.configure(&format!(
        "ecsbeat:\n{}output.console: {{}}\nshutdown_timeout: 2s\n",
        customers_with(&sim, &home, crate::support::process::PASSWORD, "reqtimeout: 60s")
    ));
    let mut process = home.start(&["--once"]);
    eventually("requests hang", SOON, || (sim.in_flight(0) > 0).then_some(())).await;
    process.signal(Signal::TERM);
    let ended = process.ended(SOON).await;
    ended.expect(1);
    assert!(ended.took < Duration::from_secs(3), "{:?}", ended.took);
    assert_eq!(sim.live_tokens("monitor", 0), 0, "logged out");
}
