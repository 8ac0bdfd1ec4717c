//! Memory of the real process: idle, and while an answer of 64 MB is polled.
//!
//! The simulator runs in this process, ecsbeat in its own, whose figures are read from `/proc`.

#![expect(
    clippy::print_stdout,
    reason = "a measurement: its output is the point, and it fails loudly"
)]

use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use ecs_sim::{Fault, FaultRule, Sim};

const BIG: u64 = 60 * 1024 * 1024;

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
}

async fn memory() -> anyhow::Result<()> {
    let mut config = ecs_sim::Config::for_tests();
    config.vdcs = 2;
    config.nodes_per_vdc = 4;
    let sim = Sim::start(config).await?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().display();
    std::fs::write(directory.path().join("ca.pem"), sim.ca_pem())?;
    let mut yaml = format!(
        "ecsbeat:\n  period: 2s\n  customers:\n  - customername: sim\n    username: monitor\n    \
         password: CANARY-password-monitor\n    ssl.certificate_authorities: [{path}/ca.pem]\n    vdcs:\n"
    );
    for vdc in 0..2 {
        write!(yaml, "    - vdcname: v{vdc}\n      nodes:\n")?;
        for node in 0..4 {
            write!(yaml, "      - host: {}\n", sim.vdc(vdc).node(node).mgmt_host())?;
        }
    }
    write!(
        yaml,
        "output.file: {{path: {path}/out, rotate_every_kb: 1000000}}\npath.data: {path}/data\nhttp: {{enabled: true, port: 0}}\nlogging.level: error\n"
    )?;
    // The built-in commands, and every disk of a VDC in one answer, which is made big later.
    let all = "  commands:\n".to_owned()
        + &[
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
        .map(|kind| format!("  - type: {kind}\n"))
        .concat()
        + "  - {type: alldisks, uri: \"/dashboard/zones/localzone/disks?dataType=current\", level: vdc, interval: 2s}\n";
    let yaml = yaml.replace("output.file", &format!("{all}output.file"));
    let file = directory.path().join("ecsbeat.yml");
    std::fs::write(&file, yaml)?;
    let child = Command::new(env!("CARGO_BIN_EXE_ecsbeat"))
        .args(["-c".as_ref(), file.as_os_str(), "-e".as_ref()])
        .stderr(Stdio::inherit())
        .spawn()?;
    let beat = Beat(child);
    tokio::time::sleep(Duration::from_secs(12)).await;
    let idle = beat.status("VmRSS")?;
    println!(
        "idle after 12 s of polling 2 VDCs of 4 nodes: RSS {:.1} MB",
        mib(idle)
    );
    sim.faults().set(
        FaultRule::everywhere(Fault::Big { bytes: BIG })
            .on_path("/dashboard/zones/localzone/disks")
            .times(2),
    );
    let served = sim.requests().len();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        let big = sim
            .requests()
            .iter()
            .skip(served)
            .filter(|r| r.path.ends_with("/localzone/disks"))
            .count();
        if big >= 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let peak = beat.status("VmHWM")?;
    println!(
        "two answers of {} MB, both VDCs at once: peak RSS {:.1} MB, {:.1} MB above idle; {:.1} MB now",
        BIG / 1024 / 1024,
        mib(peak),
        mib(peak - idle),
        mib(beat.status("VmRSS")?)
    );
    drop(beat);
    sim.shutdown().await;
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
