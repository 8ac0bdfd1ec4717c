//! Real Redis servers.
//!
//! Owns [`Redis`]: Debian's server as a process on an address of the loopback network that nobody else uses, with
//! passwords, users and TLS as asked for. It can be killed and started again with what it had acknowledged, and is
//! killed when dropped. Administrators come in over a socket file, whatever clients have to show.

mod resp;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use super::authority::Authority;
use super::etcd::own_address;
use super::process::SOON;
pub(crate) use resp::{Client, Reply};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// The user of the tests themselves.
const ADMINISTRATOR: [&str; 2] = ["administrator", "CANARY-redis-administrator"];
/// So often another port is tried where one was taken meanwhile.
const TRIES: usize = 10;

/// What differs from the ordinary.
#[derive(Debug)]
pub(crate) struct Builder {
    ip: Ipv4Addr,
    first_port: Option<u16>,
    settings: String,
    files: Vec<(&'static str, String)>,
    tls: bool,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Redis {
    address: SocketAddr,
    directory: TempDir,
    builder: Builder,
    child: Option<Child>,
}

/// What is published on a channel, from [`Redis::subscribe`] on.
#[derive(Debug)]
pub(crate) struct Subscription {
    messages: Arc<Mutex<Vec<Vec<u8>>>>,
    _task: JoinSet<()>,
}

/// The server to test with, unless one is named in `REDIS_BIN`: what `make tools` unpacks.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("REDIS_BIN") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "REDIS_BIN: {} is no file", path.display());
        return path;
    }
    let known = [
        unpacked().join("bin/redis-server"),
        PathBuf::from("/usr/bin/redis-server"),
    ];
    let found = known.iter().find(|path| path.is_file());
    found
        .expect("there is no Redis to test with: run `make tools`, or set REDIS_BIN")
        .clone()
}

fn unpacked() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/redis/usr")
}

/// The folders of the libraries that were unpacked with the server.
fn libraries() -> OsString {
    let folders = fs::read_dir(unpacked().join("lib")).into_iter().flatten();
    std::env::join_paths(folders.map(|folder| folder.unwrap().path())).unwrap()
}

// === impl Builder ===

impl Builder {
    /// A server that asks for no password and speaks no TLS.
    pub(crate) fn new() -> Self {
        Self {
            ip: own_address(),
            first_port: None,
            settings: String::new(),
            files: Vec::new(),
            tls: false,
        }
    }

    /// The address it will have.
    pub(crate) fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Asks this of whoever names no user.
    #[must_use]
    pub(crate) fn password(self, password: &str) -> Self {
        self.setting("requirepass", password)
    }

    /// A user by the rules of Redis, such as `beat on >secret ~ecsbeat +rpush`.
    #[must_use]
    pub(crate) fn user(self, rules: &str) -> Self {
        self.setting("user", rules)
    }

    /// Speaks TLS only, with a certificate of `authority` for its address.
    #[must_use]
    pub(crate) fn tls(mut self, authority: &Authority) -> Self {
        let server = authority.issue("redis", &[&self.ip.to_string()]);
        self.tls = true;
        self.files.push(("server.pem", server.certificate));
        self.files.push(("server.key", server.key));
        self.setting("tls-cert-file", "server.pem")
            .setting("tls-key-file", "server.key")
            .setting("tls-auth-clients", "no")
    }

    /// Asks clients for a certificate of `authority`; comes after [`Builder::tls`].
    #[must_use]
    pub(crate) fn client_certificates(mut self, authority: &Authority) -> Self {
        self.files.push(("clients.pem", authority.pem()));
        self.setting("tls-ca-cert-file", "clients.pem")
            .setting("tls-auth-clients", "yes")
    }

    /// A further line of `redis.conf`.
    #[must_use]
    pub(crate) fn setting(mut self, name: &str, value: &str) -> Self {
        let _ = writeln!(self.settings, "{name} {value}");
        self
    }

    /// The port that is tried first.
    #[must_use]
    pub(crate) fn first_port(mut self, port: u16) -> Self {
        self.first_port = Some(port);
        self
    }

    /// Starts it and waits until it answers. A port that is taken by then makes it try another one.
    pub(crate) async fn start(self) -> Redis {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in &self.files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let mut port = self.first_port.unwrap_or_else(|| free_port(self.ip));
        let mut redis = Redis {
            address: SocketAddr::from((self.ip, port)),
            directory,
            builder: self,
            child: None,
        };
        for _ in 0..TRIES {
            redis.address.set_port(port);
            redis.configure();
            if redis.spawn().await {
                return redis;
            }
            port = free_port(redis.builder.ip);
        }
        panic!("no port is free\n{}", redis.log());
    }
}

