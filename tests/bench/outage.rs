//! Memory of the real process while its output is away: every output with a network, with the ordinary queue and with
//! one that is full of bytes. For one half of the outage nothing listens, for the other nothing answers.
//!
//! The simulator and the servers run beside ecsbeat, whose figures are read from `/proc` and from its endpoints.
//! Figures are for people; what must hold is what the queue promises. Names of outputs as arguments are those to
//! measure: `cargo bench --bench outage -- kafka`.

#![expect(
    clippy::print_stdout,
    reason = "a measurement: its output is the point, and it fails loudly"
)]

mod servers;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use ecs_sim::Sim;
use servers::{Away, NETWORK, Server};

/// How long the output is away once the queue is full.
const OUTAGE: Duration = Duration::from_secs(60);
/// How long anything else may take.
const LIMIT: Duration = Duration::from_secs(180);
const MIB: f64 = 1024.0 * 1024.0;
const QUEUES: [(&str, &str); 2] = [
    ("3,200 events (default)", "queue.mem.events: 3200"),
    ("64 MB", "queue.mem: {events: 1000000, max_bytes: 64MB}"),
];
const HEAD: &str = "| output | queue of | in it when full | full after | RSS before | when full | during the outage | at its \
                    end | ticks missed | delivered after | peak RSS |\n|---|---|---|---|---|---|---|---|---|---|---|";

fn main() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(async {
            let wanted: Vec<String> = std::env::args()
                .skip(1)
                .filter(|word| !word.starts_with('-'))
                .collect();
            println!("{HEAD}");
            for output in NETWORK {
                if wanted.is_empty() || wanted.iter().any(|word| word == output) {
                    for (name, queue) in QUEUES {
                        outage(output, name, queue).await?;
                    }
                }
            }
            Ok(())
        })
}

/// ecsbeat on a federation, and where its endpoints answer.
struct Beat {
    child: Child,
    http: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Drop for Beat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Beat {
    /// Starts it with everything that is built in, every two seconds.
    fn start(sim: &Sim, output: &str, queue: &str) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().display();
        std::fs::write(directory.path().join("ca.pem"), sim.ca_pem())?;
        let mut yaml = format!(
            "ecsbeat:\n  period: 2s\n  start_jitter: 0s\n  customers:\n  - customername: sim\n    \
             username: monitor\n    password: CANARY-password-monitor\n    \
             ssl.certificate_authorities: [{path}/ca.pem]\n    vdcs:\n"
        );
        for vdc in 0..sim.vdcs() {
            let hosts: Vec<String> = (sim.vdc(vdc).nodes().iter())
                .map(|node| format!("{{host: \"{}\"}}", node.mgmt_host()))
                .collect();
            writeln!(yaml, "    - {{vdcname: v{vdc}, nodes: [{}]}}", hosts.join(", "))?;
        }
        writeln!(
            yaml,
            "{output}\n{queue}\npath.data: {path}/data\nhttp: {{enabled: true, port: 0}}\n\
             logging.metrics.enabled: false"
        )?;
        let file = directory.path().join("ecsbeat.yml");
        std::fs::write(&file, yaml)?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_ecsbeat"))
            .args(["-c".as_ref(), file.as_os_str(), "-e".as_ref()])
            .stderr(Stdio::piped())
            .spawn()?;
        let mut log = BufReader::new(child.stderr.take().context("its log")?);
        let http = loop {
            let mut line = String::new();
            ensure!(log.read_line(&mut line)? > 0, "it has ended");
            if line.contains("HTTP endpoints answer") {
                let line: serde_json::Value = serde_json::from_str(&line)?;
                break line["address"].as_str().context("an address")?.parse()?;
            }
        };
        // A full pipe would hold it up. This ends with the process.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Ok(Self {
            child,
            http,
            _directory: directory,
        })
    }

    /// Bytes of a line of `/proc/<pid>/status`.
    fn memory(&self, name: &str) -> anyhow::Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = (text.lines().find(|line| line.starts_with(name))).context("no such line")?;
        let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
        Ok(kib * 1024.0)
    }

    /// The sum of a metric over its labels.
    fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let mut stream = TcpStream::connect(self.http)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(
            stream,
            "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.http
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let is_of = |line: &&str| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with([' ', '{']))
        };
        let values = (text.lines().filter(is_of)).filter_map(|line| line.rsplit(' ').next());
        Ok(values.filter_map(|value| value.parse::<f64>().ok()).sum())
    }
}

