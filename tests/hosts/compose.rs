//! `deploy/compose.yml`, with images that are here: what its first lines tell a newcomer to do, and to see.
//!
//! Owns the project: it is taken down, with its volumes, when it is dropped. Ports of this machine are free ones.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;
use testcontainers::bollard::models::HealthStatusEnum;

use crate::docker::{Images, run};
use crate::engine::Engine;
use crate::report::say;
use crate::wire;

/// By then all containers run and one leads, on a busy machine.
const START: Duration = Duration::from_secs(120);
/// The lease of the configuration, and what an interval of `HAProxy` and the race add; three times over.
const TAKEOVER: Duration = Duration::from_secs(40);
/// One question.
const LIMIT: Duration = Duration::from_secs(2);

/// A project that is up.
#[derive(Debug)]
struct Project {
    words: Vec<String>,
    file: PathBuf,
    variables: Vec<(String, String)>,
}

/// `docker compose`, or `docker-compose` where that is what there is; an error tells that there is neither.
pub(crate) fn command() -> anyhow::Result<Vec<String>> {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for line in ["docker compose", "docker-compose"] {
        let found = words(line);
        if run(Command::new(&found[0]).args(&found[1..]).arg("version")).is_ok() {
            return Ok(found);
        }
    }
    bail!("neither `docker compose` nor `docker-compose`")
}

impl Project {
    fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let (program, words) = self.words.split_first().context("no command")?;
        run(Command::new(program)
            .args(words)
            .arg("--file")
            .arg(&self.file)
            .args([
                "--project-name",
                &format!("ecsbeat-compose-{}", std::process::id()),
            ])
            .args(arguments)
            .envs(self.variables.iter().cloned()))
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if let Err(error) = self.run(&["down", "--volumes", "--timeout", "5"]) {
            say(&format!("compose: the project is still there: {error:#}"));
        }
    }
}

/// Brings it up, kills who leads, and sees `HAProxy` follow.
pub(crate) async fn play(engine: &Engine, images: &Images, words: Vec<String>) -> anyhow::Result<()> {
    let mut variables = images.variables.clone();
    let mut addresses = Vec::new();
    for variable in [
        "ECSBEAT_PORT",
        "REPLICAS_PORT",
        "HAPROXY_PORT",
        "ELASTICSEARCH_PORT",
    ] {
        let held = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).context("a free port")?;
        let port = held.local_addr().context("address of a port")?.port();
        variables.push((variable.to_owned(), port.to_string()));
        addresses.push(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    let [ecsbeat, replicas, haproxy, elasticsearch] = addresses[..] else {
        bail!("four ports are needed");
    };
    let project = Project {
        words,
        file: Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/compose.yml"),
        variables,
    };
    let complaints = project.run(&["config", "--quiet"])?;
    if !complaints.is_empty() {
        bail!("docker compose config: {complaints}");
    }
    project.run(&["up", "--detach", "--no-build"])?;
    let mut done = follow(engine, &project, ecsbeat, haproxy, elasticsearch).await;
    if done.is_ok() {
        done = any(replicas).await;
    }
    if done.is_err() {
        let logs = project.run(&["logs", "--tail", "15"]);
        say(&logs.unwrap_or_else(|error| format!("{error:#}")));
    }
    done
}

/// The other port of `HAProxy` leads to any replica.
async fn any(replicas: SocketAddr) -> anyhow::Result<()> {
    let begin = Instant::now();
    loop {
        let cluster = get(replicas, "/cluster").await;
        if cluster["members"].as_array().map_or(0, Vec::len) == 3 {
            return Ok(());
        }
        if begin.elapsed() > TAKEOVER {
            bail!("no replica tells of three members through HAProxy: {cluster}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn follow(
    engine: &Engine,
    project: &Project,
    ecsbeat: SocketAddr,
    haproxy: SocketAddr,
    elasticsearch: SocketAddr,
) -> anyhow::Result<()> {
    let (first, term) = leader(ecsbeat, 0, START).await?;
    say(&format!("compose: {first} leads in term {term}"));
    let before = delivered(elasticsearch, 0).await?;
    let begin = Instant::now();
    project.run(&["kill", &first])?;
    let (second, newer) = leader(ecsbeat, term, TAKEOVER).await?;
    say(&format!(
        "compose: {first} was killed; HAProxy leads to {second}, in term {newer}, after {:.1} s",
        begin.elapsed().as_secs_f64()
    ));
    if second == first {
        bail!("{second} leads, which was killed");
    }
    delivered(elasticsearch, before).await?;
    project.run(&["start", &first])?;
    // All are members again, and the same one leads.
    let begin = Instant::now();
    loop {
        let cluster = get(ecsbeat, "/cluster").await;
        let members = cluster["members"].as_array().map_or(0, Vec::len);
        if members == 3 {
            break;
        }
        if begin.elapsed() > TAKEOVER {
            bail!("{first} did not come back: {cluster}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (third, last) = leader(ecsbeat, 0, TAKEOVER).await?;
    if (&third, last) != (&second, newer) {
        bail!("{third} leads in term {last} after {first} came back; it was {second} in term {newer}");
    }
    // One server of the backend is up, by HAProxy's own account.
    let reply = wire::ask(haproxy, "GET", "/;csv", "", "", LIMIT).await;
    let table = reply.context("statistics of HAProxy")?.body;
    let servers = table.lines().filter(|line| line.starts_with("leader,node-"));
    let up: Vec<&str> = servers.filter(|line| line.contains(",UP,")).collect();
    if up.len() != 1 || !up[0].contains(&format!(",{second},")) {
        bail!("HAProxy does not take {second} alone for the leader:\n{table}");
    }
    // By the health check of the image.
    for node in ["node-a", "node-b", "node-c"] {
        let container = project.run(&["ps", "--quiet", node])?;
        let begin = Instant::now();
        loop {
            let health = engine.state(&container).await?.health;
            if health.as_ref().and_then(|health| health.status) == Some(HealthStatusEnum::HEALTHY) {
                break;
            }
            if begin.elapsed() > TAKEOVER {
                bail!("Docker does not take {node} for healthy: {health:?}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let counts = get(elasticsearch, "/_recorded/counts").await;
    if counts["duplicates"] != 0 {
        bail!("documents were delivered twice: {counts}");
    }
    Ok(())
}

async fn get(address: SocketAddr, path: &str) -> Value {
    let reply = wire::ask(address, "GET", path, "", "", LIMIT).await;
    match reply {
        Ok(reply) if reply.status == 200 => reply.json(),
        _ => Value::Null,
    }
}

/// Who leads by `HAProxy` in a term after `term`; waits for it.
async fn leader(address: SocketAddr, term: u64, limit: Duration) -> anyhow::Result<(String, u64)> {
    let begin = Instant::now();
    loop {
        let body = get(address, "/leader").await;
        if let (Some(instance), Some(newer)) = (body["instance"].as_str(), body["term"].as_u64())
            && newer > term
        {
            return Ok((instance.to_owned(), newer));
        }
        if begin.elapsed() > limit {
            bail!(
                "HAProxy leads to nobody in a term after {term}, for {} s: {body}",
                limit.as_secs()
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until more than `before` documents were delivered; gives how many.
async fn delivered(address: SocketAddr, before: u64) -> anyhow::Result<u64> {
    let begin = Instant::now();
    loop {
        let counts = get(address, "/_recorded/counts").await;
        if let Some(documents) = counts["documents"].as_u64()
            && documents > before
        {
            return Ok(documents);
        }
        if begin.elapsed() > START {
            bail!(
                "no document after the first {before}, for {} s: {counts}",
                START.as_secs()
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
