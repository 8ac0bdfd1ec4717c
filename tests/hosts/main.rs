//! Proves on hosts of their own what the torture proves on processes: one leads, whatever is cut off, paused or killed.
//!
//! `cargo test --test hosts` does the core of it; `make hosts` all. Hosts are containers, or network namespaces where
//! there is no Docker; where there is neither, what is not done is told by name, and is a failure with
//! `ECSBEAT_REQUIRE_HOSTS=1`. Recorder, receiver, prober and checker are the torture's. Owns the command line, the
//! parts of a run, and the verdict.

mod cluster;
mod compose;
mod docker;
mod engine;
mod faults;
mod gateway;
mod ground;
mod image;
mod layout;
mod namespaces;
mod parts;

#[allow(dead_code, reason = "the torture uses all of it")]
#[path = "../torture/checker/mod.rs"]
mod checker;
#[allow(dead_code, reason = "the torture uses all of it")]
#[path = "../torture/probe.rs"]
mod probe;
#[allow(dead_code, reason = "the torture uses all of it")]
#[path = "../torture/process.rs"]
mod process;
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

use checker::{Findings, History, Rule, check};
use cluster::{Cluster, USUAL};
use docker::{Docker, Images};
use engine::Engine;
use faults::Kind;
use ground::Ground;
use namespaces::Namespaces;
use parts::{PARTS, Part, What};
use record::{Micros, Span};
use recorder::Watch;
use report::{Verdict, say};

/// How long after a stall of this process answers may still be late.
const LATE: Micros = 3_000_000;
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
    /// Which hosts; containers where they can be had, unless given.
    #[arg(long)]
    on: Option<Kinds>,
    /// Switch a safeguard of the product off (it must be built with `negative-controls`): that has to be noticed.
    #[arg(long, value_parser = ["gate", "fencing"])]
    control: Option<String>,
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

/// Which hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kinds {
    /// Containers.
    Docker,
    /// Network namespaces.
    Namespaces,
}

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
    let own = Path::new(env!("CARGO_BIN_EXE_ecsbeat")).parent();
    let binaries = cli.binaries.as_deref().or(own).context("no folder of binaries")?;
    let directory = tempfile::Builder::new().prefix("hosts-").tempdir();
    let directory = directory.context("a folder for recordings")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let mut skipped = false;
    let mut verdicts = Vec::new();
    for part in parts {
        let begin = Instant::now();
        let recording = directory.path().join(format!("{}.jsonl", part.name));
        let played = runtime.block_on(async {
            tokio::select! {
                done = one(part, cli, binaries, &recording) => done.context(part.name),
                ended = interrupted() => { ended?; bail!("interrupted") }
            }
        })?;
        if let Some(why) = played {
            skipped = true;
            say(&format!("hosts: SKIPPED {}: {why}", part.name));
            continue;
        }
        say(&format!("{}: done in {} s", part.name, begin.elapsed().as_secs()));
        if matches!(part.what, What::Faults(..)) {
            let history = History::read(&recording)?;
            let findings = judged(&history);
            verdicts.push(Verdict {
                path: recording.display().to_string(),
                history,
                findings,
            });
        }
    }
    drop(runtime);
    let kept = tell(&verdicts);
    let well = match &cli.control {
        None => kept,
        Some(control) => {
            let noticed = if kept {
                "nothing was noticed"
            } else {
                "as expected"
            };
            say(&format!("without {control}: {noticed}"));
            !kept
        }
    };
    if !well {
        say(&format!("recordings: {}", directory.keep().display()));
    }
    let required = skipped && std::env::var(REQUIRE).is_ok_and(|value| value == "1");
    if required {
        say(&format!("hosts: {REQUIRE}=1 asks for what was skipped"));
    }
    Ok(well && !required)
}

/// What the torture's checker finds. That something was sent again is held against nobody where this process had
/// stood still shortly before: what it answered late may have been given up.
fn judged(history: &History) -> Findings {
    let mut findings = check(history);
    findings.violations.retain(|violation| {
        let mut stalls = history.stalls();
        let late = |span: &Span| span.from <= violation.at && violation.at <= span.to + LATE;
        violation.rule != Rule::Once || !stalls.any(late)
    });
    findings
}

