//! Real etcd clusters of one or three members.
//!
//! Owns [`Etcd`]: members as processes on an address of the loopback network that nobody else uses, their data in a
//! folder that goes with them. They can be killed, frozen, thawed and started again, and are killed when dropped.
//! Everything is waited for by looking, with a limit.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ecsbeat::config::{self, Secret};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::process::{SOON, ask};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The etcd to test with, unless one is named in `ETCD_BIN`: what `make tools` unpacks.
pub(crate) fn newest() -> PathBuf {
    if let Some(path) = std::env::var_os("ETCD_BIN") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "ETCD_BIN: {} is no file", path.display());
        return path;
    }
    let known = [unpacked("3.5"), unpacked("3.4"), PathBuf::from("/usr/bin/etcd")];
    let found = known.iter().find(|path| path.is_file());
    found
        .unwrap_or_else(|| panic!("there is no etcd to test with: run `make tools`, or set ETCD_BIN"))
        .clone()
}

/// Every release to test with: that of `ETCD_BIN`, or both that `make tools` unpacks.
pub(crate) fn every() -> Vec<PathBuf> {
    if std::env::var_os("ETCD_BIN").is_some() {
        return vec![newest()];
    }
    let releases = ["3.4", "3.5"].map(unpacked);
    for path in &releases {
        assert!(
            path.is_file(),
            "there is no {}: run `make tools`, or set ETCD_BIN",
            path.display()
        );
    }
    releases.to_vec()
}

fn unpacked(release: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("target/etcd").join(release).join("usr/bin/etcd")
}

/// What differs from the ordinary.
#[derive(Debug)]
pub(crate) struct Builder {
    binary: PathBuf,
    members: usize,
    ip: Ipv4Addr,
    scheme: &'static str,
    arguments: Vec<String>,
    files: Vec<(String, String)>,
}

impl Builder {
    /// An etcd that asks for no user and speaks plain HTTP.
    pub(crate) fn new(members: usize) -> Self {
        Self {
            binary: newest(),
            members,
            ip: own_address(),
            scheme: "http",
            arguments: Vec::new(),
            files: Vec::new(),
        }
    }

    pub(crate) fn binary(mut self, binary: &Path) -> Self {
        binary.clone_into(&mut self.binary);
        self
    }

    /// A further argument; `{dir}` in it is the folder of [`Builder::file`].
    pub(crate) fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// A file for the members to read.
    pub(crate) fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// The address it will have.
    pub(crate) fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Clients speak TLS, but for the administrator; the certificates come by [`Builder::argument`].
    pub(crate) fn https(mut self) -> Self {
        self.scheme = "https";
        self
    }

    /// Starts the members and waits until each of them answers.
    pub(crate) async fn start(self) -> Etcd {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in &self.files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let dir = directory.path().display().to_string();
        let mut arguments: Vec<String> = (self.arguments.iter())
            .map(|argument| argument.replace("{dir}", &dir))
            .collect();
        // A test needs no disk that survives a power failure.
        let help = Command::new(&self.binary).arg("--help").output().unwrap();
        let help = [help.stdout, help.stderr].concat();
        if String::from_utf8_lossy(&help).contains("--unsafe-no-fsync") {
            arguments.push("--unsafe-no-fsync".to_owned());
        }
        let held: Vec<[TcpListener; 4]> = (0..self.members)
            .map(|_| [(); 4].map(|()| TcpListener::bind((self.ip, 0)).unwrap()))
            .collect();
        let members: Vec<Member> = (held.iter().enumerate())
            .map(|(index, held)| Member {
                name: format!("m{index}"),
                client: held[0].local_addr().unwrap(),
                peer: held[1].local_addr().unwrap(),
                metrics: held[2].local_addr().unwrap(),
                plain: held[3].local_addr().unwrap(),
                child: None,
                frozen: false,
            })
            .collect();
        drop(held);
        let mut etcd = Etcd {
            binary: self.binary,
            scheme: self.scheme,
            arguments,
            members,
            directory,
        };
        for index in 0..self.members {
            etcd.spawn(index);
        }
        for index in 0..self.members {
            etcd.healthy(index).await;
        }
        etcd
    }
}

/// An address of this machine that nobody else uses, so that a port that was free stays free.
pub(crate) fn own_address() -> Ipv4Addr {
    Ipv4Addr::new(127, fastrand::u8(1..), fastrand::u8(..), fastrand::u8(1..255))
}

/// A cluster.
#[derive(Debug)]
pub(crate) struct Etcd {
    binary: PathBuf,
    scheme: &'static str,
    arguments: Vec<String>,
    members: Vec<Member>,
    directory: TempDir,
}

#[derive(Debug)]
struct Member {
    name: String,
    client: SocketAddr,
    peer: SocketAddr,
    metrics: SocketAddr,
    /// Speaks plain HTTP whatever the clients speak.
    plain: SocketAddr,
    child: Option<Child>,
    frozen: bool,
}

impl Etcd {
    /// An ordinary cluster.
    pub(crate) async fn start(members: usize) -> Self {
        Builder::new(members).start().await
    }

    /// Where a member's clients go.
    pub(crate) fn url(&self, index: usize) -> String {
        format!("{}://{}", self.scheme, self.members[index].client)
    }

