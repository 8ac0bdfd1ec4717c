//! Proves on hosts of their own what the torture proves on processes: one leads, whatever is cut off, paused or killed.
//!
//! `cargo test --test hosts` does the core of it; `make hosts` all. Hosts are containers, or network namespaces where
//! there is no Docker; where there is neither, what is not done is told by name, and is a failure with
//! `ECSBEAT_REQUIRE_HOSTS=1`. Recorder, receiver, prober and checker are the torture's. Owns the command line, the
//! parts of a run, and the verdict.

mod cluster;
mod docker;
mod faults;
mod gateway;
mod ground;

#[allow(dead_code, reason = "the torture uses all of it")]
#[path = "../torture/checker/mod.rs"]
mod checker;
#[allow(dead_code, reason = "the torture uses all of it")]
#[path = "../torture/probe.rs"]
mod probe;
#[allow(dead_code, reason = "the torture uses all of it")]
#[path = "../torture/receiver.rs"]
mod receiver;
#[allow(dead_code, reason = "the torture uses all of it")]
#[path = "../torture/record.rs"]
mod record;
#[path = "../torture/recorder.rs"]
mod recorder;
#[allow(dead_code, reason = "the torture uses all of it")]
#[path = "../torture/report.rs"]
mod report;
#[allow(dead_code, reason = "the torture uses all of it")]
#[path = "../torture/source.rs"]
mod source;
#[allow(dead_code, reason = "the torture uses all of it")]
#[path = "../torture/wire.rs"]
mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use checker::{History, check};
use cluster::{Cluster, USUAL};
use docker::{Docker, Images};
use faults::Kind;
use ground::Ground;
use recorder::Watch;
use report::{Verdict, say};

/// Set to 1, what cannot be done is a failure.
const REQUIRE: &str = "ECSBEAT_REQUIRE_HOSTS";

/// Tries ecsbeat on hosts of their own.
#[derive(Debug, Parser)]
struct Cli {
    /// Do everything, not only what every run of the tests does.
    #[arg(long)]
    all: bool,
    /// The folder of the ecsbeat to try; that of this build unless given.
    #[arg(long)]
    binaries: Option<PathBuf>,
    #[command(flatten)]
    libtest: Libtest,
}

/// What `cargo test` hands to every test.
#[derive(Debug, clap::Args)]
struct Libtest {
    /// Only the parts with this in their name.
    filter: Option<String>,
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, hide = true)]
    exact: bool,
    #[arg(long, short, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    test_threads: Option<usize>,
    #[arg(long, hide = true)]
    skip: Vec<String>,
    #[arg(long, hide = true)]
    list: bool,
}

/// A part of a run.
#[derive(Debug, Clone, Copy)]
struct Part {
    name: &'static str,
    /// Every run of the tests does it.
    core: bool,
    /// Members of etcd.
    members: u8,
    kinds: &'static [Kind],
}

const PARTS: [Part; 3] = [
    Part {
        name: "hosts_three_members",
        core: true,
        members: 3,
        kinds: Kind::CORE,
    },
    Part {
        name: "hosts_three_members_more",
        core: false,
        members: 3,
        kinds: Kind::MORE,
    },
    Part {
        name: "hosts_single_member",
        core: false,
        members: 1,
        kinds: Kind::SINGLE,
    },
];

fn main() -> ExitCode {
    let cli = Cli::parse();
    let parts: Vec<Part> = (PARTS.into_iter())
        .filter(|part| part.core || cli.all)
        .filter(|part| {
            (cli.libtest.filter.as_ref()).is_none_or(|filter| part.name.contains(&**filter))
                && !cli.libtest.skip.iter().any(|skip| part.name.contains(&**skip))
        })
        .collect();
    if cli.libtest.list || parts.is_empty() {
        return ExitCode::SUCCESS;
    }
    match run(&cli, &parts) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("hosts: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether all is as it should be.
fn run(cli: &Cli, parts: &[Part]) -> anyhow::Result<bool> {
    if let Some(why) = docker::absent() {
        return Ok(skipped(parts, &format!("no Docker engine: {why}")));
    }
    let own = Path::new(env!("CARGO_BIN_EXE_ecsbeat")).parent();
    let binaries = cli.binaries.as_deref().or(own).context("no folder of binaries")?;
    let images = Images::build(binaries, &["ecsbeat", "etcd"])?;
    let directory = tempfile::Builder::new().prefix("hosts-").tempdir();
    let directory = directory.context("a folder for recordings")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .context("start the runtime")?;
    say(&format!("hosts: containers of Docker {}", docker::engine()));
    let mut verdicts = Vec::new();
    for part in parts {
        let recording = directory.path().join(format!("{}.jsonl", part.name));
        let ground: Box<dyn Ground> = Box::new(Docker::new(images.clone())?);
        runtime.block_on(async {
            tokio::select! {
                done = play(part, ground, &recording) => done.context(part.name),
                ended = interrupted() => { ended?; bail!("interrupted") }
            }
        })?;
        let history = History::read(&recording)?;
        let findings = check(&history);
        verdicts.push(Verdict {
            path: recording.display().to_string(),
            history,
            findings,
        });
    }
    drop(runtime);
    say("");
    say(&report::table(&verdicts));
    say(&report::counts(&verdicts));
    let well = verdicts
        .iter()
        .all(|verdict| verdict.findings.violations.is_empty());
    if !well {
        say(&report::violations(&verdicts));
        say(&format!("recordings: {}", directory.keep().display()));
    }
    Ok(well)
}

/// Tells what is not done. Whether that is all right.
fn skipped(parts: &[Part], why: &str) -> bool {
    for part in parts {
        say(&format!("hosts: SKIPPED {}: {why}", part.name));
    }
    let required = std::env::var(REQUIRE).is_ok_and(|value| value == "1");
    if required {
        say(&format!("hosts: {REQUIRE}=1 asks for what was skipped"));
    }
    !required
}

async fn interrupted() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Runs a cluster from its start to its end.
async fn play(part: &Part, ground: Box<dyn Ground>, recording: &Path) -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ground, recording, Watch::start(), part.members).await?;
    say(&format!("{}: works", part.name));
    for (number, kind) in part.kinds.iter().enumerate() {
        let fault = kind.struck(number);
        cluster.step(&fault, "begin", String::new());
        let begin = Instant::now();
        let recovered = match kind.play(&mut cluster, &fault).await {
            Ok(()) => cluster.well().await,
            Err(error) => Err(error),
        };
        let took = begin.elapsed().as_secs_f64();
        let next = cluster.takeover().map_or_else(
            || "the same leads".to_owned(),
            |next| {
                let (next, usual) = (next.as_secs_f64(), USUAL.as_secs_f64());
                format!("another leads after {next:.3} s (usually within {usual:.1} s)")
            },
        );
        let outcome = match &recovered {
            Ok(()) => format!("well again after {took:.1} s"),
            Err(error) => format!("NOT WELL: {error:#}"),
        };
        say(&format!("{}: {kind:<10} {next}, {outcome}", part.name));
        if let Err(error) = recovered {
            cluster.step(&fault, "unsettled", format!("{error:#}"));
            return Err(error);
        }
        cluster.step(&fault, "settled", String::new());
    }
    cluster.finish().await
}
