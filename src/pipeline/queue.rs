//! The bounded queue between polls and outputs.
//!
//! Owns the bound, in events and in bytes. An event takes its room when it is put in and gives it back when the
//! last output has done with it, so that the bound covers everything that is held, batches in flight included. A
//! full queue makes the polls wait and never drops anything. Each output has a line of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::config;
use crate::event::Event;
use crate::telemetry::metrics::Metrics;

/// The polls' end.
#[derive(Debug, Clone)]
pub struct Queue {
    events: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    max_bytes: usize,
    lines: Vec<mpsc::UnboundedSender<Event>>,
    metrics: Metrics,
}

/// An output's end.
pub type Line = mpsc::UnboundedReceiver<Event>;

/// The room that an event takes; given back when the last copy of the event is gone.
#[derive(Debug)]
pub struct Room {
    _event: OwnedSemaphorePermit,
    bytes: OwnedSemaphorePermit,
    metrics: Metrics,
    /// An output has taken the event out of its line.
    consumed: AtomicBool,
}

/// The outputs have stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the outputs have stopped")]
pub struct Closed;

/// A queue with a line for each of `outputs` outputs.
pub fn queue(config: &config::Queue, outputs: usize, metrics: &Metrics) -> (Queue, Vec<Line>) {
    let max_bytes = config
        .max_bytes
        .clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
    let (senders, receivers) = (0..outputs).map(|_| mpsc::unbounded_channel()).unzip();
    metrics
        .queue_max_events
        .set(config.events.try_into().unwrap_or(i64::MAX));
    metrics
        .queue_max_bytes
        .set(max_bytes.try_into().unwrap_or(i64::MAX));
    let queue = Queue {
        events: Arc::new(Semaphore::new(config.events.clamp(1, Semaphore::MAX_PERMITS))),
        bytes: Arc::new(Semaphore::new(max_bytes)),
        max_bytes,
        lines: senders,
        metrics: metrics.clone(),
    };
    (queue, receivers)
}

impl Queue {
    /// Waits until there is room and puts the event into every line. An event larger than the whole queue takes
    /// all of it. Dropped midway, the event is not in the queue.
    pub async fn push(&self, mut event: Event) -> Result<(), Closed> {
        let size = event.size().min(self.max_bytes);
        let permits = u32::try_from(size).unwrap_or(u32::MAX);
        let one = Arc::clone(&self.events)
            .acquire_owned()
            .await
            .map_err(|_| Closed)?;
        let bytes = Arc::clone(&self.bytes)
            .acquire_many_owned(permits)
            .await
            .map_err(|_| Closed)?;
        self.metrics.queue_added.inc();
        self.metrics.queue_added_bytes.inc_by(size as u64);
        self.metrics.queue_events.inc();
        self.metrics
            .queue_bytes
            .inc_by(size.try_into().unwrap_or(i64::MAX));
        event.room = Some(Arc::new(Room {
            _event: one,
            bytes,
            metrics: self.metrics.clone(),
            consumed: AtomicBool::new(false),
        }));
        let Some((last, others)) = self.lines.split_last() else {
            return Err(Closed);
        };
        for line in others {
            line.send(event.clone()).map_err(|_| Closed)?;
        }
        last.send(event).map_err(|_| Closed)
    }

    /// Waits until something fits: a poll that is due while the queue is full need not begin.
    pub async fn ready(&self) -> Result<(), Closed> {
        drop(self.events.acquire().await.map_err(|_| Closed)?);
        drop(self.bytes.acquire().await.map_err(|_| Closed)?);
        Ok(())
    }
}

