//! Tortures clusters of three replicas and proves from what was recorded that nothing was missed, lost or doubled.
//!
//! `cargo test --test torture` is a short version; `make torture` the long one. The seed is printed first: with it
//! the same faults come in the same order again. Exit 0: the promise was kept. Exit 1: it was broken, and the
//! recording that shows it is kept. Owns the command line and the run as a whole.

mod checker;
mod cluster;
mod etcd;
mod faults;
mod ports;
mod probe;
mod process;
mod proxy;
mod receiver;
mod record;
mod recorder;
mod replica;
mod report;
mod source;
mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Parser;
use fastrand::Rng;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use checker::{History, Rule, check};
use cluster::{Cluster, Plan};
use faults::{Kind, Scene, draw};
use recorder::Watch;
use replica::Launch;
use report::{Verdict, say};

/// Every so many clusters have clocks that can be set.
const CLOCKS: usize = 2;

/// Tortures clusters of ecsbeat.
#[derive(Debug, Parser)]
struct Cli {
    /// Number of faults, over all clusters.
    #[arg(long, default_value_t = 14)]
    faults: usize,
    /// Where the faults come from; drawn where it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Number of clusters, side by side.
    #[arg(long, default_value_t = 2)]
    clusters: usize,
    /// Only these kinds of faults.
    #[arg(long, value_delimiter = ',')]
    kinds: Vec<Kind>,
    /// Members of each etcd: 1 or 3.
    #[arg(long, default_value_t = 3)]
    etcd_members: usize,
    /// How many seconds etcd goes without a quorum.
    #[arg(long, default_value_t = 8)]
    outage: u64,
    /// Keep recordings, logs and data there.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// The ecsbeat to torture; the one of this build unless given.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Another release of it: rolling restarts change between the two.
    #[arg(long)]
    other_binary: Option<PathBuf>,
    /// Switch a safeguard of the product off (it must be built with `negative-controls`): the checker has to notice.
    #[arg(long, value_parser = ["gate", "fencing", "checkpoint-order"])]
    control: Option<String>,
    /// Judge a recording that is there, and do nothing else.
    #[arg(long)]
    check: Vec<PathBuf>,
    #[command(flatten)]
    libtest: Libtest,
}

