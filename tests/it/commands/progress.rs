//! Progress of long work: a bar on a terminal, lines elsewhere, and nothing of it on standard output.

use ecs_sim::bulk::{self, Bulk, BulkFault, BulkRule};
use ecs_sim::{Config, Fault, FaultRule, Sim};

use crate::support::golden;
use crate::support::process::{Home, customers};
use crate::support::terminal::{On, Terminal};

const PLAIN: [(&str, &str); 1] = [("TERM", "xterm")];

async fn world() -> (Sim, Home) {
    let sim = Sim::start(Config {
        vdcs: 1,
        nodes_per_vdc: 2,
        ..Config::for_tests()
    })
    .await
    .unwrap();
    (sim, Home::new())
}

fn without_stderr_log(
    home: &Home,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ecsbeat"));
    command
        .arg("--path.home")
        .arg(home.path())
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied());
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn test_ecs_shows_a_bar_that_goes_when_it_is_done() {
    let (sim, home) = world().await;
    home.configure(&format!(
        "ecsbeat:\n{}output.console: {{}}\n",
        customers(&sim, &home)
    ));
    let slow = FaultRule::everywhere(Fault::Latency { ms: 300, p99_ms: 0 });
    sim.faults().set(slow);
    let command = without_stderr_log(&home, &["test", "ecs"], &PLAIN);
    let terminal = Terminal::start(command, On::Stderr);
    terminal.shows("test ecs [").await;
    let (status, shown) = terminal.ended().await;
    assert!(status.success(), "{shown}");
    assert!(shown.contains("0 of 2 nodes tried"), "{shown:?}");
    assert!(!shown.contains("\x1b[3"), "no colours: {shown:?}");
    assert!(
        shown.trim_end_matches('\r').ends_with("\x1b[2K"),
        "the line is cleared at the end: {shown:?}"
    );

    // A terminal that can only take lines gets none for what is quick.
    let command = without_stderr_log(&home, &["test", "ecs"], &[("TERM", "dumb")]);
    let (status, shown) = Terminal::start(command, On::Stderr).ended().await;
    assert!(status.success());
    assert_eq!(golden::without_progress(&shown, "test ecs"), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn setup_shows_that_it_waits() {
    let (_sim, home) = world().await;
    let bulk = Bulk::start(bulk::Config::for_tests()).await.unwrap();
    bulk.set(BulkRule {
        all: true,
        ..BulkRule::always(BulkFault::Slow { ms: 300 })
    });
    home.configure(&format!(
        "ecsbeat.customers: [{{customername: c, username: u, password: p, vdcs: [{{vdcname: v, nodes: [n]}}]}}]\n\
         output.elasticsearch.hosts: ['{}']\n",
        bulk.url()
    ));
    let command = without_stderr_log(&home, &["setup"], &PLAIN);
    let (status, shown) = Terminal::start(command, On::Stderr).ended().await;
    assert!(status.success(), "{shown}");
    assert!(shown.contains("waiting for Elasticsearch"), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_shows_how_far_it_is_unless_the_log_does() {
    let (sim, home) = world().await;
    let out = home.path().join("out");
    home.configure(&format!(
        "ecsbeat:\n{}output.file.path: '{}'\n",
        customers(&sim, &home),
        out.display()
    ));
    sim.faults()
        .set(FaultRule::everywhere(Fault::Latency { ms: 200, p99_ms: 0 }));
    let command = without_stderr_log(&home, &["run", "--once"], &PLAIN);
    let terminal = Terminal::start(command, On::Stderr);
    terminal.shows("of 13 polled").await;
    let (status, shown) = terminal.ended().await;
    assert!(status.success(), "{shown}");

    let command = without_stderr_log(&home, &["run", "--once", "-e"], &PLAIN);
    let (status, shown) = Terminal::start(command, On::Stderr).ended().await;
    assert!(status.success(), "{shown}");
    let odd: Vec<&str> = shown.lines().filter(|line| !line.starts_with('{')).collect();
    assert!(odd.is_empty(), "among the lines of the log: {odd:?}");
}
