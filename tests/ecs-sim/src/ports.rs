//! The listening sockets: one task for each port of each node, which opens, closes or blocks its port as
//! topology and faults want it, and hands connections on. Must never keep a connection of a closed port alive.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fault::{Fault, Hit, Port, Target};
use crate::federation::Federation;
use crate::http::{self, Limits, Wire};
use crate::pki::{Certificate, Face};
use crate::service::NodeService;
use crate::topology::NodeState;

const BACKLOG: i32 = 1024;
const HANDSHAKE_TIME: Duration = Duration::from_secs(30);
const MAX_PORT_TRIES: usize = 200;

/// A port of a node, or of the load balancer in front of a VDC.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) vdc: usize,
    /// Serial of the node; `None` for the load balancer.
    pub(crate) serial: Option<u64>,
    pub(crate) port: Port,
    pub(crate) address: SocketAddr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    Refused,
    Blackhole,
    /// The node is no more.
    Gone,
}

/// What stands at the address now.
enum Standing {
    Listener(TcpListener),
    /// Bound, so that nobody else takes the port, but not listening: connecting is refused.
    Bound {
        _socket: Socket,
    },
    /// Listening with a full queue: connecting gets no answer.
    Full {
        _socket: Socket,
        _fillers: Vec<Socket>,
    },
}

fn socket(address: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Holds a port without listening: nobody else takes it, and connecting is refused.
pub(crate) fn hold(address: SocketAddr) -> std::io::Result<Socket> {
    socket(address)
}

/// Listens on an address whose last connections may not be quite over.
pub(crate) fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Opens `port` at every address; with 0, some free port that is the same at all of them. Where all addresses are the
/// same one, each has a port of its own: the next number, or with 0 some free one.
pub(crate) fn open_all(addresses: &[IpAddr], port: u16) -> anyhow::Result<Vec<TcpListener>> {
    let Some(first) = addresses.first() else {
        return Ok(Vec::new());
    };
    let all_same = addresses.iter().all(|address| address == first) && addresses.len() > 1;
    let mut last_error = None;
    for _ in 0..if port == 0 { MAX_PORT_TRIES } else { 1 } {
        let opened = (|| {
            let lead = listen(SocketAddr::new(*first, port))?;
            let same = lead.local_addr()?.port();
            let mut listeners = vec![lead];
            for (address, further) in addresses[1..].iter().zip(1..) {
                let chosen = match (all_same, port) {
                    (false, _) => same,
                    (true, 0) => 0,
                    (true, first) => first.saturating_add(further),
                };
                listeners.push(listen(SocketAddr::new(*address, chosen))?);
            }
            std::io::Result::Ok(listeners)
        })();
        match opened {
            Ok(listeners) => return Ok(listeners),
            Err(error) => last_error = Some(error),
        }
    }
    let error = last_error.map_or_else(|| anyhow::anyhow!("no port"), anyhow::Error::from);
    Err(error).with_context(|| {
        format!(
            "listen on port {port} of {first} and {} more",
            addresses.len() - 1
        )
    })
}

/// Opens one more port, any free one when `port` is taken.
pub(crate) fn open_one(address: IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    let opened = listen(SocketAddr::new(address, port));
    opened
        .or_else(|_| listen(SocketAddr::new(address, 0)))
        .with_context(|| format!("listen on {address}"))
}

// === impl Endpoint ===

impl Endpoint {
    fn mode(&self, federation: &Federation) -> Mode {
        let topology = federation.topology.read();
        let Some(vdc) = topology.vdcs.get(self.vdc) else {
            return Mode::Gone;
        };
        let node = match self.serial.map(|serial| vdc.by_serial(serial)) {
            Some(None) => return Mode::Gone,
            Some(Some(found)) => Some(found),
            None => None,
        };
        let is_shut = node.is_some_and(|(_, node)| {
            let is_private = federation.config.separate_networks && node.profile.has_private_diagnostics();
            let is_reachable = node.profile.has_open_diagnostics() && !is_private;
            node.state == NodeState::Down || (self.port == Port::Diag && !is_reachable)
        });
        if vdc.down || is_shut {
            return Mode::Refused;
        }
        let number = node.map(|(number, _)| number);
        let target = Target {
            vdc: self.vdc,
            node: number,
            port: self.port,
            request: None,
        };
        match federation.faults.of_listener(&target) {
            Some(Fault::Refused) => Mode::Refused,
            Some(_) => Mode::Blackhole,
            None => Mode::Open,
        }
    }

    fn stand(&self, mode: Mode) -> std::io::Result<Standing> {
        Ok(match mode {
            Mode::Open => Standing::Listener(listen(self.address)?),
            Mode::Refused | Mode::Gone => Standing::Bound {
                _socket: hold(self.address)?,
            },
            Mode::Blackhole => {
                let socket = socket(self.address)?;
                socket.listen(0)?;
                let mut fillers = Vec::new();
                for _ in 0..2 {
                    let filler = Socket::new(
                        Domain::for_address(self.address),
                        Type::STREAM,
                        Some(Protocol::TCP),
                    )?;
                    filler.set_nonblocking(true)?;
                    let _ = filler.connect(&self.address.into());
                    fillers.push(filler);
                }
                Standing::Full {
                    _socket: socket,
                    _fillers: fillers,
                }
            }
        })
    }
}

/// Keeps one port until `stop`, or until its node is gone.
pub(crate) async fn keep(
    endpoint: Endpoint,
    listener: TcpListener,
    federation: Arc<Federation>,
    tracker: TaskTracker,
    stop: CancellationToken,
) {
    let mut changes = federation.faults.changes();
    let mut standing = Some(Standing::Listener(listener));
    let mut mode = Mode::Open;
    let mut connections = stop.child_token();
    loop {
        changes.mark_unchanged();
        let wanted = endpoint.mode(&federation);
        if wanted != mode || standing.is_none() {
            connections.cancel();
            connections = stop.child_token();
            drop(standing.take());
            mode = wanted;
            if mode == Mode::Gone {
                return;
            }
            standing = endpoint.stand(mode).ok();
        }
        tokio::select! {
            () = stop.cancelled() => break,
            told = changes.changed() => if told.is_err() { break },
            () = accept(&endpoint, standing.as_ref(), &federation, &tracker, &connections) => {}
        }
    }
    connections.cancel();
}

/// Takes connections in for as long as the port is open; with no socket, tries again soon.
async fn accept(
    endpoint: &Endpoint,
    standing: Option<&Standing>,
    federation: &Arc<Federation>,
    tracker: &TaskTracker,
    connections: &CancellationToken,
) {
    match standing {
        Some(Standing::Listener(listener)) => loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let (endpoint, federation, stop) =
                (endpoint.clone(), Arc::clone(federation), connections.clone());
            tracker.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = connection(&endpoint, stream, federation) => {}
                }
            });
        },
        Some(_) => std::future::pending().await,
        None => tokio::time::sleep(Duration::from_millis(20)).await,
    }
}