/// What `cargo test` hands to every test.
#[derive(Debug, clap::Args)]
struct Libtest {
    /// Runs only if this is part of the name `torture`.
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

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.libtest.list
        || cli
            .libtest
            .filter
            .as_ref()
            .is_some_and(|part| !"torture".contains(&**part))
    {
        return ExitCode::SUCCESS;
    }
    match run(&cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("torture: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether all is as it should be.
fn run(cli: &Cli) -> anyhow::Result<bool> {
    if !cli.check.is_empty() {
        let verdicts = judge(&cli.check)?;
        return Ok(tell(cli, &verdicts));
    }
    let Some(etcd) = etcd::find() else {
        let text = "no etcd: tests/tools.sh unpacks one below target/etcd, or set ETCD_BIN";
        if std::env::args().len() > 1 {
            bail!("{text}");
        }
        say(&format!("torture: skipped, {text}"));
        return Ok(true);
    };
    if !matches!(cli.etcd_members, 1 | 3) {
        bail!("--etcd-members {}: give 1 or 3", cli.etcd_members);
    }
    let directory = Directory::new(cli.keep.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let recordings = runtime.block_on(async {
        tokio::select! {
            done = torture(cli, &etcd, &directory.path) => done,
            ended = interrupted() => { ended?; bail!("interrupted") }
        }
    });
    // Ends every task, and with them every process.
    drop(runtime);
    let verdicts = judge(&recordings?)?;
    let well = tell(cli, &verdicts);
    if !well || cli.keep.is_some() {
        say(&format!(
            "recordings, logs and data: {}",
            directory.keep().display()
        ));
    }
    Ok(well)
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

/// Runs all clusters; gives their recordings.
async fn torture(cli: &Cli, etcd: &Path, directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let seed = cli.seed.unwrap_or_else(|| fastrand::u64(0..1_000_000_000));
    say(&format!("torture: --seed {seed}"));
    let faketime = faketime();
    if faketime.is_none() {
        say("torture: no libfaketime (Debian's package of that name, or FAKETIME_LIB): clocks stay right");
    }
    let binary = cli.binary.clone();
    let binary = binary.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_ecsbeat")));
    let watch = Watch::start();
    let clusters = cli.clusters.clamp(1, cli.faults.max(1));
    let mut running = JoinSet::new();
    for number in 0..clusters {
        let launch = Launch {
            binary: binary.clone(),
            other: cli.other_binary.clone(),
            control: cli.control.clone(),
            faketime: faketime.clone().filter(|_| number % CLOCKS == 0),
        };
        let plan = Plan {
            number,
            seed,
            directory: directory.to_owned(),
            etcd: etcd.to_owned(),
            members: cli.etcd_members,
            launch,
            watch,
        };
        let share = cli.faults / clusters + usize::from(number < cli.faults % clusters);
        let kinds = kinds(cli, plan.launch.faketime.is_some());
        running.spawn(one(plan, kinds, share, clusters, Duration::from_secs(cli.outage)));
    }
    let mut recordings = Vec::new();
    while let Some(ended) = running.join_next().await {
        recordings.push(ended.context("a cluster's task broke off")??);
    }
    recordings.sort();
    Ok(recordings)
}

fn kinds(cli: &Cli, clocks: bool) -> Vec<Kind> {
    // Where a safeguard is off, those that need it.
    let needed: &[Kind] = match cli.control.as_deref() {
        Some("gate") => &[Kind::Pause, Kind::CutEtcd],
        Some("fencing") => &[Kind::LateEtcd],
        Some("checkpoint-order") => &[Kind::BlindCrash],
        _ => &[],
    };
    let chosen = |kind: &Kind| match (&*cli.kinds, needed) {
        ([], []) => true,
        ([], needed) => needed.contains(kind),
        (chosen, _) => chosen.contains(kind),
    };
    Kind::all()
        .filter(|kind| chosen(kind) && kind.fits(cli.etcd_members, clocks))
        .collect()
}

/// Runs one cluster from its start to its end.
async fn one(
    plan: Plan,
    kinds: Vec<Kind>,
    count: usize,
    clusters: usize,
    outage: Duration,
) -> anyhow::Result<PathBuf> {
    let mut random = Rng::with_seed(plan.seed.wrapping_mul(31).wrapping_add(plan.number as u64));
    let drawn = draw(&kinds, count, &mut random);
    let mut cluster = Cluster::start(&plan).await?;
    for (turn, kind) in drawn.into_iter().enumerate() {
        let number = turn * clusters + plan.number;
        let name = kind.to_string();
        // The moment within a tick is part of the fault.
        tokio::time::sleep(Duration::from_millis(random.u64(0..1500))).await;
        cluster.step(number, &name, "begin", String::new());
        let begin = Instant::now();
        let mut scene = Scene {
            cluster: &mut cluster,
            number,
            kind,
            random: random.fork(),
            outage,
        };
        let played = scene.play().await;
        cluster.step(number, &name, "end", String::new());
        let recovered = match played {
            Ok(()) => cluster.well().await,
            Err(error) => Err(error),
        };
        let takeover = cluster.takeover();
        let failed = recovered.err().map(|error| format!("{error:#}"));
        let recovery = failed.as_deref().map_or(Ok(begin.elapsed()), Err);
        say(&report::fault(plan.number, number, &name, takeover, recovery));
        match &failed {
            None => cluster.step(number, &name, "settled", String::new()),
            Some(why) => {
                cluster.step(number, &name, "unsettled", why.clone());
                // What comes after a cluster that is down tells nothing more.
                break;
            }
        }
    }
    cluster.finish().await
}

/// libfaketime, for threads.
fn faketime() -> Option<PathBuf> {
    let given = std::env::var_os("FAKETIME_LIB").map(PathBuf::from);
    let name = "usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/faketime")
        .join(name);
    let installed = Path::new("/").join(name);
    given
        .into_iter()
        .chain([unpacked, installed])
        .find(|path| path.is_file())
}

fn judge(recordings: &[PathBuf]) -> anyhow::Result<Vec<Verdict>> {
    let verdict = |path: &PathBuf| {
        let history = History::read(path)?;
        let findings = check(&history);
        Ok(Verdict {
            path: path.display().to_string(),
            history,
            findings,
        })
    };
    recordings.iter().map(verdict).collect()
}

/// Tells what came of it; gives whether that is as it should be.
fn tell(cli: &Cli, verdicts: &[Verdict]) -> bool {
    say("");
    say(&report::table(verdicts));
    say(&report::counts(verdicts));
    let violations: usize = verdicts
        .iter()
        .map(|verdict| verdict.findings.violations.len())
        .sum();
    if violations > 0 {
        say(&report::violations(verdicts));
    }
    let Some(control) = &cli.control else {
        say(&match violations {
            0 => "no tick missed, no record lost, none doubled".to_owned(),
            count => format!("{count} violations"),
        });
        return violations == 0;
    };
    // Something else that is wrong does not show that the checker sees this.
    let guarded: &[Rule] = match &**control {
        "gate" => &[Rule::Fenced, Rule::OneLeader],
        "fencing" => &[Rule::Once, Rule::Complete],
        _ => &[Rule::Complete],
    };
    let all = verdicts.iter().flat_map(|verdict| &verdict.findings.violations);
    let noticed = all.filter(|violation| guarded.contains(&violation.rule)).count();
    if noticed == 0 {
        say(&format!(
            "without {control} nothing of what it guards was broken: the faults did not need it, the checker is \
             blind to it, or this ecsbeat is not built with negative-controls"
        ));
    } else {
        say(&format!(
            "as expected without {control}: {noticed} violations of what it guards"
        ));
    }
    noticed > 0
}

/// Where everything is written; removed at the end unless it is to be kept.
struct Directory {
    path: PathBuf,
    temporary: Option<tempfile::TempDir>,
}

impl Directory {
    fn new(keep: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = keep {
            std::fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))?;
            let path = path
                .canonicalize()
                .with_context(|| format!("find {}", path.display()))?;
            return Ok(Self {
                path,
                temporary: None,
            });
        }
        let temporary = tempfile::Builder::new().prefix("torture-").tempdir();
        let temporary = temporary.context("a directory for recordings")?;
        Ok(Self {
            path: temporary.path().to_owned(),
            temporary: Some(temporary),
        })
    }

    fn keep(self) -> PathBuf {
        self.temporary.map_or(self.path, tempfile::TempDir::keep)
    }
}
