//! How long the endpoints take to answer: 1000 requests a second over 8 connections, while the runtime of the process
//! is blocked and every core is kept busy. The bound is 50 ms for each answer.
//!
//! The requests are sent by the clock, and each answer counts from when its request was due: a server that falls
//! behind is not measured more kindly for it.

#![expect(
    clippy::print_stdout,
    reason = "a measurement: its output is the point, and it fails loudly"
)]

use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use ecsbeat::clock::{Clock, since_boot};
use ecsbeat::cluster::{MemberRecord, SCHEMA};
use ecsbeat::config::Http;
use ecsbeat::heartbeat::Heartbeat;
use ecsbeat::http::{Endpoints, bind};
use ecsbeat::status::{Cluster, Leader, Leadership, State, Status, UnitKey, UnitStatus};
use ecsbeat::telemetry::identity::Identity;
use ecsbeat::telemetry::metrics::{CommandLabels, Metrics};
use ecsbeat::telemetry::tree::Source;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const RATE: u32 = 1000;
const CONNECTIONS: u32 = 8;
const SECONDS: u32 = 10;
const BOUND: Duration = Duration::from_millis(50);
/// VDCs and commands of each: as many units as a large installation has.
const VDCS: usize = 8;
const COMMANDS: usize = 13;
/// What load balancers and orchestrators ask.
const CHECKS: [&str; 5] = ["/leader", "/health", "/liveness", "/readiness", "/standby"];
/// What people and collectors ask.
const PAGES: [&str; 6] = [
    "/cluster",
    "/history",
    "/commands",
    "/metrics",
    "/stats",
    "/state",
];

fn main() -> anyhow::Result<()> {
    println!("{RATE} requests/s over {CONNECTIONS} connections for {SECONDS} s; bound {BOUND:?} an answer");
    let quiet = AtomicBool::new(false);
    let process = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    process.block_on(async {
        let bound = bind(&Http {
            enabled: true,
            host: "127.0.0.1".to_owned(),
            port: 0,
            ssl: None,
            token: None,
            timeout: Duration::from_secs(5),
        })?;
        let address = bound.local_addr();
        let server = bound.serve(Arc::new(leader()), CancellationToken::new())?;
        // Nothing is awaited in here: the runtime of the process stands still.
        for (name, paths, busy) in [
            ("checks, idle machine", &CHECKS[..], false),
            ("pages, idle machine", &PAGES[..], false),
            ("checks, busy machine", &CHECKS[..], true),
        ] {
            quiet.store(false, Ordering::Relaxed);
            std::thread::scope(|scope| {
                if busy {
                    for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                        scope.spawn(|| {
                            let mut turns = 0u64;
                            while !quiet.load(Ordering::Relaxed) {
                                turns = black_box(turns.wrapping_add(1));
                            }
                        });
                    }
                }
                let measured = load(address, paths);
                quiet.store(true, Ordering::Relaxed);
                report(name, measured?);
                anyhow::Ok(())
            })?;
        }
        server.stop().await?;
        anyhow::Ok(())
    })
}

/// The times of all answers.
fn load(address: SocketAddr, paths: &[&str]) -> anyhow::Result<Vec<Duration>> {
    std::thread::scope(|scope| {
        let probes: Vec<_> = (0..CONNECTIONS)
            .map(|number| scope.spawn(move || probe(address, number, paths)))
            .collect();
        let mut times = Vec::new();
        for probe in probes {
            match probe.join() {
                Ok(measured) => times.extend(measured?),
                Err(_) => bail!("a connection's thread panicked"),
            }
        }
        Ok(times)
    })
}

