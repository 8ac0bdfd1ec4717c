//! Servers for ecsbeat to write to, as simple as they can be, that can be away.
//!
//! Owns [`Server`]: the fake Elasticsearch of the simulator, a Logstash that acknowledges what it is sent, librdkafka's
//! mock of a broker, and the Redis that `make tools` unpacks. They check nothing: the tests do.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use chaos::{Chaos, Fault};
use ecs_sim::bulk::{self, Bulk};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The outputs with a network.
pub(crate) const NETWORK: [&str; 4] = ["elasticsearch", "logstash", "kafka", "redis"];

/// How a server is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Away {
    /// Nothing listens.
    Closed,
    /// It takes connections and says nothing.
    Silent,
}

/// A running server.
pub(crate) struct Server {
    /// The section of the configuration.
    pub(crate) output: String,
    face: Face,
    _behind: Behind,
}

/// What stands before it and can be away.
enum Face {
    Proxy(Chaos),
    Brokers(MockCluster<'static, DefaultProducerContext>),
}

/// What ends when this is dropped.
#[expect(dead_code, reason = "what they hold is of no use but to be dropped")]
enum Behind {
    Bulk(Bulk),
    Tasks(JoinSet<()>),
    Process(Process),
    Nothing,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    /// That of one of [`NETWORK`]. `directory` is for its files, `more` for further settings of the output.
    pub(crate) async fn start(name: &str, directory: &Path, more: &str) -> anyhow::Result<Self> {
        if name == "kafka" {
            let brokers = MockCluster::new(1)?;
            let hosts = brokers.bootstrap_servers();
            return Ok(Self {
                output: format!("output.kafka: {{hosts: ['{hosts}'], topic: ecsbeat, {more}}}"),
                face: Face::Brokers(brokers),
                _behind: Behind::Nothing,
            });
        }
        let (address, behind) = match name {
            "elasticsearch" => {
                let bulk = Bulk::start(bulk::Config::for_tests()).await?;
                (bulk.address(), Behind::Bulk(bulk))
            }
            "logstash" => {
                let (address, tasks) = logstash().await?;
                (address, Behind::Tasks(tasks))
            }
            "redis" => {
                let (address, process) = redis(directory).await?;
                (address, Behind::Process(process))
            }
            other => bail!("no server for output.{other}"),
        };
        let chaos = Chaos::start(address).await?;
        let scheme = if name == "elasticsearch" { "http://" } else { "" };
        let key = if name == "redis" { "key: ecsbeat, " } else { "" };
        Ok(Self {
            output: format!(
                "output.{name}: {{hosts: ['{scheme}{}'], {key}{more}}}",
                chaos.address()
            ),
            face: Face::Proxy(chaos),
            _behind: behind,
        })
    }

    pub(crate) fn leave(&self, how: Away) -> anyhow::Result<()> {
        match (&self.face, how) {
            (Face::Proxy(chaos), Away::Closed) => chaos.set(Fault::Refuse),
            (Face::Proxy(chaos), Away::Silent) => chaos.set(Fault::HalfOpen),
            (Face::Brokers(brokers), Away::Closed) => brokers.broker_down(1)?,
            (Face::Brokers(brokers), Away::Silent) => {
                brokers.broker_round_trip_time(1, Duration::from_secs(3600))?;
                brokers.broker_up(1)?;
            }
        }
        Ok(())
    }

    pub(crate) fn come_back(&self) -> anyhow::Result<()> {
        match &self.face {
            Face::Proxy(chaos) => chaos.pass(),
            Face::Brokers(brokers) => {
                // Also ends the connections whose answers are late.
                brokers.broker_down(1)?;
                brokers.broker_round_trip_time(1, Duration::ZERO)?;
                brokers.broker_up(1)?;
            }
        }
        Ok(())
    }
}

/// Acknowledges every window, whatever is in it.
async fn logstash() -> anyhow::Result<(SocketAddr, JoinSet<()>)> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            // A connection that breaks off is the client's business.
            connections.spawn(async move { acknowledge(stream).await.err() });
            while connections.try_join_next().is_some() {}
        }
    });
    Ok((address, tasks))
}

async fn acknowledge(stream: TcpStream) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        ensure!(&frame(&mut stream).await? == b"2W", "not a window");
        let count = stream.read_u32().await?;
        let mut seen = 0;
        while seen < count {
            let kind = frame(&mut stream).await?;
            // One compressed frame holds all of a window.
            seen = match &kind {
                b"2C" => count,
                b"2J" => stream.read_u32().await?,
                other => bail!("a frame {other:?}"),
            };
            let length = u64::from(stream.read_u32().await?);
            let skipped = tokio::io::copy(&mut (&mut stream).take(length), &mut tokio::io::sink()).await?;
            ensure!(skipped == length, "broken off");
        }
        let mut answer = b"2A".to_vec();
        answer.extend_from_slice(&count.to_be_bytes());
        stream.write_all(&answer).await?;
    }
}

/// Version and kind of a frame.
async fn frame(stream: &mut BufReader<TcpStream>) -> std::io::Result<[u8; 2]> {
    let mut kind = [0; 2];
    stream.read_exact(&mut kind).await?;
    Ok(kind)
}

/// The server that `make tools` unpacks, or the one in `REDIS_BIN`.
async fn redis(directory: &Path) -> anyhow::Result<(SocketAddr, Process)> {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/redis/usr");
    let binary = std::env::var_os("REDIS_BIN")
        .map_or_else(|| unpacked.join("bin/redis-server"), std::path::PathBuf::from);
    let libraries = std::fs::read_dir(unpacked.join("lib")).into_iter().flatten();
    let libraries: Vec<_> = libraries.flatten().map(|folder| folder.path()).collect();
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let child = Command::new(binary)
        .args([
            "--port",
            &address.port().to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ])
        .current_dir(directory)
        .env("LD_LIBRARY_PATH", std::env::join_paths(libraries)?)
        .stdout(Stdio::null())
        .spawn()
        .context("no Redis to measure with: run `make tools`, or set REDIS_BIN")?;
    let mut process = Process(child);
    while TcpStream::connect(address).await.is_err() {
        ensure!(process.0.try_wait()?.is_none(), "Redis has ended");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok((address, process))
}
