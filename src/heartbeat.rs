//! A sign of life from the loop that must never stop.
//!
//! Owns [`Heartbeat`]: the main loop stamps it, `/liveness` and the service manager's watchdog go by its age.
//! Stamping and reading are one atomic each, and the clock is monotonic: a change of the time of day neither kills nor
//! hides anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::status::State;

/// How long the main loop may be silent: a leader for its lease, everybody else for two.
pub fn patience(state: State, ttl: Duration) -> Duration {
    if state == State::Leader { ttl } else { ttl * 2 }
}

/// When the main loop last came round.
#[derive(Debug, Clone)]
pub struct Heartbeat(Arc<Beat>);

#[derive(Debug)]
struct Beat {
    origin: Instant,
    /// Milliseconds after `origin`.
    last: AtomicU64,
}

impl Heartbeat {
    /// The first beat is now.
    pub fn new() -> Self {
        Self(Arc::new(Beat {
            origin: Instant::now(),
            last: AtomicU64::new(0),
        }))
    }

    /// The loop came round.
    pub fn beat(&self) {
        self.0.last.fetch_max(self.since_origin(), Ordering::Relaxed);
    }

    /// Time since the last beat.
    pub fn age(&self) -> Duration {
        let last = self.0.last.load(Ordering::Relaxed);
        Duration::from_millis(self.since_origin().saturating_sub(last))
    }

    fn since_origin(&self) -> u64 {
        u64::try_from(self.0.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_until_the_next_beat() {
        let heartbeat = Heartbeat::new();
        std::thread::sleep(Duration::from_millis(20));
        assert!(heartbeat.age() >= Duration::from_millis(15));
        heartbeat.clone().beat();
        assert!(heartbeat.age() < Duration::from_millis(15));
    }
}