/// The node that takes a connection: its own, or one that is up when it comes through the load balancer.
fn taker(endpoint: &Endpoint, federation: &Federation, connection: u64) -> Option<(u64, usize, Vec<IpAddr>)> {
    let topology = federation.topology.read();
    let vdc = topology.vdcs.get(endpoint.vdc)?;
    let (number, node) = if let Some(serial) = endpoint.serial {
        vdc.by_serial(serial)?
    } else {
        let up: Vec<_> = vdc
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.state == NodeState::Up)
            .collect();
        *up.get(usize::try_from(connection).unwrap_or(0) % up.len().max(1))?
    };
    Some((
        node.serial,
        number,
        vec![node.address, node.data_address, vdc.front],
    ))
}

async fn connection(endpoint: &Endpoint, stream: TcpStream, federation: Arc<Federation>) {
    let id = federation.connections.fetch_add(1, Ordering::Relaxed) + 1;
    let Some((serial, number, addresses)) = taker(endpoint, &federation, id) else {
        return;
    };
    let _ = stream.set_nodelay(true);
    let node = endpoint.serial.map(|_| number);
    let target = Target {
        vdc: endpoint.vdc,
        node,
        port: endpoint.port,
        request: None,
    };
    let hits = federation.faults.of_connection(&target);
    let service = NodeService::new(
        Arc::clone(&federation),
        endpoint.vdc,
        serial,
        number,
        endpoint.port,
        id,
    );
    let idle = Duration::from_secs(federation.config.keep_alive_secs);
    let limits = Limits {
        idle,
        ..Limits::default()
    };
    match ending(&hits) {
        Some(Fault::AcceptHang) => return std::future::pending().await,
        Some(Fault::AcceptClose) => return,
        Some(Fault::AcceptReset) => return stream.reset_on_close(),
        Some(_) => return answer_nonsense(stream).await,
        None => {}
    }
    if endpoint.port == Port::Diag {
        return http::serve(stream, &service, &limits).await;
    }
    let Ok(config) = federation.authority.server(&addresses, face(&hits)) else {
        return;
    };
    let Ok(Ok(stream)) = timeout(HANDSHAKE_TIME, TlsAcceptor::from(config).accept(stream)).await else {
        return;
    };
    if let Some(traffic) = federation.traffic.get(endpoint.vdc) {
        traffic.handshakes.fetch_add(1, Ordering::Relaxed);
        if stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed) {
            traffic.resumed.fetch_add(1, Ordering::Relaxed);
        }
    }
    http::serve(stream, &service, &limits).await;
}

/// The fault that ends a connection before anything is said, if any.
fn ending(hits: &[Hit]) -> Option<Fault> {
    let ends = |fault: &Fault| {
        matches!(
            fault,
            Fault::AcceptHang | Fault::AcceptClose | Fault::AcceptReset | Fault::TlsFailure
        )
    };
    hits.iter()
        .map(|hit| &hit.fault)
        .find(|fault| ends(fault))
        .cloned()
}

fn face(hits: &[Hit]) -> Face {
    let mut face = Face::default();
    for hit in hits {
        match hit.fault {
            Fault::CertExpired => face.certificate = Certificate::Expired,
            Fault::CertOtherName => face.certificate = Certificate::OtherName,
            Fault::CertSelfSigned => face.certificate = Certificate::SelfSigned,
            Fault::CertOtherAuthority => face.certificate = Certificate::OtherAuthority,
            Fault::Tls12Only => face.tls12_only = true,
            _ => {}
        }
    }
    face
}

async fn answer_nonsense(mut stream: TcpStream) {
    let _ = stream
        .write_all(b"HTTP/1.1 400 The plain HTTP request was sent to HTTPS port\r\n\r\n")
        .await;
    let _ = stream.shutdown().await;
}
