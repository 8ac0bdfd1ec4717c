//! Ports for processes that are told theirs.
//!
//! Owns [`Reserved`]: a free port, bound but not listened on. The process that it is for may listen there (both
//! sides allow addresses to be used again), also after a restart, and the system gives it to nobody else.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use tokio::net::TcpSocket;

/// A port that stays ours for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Reserved {
    address: SocketAddr,
    _socket: TcpSocket,
}

impl Reserved {
    /// Some free port.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4().context("a socket")?;
        socket.set_reuseaddr(true).context("a socket")?;
        let any = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        socket.bind(any).context("a free port")?;
        Ok(Self {
            address: socket.local_addr().context("a free port")?,
            _socket: socket,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
