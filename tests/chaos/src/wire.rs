//! One connection, to its end.
//!
//! Owns what happens to its bytes. Both directions are pumped within one task, so that a fault of one of them ends the
//! other. Must never decide how often a fault strikes.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use crate::rule::Fault;
use crate::shared::{Orders, Shared, Told};

/// So much of a request is looked into.
const HEAD: usize = 4 * 1024;
const BUFFER: usize = 16 * 1024;

/// A client, with TLS or without.
type Client = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A connection before and while bytes flow.
pub(crate) struct Wire {
    shared: Arc<Shared>,
    told: watch::Receiver<Told>,
    orders: watch::Receiver<Orders>,
    /// What had been ordered before it.
    begun: Orders,
    exchange: Mutex<Exchange>,
}

/// What the client has asked and was not answered yet.
#[derive(Debug, Default)]
struct Exchange {
    /// The beginning of what was sent since the last answer.
    head: Vec<u8>,
    /// An answer is due.
    is_due: bool,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Both have ended it in order, or are to be told so.
    Orderly,
    /// With a reset, both ways.
    Reset,
    /// With a reset for the client; the upstream still works off what it got.
    AnswerLost,
}

impl From<io::Error> for Ending {
    fn from(_: io::Error) -> Self {
        Self::Reset
    }
}

impl Exchange {
    fn asked(&mut self, bytes: &[u8]) {
        if !self.is_due {
            self.head.clear();
            self.is_due = !bytes.is_empty();
        }
        let room = HEAD - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Whether what the upstream sends now begins the answer to a request with `text`.
    fn is_answer_to(&self, text: &[u8]) -> bool {
        let holds = |text: &[u8]| self.head.windows(text.len()).any(|window| window == text);
        self.is_due && (text.is_empty() || holds(text))
    }
}

impl Wire {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        shared.count(|counts| {
            counts.connections += 1;
            counts.open += 1;
            counts.most_open = counts.most_open.max(counts.open);
        });
        let orders = shared.orders();
        let begun = *orders.borrow();
        Self {
            told: shared.told(),
            begun,
            orders,
            exchange: Mutex::default(),
            shared,
        }
    }

    pub(crate) async fn carry(self, mut tcp: TcpStream) {
        let _ = tcp.set_nodelay(true);
        let Told { rule, fault } = self.told.borrow().clone();
        let hangs_up = fault == Fault::Hangup && self.shared.strike(rule);
        if hangs_up || fault == Fault::Refuse {
            let _ = tcp.set_zero_linger();
            return;
        }
        if fault == Fault::HalfOpen {
            swallow(&mut tcp, &mut self.told.clone()).await;
            let _ = tcp.set_zero_linger();
            return;
        }
        let client = match self.shared.identity() {
            None => Either::Left(tcp),
            Some(identity) => {
                let Ok(stream) = identity.acceptor().accept(tcp).await else {
                    self.shared.count(|counts| counts.failed_handshakes += 1);
                    return;
                };
                Either::Right(Box::new(stream))
            }
        };
        let Ok(mut server) = TcpStream::connect(self.shared.upstream).await else {
            self.shared.count(|counts| counts.without_upstream += 1);
            reset(&client);
            return;
        };
        let _ = server.set_nodelay(true);
        let (mut client, ending) = self.converse(client, &mut server).await;
        match ending {
            Ending::Orderly => {
                let _ = client.shutdown().await;
            }
            Ending::Reset => {
                reset(&client);
                let _ = server.set_zero_linger();
            }
            Ending::AnswerLost => {
                reset(&client);
                drop(client);
                let _ = server.shutdown().await;
                // What it still has to say is nobody's; that it ends says that it has worked everything off.
                let _ = tokio::io::copy(&mut server, &mut tokio::io::sink()).await;
            }
        }
    }

