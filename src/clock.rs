//! The wall clock, for windows, ticks and time stamps.
//!
//! Owns [`Clock`], the only reader of the wall clock outside the outputs' file names. Intervals and time-outs
//! use Tokio's clock instead, which tests pause; a test clock runs along with that one.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Tells the time of day, UTC.
#[derive(Debug, Clone)]
pub struct Clock(Kind);

#[derive(Debug, Clone)]
enum Kind {
    System,
    /// Starts at the given time and advances with Tokio's clock.
    Simulated {
        start: Timestamp,
        since: Instant,
    },
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Kind::System)
    }

    /// A clock that shows `start` now and advances with Tokio's (pausable) clock. Must be called within a
    /// runtime.
    pub fn simulated(start: Timestamp) -> Self {
        Self(Kind::Simulated {
            start,
            since: Instant::now(),
        })
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Kind::System => Timestamp::now(),
            Kind::Simulated { start, since } => {
                let elapsed = SignedDuration::try_from(since.elapsed()).unwrap_or(SignedDuration::MAX);
                start.checked_add(elapsed).unwrap_or(Timestamp::MAX)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_simulated_clock_advances_with_tokio() {
        let start: Timestamp = "2026-03-02T10:41:00Z".parse().unwrap();
        let clock = Clock::simulated(start);
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.now().to_string(), "2026-03-02T10:42:30Z");
    }
}
