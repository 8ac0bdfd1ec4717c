//! The verbs of the proxy.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::proxy::{Proxy, Verb};

const SOON: Duration = Duration::from_secs(20);
/// Long enough for loopback to carry a byte many times over.
const QUIET: Duration = Duration::from_millis(150);

/// A server that gives back what it gets.
struct Echo {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        Self {
            address,
            _tasks: tasks,
        }
    }
}

async fn proxied() -> (Echo, Proxy) {
    let echo = Echo::start().await;
    let proxy = Proxy::start(echo.address).await.unwrap();
    (echo, proxy)
}

async fn says(stream: &mut TcpStream, text: &str) -> std::io::Result<String> {
    stream.write_all(text.as_bytes()).await?;
    let mut answer = vec![0; text.len()];
    timeout(SOON, stream.read_exact(&mut answer)).await.unwrap()?;
    Ok(String::from_utf8(answer).unwrap())
}

async fn connected(proxy: &Proxy) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(says(&mut stream, "first").await.unwrap(), "first");
    stream
}

/// It ends with a reset, soon.
async fn is_reset(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"", "bytes came through");
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn pass_carries_both_ways_and_ends() {
    let (_echo, proxy) = proxied().await;
    let mut stream = connected(&proxy).await;
    let long = "x".repeat(100_000);
    assert_eq!(says(&mut stream, &long).await.unwrap(), long);
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    timeout(SOON, stream.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn what_is_sent_into_a_black_hole_never_arrives() {
    let (_echo, proxy) = proxied().await;
    let mut idle = connected(&proxy).await;
    let mut busy = connected(&proxy).await;
    proxy.set(Verb::BlackHole);
    busy.write_all(b"lost").await.unwrap();
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    new.write_all(b"lost too").await.unwrap();
    let mut byte = [0];
    assert!(
        timeout(QUIET, busy.read(&mut byte)).await.is_err(),
        "the connection stays, nothing flows"
    );
    assert!(
        timeout(QUIET, new.read(&mut byte)).await.is_err(),
        "the same for new ones"
    );
    proxy.set(Verb::Pass);
    assert!(is_reset(&mut busy).await);
    assert!(is_reset(&mut new).await);
    assert_eq!(says(&mut idle, "nothing lost").await.unwrap(), "nothing lost");
    connected(&proxy).await;
}

#[tokio::test]
async fn reset_ends_connections_and_refuse_closes_the_port_as_well() {
    let (_echo, proxy) = proxied().await;
    for verb in [Verb::Reset, Verb::Refuse] {
        let mut stream = connected(&proxy).await;
        proxy.set(verb);
        assert!(is_reset(&mut stream).await);
        if verb == Verb::Refuse {
            let start = Instant::now();
            // The port closes at once, but not before `set` returns.
            while TcpStream::connect(proxy.address()).await.is_ok() {
                assert!(start.elapsed() < SOON);
            }
        } else {
            let mut new = TcpStream::connect(proxy.address()).await.unwrap();
            let mut byte = [0];
            assert!(timeout(SOON, new.read(&mut byte)).await.unwrap().is_err());
        }
        proxy.set(Verb::Pass);
        let start = Instant::now();
        while TcpStream::connect(proxy.address()).await.is_err() {
            assert!(start.elapsed() < SOON);
        }
        connected(&proxy).await;
    }
}

#[tokio::test]
async fn delay_and_slow_take_their_time() {
    let (_echo, proxy) = proxied().await;
    let mut stream = connected(&proxy).await;
    proxy.set(Verb::Delay(Duration::from_millis(100)));
    let start = Instant::now();
    says(&mut stream, "late").await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(200), "there and back");
    proxy.set(Verb::Slow(2_000));
    let start = Instant::now();
    says(&mut stream, &"x".repeat(1_000)).await.unwrap();
    assert!(
        start.elapsed() >= Duration::from_millis(400),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn an_upstream_that_is_down_looks_like_one() {
    let echo = Echo::start().await;
    let proxy = Proxy::start(echo.address).await.unwrap();
    drop(echo);
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let mut byte = [0];
    assert!(timeout(SOON, stream.read(&mut byte)).await.unwrap().is_err());
}
