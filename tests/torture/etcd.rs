//! An etcd of one or three members, each a process that can be killed, stopped and started again.
//!
//! Owns the members and the few requests that an administrator makes, over etcd's JSON gateway. A member that was
//! killed keeps its data. Written data is not synced: what is tried here is the death of processes, not of hosts
//! under them, and many clusters share one disk.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::ports::Reserved;
use crate::process::Child;
use crate::wire;

const REQUEST: Duration = Duration::from_secs(2);
const START: Duration = Duration::from_secs(60);

/// A cluster of etcd.
#[derive(Debug)]
pub(crate) struct Etcd {
    binary: PathBuf,
    directory: PathBuf,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    name: String,
    client: Reserved,
    peer: Reserved,
    child: Option<Child>,
}

/// The etcd to use: `ETCD_BIN`, what `tests/tools.sh` has unpacked, or what is installed.
pub(crate) fn find() -> Option<PathBuf> {
    let given = std::env::var_os("ETCD_BIN").map(PathBuf::from);
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/etcd/3.5");
    let unpacked = [target.join("usr/bin/etcd"), target.join("etcd")];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path)
        .map(|folder| folder.join("etcd"))
        .collect::<Vec<_>>();
    let mut all = given.into_iter().chain(unpacked).chain(installed);
    all.find(|path| path.is_file())
}

impl Etcd {
    /// Starts `count` members with their data below `directory`, and waits until they have a leader.
    pub(crate) async fn start(binary: &Path, directory: &Path, count: usize) -> anyhow::Result<Self> {
        let mut members = Vec::new();
        for number in 0..count {
            members.push(Member {
                name: format!("etcd-{number}"),
                client: Reserved::new()?,
                peer: Reserved::new()?,
                child: None,
            });
        }
        std::fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
        let mut etcd = Self {
            binary: binary.to_owned(),
            directory: directory.to_owned(),
            members,
        };
        for number in 0..count {
            etcd.start_member(number)?;
        }
        etcd.ready().await?;
        Ok(etcd)
    }

    /// How many members there are.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Where clients of each member connect to.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.members
            .iter()
            .map(|member| member.client.address())
            .collect()
    }

    /// Starts a member, for the first time or with the data it had.
    pub(crate) fn start_member(&mut self, number: usize) -> anyhow::Result<()> {
        let peers: Vec<String> = (self.members.iter())
            .map(|member| format!("{}=http://{}", member.name, member.peer.address()))
            .collect();
        let member = self.members.get_mut(number).context("no such member")?;
        let (client, peer) = (member.client.address(), member.peer.address());
        let mut command = Command::new(&self.binary);
        command
            .env_clear()
            .args(["--name", &member.name])
            .arg("--data-dir")
            .arg(self.directory.join(&member.name))
            .arg(format!("--listen-client-urls=http://{client}"))
            .arg(format!("--advertise-client-urls=http://{client}"))
            .arg(format!("--listen-peer-urls=http://{peer}"))
            .arg(format!("--initial-advertise-peer-urls=http://{peer}"))
            .arg(format!("--initial-cluster={}", peers.join(",")))
            .args(["--initial-cluster-state=new", "--initial-cluster-token=torture"])
            .args(["--log-level=warn", "--unsafe-no-fsync"]);
        let log = self.directory.join(format!("{}.log", member.name));
        member.child = Some(Child::start(&member.name, command, &log)?);
        Ok(())
    }

    fn child(&mut self, number: usize) -> anyhow::Result<&mut Child> {
        let member = self.members.get_mut(number).context("no such member")?;
        member.child.as_mut().context("the member was never started")
    }

    /// Kills a member.
    pub(crate) async fn kill(&mut self, number: usize) -> anyhow::Result<()> {
        self.child(number)?.kill().await
    }

    /// Stops a member's process (SIGSTOP): connections stay, nothing is answered.
    pub(crate) fn pause(&mut self, number: usize) -> anyhow::Result<()> {
        self.child(number)?.signal(Signal::STOP)
    }

    /// Lets a stopped process go on.
    pub(crate) fn resume(&mut self, number: usize) -> anyhow::Result<()> {
        self.child(number)?.signal(Signal::CONT)
    }

    /// Waits until every member answers and all agree on a leader.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            let mut leaders = Vec::new();
            for number in 0..self.members.len() {
                if let Some(status) = self.child(number)?.status()? {
                    let log = self.directory.join(format!("etcd-{number}.log"));
                    bail!("etcd-{number} ended with {status}; see {}", log.display());
                }
                leaders.push(self.leader_as_seen_by(number).await);
            }
            if leaders
                .iter()
                .all(|leader| leader.is_some() && *leader == leaders[0])
            {
                return Ok(());
            }
            if start.elapsed() > START {
                bail!("etcd has no leader after {START:?}: {leaders:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn status(&self, number: usize) -> Option<Value> {
        let answer = self.post(number, "/v3/maintenance/status", &json!({})).await;
        answer.ok()
    }

    async fn leader_as_seen_by(&self, number: usize) -> Option<String> {
        let status = self.status(number).await?;
        let leader = status["leader"].as_str()?.to_owned();
        (leader != "0").then_some(leader)
    }

    /// The number of the member that leads; `None` while there is none.
    pub(crate) async fn leader(&self) -> Option<usize> {
        for number in 0..self.members.len() {
            let Some(status) = self.status(number).await else {
                continue;
            };
            if status["leader"] == status["header"]["member_id"] {
                return Some(number);
            }
        }
        None
    }

    async fn post(&self, number: usize, path: &str, body: &Value) -> anyhow::Result<Value> {
        let member = self.members.get(number).context("no such member")?;
        let address = member.client.address();
        let reply = wire::ask(address, "POST", path, "", &body.to_string(), REQUEST).await;
        let reply = reply.with_context(|| format!("{path} of {}", member.name))?;
        if reply.status != 200 {
            bail!(
                "{path} of {} answered {}: {}",
                member.name,
                reply.status,
                reply.body
            );
        }
        Ok(reply.json())
    }

    /// Asks one member after the other until one answers.
    async fn ask(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let mut last = None;
        for number in 0..self.members.len() {
            match self.post(number, path, body).await {
                Ok(answer) => return Ok(answer),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("etcd has no members")))
    }

    /// The lease that a key is on; `None` = there is no such key, or it is on none.
    pub(crate) async fn lease_of(&self, key: &str) -> anyhow::Result<Option<String>> {
        let answer = self
            .ask("/v3/kv/range", &json!({"key": STANDARD.encode(key)}))
            .await?;
        let lease = answer["kvs"][0]["lease"].as_str();
        Ok(lease.filter(|lease| *lease != "0").map(str::to_owned))
    }

    /// Revokes a lease, as an administrator would.
    pub(crate) async fn revoke(&self, lease: &str) -> anyhow::Result<()> {
        self.ask("/v3/lease/revoke", &json!({"ID": lease})).await?;
        Ok(())
    }

    /// Deletes a key, as an administrator would; gives how many there were.
    pub(crate) async fn delete(&self, key: &str) -> anyhow::Result<u64> {
        let body = json!({"key": STANDARD.encode(key)});
        let answer = self.ask("/v3/kv/deleterange", &body).await?;
        let deleted = answer["deleted"].as_str().and_then(|count| count.parse().ok());
        Ok(deleted.unwrap_or(0))
    }
}
