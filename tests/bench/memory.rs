//! Memory of the real process: idle with each output, and while an answer of 64 MB is polled; its threads, and the size
//! of its binary.
//!
//! The simulator and the servers run beside ecsbeat, whose figures are read from `/proc`.

#![expect(
    clippy::print_stdout,
    reason = "a measurement: its output is the point, and it fails loudly"
)]

#[expect(dead_code, reason = "here no server goes away")]
mod servers;

use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use ecs_sim::{Fault, FaultRule, Sim};
use servers::{NETWORK, Server};

fn main() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(memory())
}

struct Beat(Child);

impl Drop for Beat {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Beat {
    /// KiB of a line of `/proc/<pid>/status`.
    fn status(&self, name: &str) -> anyhow::Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .context("no such line")?;
        Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
    }

    /// Processor time that all its threads have taken.
    fn cpu(&self) -> anyhow::Result<Duration> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let (_, fields) = text.rsplit_once(") ").context("no name")?;
        let ticks = |field: usize| -> anyhow::Result<u64> {
            Ok(fields.split(' ').nth(field).context("no such field")?.parse()?)
        };
        // utime and stime, of which there are 100 a second.
        Ok(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
    }
}

async fn memory() -> anyhow::Result<()> {
    let idle = idle().await?;
    many_records(idle).await?;
    giant_member(idle).await
}

/// The built-in commands on 2 VDCs of 4 nodes, every 2 s, with each output; gives that with `output.file`.
async fn idle() -> anyhow::Result<u64> {
    let size = std::fs::metadata(env!("CARGO_BIN_EXE_ecsbeat"))?.len();
    println!("the binary: {:.1} MB", mib(size / 1024));
    println!(
        "| output | RSS | peak RSS | of it memory of its own | threads | CPU |\n|---|---|---|---|---|---|"
    );
    let directory = tempfile::tempdir()?;
    let idle = idle_with("file", FILE).await?;
    idle_with("console", "output.console: ~").await?;
    for name in NETWORK {
        let server = Server::start(name, directory.path(), "").await?;
        idle_with(name, &server.output).await?;
    }
    Ok(idle)
}

async fn idle_with(name: &str, output: &str) -> anyhow::Result<u64> {
    let sim = sim(2, 4, 12).await?;
    let commands: String = [
        "auditevent",
        "alert",
        "latestalert",
        "localzone",
        "nodes",
        "replicationgroups",
        "storagepools",
        "disks",
        "processes",
        "capacity",
        "nsbilling",
        "nsbillingsample",
    ]
    .iter()
    .fold(String::new(), |list, kind| list + "  - type: " + kind + "\n");
    let (beat, _files) = start(&sim, &commands, output)?;
    // The work at the start is not counted.
    tokio::time::sleep(SETTLING).await;
    let before = beat.cpu()?;
    tokio::time::sleep(LOOK).await;
    let cpu = beat.cpu()?.saturating_sub(before);
    let idle = beat.status("VmRSS")?;
    println!(
        "| {name} | {:.1} MB | {:.1} MB | {:.1} MB | {} | {:.1} % |",
        mib(idle),
        mib(beat.status("VmHWM")?),
        mib(beat.status("RssAnon")?),
        beat.status("Threads")?,
        100.0 * cpu.as_secs_f64() / LOOK.as_secs_f64()
    );
    Ok(idle)
}

/// One answer of about 60 MB: every disk of 200 nodes.
async fn many_records(idle: u64) -> anyhow::Result<()> {
    let sim = sim(1, 200, 220).await?;
    let (beat, files) = start(&sim, DISKS, FILE)?;
    answered(&sim, 1).await;
    let written: u64 = std::fs::read_dir(files.path().join("out"))?
        .flatten()
        .filter_map(|f| f.metadata().ok())
        .map(|m| m.len())
        .sum();
    println!(
        "44,000 disks in one answer, {:.0} MB of events written: peak RSS {:.1} MB, {:.1} MB above idle",
        mib(written / 1024),
        mib(beat.status("VmHWM")?),
        mib(beat.status("VmHWM")?.saturating_sub(idle))
    );
    Ok(())
}

/// An answer of 60 MB that is one text beside the records.
async fn giant_member(idle: u64) -> anyhow::Result<()> {
    let sim = sim(1, 4, 12).await?;
    sim.faults().set(FaultRule::everywhere(Fault::Big {
        bytes: 60 * 1024 * 1024,
    }));
    let (beat, _files) = start(&sim, DISKS, FILE)?;
    answered(&sim, 1).await;
    println!(
        "a text of 60 MB beside the records: peak RSS {:.1} MB, {:.1} MB above idle",
        mib(beat.status("VmHWM")?),
        mib(beat.status("VmHWM")?.saturating_sub(idle))
    );
    Ok(())
}

/// From the start until the figures of an idle process are taken, and how long its CPU is looked at before.
const SETTLING: Duration = Duration::from_secs(6);
const LOOK: Duration = Duration::from_secs(8);

const FILE: &str = "output.file: {path: '${path.home}/out', rotate_every_kb: 1000000}";
const DISKS: &str = "  - {type: alldisks, uri: \"/dashboard/zones/localzone/disks?dataType=current\", level: vdc, interval: 1h}\n";

async fn sim(vdcs: usize, nodes: usize, disks: usize) -> anyhow::Result<Sim> {
    let mut config = ecs_sim::Config::for_tests();
    config.vdcs = vdcs;
    config.nodes_per_vdc = nodes;
    config.disks_per_node = disks;
    Sim::start(config).await
}

/// Waits until so many answers with disks have been sent, and what they became is written.
async fn answered(sim: &Sim, count: usize) {
    let begin = Instant::now();
    let sent = || {
        sim.requests()
            .iter()
            .filter(|request| request.path.ends_with("/localzone/disks"))
            .count()
    };
    while sent() < count && begin.elapsed() < Duration::from_secs(120) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
}

fn start(sim: &Sim, commands: &str, output: &str) -> anyhow::Result<(Beat, tempfile::TempDir)> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().display();
    std::fs::write(directory.path().join("ca.pem"), sim.ca_pem())?;
    let mut yaml = format!(
        "ecsbeat:\n  period: 2s\n  customers:\n  - customername: sim\n    username: monitor\n    \
         password: CANARY-password-monitor\n    ssl.certificate_authorities: [{path}/ca.pem]\n    vdcs:\n"
    );
    for vdc in 0..sim.vdcs() {
        let nodes: Vec<String> = (0..4)
            .map(|node| format!("{{host: \"{}\"}}", sim.vdc(vdc).node(node).mgmt_host()))
            .collect();
        writeln!(yaml, "    - {{vdcname: v{vdc}, nodes: [{}]}}", nodes.join(", "))?;
    }
    writeln!(
        yaml,
        "  commands:\n{commands}{}\npath.data: {path}/data\nhttp: {{enabled: true, port: 0}}\nlogging.level: error",
        output.replace("${path.home}", &path.to_string())
    )?;
    let file = directory.path().join("ecsbeat.yml");
    std::fs::write(&file, yaml)?;
    let child = Command::new(env!("CARGO_BIN_EXE_ecsbeat"))
        .args(["-c".as_ref(), file.as_os_str(), "-e".as_ref()])
        // With `output.console` the events.
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()?;
    Ok((Beat(child), directory))
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
