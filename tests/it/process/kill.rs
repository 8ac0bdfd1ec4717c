//! SIGKILL at any moment: what was acknowledged is not lost, what was not is polled again, nothing is stored twice.
//!
//! The moments come from a seed that is printed; `ECSBEAT_TEST_SEED` sets it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ecs_sim::Sim;
use ecs_sim::bulk::{self, Bulk, BulkFault, BulkRule};
use rustix::process::Signal;

use crate::support::process::{Home, Process, SOON, customers, eventually};
use crate::support::windowed::{COMMANDS, busy, complete, exactly_once, missing, rows, rows_in, rows_of};

/// Events wait a while for their output, so that many kills strike after they were read and before they are there.
const QUEUE: &str = "queue.mem: {events: 500, flush.min_events: 100, flush.timeout: 300ms}\n";

fn random() -> fastrand::Rng {
    let given = std::env::var("ECSBEAT_TEST_SEED").ok();
    let seed = given.map_or(20_260_302, |text| text.parse().unwrap());
    println!("ECSBEAT_TEST_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// Every stream has a checkpoint: from here on there must be no gap.
async fn begun(home: &Home) {
    eventually("all four streams have a checkpoint", SOON, || {
        let checkpoints = home.checkpoints();
        let streams = checkpoints.as_object()?;
        (streams
            .values()
            .filter(|stream| stream["until"].is_string())
            .count()
            == 4)
            .then_some(())
    })
    .await;
}

async fn killed(mut process: Process) {
    process.signal(Signal::KILL);
    assert_eq!(process.ended(SOON).await.code(), -9, "{}", process.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_lose_nothing_and_double_nothing_in_elasticsearch() {
    let mut random = random();
    let sim = Sim::start(busy()).await.unwrap();
    let bulk = Bulk::start(bulk::Config::for_tests()).await.unwrap();
    let home = Home::new();
    home.configure(&format!(
        "ecsbeat:\n{COMMANDS}{}{QUEUE}output.elasticsearch: {{hosts: ['{}'], backoff.init: 100ms}}\n",
        customers(&sim, &home),
        bulk.url()
    ));
    let from = sim.now() + 1;
    let process = home.start(&[]);
    begun(&home).await;
    killed(process).await;
    for round in 1..50 {
        bulk.set(BulkRule::always(BulkFault::Slow { ms: 100 }));
        if round % 5 == 0 {
            // What is stored in this round is never acknowledged: the next one has to send it again.
            bulk.set(BulkRule::always(BulkFault::LostAnswer));
        }
        let process = home.start(&[]);
        tokio::time::sleep(Duration::from_millis(random.u64(50..1000))).await;
        killed(process).await;
        bulk.clear_faults();
    }
    let to = sim.now();
    let mut last = home.start(&[]);
    let arrived = complete(&sim, from, to, SOON, || rows_of(&bulk)).await;
    last.stopped().await.expect(0);
    exactly_once(&sim, &rows_of(&bulk));
    assert!(bulk.duplicates().is_empty(), "{:?}", bulk.duplicates());
    let again: usize = bulk.repeated().iter().map(|sent| sent.indices.len() - 1).sum();
    assert_eq!(
        again as u64,
        bulk.conflicts(),
        "what came again was refused as known"
    );
    assert!(
        again > 0,
        "no kill struck between a bulk and its checkpoint: this tells nothing"
    );
    println!(
        "{} rows stored once, {again} came again and were refused",
        arrived.len()
    );
}

/// The file that is written to: the last day's last number.
fn newest(directory: &Path) -> PathBuf {
    let files = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let place = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let mut numbers = name.split('-').skip(1).map(|part| part.parse::<u64>().unwrap());
        (numbers.next(), numbers.next())
    };
    files.max_by_key(place).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_leave_no_gap_and_no_broken_line_in_files() {
    let mut random = random();
    let sim = Sim::start(busy()).await.unwrap();
    let home = Home::new();
    let out = home.path().join("out");
    home.configure(&format!(
        "ecsbeat:\n{COMMANDS}{}{QUEUE}output.file: {{path: '{}', number_of_files: 1024, rotate_every_kb: 20}}\n",
        customers(&sim, &home),
        out.display()
    ));
    let from = sim.now() + 1;
    let process = home.start(&[]);
    begun(&home).await;
    killed(process).await;
    for round in 1..25 {
        // A kill amid a write is rare: this is what it leaves.
        let mut newest = fs::OpenOptions::new().append(true).open(newest(&out)).unwrap();
        newest.write_all(b"{\"half\":\"a line").unwrap();
        let rotate = format!("output.file.rotate_on_startup={}", round % 2 == 0);
        let process = home.start(&["-E", &rotate]);
        tokio::time::sleep(Duration::from_millis(random.u64(50..1000))).await;
        killed(process).await;
    }
    let to = sim.now();
    let mut last = home.start(&[]);
    // The line being written is not whole yet.
    let so_far = || {
        let mut lines = Vec::new();
        for entry in fs::read_dir(&out).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            lines.extend(whole.lines().map(str::to_owned));
        }
        rows(lines.iter().map(String::as_bytes))
    };
    complete(&sim, from, to, SOON, so_far).await;
    last.stopped().await.expect(0);
    // Fails on a broken line, wherever it is.
    let arrived = rows_in(&out);
    assert_eq!(missing(&sim, from, to, &arrived), Vec::<String>::new());
    let mut ids = BTreeMap::new();
    let mut again = 0;
    for row in &arrived {
        if let Some(first) = ids.insert(&row.urn, &row.id) {
            assert_eq!(first, &row.id, "one record, one id");
            again += 1;
        }
    }
    println!("{} rows, {again} of them again", arrived.len());
}
