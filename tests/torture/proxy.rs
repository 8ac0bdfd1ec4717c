//! A TCP proxy that can be told to misbehave.
//!
//! Owns one port in front of one address, and what happens to the bytes between them ([`Verb`]). What is sent into a
//! black hole is gone: when it is lifted, connections that lost something end with a reset, as when a firewall has
//! forgotten them. So nothing that was sent during a partition arrives after it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

const BACKLOG: u32 = 256;
/// A slow connection carries so many pieces a second.
const PIECES: u32 = 20;

/// What the proxy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Carries everything.
    Pass,
    /// Connections stay, and new ones are accepted; nothing flows.
    BlackHole,
    /// Connections end with a reset, new ones too.
    Reset,
    /// As `Reset`, and the port is closed.
    Refuse,
    /// Everything comes so much later.
    Delay(Duration),
    /// So many bytes a second in each direction.
    Slow(u32),
}

/// A running proxy. Dropping it ends all connections.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    verb: watch::Sender<Verb>,
    _tasks: JoinSet<()>,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::BlackHole => f.write_str("black-hole"),
            Self::Reset => f.write_str("reset"),
            Self::Refuse => f.write_str("refuse"),
            Self::Delay(by) => write!(f, "delay {} ms", by.as_millis()),
            Self::Slow(rate) => write!(f, "slow {rate} B/s"),
        }
    }
}

impl Verb {
    /// No connection lives under it.
    fn cuts(self) -> bool {
        matches!(self, Self::Reset | Self::Refuse)
    }
}

impl Proxy {
    /// Opens a free port in front of `upstream`, which need not be there yet.
    pub(crate) async fn start(upstream: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("a free port for a proxy")?;
        let address = listener.local_addr().context("address of a proxy")?;
        let (verb, told) = watch::channel(Verb::Pass);
        let mut tasks = JoinSet::new();
        tasks.spawn(keep(listener, address, upstream, told));
        Ok(Self {
            address,
            verb,
            _tasks: tasks,
        })
    }

    /// Where to connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is done from now on, to connections that are there as well.
    pub(crate) fn set(&self, verb: Verb) {
        self.verb.send_replace(verb);
    }
}

/// Keeps the port, and owns the connections.
async fn keep(
    listener: TcpListener,
    address: SocketAddr,
    upstream: SocketAddr,
    mut verb: watch::Receiver<Verb>,
) {
    let mut connections = JoinSet::new();
    let mut standing = Some(listener);
    loop {
        if *verb.borrow_and_update() == Verb::Refuse {
            drop(standing.take());
            // Bound but not listening: nobody else takes the port, connecting is refused.
            let held = bound(address);
            if verb.wait_for(|verb| *verb != Verb::Refuse).await.is_err() {
                return;
            }
            drop(held);
        }
        let Some(listener) = standing.take().or_else(|| listen(address)) else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        tokio::select! {
            changed = verb.changed() => if changed.is_err() { return },
            accepted = listener.accept() => if let Ok((client, _)) = accepted {
                connections.spawn(carry(client, upstream, verb.clone()));
            },
            Some(_) = connections.join_next() => {}
        }
        standing = Some(listener);
    }
}

fn bound(address: SocketAddr) -> Option<TcpSocket> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.set_reuseaddr(true).ok()?;
    socket.bind(address).ok()?;
    Some(socket)
}

fn listen(address: SocketAddr) -> Option<TcpListener> {
    bound(address)?.listen(BACKLOG).ok()
}

/// One connection, to its end.
async fn carry(mut client: TcpStream, upstream: SocketAddr, mut verb: watch::Receiver<Verb>) {
    let first = *verb.borrow_and_update();
    if first == Verb::BlackHole {
        // Whoever connects into a black hole has lost something already.
        let _ = verb.wait_for(|verb| *verb != Verb::BlackHole).await;
    }
    let server = match first {
        Verb::BlackHole | Verb::Reset | Verb::Refuse => None,
        _ => TcpStream::connect(upstream).await.ok(),
    };
    let Some(mut server) = server else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ends_well = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = pump(from_client, to_server, verb.clone());
        let down = pump(from_server, to_client, verb.clone());
        let both = async { tokio::try_join!(up, down) };
        tokio::select! {
            ended = both => ended.is_ok(),
            _ = verb.wait_for(|verb| verb.cuts()) => false,
        }
    };
    if !ends_well {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

/// One direction, until its end has been passed on. An error means that bytes are lost.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut verb: watch::Receiver<Verb>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        let begun = *verb.borrow();
        if let Verb::Delay(by) = begun {
            tokio::time::sleep(by).await;
        }
        let now = *verb.borrow();
        match now {
            Verb::BlackHole => {
                let _ = verb.wait_for(|verb| *verb != Verb::BlackHole).await;
                return Err(std::io::ErrorKind::ConnectionReset.into());
            }
            _ if length == 0 => return to.shutdown().await,
            Verb::Slow(rate) => {
                let piece = usize::try_from(rate / PIECES).unwrap_or(1).max(1);
                for part in buffer[..length].chunks(piece) {
                    to.write_all(part).await?;
                    tokio::time::sleep(Duration::from_secs(1) / PIECES).await;
                }
            }
            _ => to.write_all(&buffer[..length]).await?,
        }
    }
}
