//! The bound on requests in flight per VDC.
//!
//! Owns [`Slots`]: numbered places. A freed place is taken again first, so that few requests keep few
//! connections warm, and the place's number decides the node (`nodes::NodePool::choose`).

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// As many places as requests may be in flight.
#[derive(Debug)]
pub(super) struct Slots {
    semaphore: Arc<Semaphore>,
    free: Arc<Mutex<Vec<usize>>>,
}

/// One place, free again when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) number: usize,
    free: Arc<Mutex<Vec<usize>>>,
    _permit: OwnedSemaphorePermit,
}

impl Slots {
    pub(super) fn new(count: usize) -> Self {
        Self {
            semaphore: Arc::new(Semaphore::new(count)),
            free: Arc::new(Mutex::new((0..count).rev().collect())),
        }
    }

    /// Waits for a place; in the order of asking. `None` never happens while the process works: the semaphore
    /// is not closed.
    pub(super) async fn acquire(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.semaphore).acquire_owned().await.ok()?;
        let number = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(Slot {
            number,
            free: Arc::clone(&self.free),
            _permit: permit,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Before the permit goes back, which happens after this body.
        self.free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bounds_and_reuses_numbers() {
        let slots = Slots::new(2);
        let first = slots.acquire().await.unwrap();
        let second = slots.acquire().await.unwrap();
        assert_eq!((first.number, second.number), (0, 1));
        assert!(
            tokio::time::timeout(std::time::Duration::ZERO, slots.acquire())
                .await
                .is_err()
        );
        drop(second);
        drop(first);
        assert_eq!(slots.acquire().await.unwrap().number, 0);
    }
}