    /// The configuration for it, members in this order.
    pub(crate) fn config_for(&self, order: &[usize]) -> config::Etcd {
        config::Etcd {
            hosts: (order.iter())
                .map(|&index| self.url(index).parse().unwrap())
                .collect(),
            prefix: "/ecsbeat".to_owned(),
            username: None,
            password: None,
            ssl: config::Ssl::default(),
        }
    }

    /// The configuration for it.
    pub(crate) fn config(&self) -> config::Etcd {
        let order: Vec<usize> = (0..self.members.len()).collect();
        self.config_for(&order)
    }

    /// A plain client of the first member, for what an administrator does.
    pub(crate) async fn administrator(&self, user: Option<(&str, &str)>) -> etcd_client::Client {
        let mut options = etcd_client::ConnectOptions::new();
        if let Some((name, password)) = user {
            options = options.with_user(name, password);
        }
        etcd_client::Client::connect([format!("http://{}", self.members[0].plain)], Some(options))
            .await
            .unwrap()
    }

    /// Kills a member at once.
    pub(crate) fn kill(&mut self, index: usize) {
        let member = &mut self.members[index];
        if let Some(mut child) = member.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        member.frozen = false;
    }

    /// Freezes a member: its connections stay, nothing is answered.
    pub(crate) fn freeze(&mut self, index: usize) {
        self.signal(index, Signal::STOP);
        // Its threads stop one by one, and a last answer may still get out.
        let id = self.members[index].child.as_ref().expect("it runs").id();
        let begin = Instant::now();
        while !stands_still(id) {
            assert!(begin.elapsed() < SOON, "member {index} does not freeze");
            std::thread::sleep(Duration::from_millis(1));
        }
        self.members[index].frozen = true;
    }

    /// The end of [`Etcd::freeze`].
    pub(crate) fn thaw(&mut self, index: usize) {
        self.signal(index, Signal::CONT);
        self.members[index].frozen = false;
    }

    fn signal(&self, index: usize, signal: Signal) {
        let child = self.members[index].child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// Starts a member that was killed, with its data, and waits until it answers.
    pub(crate) async fn restart(&mut self, index: usize) {
        self.kill(index);
        self.spawn(index);
        self.healthy(index).await;
    }

    /// Which member leads; waits until one does.
    pub(crate) async fn leader(&self) -> usize {
        let begin = Instant::now();
        loop {
            for (index, member) in self.members.iter().enumerate() {
                if member.child.is_some() && !member.frozen && member.says("/metrics", IS_LEADER).await {
                    return index;
                }
            }
            assert!(begin.elapsed() < SOON, "no member leads\n{}", self.logs());
            tokio::time::sleep(LOOK).await;
        }
    }

    fn spawn(&mut self, index: usize) {
        let cluster: Vec<String> = (self.members.iter())
            .map(|member| format!("{}=http://{}", member.name, member.peer))
            .collect();
        let member = &self.members[index];
        let client = format!("{}://{}", self.scheme, member.client);
        let peer = format!("http://{}", member.peer);
        let log = self.directory.path().join(format!("{}.log", member.name));
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = Command::new(&self.binary);
        command
            .arg(format!("--name={}", member.name))
            .arg(format!(
                "--data-dir={}",
                self.directory.path().join(&member.name).display()
            ))
            .arg(format!("--listen-client-urls={client},http://{}", member.plain))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--listen-metrics-urls=http://{}", member.metrics))
            .arg(format!("--initial-cluster={}", cluster.join(",")))
            // A lease lasts at least three halves of this, rounded up to seconds.
            .args(["--heartbeat-interval=50", "--election-timeout=500"])
            .args(["--logger=zap", "--log-level=warn"])
            .args(&self.arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.members[index].child = Some(command.spawn().unwrap());
    }

    async fn healthy(&mut self, index: usize) {
        let begin = Instant::now();
        while !self.members[index].says("/health", "\"health\":\"true\"").await {
            let child = self.members[index].child.as_mut().expect("it was started");
            assert!(
                child.try_wait().unwrap().is_none() && begin.elapsed() < SOON,
                "member {index} is not healthy\n{}",
                self.logs()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    fn logs(&self) -> String {
        let of = |member: &Member| {
            let log = self.directory.path().join(format!("{}.log", member.name));
            fs::read_to_string(log).unwrap_or_default()
        };
        self.members.iter().map(of).collect()
    }
}

/// Whether every thread of a process is stopped.
fn stands_still(process: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    threads.into_iter().all(|thread| {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:\tT"))
    })
}

/// The line of a leader in its metrics.
const IS_LEADER: &str = "\netcd_server_is_leader 1";

impl Member {
    async fn says(&self, path: &str, words: &str) -> bool {
        let answer = ask(self.metrics, "GET", path, "").await;
        answer.is_ok_and(|answer| answer.body.contains(words))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Some(child) = &mut member.child {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// The same with a user.
pub(crate) fn with_user(mut etcd: config::Etcd, name: &str, password: &str) -> config::Etcd {
    etcd.username = Some(name.to_owned());
    etcd.password = Some(Secret::new(password));
    etcd
}
