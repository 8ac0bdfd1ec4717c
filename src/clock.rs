//! The wall clock, for windows, ticks and time stamps.
//!
//! Owns [`Clock`], the only reader of the wall clock outside the outputs' file names. Intervals and time-outs
//! use Tokio's clock instead, which tests pause; a test clock runs along with that one.

use std::time::Duration;

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

    /// Time since the machine started, sleep included: see [`since_boot`]. Deadlines are kept in it.
    pub fn since_boot(&self) -> Duration {
        match &self.0 {
            Kind::System => since_boot(),
            Kind::Simulated { since, .. } => BOOT + since.elapsed(),
        }
    }
}

/// What a simulated machine's uptime begins with.
const BOOT: Duration = Duration::from_secs(1000);

/// Time since the machine started, sleep included (`CLOCK_BOOTTIME`): for deadlines that must also pass while
/// the machine is suspended.
pub fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // Both parts are never negative for this clock.
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_started_before_now_and_time_goes_on() {
        let first = since_boot();
        std::thread::sleep(Duration::from_millis(2));
        let second = since_boot();
        assert!(first > Duration::ZERO);
        assert!(second >= first + Duration::from_millis(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_simulated_clock_advances_with_tokio() {
        let start: Timestamp = "2026-03-02T10:41:00Z".parse().unwrap();
        let clock = Clock::simulated(start);
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.now().to_string(), "2026-03-02T10:42:30Z");
    }
}