    /// Pumps until something ends it.
    async fn converse(&self, client: Client, server: &mut TcpStream) -> (Client, Ending) {
        let (mut from_client, mut to_client) = tokio::io::split(client);
        let (mut from_server, mut to_server) = server.split();
        let both = async {
            tokio::try_join!(
                self.ask(&mut from_client, &mut to_server),
                self.answer(&mut from_server, &mut to_client)
            )
        };
        let ending = tokio::select! {
            pumped = both => pumped.err().unwrap_or(Ending::Orderly),
            ending = self.ended() => ending,
        };
        (from_client.unsplit(to_client), ending)
    }

    /// Waits until the connection is to end whatever flows.
    async fn ended(&self) -> Ending {
        let mut told = self.told.clone();
        let refused = told.wait_for(|told| told.fault == Fault::Refuse);
        tokio::select! {
            _ = refused => Ending::Reset,
            ending = self.ordered() => ending,
        }
    }

    async fn ordered(&self) -> Ending {
        let mut orders = self.orders.clone();
        loop {
            let now = *orders.borrow_and_update();
            if now.reset_all > self.begun.reset_all {
                return Ending::Reset;
            }
            // Looked at with each order: who is not idle then may be later.
            if now.close_idle > self.begun.close_idle && !self.exchange.lock().is_due {
                return Ending::Orderly;
            }
            if orders.changed().await.is_err() {
                return Ending::Reset;
            }
        }
    }

