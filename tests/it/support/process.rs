//! The real binary as a process of its own.
//!
//! Owns [`Home`] (a directory with configuration and data) and [`Process`] (one run of the binary there, in a
//! process group of its own, killed when dropped). Everything is waited for by looking, with a limit; nothing is
//! assumed to have happened because time has passed.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ecs_sim::Sim;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long anything may take that ought to happen soon. Generous: other tests use the same cores.
pub(crate) const SOON: Duration = Duration::from_secs(40);
/// The account of [`customers`] and its password.
pub(crate) const PASSWORD: &str = "CANARY-password-monitor";

/// Waits until `look` finds something, and fails with `what` when `limit` is over.
pub(crate) async fn eventually<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The section `customers` for every node of the simulator, with its authority trusted.
pub(crate) fn customers(sim: &Sim, home: &Home) -> String {
    customers_with(sim, home, PASSWORD, "reqtimeout: 5s")
}

/// As [`customers`], with another password and more settings (in flow style) of the customer.
pub(crate) fn customers_with(sim: &Sim, home: &Home, password: &str, more: &str) -> String {
    let ca = home.write("ecs-ca.pem", sim.ca_pem());
    let mut text = format!(
        "  customers:\n  - customername: sim\n    username: monitor\n    password: {password}\n    {more}\n    \
         ssl.certificate_authorities: ['{}']\n    diagnostics_port: {}\n    vdcs:\n",
        ca.display(),
        sim.diag_port().unwrap_or(9101)
    );
    for vdc in 0..sim.vdcs() {
        let hosts: Vec<String> = (sim.vdc(vdc).nodes().iter())
            .map(|node| format!("{{host: '{}'}}", node.mgmt_host()))
            .collect();
        let name = sim.vdc(vdc).name();
        writeln!(text, "    - vdcname: {name}\n      nodes: [{}]", hosts.join(", ")).unwrap();
    }
    text
}

/// A directory for one instance: configuration, data, log files.
#[derive(Debug)]
pub(crate) struct Home {
    directory: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Puts a file there and gives its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Writes the configuration that [`Home::start`] uses.
    pub(crate) fn configure(&self, text: &str) {
        self.write("ecsbeat.yml", text);
    }

    /// The checkpoints as they are on disk; null before there are any.
    pub(crate) fn checkpoints(&self) -> Value {
        let text = fs::read(self.data().join("checkpoints.json")).unwrap_or_default();
        let document: Value = serde_json::from_slice(&text).unwrap_or_default();
        document["streams"].clone()
    }

    /// The binary with this directory's configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ecsbeat"));
        command
            .args(["-e", "--path.home"])
            .arg(self.path())
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .process_group(0);
        command
    }

    /// Starts the binary.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        Process::spawn(self.command(arguments))
    }

    /// Runs the binary to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        let mut process = self.start(arguments);
        process.ended(SOON).await
    }
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// From the call that waited for it.
    pub(crate) took: Duration,
}

impl Ended {
    /// The exit code, or minus the signal that killed it.
    pub(crate) fn code(&self) -> i32 {
        let signal = self.status.signal().map(|signal| -signal);
        self.status.code().or(signal).unwrap()
    }

    #[track_caller]
    pub(crate) fn expect(&self, code: i32) -> &Self {
        assert_eq!(
            self.code(),
            code,
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }
}

/// A text that a thread reads from a pipe.
#[derive(Debug)]
struct Pipe {
    text: Arc<Mutex<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Pipe {
    fn read(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let filled = Arc::clone(&text);
        let thread = std::thread::spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                filled.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self {
            text,
            thread: Some(thread),
        }
    }

    fn now(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// Everything; the process must have ended.
    fn all(&mut self) -> String {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.now()
    }
}

/// A running process.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdout: Pipe,
    stderr: Pipe,
}

impl Process {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = Pipe::read(child.stdout.take().unwrap());
        let stderr = Pipe::read(child.stderr.take().unwrap());
        Self {
            child,
            stdout,
            stderr,
        }
    }

    fn group(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process_group(self.group(), signal).unwrap();
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.now()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for a line of the log that has `part` in it.
    pub(crate) async fn logged(&mut self, part: &str) -> String {
        let start = Instant::now();
        loop {
            let text = self.stderr.now();
            if let Some(line) = text.lines().find(|line| line.contains(part)) {
                return line.to_owned();
            }
            assert!(
                start.elapsed() < SOON && self.runs(),
                "{part:?} was not logged (runs: {}):\n{text}",
                self.runs()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Where its endpoints answer.
    pub(crate) async fn http(&mut self) -> SocketAddr {
        let line = self.logged("HTTP endpoints answer").await;
        let line: Value = serde_json::from_str(&line).unwrap();
        line["address"].as_str().unwrap().parse().unwrap()
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self, limit: Duration) -> Ended {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                start.elapsed() < limit,
                "it has not ended within {limit:?}:\n{}",
                self.stderr.now()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        Ended {
            status,
            took: start.elapsed(),
            stdout: self.stdout.all(),
            stderr: self.stderr.all(),
        }
    }

    /// Stops it in order. A signal before it listens to signals would just kill it.
    pub(crate) async fn stopped(&mut self) -> Ended {
        self.logged("ecsbeat start running.").await;
        self.signal(Signal::TERM);
        self.ended(SOON).await
    }

    /// Resident memory, in KiB.
    pub(crate) fn rss(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Gone already where the test has waited for it.
        if self.runs() {
            let _ = kill_process_group(self.group(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// An answer of the endpoints.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// A sample of `/metrics`, by name and all labels as they stand there.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        self.body.lines().find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix(' ')?;
            value.trim().parse().ok()
        })
    }

    /// The sum of all samples of a name in `/metrics`, whatever their labels.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let values = self.body.lines().filter_map(|line| {
            let labels = line.strip_prefix(name)?;
            labels.starts_with(['{', ' ']).then_some(())?;
            labels.rsplit(' ').next()?.parse::<f64>().ok()
        });
        values.sum()
    }
}

/// Asks; an answer within two seconds, whatever else hangs.
pub(crate) async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
) -> std::io::Result<Reply> {
    send(address, method, path, headers, "", Duration::from_secs(2)).await
}

/// Asks with a body; an answer within `limit`.
pub(crate) async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
    limit: Duration,
) -> std::io::Result<Reply> {
    let length = match body.len() {
        0 => String::new(),
        length => format!("Content-Length: {length}\r\n"),
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{headers}{length}Connection: close\r\n\r\n{body}"
    );
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let text = tokio::time::timeout(limit, asked)
        .await
        .map_err(|_| std::io::Error::other(format!("{path}: no answer within {limit:?}")))??;
    let (head, body) = text
        .split_once("\r\n\r\n")
        .ok_or_else(|| std::io::Error::other(format!("no HTTP: {text:?}")))?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    Ok(Reply {
        status: status.ok_or_else(|| std::io::Error::other("no status"))?,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

/// GET of an endpoint that must answer.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Reply {
    ask(address, "GET", path, "").await.unwrap()
}
