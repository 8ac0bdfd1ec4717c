//! A SOCKS5 proxy (RFC 1928, users by RFC 1929) that knows one name.
//!
//! Owns the way to one server; whatever else it is asked for it refuses.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A running proxy, until it is dropped.
#[derive(Debug)]
pub(crate) struct Socks {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Socks {
    /// A proxy that lets `user` with `password` go to `target`, which is called `name`.
    pub(crate) async fn start(
        user: &'static str,
        password: &'static str,
        name: &'static str,
        target: SocketAddr,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let made = Arc::clone(&connections);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut clients = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let made = Arc::clone(&made);
                clients.spawn(async move {
                    if let Ok((mut client, mut server)) = open(client, [user, password], name, target).await {
                        made.fetch_add(1, Ordering::Relaxed);
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self {
            address,
            connections,
            _task: task,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections made to the server.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn text(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut text = vec![0; usize::from(client.read_u8().await?)];
    client.read_exact(&mut text).await?;
    Ok(text)
}

async fn open(
    mut client: TcpStream,
    login: [&str; 2],
    name: &str,
    target: SocketAddr,
) -> io::Result<(TcpStream, TcpStream)> {
    let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
    assert_eq!(client.read_u8().await?, 5);
    text(&mut client).await?;
    client.write_all(&[5, 2]).await?;
    assert_eq!(client.read_u8().await?, 1);
    let given = [text(&mut client).await?, text(&mut client).await?];
    if given != login.map(|part| part.as_bytes().to_vec()) {
        client.write_all(&[1, 1]).await?;
        return Err(refused());
    }
    client.write_all(&[1, 0]).await?;
    let mut request = [0; 4];
    client.read_exact(&mut request).await?;
    // A connection, to a name.
    let is_known = request == [5, 1, 0, 3]
        && text(&mut client).await? == name.as_bytes()
        && client.read_u16().await? == target.port();
    if !is_known {
        client.write_all(&[5, 4, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
        return Err(refused());
    }
    let server = TcpStream::connect(target).await?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    Ok((client, server))
}
