//! One connection to one server.
//!
//! Owns the writing half and whether the connection can be used for another window. A window is written whole, piece by
//! piece, each after a look at the permit; one that is not written to its end ends the connection. Knows no events and
//! connects to nobody.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, WriteHalf, split};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::{Instant, timeout, timeout_at};

use super::acks::Acks;
use super::turn::{Hold, Life, Turn};
use crate::election::{NoTenure, Permit};
use crate::output::SinkError;

/// Bytes of a window between two looks at the permit.
const PIECE: usize = 64 << 10;
/// Time without traffic after which a connection is replaced before it is used: Logstash ends idle ones after a minute,
/// and whatever is in between may have forgotten it by then.
const MOST_IDLE: Duration = Duration::from_secs(30);
/// The longest a connection that is not needed any more is given to end in order.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connection.
#[derive(Debug)]
pub(super) struct Link<S> {
    _hold: Hold,
    life: Life,
    writer: WriteHalf<S>,
    /// The acknowledgements, once the last window that was written has no more need of them.
    acks: oneshot::Receiver<Acks<S>>,
    /// The server's place in the list of hosts, and how messages call it.
    host: usize,
    server: Arc<str>,
    since: Instant,
}

/// Why a piece did not go out.
enum Stopped {
    NoTenure,
    Failed(io::Error),
}

impl<S: AsyncRead + AsyncWrite> Link<S> {
    /// A connection that has just been made; `read` counts bytes.
    pub(super) fn new(stream: S, host: usize, server: &str, read: Counter) -> Self {
        let (reader, writer) = split(stream);
        let life = Life::new();
        Self {
            _hold: life.hold(),
            life,
            writer,
            acks: handed_over(Acks::new(reader, read)),
            host,
            server: Arc::from(server),
            since: Instant::now(),
        }
    }

    /// The server's place in the list of hosts.
    pub(super) fn host(&self) -> usize {
        self.host
    }

    /// Whether it is of use, and if not, why.
    pub(super) fn life(&self) -> &Life {
        &self.life
    }

    /// Whether another window may be written to it. One that the server has closed, that was idle for long or that is
    /// older than `ttl`, or that nobody wants any more, is not to be used: it is waited for what is outstanding, and the
    /// connection ends in order.
    pub(super) async fn is_usable(&mut self, ttl: Option<Duration>, wanted: bool) -> bool {
        if self.life.is_over() {
            return false;
        }
        let old = ttl.is_some_and(|ttl| self.since.elapsed() >= ttl);
        let acks = match self.acks.try_recv() {
            Err(TryRecvError::Empty) if old || !wanted => (&mut self.acks).await.ok(),
            Err(TryRecvError::Empty) => return true,
            Err(TryRecvError::Closed) => None,
            Ok(acks) => Some(acks),
        };
        let Some(mut acks) = acks else { return false };
        let reason = match acks.idle() {
            Err(lost) => {
                tracing::debug!(output = "logstash", server = &*self.server, %lost, "connecting anew");
                return false;
            }
            Ok(()) if !wanted => "the connection's own host is back",
            Ok(()) if old => "it has reached its ttl",
            Ok(()) if self.life.heard().elapsed() > MOST_IDLE => "it was idle",
            Ok(()) => {
                self.acks = handed_over(acks);
                return true;
            }
        };
        tracing::debug!(
            output = "logstash",
            server = &*self.server,
            reason,
            "connecting anew"
        );
        self.close().await;
        false
    }

    /// Writes a window whole; `written` counts bytes. `patience` is for each piece, and begins anew when the server
    /// answers to a window before: one that is busy with it need not take the next. After an error the connection is of
    /// no use; dropped midway as well.
    pub(super) async fn write(
        &mut self,
        window: &[u8],
        permit: &Permit,
        patience: Duration,
        written: &Counter,
    ) -> Result<(), SinkError> {
        let life = self.life.clone();
        tokio::select! {
            biased;
            cause = life.over() => Err(SinkError::Transport(cause)),
            result = self.pieces(window, permit, patience, written) => result,
        }
    }

    async fn pieces(
        &mut self,
        window: &[u8],
        permit: &Permit,
        patience: Duration,
        written: &Counter,
    ) -> Result<(), SinkError> {
        let mut rest = window;
        while !rest.is_empty() {
            let piece = &rest[..rest.len().min(PIECE)];
            let count = self
                .fenced(permit, patience, |writer, context| {
                    writer.poll_write(context, piece)
                })
                .await?;
            if count == 0 {
                return Err(self.stopped(Stopped::Failed(io::ErrorKind::WriteZero.into())));
            }
            written.inc_by(count as u64);
            rest = &rest[count..];
        }
        self.fenced(permit, patience, WriteHalf::poll_flush).await
    }

    /// A step that lets bytes out: the permit is looked at each time immediately before, also after a wait.
    async fn fenced<T>(
        &mut self,
        permit: &Permit,
        patience: Duration,
        mut step: impl FnMut(Pin<&mut WriteHalf<S>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Result<T, SinkError> {
        let writer = &mut self.writer;
        let mut done = pin!(poll_fn(|context| match permit.check() {
            Err(NoTenure) => Poll::Ready(Err(Stopped::NoTenure)),
            Ok(()) => step(Pin::new(writer), context).map_err(Stopped::Failed),
        }));
        let mut deadline = Instant::now() + patience;
        loop {
            match timeout_at(deadline, &mut done).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(stopped)) => return Err(self.stopped(stopped)),
                Err(_) if self.life.heard() + patience > deadline => deadline = self.life.heard() + patience,
                Err(_) => {
                    let text = format!("{}: it has taken nothing for {patience:?}", self.server);
                    self.life.end(&text, true);
                    return Err(SinkError::Transport(text));
                }
            }
        }
    }

    fn stopped(&self, stopped: Stopped) -> SinkError {
        let (text, by_server) = match stopped {
            Stopped::NoTenure => (format!("{}: not sent: {NoTenure}", self.server), false),
            Stopped::Failed(error) => (format!("{}: sending failed: {error}", self.server), true),
        };
        self.life.end(&text, by_server);
        SinkError::Transport(text)
    }

    /// The turn of the window that was written last, with its number of events.
    pub(super) fn turn(&mut self, count: u32) -> Turn<S> {
        let (next, from_this) = oneshot::channel();
        Turn {
            hold: self.life.hold(),
            life: self.life.clone(),
            acks: std::mem::replace(&mut self.acks, from_this),
            next,
            server: Arc::clone(&self.server),
            count,
        }
    }

    /// Ends it in order.
    pub(super) async fn close(&mut self) {
        let _ = timeout(FAREWELL, self.writer.shutdown()).await;
    }
}

/// The acknowledgements for whoever comes next.
fn handed_over<S>(acks: Acks<S>) -> oneshot::Receiver<Acks<S>> {
    let (sender, receiver) = oneshot::channel();
    // The receiver is here.
    let _ = sender.send(acks);
    receiver
}
