//! A clock that runs at a rate of its own.
//!
//! Owns the translation between true time, which only a test knows, and what such a clock shows. Exact: the earliest
//! true time at which it shows something shows that, and no time before does.

use std::time::Duration;

const MILLION: u64 = 1_000_000;

/// A clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Drift {
    /// What it shows at true time zero.
    offset: Duration,
    /// Its seconds in a million true ones.
    rate: u64,
}

impl Drift {
    /// A clock that shows `offset` at true time zero and goes `ppm` parts in a million fast, or slow.
    pub(crate) fn new(offset: Duration, ppm: i32) -> Self {
        let rate = MILLION.saturating_add_signed(i64::from(ppm));
        Self { offset, rate }
    }

    /// What it shows at `time`.
    pub(crate) fn shows(&self, time: Duration) -> Duration {
        self.offset + Duration::from_nanos(nanos(time) * self.rate / MILLION)
    }

    /// The earliest true time at which it shows `shown`.
    pub(crate) fn when(&self, shown: Duration) -> Duration {
        let passed = nanos(shown.saturating_sub(self.offset));
        Duration::from_nanos((passed * MILLION).div_ceil(self.rate))
    }
}

/// Up to hours, so that a million times as much fits.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos())
        .unwrap_or(u64::MAX)
        .min(u64::MAX / MILLION / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shows_a_time_from_the_earliest_moment_on_and_not_before() {
        for ppm in [-100_000, -50_000, -1, 0, 1, 33_333, 100_000] {
            let clock = Drift::new(Duration::from_secs(500), ppm);
            for millis in [0, 1, 999, 10_000, 123_456] {
                let shown = Duration::from_secs(500) + Duration::from_millis(millis);
                let when = clock.when(shown);
                assert!(clock.shows(when) >= shown, "{ppm} {millis}");
                let before = when.saturating_sub(Duration::from_nanos(1));
                assert!(millis == 0 || clock.shows(before) < shown, "{ppm} {millis}");
            }
        }
        let fast = Drift::new(Duration::ZERO, 100_000);
        assert_eq!(fast.shows(Duration::from_secs(10)), Duration::from_secs(11));
    }
}