async fn until(what: &str, mut done: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    while !done()? {
        if begin.elapsed() > LIMIT {
            bail!("{what}: not within {LIMIT:?}");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(begin.elapsed())
}

async fn outage(output: &str, name: &str, queue: &str) -> anyhow::Result<()> {
    let mut config = ecs_sim::Config::for_tests();
    (config.vdcs, config.nodes_per_vdc, config.disks_per_node) = (4, 8, 48);
    (config.journal.events_per_minute, config.journal.alerts_per_minute) = (600, 600);
    let sim = Sim::start(config).await?;
    let directory = tempfile::tempdir()?;
    let server = Server::start(
        output,
        directory.path(),
        "timeout: 5s, backoff: {init: 1s, max: 2s}",
    )
    .await?;
    let beat = Beat::start(&sim, &server.output, queue)?;
    let accepted = || beat.metric("ecsbeat_output_acked_events_total");
    until("events arrive", || Ok(accepted()? > 20_000.0)).await?;
    let before = beat.memory("VmRSS")?;

    server.leave(Away::Closed)?;
    // Full: many looks in a row find the same in it, and polls wait.
    let mut last = -1.0;
    let mut same = 0;
    let filling = until("the queue is full", || {
        let filled = beat.metric("ecsbeat_queue_filled_bytes")?;
        same = if filled > 1_000_000.0 && (filled - last).abs() < 1.0 {
            same + 1
        } else {
            0
        };
        last = filled;
        Ok(same > 20)
    })
    .await?;
    let (events, first) = (beat.metric("ecsbeat_queue_filled_events")?, beat.memory("VmRSS")?);
    let closed = lasting(&beat).await?;
    server.leave(Away::Silent)?;
    let silent = lasting(&beat).await?;
    let (smallest, most) = (closed.0.min(silent.0), closed.1.max(silent.1));
    let end = beat.memory("VmRSS")?;
    let held = beat.metric("ecsbeat_queue_filled_events")?;
    let told = accepted()?;
    server.come_back()?;
    let drained = until("what was held is delivered", || Ok(accepted()? >= told + held)).await?;
    let missed = beat.metric("ecsbeat_missed_ticks_total")?;
    println!(
        "| {output} | {name} | {events:.0} events, {:.1} MB | {:.0} s | {:.1} MB | {:.1} MB | {:.1} to {:.1} MB | {:.1} MB | \
         {missed:.0} | {:.1} s | {:.1} MB |",
        last / MIB,
        filling.as_secs_f64(),
        before / MIB,
        first / MIB,
        smallest / MIB,
        most / MIB,
        end / MIB,
        drained.as_secs_f64(),
        beat.memory("VmHWM")? / MIB,
    );
    Ok(())
}

/// One half of the outage: the smallest and the largest resident memory. The queue must keep its bounds.
async fn lasting(beat: &Beat) -> anyhow::Result<(f64, f64)> {
    let (most_events, most_bytes) = (
        beat.metric("ecsbeat_queue_max_events")?,
        beat.metric("ecsbeat_queue_max_bytes")?,
    );
    let (begin, mut smallest, mut most) = (Instant::now(), f64::MAX, 0_f64);
    while begin.elapsed() < OUTAGE / 2 {
        let (events, bytes) = (
            beat.metric("ecsbeat_queue_filled_events")?,
            beat.metric("ecsbeat_queue_filled_bytes")?,
        );
        ensure!(
            events <= most_events && bytes <= most_bytes,
            "{events} events of {bytes} bytes in the queue, which holds {most_events} of {most_bytes}"
        );
        let now = beat.memory("VmRSS")?;
        (smallest, most) = (smallest.min(now), most.max(now));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok((smallest, most))
}