/// Tells what came of it; gives whether every promise was kept.
fn tell(verdicts: &[Verdict]) -> bool {
    if verdicts.is_empty() {
        return true;
    }
    say("");
    say(&report::table(verdicts));
    say(&report::counts(verdicts));
    let well = verdicts
        .iter()
        .all(|verdict| verdict.findings.violations.is_empty());
    if !well {
        say(&report::violations(verdicts));
    }
    well
}

/// Does one part; `Some` = it cannot be done here, and why.
async fn one(part: &Part, cli: &Cli, binaries: &Path, recording: &Path) -> anyhow::Result<Option<String>> {
    let engine = match cli.on {
        Some(Kinds::Namespaces) => Err("it was not asked for".to_owned()),
        _ => docker::connect().await.map_err(|error| format!("{error:#}")),
    };
    let (members, kinds, engine) = match (part.what, engine) {
        (What::Compose | What::Image, Err(why)) => return Ok(Some(format!("no Docker: {why}"))),
        (What::Compose, Ok(engine)) => {
            let words = match compose::command() {
                Ok(words) => words,
                Err(error) => return Ok(Some(format!("{error:#}"))),
            };
            let images = Images::build(binaries, &[])?;
            compose::play(&engine, &images, words).await?;
            return Ok(None);
        }
        (What::Image, Ok(engine)) => {
            let images = Images::build(binaries, &["ecsbeat", "ecs-sim"])?;
            let ground = Docker::new(engine, images).await?;
            // Others than this build's are given where a release is to be tried.
            image::play(&ground, cli.binaries.is_some()).await?;
            return Ok(None);
        }
        (What::Faults(members, kinds), engine) => (members, kinds, engine),
    };
    let ground = ground(part, cli, binaries, engine).await?;
    let ground = match ground {
        Ok(ground) => ground,
        Err(why) => return Ok(Some(why)),
    };
    let control = cli.control.as_deref();
    let cluster = Cluster::start(ground, recording, Watch::start(), members, control).await?;
    play(part.name, cluster, kinds).await?;
    Ok(None)
}

/// What the hosts of a part are made of; the inner error tells why there is nothing.
async fn ground(
    part: &Part,
    cli: &Cli,
    binaries: &Path,
    engine: Result<Engine, String>,
) -> anyhow::Result<Result<Box<dyn Ground>, String>> {
    let engine = match engine {
        Ok(engine) => engine,
        Err(why) => {
            let no_namespaces = match cli.on {
                Some(Kinds::Docker) => Some("they were not asked for".to_owned()),
                _ => namespaces::absent(),
            };
            if let Some(other) = no_namespaces {
                return Ok(Err(format!("no Docker: {why}; no network namespaces: {other}")));
            }
            say(&format!("{}: on network namespaces", part.name));
            let etcd = etcd().context("no etcd: tests/tools.sh unpacks one, or set ETCD_BIN")?;
            return Ok(Ok(Box::new(Namespaces::new(&binaries.join("ecsbeat"), &etcd)?)));
        }
    };
    let (name, version) = (part.name, engine.version());
    say(&format!("{name}: on containers of Docker {version}"));
    let images = Images::build(binaries, &["ecsbeat", "etcd"])?;
    Ok(Ok(Box::new(Docker::new(engine, images).await?)))
}

/// The etcd to use: `ETCD_BIN`, or what `tests/tools.sh` has unpacked.
fn etcd() -> Option<PathBuf> {
    let given = std::env::var_os("ETCD_BIN").map(PathBuf::from);
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/etcd/3.5/usr/bin/etcd");
    given.into_iter().chain([unpacked]).find(|path| path.is_file())
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

/// Does one fault after the other to a cluster that works, and lets it end.
async fn play(name: &str, mut cluster: Cluster, kinds: &[Kind]) -> anyhow::Result<()> {
    for (number, kind) in kinds.iter().enumerate() {
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
        say(&format!("{name}: {kind:<10} {next}, {outcome}"));
        if let Err(error) = recovered {
            cluster.step(&fault, "unsettled", format!("{error:#}"));
            return Err(error);
        }
        cluster.step(&fault, "settled", String::new());
    }
    cluster.finish().await
}
