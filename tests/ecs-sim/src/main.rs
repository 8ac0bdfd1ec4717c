//! The simulator's command line: starts a federation, or a fake Elasticsearch, and stops it on a signal. Must
//! hold no behaviour of its own.

mod cli;

use std::io::Write as _;

use anyhow::Context as _;
use clap::Parser as _;
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> anyhow::Result<()> {
    let cli = cli::Cli::parse();
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(run(cli))
}

async fn run(cli: cli::Cli) -> anyhow::Result<()> {
    match cli.command {
        Some(cli::Command::Bulk(options)) => {
            let bulk = ecs_sim::bulk::Bulk::start(options.config()).await?;
            if let Some(path) = &options.ca_file {
                std::fs::write(path, bulk.ca_pem().unwrap_or_default())
                    .context("write the CA certificate")?;
            }
            say(&format!("fake Elasticsearch on {}\n", bulk.url()))?;
            until_signal().await?;
            bulk.shutdown().await;
        }
        Some(cli::Command::Health(options)) => {
            TcpStream::connect(options.control)
                .await
                .with_context(|| format!("no federation at {}", options.control))?;
            // Written last.
            std::fs::metadata(&options.ca_file)
                .with_context(|| format!("no certificate in {}", options.ca_file.display()))?;
        }
        None => {
            let federation = cli.federation;
            // That of an earlier start is worth nothing, and whoever waits for the file must not get it.
            let _ = std::fs::remove_file(&federation.ca_file);
            let sim = ecs_sim::Sim::start(federation.config()?).await?;
            std::fs::write(&federation.ca_file, sim.ca_pem())
                .with_context(|| format!("write {}", federation.ca_file.display()))?;
            for rule in federation.rules()? {
                sim.faults().set(rule);
            }
            say(&cli::banner(&sim, &federation))?;
            until_signal().await?;
            sim.shutdown().await;
        }
    }
    Ok(())
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

async fn until_signal() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(())
}

/// Many nodes need many sockets; take what the system allows.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
