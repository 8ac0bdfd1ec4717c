//! What became of the events of one poll.
//!
//! Owns [`PollAcks`] (held by the poll) and [`Ack`] (one in each event). Every event ends in exactly one way:
//! acknowledged by the output, dropped for a counted reason, or lost (its [`Ack`] was let go of without a
//! word, as when the process stops). A checkpoint moves only when nothing was lost. Must never block.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Counts the events of one poll until each of them has ended.
#[derive(Debug, Clone, Default)]
pub struct PollAcks(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    events: AtomicU64,
    /// With one more for each further output of an event.
    issued: AtomicU64,
    acked: AtomicU64,
    dropped: AtomicU64,
    lost: AtomicU64,
    changed: Notify,
}

/// How the events of a poll ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcomes {
    /// Accepted by the output.
    pub acked: u64,
    /// Given up for a counted reason: refused by the output for good, or removed by a processor.
    pub dropped: u64,
    /// Let go of without a word.
    pub lost: u64,
}

impl Outcomes {
    /// Whether the checkpoint may move past this poll.
    pub fn complete(self) -> bool {
        self.lost == 0
    }

    /// How many have ended, one way or another.
    pub fn ended(self) -> u64 {
        self.acked + self.dropped + self.lost
    }
}

impl PollAcks {
    /// A poll without events yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The handle for one more event.
    pub fn issue(&self) -> Ack {
        self.0.events.fetch_add(1, Ordering::Relaxed);
        self.again()
    }

    /// One more handle for an event that has one.
    fn again(&self) -> Ack {
        self.0.issued.fetch_add(1, Ordering::Relaxed);
        Ack {
            counts: Some(Arc::clone(&self.0)),
        }
    }

    /// Events so far, each once, however many outputs it goes to.
    pub fn events(&self) -> u64 {
        self.0.events.load(Ordering::Relaxed)
    }

    /// Handles issued so far.
    pub fn issued(&self) -> u64 {
        self.0.issued.load(Ordering::Relaxed)
    }

    /// Waits until every issued event has ended. Call it after the last [`PollAcks::issue`].
    /// Cancel-safe: it changes nothing.
    pub async fn wait(&self) -> Outcomes {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let now = self.now();
            if now.ended() >= self.issued() {
                return now;
            }
            changed.await;
        }
    }

    /// How things stand at this moment.
    pub fn now(&self) -> Outcomes {
        Outcomes {
            acked: self.0.acked.load(Ordering::Acquire),
            dropped: self.0.dropped.load(Ordering::Acquire),
            lost: self.0.lost.load(Ordering::Acquire),
        }
    }
}

/// The duty to say what became of one event. Letting go of it without a word counts the event as lost.
#[derive(Debug)]
pub struct Ack {
    counts: Option<Arc<Counts>>,
}

impl Ack {
    /// A handle that nobody listens to: for events outside any poll.
    pub fn none() -> Self {
        Self { counts: None }
    }

    /// The output has it.
    pub fn acked(mut self) {
        self.end(|counts| &counts.acked);
    }

    /// Given up for a reason that the caller has counted.
    pub fn dropped(mut self) {
        self.end(|counts| &counts.dropped);
    }

    fn end(&mut self, which: impl Fn(&Counts) -> &AtomicU64) {
        if let Some(counts) = self.counts.take() {
            which(&counts).fetch_add(1, Ordering::Release);
            counts.changed.notify_waiters();
        }
    }
}

impl Clone for Ack {
    /// One more handle to wait for: the poll is complete when both have ended.
    fn clone(&self) -> Self {
        match &self.counts {
            Some(counts) => PollAcks(Arc::clone(counts)).again(),
            None => Self::none(),
        }
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        self.end(|counts| &counts.lost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_poll_is_complete_when_every_event_is_acked_or_dropped() {
        let poll = PollAcks::new();
        let (first, second) = (poll.issue(), poll.issue());
        let waiting = poll.clone();
        let wait = async move { waiting.wait().await };
        let end = async move {
            first.acked();
            tokio::task::yield_now().await;
            second.dropped();
        };
        let (outcomes, ()) = tokio::join!(wait, end);
        assert_eq!(
            outcomes,
            Outcomes {
                acked: 1,
                dropped: 1,
                lost: 0
            }
        );
        assert!(outcomes.complete());
    }

    #[tokio::test]
    async fn an_event_that_is_let_go_of_makes_the_poll_incomplete() {
        let poll = PollAcks::new();
        drop(poll.issue());
        assert_eq!(
            poll.wait().await,
            Outcomes {
                acked: 0,
                dropped: 0,
                lost: 1
            }
        );
        assert!(!poll.now().complete());
    }

    #[tokio::test]
    async fn an_event_for_two_outputs_is_one_event_and_ends_when_both_have_it() {
        let poll = PollAcks::new();
        let (one, other) = {
            let ack = poll.issue();
            (ack.clone(), ack)
        };
        one.acked();
        assert_eq!((poll.events(), poll.issued(), poll.now().ended()), (1, 2, 1));
        other.acked();
        assert!(poll.wait().await.complete());
    }

    #[tokio::test]
    async fn a_poll_without_events_is_complete_at_once() {
        assert!(PollAcks::new().wait().await.complete());
    }
}