impl Room {
    /// An output has taken the event out of its line. Several of them take it, and it counts once.
    pub(super) fn consume(&self) {
        if !self.consumed.swap(true, Ordering::Relaxed) {
            self.metrics.queue_consumed.inc();
            self.metrics
                .queue_consumed_bytes
                .inc_by(self.bytes.num_permits() as u64);
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let size = self.bytes.num_permits();
        self.metrics.queue_removed.inc();
        self.metrics.queue_removed_bytes.inc_by(size as u64);
        self.metrics.queue_events.dec();
        self.metrics
            .queue_bytes
            .dec_by(size.try_into().unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::event::EventId;
    use crate::pipeline::ack::{Ack, PollAcks};
    use crate::pipeline::batch::{self, Limits};

    fn event(size: usize, ack: Ack) -> Event {
        Event::new(
            EventId::of([&b"x"[..]]),
            Timestamp::UNIX_EPOCH,
            "nodes".into(),
            vec![b'x'; size].into(),
            ack,
        )
    }

    fn config(events: usize, max_bytes: usize) -> config::Queue {
        config::Queue {
            events,
            max_bytes,
            flush_min_events: 10,
            flush_timeout: Duration::ZERO,
        }
    }

    async fn blocked(queue: &Queue, size: usize) -> bool {
        tokio::time::timeout(Duration::from_secs(1), queue.push(event(size, Ack::none())))
            .await
            .is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_waits_until_an_event_is_done_with() {
        let metrics = Metrics::new();
        let (queue, mut lines) = queue(&config(2, 1 << 20), 1, &metrics);
        queue.push(event(1, Ack::none())).await.unwrap();
        queue.push(event(1, Ack::none())).await.unwrap();
        assert!(blocked(&queue, 1).await);
        let taken = lines[0].recv().await.unwrap();
        assert!(blocked(&queue, 1).await, "an event in a batch is still held");
        drop(taken);
        queue.push(event(1, Ack::none())).await.unwrap();
        assert_eq!((metrics.queue_events.get(), metrics.queue_removed.get()), (2, 1));
        let held = metrics.queue_added_bytes.get() - metrics.queue_removed_bytes.get();
        assert_eq!(i64::try_from(held).unwrap(), metrics.queue_bytes.get());
        assert!(metrics.queue_removed_bytes.get() > 0);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_bounded_too_and_a_giant_passes_alone() {
        let (queue, mut lines) = queue(&config(100, 1000), 1, &Metrics::new());
        queue.push(event(5000, Ack::none())).await.unwrap();
        assert!(blocked(&queue, 1).await);
        drop(lines[0].recv().await);
        queue.push(event(500, Ack::none())).await.unwrap();
        assert!(blocked(&queue, 500).await);
    }

    #[tokio::test(start_paused = true)]
    async fn every_output_has_to_be_done_with_an_event() {
        let (queue, mut lines) = queue(&config(1, 1 << 20), 2, &Metrics::new());
        let poll = PollAcks::new();
        queue.push(event(1, poll.issue())).await.unwrap();
        lines[0].recv().await.unwrap().ack.acked();
        assert!(blocked(&queue, 1).await);
        assert!(
            tokio::time::timeout(Duration::from_secs(1), poll.wait())
                .await
                .is_err()
        );
        lines[1].recv().await.unwrap().ack.acked();
        assert!(poll.wait().await.complete());
        assert!(!blocked(&queue, 1).await);
    }

    #[tokio::test]
    async fn an_event_is_consumed_once_by_whichever_output_takes_it_first() {
        let metrics = Metrics::new();
        let (queue, mut lines) = queue(&config(9, 1 << 20), 2, &metrics);
        queue.push(event(1, Ack::none())).await.unwrap();
        let consumed = || (metrics.queue_consumed.get(), metrics.queue_consumed_bytes.get());
        assert_eq!(consumed(), (0, 0));
        let limits = Limits {
            events: 9,
            timeout: Duration::ZERO,
        };
        let mut taken = Vec::new();
        for line in &mut lines {
            taken.extend(batch::next(line, limits, &CancellationToken::new()).await);
            assert_eq!(consumed(), (1, metrics.queue_added_bytes.get()));
        }
        assert_eq!((taken.len(), metrics.queue_removed.get()), (2, 0));
    }

    #[tokio::test]
    async fn a_queue_without_readers_says_so() {
        let (queue, lines) = queue(&config(9, 1 << 20), 1, &Metrics::new());
        drop(lines);
        assert_eq!(queue.push(event(1, Ack::none())).await, Err(Closed));
    }
}
