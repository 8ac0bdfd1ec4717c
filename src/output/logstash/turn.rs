//! A window's turn to be acknowledged.
//!
//! Owns the order: the acknowledgements are handed from one window to the one written after it, so that they cannot be
//! mixed up. Where a window fails, or nobody waits for it any more, its connection is given up: what was written after
//! it can no longer be told apart. Writes nothing.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::acks::{Acks, Lost};
use crate::output::SinkError;

/// Time without an acknowledgement after which a window is told to be stuck, though the server shows signs of life.
const STUCK: Duration = Duration::from_secs(300);

/// Whether a connection is of use. All who use it have a part.
#[derive(Debug, Clone)]
pub(super) struct Life(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    over: CancellationToken,
    cause: OnceLock<Cause>,
    heard: Mutex<Instant>,
}

#[derive(Debug)]
struct Cause {
    text: String,
    by_server: bool,
}

/// Gives a connection up when it is dropped, unless it was let go.
#[derive(Debug)]
pub(super) struct Hold(Option<Life>);

/// The wait of one window that was written.
#[derive(Debug)]
pub(super) struct Turn<S> {
    // First: who waits behind this one must find the cause when the rest is dropped.
    pub(super) hold: Hold,
    pub(super) life: Life,
    /// From the window before.
    pub(super) acks: oneshot::Receiver<Acks<S>>,
    /// To the window behind.
    pub(super) next: oneshot::Sender<Acks<S>>,
    /// How messages call the server.
    pub(super) server: Arc<str>,
    /// Events in it.
    pub(super) count: u32,
}

/// A window that was not acknowledged whole.
#[derive(Debug)]
pub(super) struct Unacknowledged {
    /// Events at its head that were.
    pub(super) accepted: u32,
    pub(super) error: SinkError,
}

// === impl Life ===

impl Life {
    /// That of a connection that has just been made.
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner {
            over: CancellationToken::new(),
            cause: OnceLock::new(),
            heard: Mutex::new(Instant::now()),
        }))
    }

    /// The server has answered.
    fn hear(&self) {
        *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// When the server answered last; at first, when it was connected to.
    pub(super) fn heard(&self) -> Instant {
        *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A part whose end is the connection's.
    pub(super) fn hold(&self) -> Hold {
        Hold(Some(self.clone()))
    }

    /// The connection is of no use any more. The first cause counts.
    pub(super) fn end(&self, text: &str, by_server: bool) {
        let _ = self.0.cause.set(Cause {
            text: text.to_owned(),
            by_server,
        });
        self.0.over.cancel();
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.over.is_cancelled()
    }

    /// Whether it ended by what the server did or did not do.
    pub(super) fn was_ended_by_server(&self) -> bool {
        self.0.cause.get().is_some_and(|cause| cause.by_server)
    }

    /// Waits until it is over, and gives the reason.
    pub(super) async fn over(&self) -> String {
        self.0.over.cancelled().await;
        let cause = self
            .0
            .cause
            .get()
            .map_or("the connection was given up", |cause| &cause.text);
        cause.to_owned()
    }
}

impl Hold {
    fn let_go(mut self) {
        self.0 = None;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(life) = self.0.take() {
            life.end("the connection was given up while a batch was on its way", false);
        }
    }
}

// === impl Turn ===

impl<S: AsyncRead> Turn<S> {
    /// Waits until the server has acknowledged the window; `patience` is for each answer, signs of life included. An
    /// error ends the connection. Dropped midway, it does so too.
    pub(super) async fn acknowledged(self, patience: Duration) -> Result<(), Unacknowledged> {
        let Self {
            hold,
            life,
            mut acks,
            next,
            server,
            count,
        } = self;
        let mut accepted = 0;
        let waited = async {
            let (mut acks, was_behind) = if let Ok(acks) = acks.try_recv() {
                (acks, false)
            } else {
                // Those who wrote before have patience of their own, which bounds this wait too.
                tokio::select! {
                    biased;
                    acks = acks => match acks {
                        Ok(acks) => (acks, true),
                        Err(_) => return Err(SinkError::Unanswered(life.over().await)),
                    },
                    cause = life.over() => return Err(SinkError::Unanswered(cause)),
                }
            };
            let mut limit = patience;
            if was_behind {
                // Logstash shows no signs of life for a window that arrived while it was at work on another. As long
                // as that one took, this one may take too.
                limit += acks.took;
            }
            let turn = Instant::now();
            let mut progress = Progress::new(&server, count);
            while accepted < count {
                let answer = tokio::select! {
                    // What has arrived counts, also when the connection has been given up since.
                    biased;
                    answer = timeout(limit, acks.next()) => answer,
                    cause = life.over() => return Err(SinkError::Unanswered(cause)),
                };
                if let Ok(Ok(_)) = answer {
                    life.hear();
                    limit = patience;
                }
                match answer {
                    Err(_) => return Err(silent(&server, limit)),
                    Ok(Err(lost)) => return Err(failed(&server, &lost)),
                    Ok(Ok(sequence)) if sequence > count => {
                        return Err(SinkError::Protocol(format!(
                            "{server}: it acknowledged {sequence} of {count} events"
                        )));
                    }
                    Ok(Ok(sequence)) if sequence > accepted => {
                        accepted = sequence;
                        progress.made();
                    }
                    Ok(Ok(_)) => progress.none(accepted),
                }
            }
            acks.took = turn.elapsed();
            Ok(acks)
        };
        match waited.await {
            Ok(acks) => {
                // Nobody takes them where the connection is not to be used again.
                let _ = next.send(acks);
                hold.let_go();
                Ok(())
            }
            Err(error) => {
                life.end(&error.to_string(), true);
                Err(Unacknowledged { accepted, error })
            }
        }
    }
}

fn silent(server: &str, patience: Duration) -> SinkError {
    SinkError::Unanswered(format!(
        "{server}: no acknowledgement and no sign of life within {patience:?}: it hangs, or is no beats input; Logstash \
         shows a sign of life every 5 s"
    ))
}

fn failed(server: &str, lost: &Lost) -> SinkError {
    let text = format!("{server}: {lost}");
    if lost.is_protocol() {
        SinkError::Protocol(text)
    } else {
        SinkError::Unanswered(text)
    }
}

/// Whether a window gets on. One that does not is told once.
struct Progress<'a> {
    server: &'a str,
    count: u32,
    since: Instant,
    told: bool,
}

impl<'a> Progress<'a> {
    fn new(server: &'a str, count: u32) -> Self {
        Self {
            server,
            count,
            since: Instant::now(),
            told: false,
        }
    }

    fn made(&mut self) {
        self.since = Instant::now();
    }

    fn none(&mut self, accepted: u32) {
        if self.told || self.since.elapsed() < STUCK {
            return;
        }
        self.told = true;
        tracing::warn!(
            output = "logstash",
            server = self.server,
            events = self.count,
            acknowledged = accepted,
            minutes = STUCK.as_secs() / 60,
            "Logstash is alive but does not acknowledge: one of its pipelines is stuck or its outputs are slow; releases \
             before 8.17 can deadlock between pipelines (https://github.com/elastic/logstash/issues/16657)"
        );
    }
}