fn free_port(ip: Ipv4Addr) -> u16 {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

// === impl Redis ===

impl Redis {
    /// An ordinary server.
    pub(crate) async fn start() -> Self {
        Builder::new().start().await
    }

    /// Where its clients go.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Carries out a command of an administrator; an error as answer fails the test.
    pub(crate) async fn command(&self, command: &[&str]) -> Reply {
        let reply = self.administrator().await.unwrap().ask(command).await.unwrap();
        assert!(!reply.is_error(), "{command:?}: {reply:?}");
        reply
    }

    /// All that a list holds, from its head.
    pub(crate) async fn list(&self, key: &str) -> Vec<Vec<u8>> {
        self.command(&["LRANGE", key, "0", "-1"]).await.list()
    }

    /// The names of all keys.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let keys = self.command(&["KEYS", "*"]).await.list();
        let mut keys: Vec<String> = keys
            .into_iter()
            .map(|key| String::from_utf8(key).unwrap())
            .collect();
        keys.sort();
        keys
    }

    /// Records what is published on a channel from now on.
    pub(crate) async fn subscribe(&self, channel: &str) -> Subscription {
        let mut client = self.administrator().await.unwrap();
        let confirmed = client.ask(&["SUBSCRIBE", channel]).await.unwrap();
        assert!(matches!(confirmed, Reply::Array(_)), "{confirmed:?}");
        let messages = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&messages);
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Ok(message) = client.next().await {
                // `message`, the channel, what was published.
                let published = message.list().pop().expect("a message has three parts");
                recorded.lock().unwrap().push(published);
            }
        });
        Subscription {
            messages,
            _task: task,
        }
    }

    /// Kills it at once. Whatever it has acknowledged is there again after [`Redis::restart`].
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again on the same port, and waits until it answers.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        assert!(self.spawn().await, "its port is taken\n{}", self.log());
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("redis.log")).unwrap_or_default()
    }

    fn configure(&self) {
        let [name, password] = ADMINISTRATOR;
        let port = self.address.port();
        let ports = match self.builder.tls {
            true => format!("port 0\ntls-port {port}"),
            false => format!("port {port}"),
        };
        // Each command is in the file before it is acknowledged; a test needs no disk that survives a power failure.
        let text = format!(
            "bind {}\n{ports}\nprotected-mode no\nunixsocket redis.sock\nlogfile redis.log\nsave \"\"\n\
             appendonly yes\nappendfsync no\nuser {name} on >{password} ~* &* +@all\n{}",
            self.address.ip(),
            self.builder.settings
        );
        fs::write(self.directory.path().join("redis.conf"), text).unwrap();
    }

    /// Whether it answers; not where its port is taken, and then it does not run.
    async fn spawn(&mut self) -> bool {
        let _ = fs::remove_file(self.directory.path().join("redis.log"));
        let child = Command::new(binary())
            .arg("redis.conf")
            .current_dir(self.directory.path())
            .env_clear()
            .env("LD_LIBRARY_PATH", libraries())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let child = self.child.insert(child);
        let begin = Instant::now();
        loop {
            let ended = child.try_wait().unwrap();
            let log = fs::read_to_string(self.directory.path().join("redis.log")).unwrap_or_default();
            if ended.is_some() && log.contains("Address already in use") {
                self.child = None;
                return false;
            }
            assert!(
                ended.is_none() && begin.elapsed() < SOON,
                "Redis does not answer: {ended:?}\n{log}"
            );
            // While it loads its file it answers with errors.
            if let Ok(mut client) = administrator(self.directory.path()).await
                && (client.ask(&["PING"]).await).is_ok_and(|reply| !reply.is_error())
            {
                return true;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn administrator(&self) -> std::io::Result<Client<UnixStream>> {
        administrator(self.directory.path()).await
    }
}

async fn administrator(directory: &Path) -> std::io::Result<Client<UnixStream>> {
    let stream = UnixStream::connect(directory.join("redis.sock")).await?;
    let mut client = Client::over(stream);
    let [name, password] = ADMINISTRATOR;
    let reply = client.ask(&["AUTH", name, password]).await?;
    assert!(!reply.is_error(), "{reply:?}");
    Ok(client)
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

// === impl Subscription ===

impl Subscription {
    /// So far.
    pub(crate) fn messages(&self) -> Vec<Vec<u8>> {
        self.messages.lock().unwrap().clone()
    }
}
