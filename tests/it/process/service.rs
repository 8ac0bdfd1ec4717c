//! What a service manager that listens is told: the protocol of systemd's `Type=notify`, on a socket of the test.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::process::{Home, Process, SOON};

/// No ECS and no Elasticsearch is there: to have started is none of their business.
const NOBODY_THERE: &str = "
ecsbeat.error_events: false
ecsbeat.customers: [{customername: c, username: u, password: p, vdcs: [{vdcname: v, nodes: [{host: '127.0.0.1:1'}]}]}]
output.elasticsearch.hosts: ['http://127.0.0.1:1']
shutdown_timeout: 45s
";

/// The manager's end.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn listen(home: &Home) -> Self {
        let path = home.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self { socket, path }
    }

    /// ecsbeat below it, with a watchdog.
    fn start(&self, home: &Home, watchdog: Duration) -> Process {
        let mut command = home.command(&["run"]);
        command
            .env("NOTIFY_SOCKET", &self.path)
            .env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        Process::spawn(command)
    }

    /// The next message.
    fn told(&self) -> String {
        let mut message = [0; 512];
        let length = self.socket.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..length]).into_owned()
    }

    /// Waits for a message that begins so.
    fn told_of(&self, start: &str) -> String {
        let begin = Instant::now();
        loop {
            let message = self.told();
            if message.starts_with(start) {
                return message;
            }
            assert!(begin.elapsed() < SOON, "{start} was not told, but {message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manager_is_told_of_start_life_and_stop() {
    let home = Home::new();
    home.configure(NOBODY_THERE);
    let manager = Manager::listen(&home);
    let mut process = manager.start(&home, Duration::from_millis(300));
    assert_eq!(manager.told(), "READY=1\n", "before anything else");
    assert_eq!(manager.told_of("STATUS=single"), "STATUS=single\n");
    for _ in 0..3 {
        assert_eq!(manager.told_of("WATCHDOG"), "WATCHDOG=1\n");
    }
    process.logged("ecsbeat start running.").await;
    process.signal(Signal::TERM);
    let told = manager.told_of("STOPPING");
    let longest = told.strip_prefix("STOPPING=1\nEXTEND_TIMEOUT_USEC=").unwrap();
    let longest: u64 = longest.trim().parse().unwrap();
    // More than the configuration allows, or the manager would kill what may still go on.
    assert!((46_000_000..120_000_000).contains(&longest), "{told}");
    process.ended(SOON).await.expect(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_fails_is_never_told_as_one() {
    let home = Home::new();
    let manager = Manager::listen(&home);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    home.configure(&format!(
        "{NOBODY_THERE}http: {{enabled: true, host: 127.0.0.1, port: {port}}}\n"
    ));
    let mut process = manager.start(&home, Duration::from_secs(30));
    process.ended(SOON).await.expect(1);
    // It has ended: what it told has arrived.
    manager.socket.set_nonblocking(true).unwrap();
    let error = manager.socket.recv(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_does_not_listen_is_told_of_once_and_holds_up_nothing() {
    let home = Home::new();
    home.configure(NOBODY_THERE);
    let manager = Manager::listen(&home);
    drop(manager.socket);
    std::fs::remove_file(&manager.path).unwrap();
    let mut command = home.command(&["run"]);
    command
        .env("NOTIFY_SOCKET", &manager.path)
        .env("WATCHDOG_USEC", "30000");
    let mut process = Process::spawn(command);
    let complaint = "the service manager that NOTIFY_SOCKET names does not listen";
    process.logged(complaint).await;
    let ended = process.stopped().await;
    ended.expect(0);
    assert_eq!(ended.stderr.matches(complaint).count(), 1, "{}", ended.stderr);
}
