//! A connection that nobody can hold open for ever.
//!
//! Owns [`Guarded`], the stream between the socket and the HTTP library, and the [`Deadline`] of the current answer.
//! Time for a request's head is the library's business; this adds an end to making the answer and to writing it, so
//! that a client which asks and never reads gives its place back. Reading passes through.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, timeout_at};

/// Until when the current answer must be out. Shared by the connection and its requests.
#[derive(Debug, Clone)]
pub(super) struct Deadline(Arc<Mutex<Instant>>);

impl Deadline {
    pub(super) fn after(budget: Duration) -> Self {
        Self(Arc::new(Mutex::new(Instant::now() + budget)))
    }

    /// A new request has begun.
    pub(super) fn renew(&self, budget: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + budget;
    }

    /// The request has arrived and its answer depends on others, who may take this long.
    pub(super) fn extend(&self, patience: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += patience;
    }

    /// The answer, unless the deadline passes before it, wherever it was moved to meanwhile.
    pub(super) async fn bound<F: Future>(&self, answer: F) -> Option<F::Output> {
        tokio::pin!(answer);
        loop {
            let deadline = self.get();
            if let Ok(answer) = timeout_at(deadline, answer.as_mut()).await {
                return Some(answer);
            }
            if self.get() <= deadline {
                return None;
            }
        }
    }

    fn get(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream whose writes end at the deadline.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    stream: S,
    deadline: Deadline,
    alarm: Pin<Box<Sleep>>,
}

impl<S> Guarded<S> {
    pub(super) fn new(stream: S, deadline: Deadline) -> Self {
        let alarm = Box::pin(tokio::time::sleep_until(deadline.get()));
        Self {
            stream,
            deadline,
            alarm,
        }
    }

    /// Lets a write that is not done wait until the deadline and no longer.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            return done;
        }
        let deadline = self.deadline.get();
        if self.alarm.deadline() != deadline {
            self.alarm.as_mut().reset(deadline);
        }
        self.alarm
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.bounded(cx, done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_flush(cx);
        self.bounded(cx, done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.bounded(cx, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.bounded(cx, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_drips_does_not_move_the_deadline() {
        let (near, mut far) = tokio::io::duplex(4);
        let mut guarded = Guarded::new(near, Deadline::after(Duration::from_secs(5)));
        let drip = async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                far.read_u8().await.unwrap();
            }
        };
        let start = Instant::now();
        tokio::select! {
            result = guarded.write_all(&[0; 64]) => {
                assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut);
            }
            () = drip => {}
        }
        assert_eq!(start.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_request_gets_its_own_time() {
        let (near, mut far) = tokio::io::duplex(4);
        let deadline = Deadline::after(Duration::from_secs(5));
        let mut guarded = Guarded::new(near, deadline.clone());
        guarded.write_all(&[0; 4]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(9)).await;
        deadline.renew(Duration::from_secs(5));
        let read = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let mut buf = [0; 8];
            far.read_exact(&mut buf).await.unwrap();
        };
        let (written, ()) = tokio::join!(guarded.write_all(&[0; 4]), read);
        written.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_depends_on_others_gets_more_time_and_no_more_than_that() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let deadline = Deadline::after(2 * second);
        assert_eq!(deadline.bound(tokio::time::sleep(3 * second)).await, None);
        assert_eq!(start.elapsed(), 2 * second);
        deadline.renew(2 * second);
        let answer = async {
            tokio::time::sleep(second).await;
            deadline.extend(5 * second);
            tokio::time::sleep(3 * second).await;
        };
        assert_eq!(deadline.bound(answer).await, Some(()));
        let start = Instant::now();
        deadline.renew(2 * second);
        let never = async {
            deadline.extend(5 * second);
            std::future::pending::<()>().await;
        };
        assert_eq!(deadline.bound(never).await, None);
        assert_eq!(start.elapsed(), 7 * second);
    }
}
