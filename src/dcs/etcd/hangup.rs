//! Why a connection broke.
//!
//! Owns [`Listened`], a connection that remembers the error it ended with in [`Heard`], for the message of the request
//! that failed by it. Passes every byte through unchanged.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::tls;

/// The last error of a connection that was up. A server that does not like our certificate says so only after the
/// handshake, to whoever reads next, and that is HTTP/2, which tells nobody.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard(Arc<Mutex<Option<String>>>);

impl Heard {
    /// Gives it out, once.
    pub(super) fn take(&self) -> Option<String> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        // Nothing can panic under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection whose errors are remembered.
pub(super) struct Listened<S> {
    io: S,
    heard: Heard,
    /// Nothing was read yet from a server that should have begun: plain HTTP/2 does.
    silent: bool,
    /// Writing has failed so.
    broken: Option<io::Error>,
}

impl<S> Listened<S> {
    pub(super) fn new(io: S, heard: &Heard, silent: bool) -> Self {
        Self {
            io,
            heard: heard.clone(),
            silent,
            broken: None,
        }
    }

    fn note(&self, error: &io::Error) {
        let advice = tls::advice(error).map_or_else(String::new, |advice| format!(": {advice}"));
        *self.heard.lock() = Some(format!("{error}{advice}"));
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Listened<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, into);
        match &read {
            Poll::Ready(Ok(())) if into.filled().len() > before => self.silent = false,
            Poll::Ready(_) if self.silent => {
                let words = "it hung up without a word: perhaps it speaks https:// on this port";
                *self.heard.lock() = Some(words.to_owned());
            }
            Poll::Ready(Err(error)) => self.note(error),
            _ => {}
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Listened<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let broken = match self.broken.take() {
            Some(broken) => broken,
            None => match Pin::new(&mut self.io).poll_write(cx, from) {
                Poll::Ready(Err(error)) => error,
                other => return other,
            },
        };
        // Nobody reads on after this. What the other side said before it hung up is still to be read, at once or as
        // soon as the runtime has seen it.
        let mut rest = [0; 1024];
        loop {
            let mut rest = ReadBuf::new(&mut rest);
            match self.as_mut().poll_read(cx, &mut rest) {
                Poll::Pending => {
                    self.broken = Some(broken);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(())) if !rest.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Err(broken)),
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
