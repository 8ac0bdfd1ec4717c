//! How long a cycle takes against the simulator: 4 VDCs of 64 nodes, 50 ms an answer, 8 requests in flight.
//!
//! The bound is what the slowest VDC's requests take at best: their number ÷ 8 × 50 ms. The figure is the time from
//! the first such request to the end of the last one, over that bound; and the TLS handshakes, which should be one
//! for each place in flight.

#![expect(
    clippy::print_stdout,
    reason = "a measurement: its output is the point, and it fails loudly"
)]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use ecs_sim::Sim;
use ecsbeat::app::App;
use ecsbeat::clock::Clock;
use ecsbeat::config::{Sources, load};
use tokio_util::sync::CancellationToken;

const VDCS: usize = 4;
const NODES: usize = 64;
const IN_FLIGHT: usize = 8;
const LATENCY: Duration = Duration::from_millis(50);

fn main() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(cycle())
}

async fn cycle() -> anyhow::Result<()> {
    let mut config = ecs_sim::Config::for_tests();
    config.vdcs = VDCS;
    config.nodes_per_vdc = NODES;
    config.latency.ms = u64::try_from(LATENCY.as_millis())?;
    let sim = Sim::start(config).await?;
    let directory = tempfile::tempdir()?;
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, sim.ca_pem())?;
    let mut yaml = format!(
        "ecsbeat:\n  max_in_flight: {IN_FLIGHT}\n  customers:\n  - customername: sim\n    username: monitor\n    \
         password: CANARY-password-monitor\n    ssl.certificate_authorities: [{}]\n    vdcs:\n",
        ca.display()
    );
    for vdc in 0..VDCS {
        write!(yaml, "    - vdcname: v{vdc}\n      nodes:\n")?;
        for node in 0..NODES {
            writeln!(yaml, "      - host: {}", sim.vdc(vdc).node(node).mgmt_host())?;
        }
    }
    write!(
        yaml,
        "  commands:\n  - type: disks\n  - type: processes\noutput.file.path: {0}/out\npath.data: {0}/data\n",
        directory.path().display()
    )?;
    let file = directory.path().join("ecsbeat.yml");
    std::fs::write(&file, yaml)?;
    let sources = Sources {
        files: vec![file],
        once: true,
        ..Sources::default()
    };
    let config = load(&sources, &|_| None)?;
    let whole = Instant::now();
    let app = App::new(config, Clock::system())?;
    app.run(CancellationToken::new()).await?;
    let whole = whole.elapsed();
    let requests = sim.requests();
    let mut slowest = Duration::ZERO;
    let mut most = 0;
    for vdc in 0..VDCS {
        let of_vdc: Vec<_> = requests
            .iter()
            .filter(|request| request.vdc == vdc && request.path.starts_with("/dashboard/nodes/"))
            .collect();
        let first = of_vdc
            .iter()
            .map(|request| request.at_ms)
            .min()
            .unwrap_or_default();
        let last = of_vdc
            .iter()
            .map(|request| request.at_ms)
            .max()
            .unwrap_or_default();
        most = most.max(of_vdc.len());
        slowest = slowest.max(Duration::from_millis(u64::try_from(last - first)?) + LATENCY);
        println!(
            "VDC {vdc}: {} requests, {} handshakes, at most {} in flight",
            of_vdc.len(),
            sim.handshakes(vdc),
            sim.max_in_flight(vdc)
        );
    }
    let bound = LATENCY * u32::try_from(most.div_ceil(IN_FLIGHT))?;
    println!(
        "cycle {slowest:?}, bound {bound:?}, ratio {:.2}; whole run with start and stop {whole:?}",
        slowest.as_secs_f64() / bound.as_secs_f64()
    );
    sim.shutdown().await;
    Ok(())
}
