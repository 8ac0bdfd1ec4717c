//! Ways from the site's network to what this process offers on its loopback address.
//!
//! Owns the listeners on the address that this machine has on the site, and the copying. What hosts reach there, and
//! nothing else, is ECS and the output.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Passes connections on until it is dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    here: Ipv4Addr,
    ways: JoinSet<()>,
}

impl Gateway {
    /// Without any way yet.
    pub(crate) fn new(here: Ipv4Addr) -> Self {
        Self {
            here,
            ways: JoinSet::new(),
        }
    }

    /// Opens a way to `target`; gives where it begins.
    pub(crate) async fn open(&mut self, target: SocketAddr) -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind((self.here, 0)).await;
        let listener = listener.with_context(|| format!("a free port of {}", self.here))?;
        let address = listener.local_addr().context("address of the gateway")?;
        self.ways.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((stream, _)) = listener.accept() => { connections.spawn(pass(stream, target)); }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(address)
    }
}

async fn pass(mut from: TcpStream, target: SocketAddr) {
    if let Ok(mut to) = TcpStream::connect(target).await {
        // An error of one side ends both; what it was is the sides' affair.
        let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
    }
}
