//! Keeps the port: open, or closed and still taken. Owns the connections; must never look into them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;

use crate::rule::Fault;
use crate::shared::Shared;
use crate::wire;

const BACKLOG: u32 = 256;

pub(crate) async fn keep(listener: TcpListener, address: SocketAddr, shared: Arc<Shared>) {
    let mut told = shared.told();
    let mut connections = JoinSet::new();
    let mut standing = Some(listener);
    loop {
        if told.borrow_and_update().fault == Fault::Refuse {
            drop(standing.take());
            // Bound but not listening: connecting is refused, and the system gives the port to nobody else.
            let held = bound(address);
            if told.wait_for(|told| told.fault != Fault::Refuse).await.is_err() {
                return;
            }
            drop(held);
        }
        let Some(listener) = standing.take().or_else(|| listen(address).ok()) else {
            // The sockets of the port's last connections are not gone yet.
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        tokio::select! {
            changed = told.changed() => if changed.is_err() { return },
            accepted = listener.accept() => if let Ok((client, _)) = accepted {
                // Told of everything from here on.
                let wire = wire::Wire::new(Arc::clone(&shared));
                connections.spawn(wire.carry(client));
            },
            Some(_) = connections.join_next() => {}
        }
        standing = Some(listener);
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    bound(address)?.listen(BACKLOG)
}
