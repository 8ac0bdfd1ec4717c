//! Groups events into batches: by number, bytes and age.
//!
//! Owns when a batch is handed out. It holds no events between calls, so that dropping it midway loses none
//! that were not taken out of the line.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::queue::Line;
use crate::event::Event;

/// Most bytes of one batch, so that an output's encoded request stays small: 8 MiB.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// When a batch is full.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most events, at least 1.
    pub events: usize,
    /// How long the first event waits for more; zero = not at all.
    pub timeout: Duration,
}

/// The next batch, never empty; `None` when the queue is closed and empty. Where `hurry` is cancelled it is not
/// waited for more than there is.
pub async fn next(line: &mut Line, limits: Limits, hurry: &CancellationToken) -> Option<Vec<Event>> {
    let first = line.recv().await?;
    let mut bytes = first.size();
    let mut batch = vec![taken(first)];
    let deadline = Instant::now() + limits.timeout;
    while batch.len() < limits.events && bytes < MAX_BYTES {
        let event = match line.try_recv() {
            Ok(event) => event,
            Err(_) if limits.timeout.is_zero() => break,
            // A closed queue ends the wait as well: what is there goes out at once.
            Err(_) => tokio::select! {
                biased;
                event = line.recv() => match event {
                    Some(event) => event,
                    None => break,
                },
                () = hurry.cancelled() => break,
                () = tokio::time::sleep_until(deadline) => break,
            },
        };
        bytes += event.size();
        batch.push(taken(event));
    }
    Some(batch)
}

/// The event, which its queue counts as consumed from now on.
fn taken(event: Event) -> Event {
    if let Some(room) = &event.room {
        room.consume();
    }
    event
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tokio::sync::mpsc;

    use super::*;
    use crate::event::EventId;
    use crate::pipeline::ack::Ack;

    fn event(size: usize) -> Event {
        let id = EventId::of([&b"x"[..]]);
        Event::new(
            id,
            Timestamp::UNIX_EPOCH,
            "nodes".into(),
            vec![b'x'; size].into(),
            Ack::none(),
        )
    }

    const LIMITS: Limits = Limits {
        events: 3,
        timeout: Duration::from_secs(1),
    };

    #[tokio::test(start_paused = true)]
    async fn full_by_number_by_bytes_or_by_age() {
        let (sender, mut line) = mpsc::unbounded_channel();
        let calm = CancellationToken::new();
        for _ in 0..4 {
            sender.send(event(1)).unwrap();
        }
        let start = Instant::now();
        assert_eq!(next(&mut line, LIMITS, &calm).await.unwrap().len(), 3);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(next(&mut line, LIMITS, &calm).await.unwrap().len(), 1);
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        for _ in 0..2 {
            sender.send(event(MAX_BYTES)).unwrap();
        }
        assert_eq!(next(&mut line, LIMITS, &calm).await.unwrap().len(), 1);
        drop(sender);
        assert_eq!(next(&mut line, LIMITS, &calm).await.unwrap().len(), 1);
        assert_eq!(
            start.elapsed(),
            Duration::from_secs(1),
            "a closed queue is not waited for"
        );
        assert!(next(&mut line, LIMITS, &calm).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_hurry_a_batch_is_not_waited_for() {
        let (sender, mut line) = mpsc::unbounded_channel();
        let hurry = CancellationToken::new();
        sender.send(event(1)).unwrap();
        let start = Instant::now();
        let (batch, ()) = tokio::join!(next(&mut line, LIMITS, &hurry), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            hurry.cancel();
        });
        assert_eq!(batch.unwrap().len(), 1);
        sender.send(event(1)).unwrap();
        sender.send(event(1)).unwrap();
        assert_eq!(next(&mut line, LIMITS, &hurry).await.unwrap().len(), 2);
        assert_eq!(start.elapsed(), Duration::from_millis(100));
    }
}