/// One connection's share: every `CONNECTIONS`th request.
fn probe(address: SocketAddr, number: u32, paths: &[&str]) -> anyhow::Result<Vec<Duration>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut connection = BufReader::new(stream);
    let start = Instant::now();
    let mut times = Vec::new();
    for (request, path) in (number..RATE * SECONDS)
        .step_by(CONNECTIONS as usize)
        .zip(paths.iter().cycle())
    {
        let due = start + Duration::from_secs(1) * request / RATE;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let code = ask(&mut connection, path)?;
        times.push(due.elapsed());
        let want = if *path == "/standby" { 503 } else { 200 };
        ensure!(code == want, "{path}: {code}, not {want}");
    }
    Ok(times)
}

fn ask(connection: &mut BufReader<TcpStream>, path: &str) -> anyhow::Result<u16> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    connection.get_mut().write_all(request.as_bytes())?;
    let mut line = String::new();
    connection.read_line(&mut line)?;
    let code = line
        .split(' ')
        .nth(1)
        .context("an answer without a code")?
        .parse()?;
    let mut length = 0;
    loop {
        line.clear();
        connection.read_line(&mut line)?;
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    connection.read_exact(&mut vec![0; length])?;
    Ok(code)
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    let late = times.iter().filter(|time| **time > BOUND).count();
    println!(
        "{name}: {} answers, all right; p50 {:?}, p99 {:?}, slowest {:?}, {late} over the bound",
        times.len(),
        at(50),
        at(99),
        at(100)
    );
}

/// A leader of three replicas with much to tell.
fn leader() -> Endpoints {
    let identity = Arc::new(Identity::new(
        "node-a",
        Uuid::nil(),
        "node-a",
        Some("prod"),
        "http://node-a:5066",
    ));
    let now = Timestamp::now();
    let status = Arc::new(Status::new(now));
    let metrics = Metrics::new();
    for vdc in 0..VDCS {
        for command in 0..COMMANDS {
            let (vdc, command) = (format!("VDC{vdc}"), format!("command{command}"));
            let key = UnitKey {
                customer: "acme".into(),
                vdc: vdc.as_str().into(),
                command: command.as_str().into(),
            };
            status.unit(&key).store(Arc::new(UnitStatus {
                last_tick: Some(now),
                last_success: Some(now),
                checkpoint: Some(now),
                ..UnitStatus::default()
            }));
            let labels = CommandLabels {
                customer: "acme".to_owned(),
                vdc,
                command,
            };
            metrics.events.get_or_create(&labels).inc();
            metrics.polls.get_or_create(&labels).inc();
        }
    }
    status.tell_leadership(Leadership {
        term: 7,
        leader: Some(Leader {
            name: Arc::clone(&identity.instance),
            address: Arc::clone(&identity.address),
            since: now,
        }),
        deadline: Some(since_boot() + Duration::from_secs(3600)),
        dcs_reachable: true,
        dcs_last_seen: Some(now),
        ..Leadership::default()
    });
    status.tell_cluster(Cluster {
        members: ["node-a", "node-b", "node-c"].map(member).into(),
        seen: Some(since_boot()),
        ..Cluster::default()
    });
    status.enter(State::Leader, now);
    Endpoints {
        source: Source {
            identity: Arc::clone(&identity),
            metrics,
            status: Arc::clone(&status),
            outputs: vec!["elasticsearch"],
            started: Instant::now(),
            runtime: None,
        },
        identity,
        status,
        heartbeat: Heartbeat::new(),
        ttl: Duration::from_secs(3600),
        clock: Clock::system(),
        token: None,
        desk: None,
        patience: Duration::from_secs(20),
        batch_size: 1600,
        clients: 1,
    }
}

fn member(instance: &str) -> MemberRecord {
    MemberRecord {
        schema: SCHEMA,
        instance: instance.to_owned(),
        incarnation: "1".to_owned(),
        address: format!("http://{instance}:5066"),
        state: "standby".to_owned(),
        version: "1".to_owned(),
        config_hash: "c".to_owned(),
        identity_hash: "i".to_owned(),
        priority: 1,
        ttl_ms: 10_000,
        since: Timestamp::now(),
        probe: None,
    }
}