    /// From the client to the upstream.
    async fn ask(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Ending> {
        let mut buffer = vec![0; BUFFER];
        // Under which rule how many bytes were passed on, and whether that rule has let this connection pass.
        let (mut rule, mut passed, mut spared) = (0, 0, false);
        loop {
            let bytes = self.read(from, &mut buffer).await?;
            let told = self.told.borrow().clone();
            if rule != told.rule {
                (rule, passed, spared) = (told.rule, 0, false);
            }
            self.exchange.lock().asked(bytes);
            let left = match told.fault {
                Fault::ResetAfter { bytes: most } if !spared => most.saturating_sub(passed),
                _ => u64::MAX,
            };
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            if left <= bytes.len() && !bytes.is_empty() {
                if self.shared.strike(told.rule) {
                    let _ = self.write(to, &bytes[..left], &told.fault).await;
                    return Err(Ending::Reset);
                }
                spared = true;
            }
            passed += bytes.len() as u64;
            if self.write(to, bytes, &told.fault).await.is_err() {
                // What the upstream has said before it went is still to be passed on; then that ends as it did.
                return Ok(());
            }
            self.shared
                .count(|counts| counts.to_upstream += bytes.len() as u64);
            if bytes.is_empty() {
                return Ok(());
            }
        }
    }

    /// From the upstream to the client.
    async fn answer(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Ending> {
        let mut buffer = vec![0; BUFFER];
        let mut mute = false;
        loop {
            let bytes = self.read(from, &mut buffer).await?;
            if bytes.is_empty() {
                let _ = to.shutdown().await;
                return Ok(());
            }
            let Told { rule, fault } = self.told.borrow().clone();
            let strikes = match &fault {
                Fault::LoseAnswer { request } | Fault::Garbage { request, .. } if !mute => {
                    self.exchange.lock().is_answer_to(request) && self.shared.strike(rule)
                }
                _ => false,
            };
            match fault {
                Fault::LoseAnswer { .. } if strikes => return Err(Ending::AnswerLost),
                Fault::Garbage { answer, .. } if strikes => {
                    mute = true;
                    if self.write(to, &answer, &Fault::Pass).await.is_err() {
                        return Ok(());
                    }
                }
                fault if !mute => {
                    self.exchange.lock().is_due = false;
                    if self.write(to, bytes, &fault).await.is_err() {
                        // As in the other direction: what the client has sent before it went counts.
                        return Ok(());
                    }
                    self.shared
                        .count(|counts| counts.to_clients += bytes.len() as u64);
                }
                _ => {}
            }
        }
    }

    /// Reads what there is, nothing at the end. In a half-open time nothing comes back but a reset.
    async fn read<'b>(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], Ending> {
        let mut told = self.told.clone();
        let most = match told.borrow().fault {
            Fault::Pieces { bytes } => bytes.clamp(1, buffer.len()),
            _ => buffer.len(),
        };
        let length = from.read(&mut buffer[..most]).await?;
        let Told { rule, fault } = told.borrow_and_update().clone();
        if fault == Fault::HalfOpen {
            self.shared.strike(rule);
            swallow(from, &mut told).await;
            return Err(Ending::Reset);
        }
        Ok(&buffer[..length])
    }

    /// Passes bytes on; an end, where there are none.
    async fn write(&self, to: &mut (impl AsyncWrite + Unpin), bytes: &[u8], fault: &Fault) -> io::Result<()> {
        if bytes.is_empty() {
            return to.shutdown().await;
        }
        let most = match fault {
            Fault::Pieces { bytes } => (*bytes).max(1),
            _ => bytes.len(),
        };
        for piece in bytes.chunks(most) {
            to.write_all(piece).await?;
            to.flush().await?;
            if most < bytes.len() {
                // The others get their turn, so that each piece can arrive on its own.
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.count(|counts| counts.open -= 1);
    }
}

/// Takes everything until the half-open time is over.
async fn swallow(from: &mut (impl AsyncRead + Unpin), told: &mut watch::Receiver<Told>) {
    let over = told.wait_for(|told| told.fault != Fault::HalfOpen);
    let swallowing = async {
        let _ = tokio::io::copy(from, &mut tokio::io::sink()).await;
        // Not even the end of the other side is passed on.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = over => {}
        () = swallowing => {}
    }
}

fn reset(client: &Client) {
    let tcp = match client {
        Either::Left(tcp) => tcp,
        Either::Right(tls) => tls.get_ref().0,
    };
    let _ = tcp.set_zero_linger();
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::ReadBuf;

    use super::*;

    /// Takes note of every write.
    struct Writes(Vec<Vec<u8>>);

    impl AsyncWrite for Writes {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Has much to give, and takes note of how much it is asked for at a time.
    struct Reads(Vec<usize>, usize);

    impl AsyncRead for Reads {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let given = buffer.remaining().min(self.1);
            self.0.push(buffer.remaining());
            self.1 -= given;
            buffer.put_slice(&vec![b'x'; given]);
            Poll::Ready(Ok(()))
        }
    }

    fn wire(fault: Fault) -> Wire {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let shared = Arc::new(Shared::new(nowhere));
        shared.set(fault.into());
        Wire::new(shared)
    }

    #[tokio::test]
    async fn pieces_are_read_and_written_one_by_one() {
        let wire = wire(Fault::Pieces { bytes: 3 });
        let mut writes = Writes(Vec::new());
        let mut reads = Reads(Vec::new(), 7);
        wire.ask(&mut reads, &mut writes).await.unwrap();
        assert_eq!(reads.0, [3; 4], "and once for the end");
        assert_eq!(writes.0, [&b"xxx"[..], b"xxx", b"x"]);
        // What was read before the rule is written as it says.
        let mut writes = Writes(Vec::new());
        wire.write(&mut writes, b"12345", &Fault::Pieces { bytes: 2 })
            .await
            .unwrap();
        assert_eq!(writes.0, [&b"12"[..], b"34", b"5"]);
    }

    #[test]
    fn an_answer_is_the_first_after_a_request() {
        let mut exchange = Exchange::default();
        assert!(!exchange.is_answer_to(b""), "nothing was asked");
        exchange.asked(b"");
        assert!(!exchange.is_due, "an end asks for nothing");
        exchange.asked(b"POST /_bu");
        exchange.asked(b"lk");
        assert!(exchange.is_answer_to(b"/_bulk") && exchange.is_answer_to(b""));
        assert!(!exchange.is_answer_to(b"GET"));
        exchange.is_due = false;
        assert!(!exchange.is_answer_to(b"/_bulk"), "this goes on");
        exchange.asked(b"GET /");
        assert!(!exchange.is_answer_to(b"/_bulk") && exchange.is_answer_to(b"GET"));
        exchange.asked(&vec![b'x'; 2 * HEAD]);
        assert_eq!(exchange.head.len(), HEAD);
    }
}
