//! A proxy that loses connections without saying so.
//!
//! Owns [`Swallower`]: bytes pass both ways until the connections of the moment are told to swallow them; they stay
//! open, and later connections pass again, or swallow too until told.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A proxy; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Swallower {
    pub(crate) address: SocketAddr,
    /// Connections made before this one swallow.
    first_alive: watch::Sender<usize>,
    count: watch::Receiver<usize>,
    _tasks: JoinSet<()>,
}

impl Swallower {
    /// Connects whoever comes to `target`.
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (first_alive, alive) = watch::channel(0);
        let (counting, count) = watch::channel(0);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let number = *counting.borrow();
                counting.send_replace(number + 1);
                connections.spawn(carry(client, target, number, alive.clone()));
            }
        });
        Self {
            address,
            first_alive,
            count,
            _tasks: tasks,
        }
    }

    /// From now on all connections swallow, later ones too.
    pub(crate) fn swallow_all(&self) {
        self.first_alive.send_replace(usize::MAX);
    }

    /// From now on the connections that there are swallow, and later ones pass.
    pub(crate) fn swallow(&self) {
        self.first_alive.send_replace(*self.count.borrow());
    }
}

async fn carry(client: TcpStream, target: SocketAddr, number: usize, alive: watch::Receiver<usize>) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(
        pass(from_client, to_server, number, alive.clone()),
        pass(from_server, to_client, number, alive)
    );
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    number: usize,
    alive: watch::Receiver<usize>,
) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count) = from.read(&mut bytes).await {
        let swallows = number < *alive.borrow();
        if count == 0 || (!swallows && to.write_all(&bytes[..count]).await.is_err()) {
            break;
        }
    }
}
