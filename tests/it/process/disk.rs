//! Damaged checkpoints and full disks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ecs_sim::Sim;
use ecs_sim::bulk::{self, Bulk};
use rustix::process::Signal;

use crate::support::process::{Home, SOON, customers, eventually, get};
use crate::support::windowed::{COMMANDS, busy, complete, exactly_once, rows, rows_of};

async fn world() -> (Sim, Bulk, Home) {
    let sim = Sim::start(busy()).await.unwrap();
    let bulk = Bulk::start(bulk::Config::for_tests()).await.unwrap();
    let home = Home::new();
    home.configure(&format!(
        "ecsbeat:\n{COMMANDS}  max_catch_up: 5m\n{}queue.mem.flush.timeout: 100ms\n\
         output.elasticsearch.hosts: ['{}']\n",
        customers(&sim, &home),
        bulk.url()
    ));
    (sim, bulk, home)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_checkpoints_are_set_aside_and_polling_goes_back_as_far_as_allowed() {
    let (sim, bulk, home) = world().await;
    let path = home.data().join("checkpoints.json");
    let begin = sim.now();
    let mut damaged = 0;
    for (number, percent) in [10, 40, 90].into_iter().enumerate() {
        let mut process = home.start(&[]);
        let before = bulk.len();
        eventually("documents arrive", SOON, || {
            (bulk.len() > before + 10).then_some(())
        })
        .await;
        process.stopped().await.expect(0);
        let mut bytes = fs::read(&path).unwrap();
        let place = bytes.len() * percent / 100;
        bytes[place] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        damaged = number + 1;
        // Nobody polls: this is what must not be forgotten.
        let since = sim.now();
        eventually("time passes", SOON, || (sim.now() > since + 3).then_some(())).await;
    }
    let mut process = home.start(&[]);
    let line = process.logged("is damaged").await;
    assert!(
        line.contains("\"log.level\":\"error\"") && line.contains("max_catch_up"),
        "{line}"
    );
    // Four minutes before the first start are within five.
    complete(&sim, begin - 240, sim.now(), SOON, || rows_of(&bulk)).await;
    process.stopped().await.expect(0);
    exactly_once(&sim, &rows_of(&bulk));
    let aside = |number: usize| home.data().join(format!("checkpoints.json.damaged-{number}"));
    assert!((1..=damaged).all(|number| aside(number).exists()) && !aside(damaged + 1).exists());
    assert_eq!(home.checkpoints().as_object().unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_the_file_output_loses_nothing() {
    let (sim, _bulk, home) = world().await;
    let out = home.path().join("out");
    fs::create_dir(&out).unwrap();
    let today = || {
        let date = jiff::Timestamp::now().to_string().replace('-', "");
        out.join(format!("ecsbeat-{}.ndjson", &date[..8]))
    };
    let link = today();
    std::os::unix::fs::symlink("/dev/full", &link).unwrap();
    home.configure(&format!(
        "ecsbeat:\n{COMMANDS}{}http: {{enabled: true, port: 0}}\nqueue.mem.flush.timeout: 100ms\n\
         output.file: {{path: '{}', rotate_on_startup: false}}\n",
        customers(&sim, &home),
        out.display()
    ));
    let from = sim.now() + 1;
    let mut process = home.start(&[]);
    let address = process.http().await;
    process.logged("No space left").await;
    let before = home.checkpoints();
    let since = sim.now();
    eventually("time passes", SOON, || (sim.now() > since + 3).then_some(())).await;
    let health = get(address, "/health").await;
    assert!(
        health.status == 200 && health.body.contains("output_down"),
        "{}",
        health.body
    );
    assert_eq!(home.checkpoints(), before, "nothing was delivered");
    fs::remove_file(&link).unwrap();
    let so_far = || {
        let text = fs::read_to_string(today()).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]).to_owned();
        rows(whole.lines().map(str::as_bytes))
    };
    complete(&sim, from, sim.now(), SOON, so_far).await;
    process.stopped().await.expect(0);
    exactly_once(&sim, &so_far());
}

/// A file system of 64 KiB, as long as this lives.
struct Tiny(PathBuf);

impl Tiny {
    fn mount(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let mut mount = Command::new("mount");
        let mounted = mount
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(path)
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then(|| Self(path.to_owned()))
    }

    /// Leaves no room.
    fn fill(&self) {
        let full = fs::write(self.0.join("filler"), vec![0; 128 * 1024]);
        assert!(full.is_err(), "64 KiB take 128?");
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_the_checkpoints_is_told_and_made_up_for() {
    let (sim, bulk, home) = world().await;
    let Some(tiny) = Tiny::mount(&home.data()) else {
        println!("SKIPPED: a file system of its own can be mounted by root only");
        return;
    };
    let from = sim.now() + 1;
    let mut process = home.start(&[]);
    eventually("the streams have checkpoints", SOON, || {
        (home.checkpoints().as_object()?.len() == 4).then_some(())
    })
    .await;
    tiny.fill();
    let line = process.logged("the checkpoint was not written").await;
    assert!(
        line.contains("checkpoints.json") && line.contains("No space left"),
        "{line}"
    );
    // Delivery goes on, and the old checkpoints are whole.
    complete(&sim, from, sim.now(), SOON, || rows_of(&bulk)).await;
    assert_eq!(home.checkpoints().as_object().unwrap().len(), 4);
    // Four streams have tried every second; one line tells it, and one that it is over.
    let failed = |log: &str| log.matches("the checkpoint was not written").count();
    assert_eq!(failed(&process.stderr()), 1, "{}", process.stderr());
    fs::remove_file(home.data().join("filler")).unwrap();
    let again = process.logged("checkpoints are written again").await;
    let failures: serde_json::Value = serde_json::from_str(&again).unwrap();
    assert!(failures["failures"].as_u64() >= Some(2), "{again}");
    let before = home.checkpoints();
    eventually("a checkpoint moves", SOON, || {
        (home.checkpoints() != before).then_some(())
    })
    .await;
    tiny.fill();
    process.signal(Signal::KILL);
    process.ended(SOON).await;
    let refused = home.run(&[]).await;
    refused.expect(1);
    assert!(refused.stderr.contains("path.data"), "{}", refused.stderr);
    fs::remove_file(home.data().join("filler")).unwrap();
    let mut process = home.start(&[]);
    // All may be there already; a signal before this line would end the process at once.
    process.logged("ecsbeat start running").await;
    complete(&sim, from, sim.now(), SOON, || rows_of(&bulk)).await;
    process.stopped().await.expect(0);
    exactly_once(&sim, &rows_of(&bulk));
    drop(tiny);
}
