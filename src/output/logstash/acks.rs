//! The acknowledgements of one connection, as they come.
//!
//! Owns the reading half and what of an acknowledgement has arrived so far, so that waiting can be cut short and taken
//! up again. Does not know to which window one belongs.

use std::fmt;
use std::io;
use std::time::Duration;

use futures_util::FutureExt as _;
use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadHalf};
use tokio::task::coop::unconstrained;

use super::frame::{ACK_SIZE, acknowledged};
use crate::tls;

/// Reads them.
#[derive(Debug)]
pub(super) struct Acks<S> {
    half: ReadHalf<S>,
    /// Bytes that have come.
    read: Counter,
    bytes: [u8; ACK_SIZE],
    filled: usize,
    /// How long the last window was waited for when it was its turn.
    pub(super) took: Duration,
}

/// Why there will be no more of them.
#[derive(Debug)]
pub(super) enum Lost {
    /// The server has closed the connection.
    Closed,
    /// The connection failed.
    Failed(io::Error),
    /// Something else was sent.
    Foreign(Vec<u8>),
    /// An acknowledgement of so many events where none was due.
    Unasked(u32),
}

impl<S: AsyncRead> Acks<S> {
    /// `read` counts bytes.
    pub(super) fn new(half: ReadHalf<S>, read: Counter) -> Self {
        Self {
            half,
            read,
            bytes: [0; ACK_SIZE],
            filled: 0,
            took: Duration::ZERO,
        }
    }

    /// The next sequence; 0 says only that the server is at work. May be dropped midway.
    pub(super) async fn next(&mut self) -> Result<u32, Lost> {
        loop {
            let (arrived, room) = self.bytes.split_at_mut(self.filled);
            match acknowledged(arrived) {
                Ok(Some(sequence)) => {
                    self.filled = 0;
                    return Ok(sequence);
                }
                Ok(None) => {}
                Err(_) => return Err(Lost::Foreign(arrived.to_vec())),
            }
            match self.half.read(room).await {
                Ok(0) => return Err(Lost::Closed),
                Ok(count) => {
                    self.read.inc_by(count as u64);
                    self.filled += count;
                }
                Err(error) => return Err(Lost::Failed(error)),
            }
        }
    }

    /// What has come meanwhile, while nothing was due, without waiting: signs of life are taken and forgotten.
    pub(super) fn idle(&mut self) -> Result<(), Lost> {
        loop {
            // Not as a part of the task's share of time: that may be used up, which is no news of the server.
            match unconstrained(self.next()).now_or_never() {
                None => return Ok(()),
                Some(Ok(0)) => {}
                Some(Ok(sequence)) => return Err(Lost::Unasked(sequence)),
                Some(Err(lost)) => return Err(lost),
            }
        }
    }
}

/// For messages: what it means and what to do.
impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str(
                "it closed the connection instead of acknowledging: see its log; perhaps it wants TLS (ssl.enabled), \
                 or a pipeline of it is stopped",
            ),
            Self::Failed(error) => {
                write!(f, "the connection broke off: {error}")?;
                tls::advice(error).map_or(Ok(()), |advice| write!(f, ": {advice}"))
            }
            // A record of TLS that holds an alert or a handshake.
            Self::Foreign(bytes) if matches!(bytes[..], [0x15 | 0x16, ..]) => {
                f.write_str("it speaks TLS on this port: set ssl.enabled: true")
            }
            Self::Foreign(bytes) => write!(
                f,
                "it sent {} instead of an acknowledgement: check host and port, there must be a beats input (Lumberjack, \
                 version 2)",
                bytes.escape_ascii()
            ),
            Self::Unasked(sequence) => {
                write!(f, "it acknowledged {sequence} events where none was outstanding")
            }
        }
    }
}

impl Lost {
    /// Whether the server broke the protocol.
    pub(super) fn is_protocol(&self) -> bool {
        matches!(self, Self::Foreign(_) | Self::Unasked(_))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, DuplexStream, WriteHalf, duplex, split};

    use super::*;

    fn connection() -> (Acks<DuplexStream>, WriteHalf<DuplexStream>, DuplexStream) {
        let (client, server) = duplex(64);
        let (read, write) = split(client);
        (Acks::new(read, Counter::default()), write, server)
    }

    #[tokio::test]
    async fn a_wait_that_was_cut_short_is_taken_up_again() {
        let (mut acks, _write, mut server) = connection();
        for byte in b"2A\0\0\0" {
            server.write_all(&[*byte]).await.unwrap();
            assert!(acks.next().now_or_never().is_none());
        }
        server.write_all(b"\x072A\0\0\0\0").await.unwrap();
        assert_eq!(acks.next().await.unwrap(), 7);
        assert_eq!(acks.next().await.unwrap(), 0);
        drop(server);
        assert!(matches!(acks.next().await, Err(Lost::Closed)));
    }

    #[tokio::test]
    async fn while_nothing_is_due_only_signs_of_life_are_welcome() {
        let (mut acks, _write, mut server) = connection();
        acks.idle().unwrap();
        server.write_all(b"2A\0\0\0\x002A\0\0").await.unwrap();
        acks.idle().unwrap();
        server.write_all(b"\0\0").await.unwrap();
        acks.idle().unwrap();
        server.write_all(b"2A\0\0\0\x03").await.unwrap();
        assert!(matches!(acks.idle(), Err(Lost::Unasked(3))));
        drop(server);
        assert!(matches!(acks.idle(), Err(Lost::Closed)));
    }

    #[tokio::test]
    async fn what_is_no_acknowledgement_is_told_at_its_first_wrong_byte() {
        for (sent, told) in [
            (&b"HTTP"[..], "it sent HTTP instead"),
            (b"2W", "it sent 2W instead"),
            (b"\x15\x03\x03\0\x02\x02", "set ssl.enabled: true"),
        ] {
            let (mut acks, _write, mut server) = connection();
            server.write_all(sent).await.unwrap();
            let lost = acks.next().await.unwrap_err();
            assert!(lost.is_protocol() && lost.to_string().contains(told), "{lost}");
        }
    }
}
