//! Tries the outputs on the servers that they are made for: Elasticsearch, OpenSearch, Logstash and Kafka themselves.
//!
//! Each server is the one that a variable names, or else a container of its official image, by testcontainers:
//!
//! | variable | form |
//! |---|---|
//! | `ECSBEAT_TEST_ELASTICSEARCH_URL`, `ECSBEAT_TEST_OPENSEARCH_URL` | `http[s]://[user:password@]host:port` |
//! | `ECSBEAT_TEST_CA` | a file with the authorities that those certificates are checked with |
//! | `ECSBEAT_TEST_LOGSTASH_URL` | `tcp://host:port` of a beats input; its pipeline posts to the next one ([`logstash`]) |
//! | `ECSBEAT_TEST_LOGSTASH_RECORDER` | `address:port` of this machine, where the tests listen for that |
//! | `ECSBEAT_TEST_KAFKA_URL` | `kafka://host:port[,host:port]`, without login, with topics that are made when written to |
//! | `ECSBEAT_TEST_<NAME>_IMAGE` | another image, as `registry/name:tag` |
//! | `ECSBEAT_TEST_PULL=0` | nothing is pulled; images that are there are used |
//! | `ECSBEAT_REQUIRE_IMAGES=1` | what is skipped is a failure |
//!
//! What is made on a server has names of its own and is removed. Where there is neither a server nor an image, each
//! test is told as skipped, by name, at the end. Every test is also done on a stand-in of this repository, where there
//! is one, so that its code is known to run. Owns the command line, the order of things, and the verdict.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod elasticsearch;
#[path = "../hosts/engine.rs"]
#[allow(dead_code, reason = "the tests over hosts use all of it")]
mod engine;
mod image;
mod kafka;
mod logstash;
mod recorder;
mod rest;
mod service;
#[path = "../it/support/mod.rs"]
#[allow(clippy::pedantic, clippy::print_stdout, reason = "as where it belongs")]
mod support;
mod verdict;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use elasticsearch::{Elasticsearch, OpenSearch};
use image::Images;
use kafka::Kafka;
use logstash::Logstash;
use service::Service;
use verdict::{Verdict, say};

/// Tries the outputs on real servers.
#[derive(Debug, Parser)]
struct Cli {
    /// Only the tests with one of these in their name.
    filters: Vec<String>,
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, hide = true)]
    exact: bool,
    #[arg(long, short, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    test_threads: Option<usize>,
    #[arg(long)]
    skip: Vec<String>,
    #[arg(long)]
    list: bool,
}

impl Cli {
    /// Whether a test of this name is asked for.
    fn wants(&self, name: &str) -> bool {
        let fits = |part: &String| {
            if self.exact {
                name == part
            } else {
                name.contains(&**part)
            }
        };
        (self.filters.is_empty() || self.filters.iter().any(fits)) && !self.skip.iter().any(fits)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("images: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether all is as it should be.
fn run(cli: &Cli) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        let mut verdict = Verdict::default();
        tokio::select! {
            () = all(cli, &mut verdict) => {}
            ended = interrupted() => {
                ended?;
                anyhow::bail!("interrupted");
            }
        }
        Ok(verdict.tell())
    })
}

/// Every service, one after the other: each needs a good part of a small machine.
async fn all(cli: &Cli, verdict: &mut Verdict) {
    let mut images = Images::default();
    one::<Elasticsearch>(cli, &mut images, verdict).await;
    one::<OpenSearch>(cli, &mut images, verdict).await;
    one::<Logstash>(cli, &mut images, verdict).await;
    one::<Kafka>(cli, &mut images, verdict).await;
}

/// The tests of one service, on its stand-in and on a real one.
async fn one<S: Service>(cli: &Cli, images: &mut Images, verdict: &mut Verdict) {
    for (ground, real) in [("stand_in", false), ("images", true)] {
        let tests: Vec<_> = (S::TESTS.iter())
            .map(|test| (format!("{ground}::{}::{}", S::NAME, test.name), test.body))
            .filter(|(name, _)| cli.wants(name))
            .collect();
        if cli.list {
            for (name, _) in &tests {
                say(&format!("{name}: test"));
            }
        } else if !tests.is_empty() {
            let server = if real {
                service::real::<S>(images).await
            } else {
                service::stand_in::<S>().await
            };
            service::play::<S>(server, tests, verdict).await;
        }
    }
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
