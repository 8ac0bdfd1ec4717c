//! Ticks: the moments at which polls are due.
//!
//! Owns [`Ticks`]. A tick is a multiple of the interval since 1970 (UTC), the same on every replica; the poll
//! begins a little later, by an offset that spreads polls that are due together. When the clock is set back, the
//! next tick comes after one interval all the same, and is one of the clock's: nothing is stamped with a time to
//! come for longer than the clock itself was wrong.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::checkpoint::Stream;
use crate::clock::Clock;
use crate::collect::window::{after, before, floor};

/// The wall clock is looked at again at least this often, since it may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// The ticks of one unit.
#[derive(Debug)]
pub(super) struct Ticks {
    clock: Clock,
    interval: Duration,
    offset: Duration,
    last: Option<(Timestamp, Instant)>,
    /// Somebody polled before the start, so what is due is due at once.
    resumed: bool,
}

/// A tick that is due, and how many were due before it and not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) tick: Timestamp,
    pub(super) missed: u64,
}

impl Ticks {
    /// Ticks of a unit; `jitter` bounds the offset, which is the same at every start.
    pub(super) fn new(clock: Clock, interval: Duration, jitter: Duration, stream: &Stream) -> Self {
        let spread = jitter.min(interval / 4);
        let mut hasher = DefaultHasher::new();
        stream.to_string().hash(&mut hasher);
        let share = (hasher.finish() % 1024) as f64 / 1024.0;
        Self {
            clock,
            interval,
            offset: spread.mul_f64(share),
            last: None,
            resumed: false,
        }
    }

    /// The tick that is going on at this moment.
    pub(super) fn current(&self) -> Timestamp {
        floor(self.clock.now(), self.interval)
    }

    /// `done` was dealt with before the start, by this process or by another. If that is the tick going on, the next
    /// one is the first; else the one going on is due at once. Gives how many between them nobody has polled.
    pub(super) fn resume(&mut self, done: Timestamp) -> u64 {
        let current = self.current();
        if done >= current {
            self.last = Some((current, Instant::now()));
            return 0;
        }
        self.at_once();
        self.between(done, current)
    }

    /// What is due is late already: no offset for the first tick.
    pub(super) fn at_once(&mut self) {
        self.resumed = true;
    }

    /// How many ticks lie between the two.
    fn between(&self, earlier: Timestamp, later: Timestamp) -> u64 {
        let passed = later.duration_since(earlier).as_nanos() / self.interval.as_nanos().max(1).cast_signed();
        u64::try_from(passed - 1).unwrap_or(0)
    }

    /// Waits for the next tick; the first one is due at once (but for the offset). May be dropped midway.
    pub(super) async fn next(&mut self) -> Due {
        let Some((last, since)) = self.last else {
            // Before the wait: at the end of it the next tick may be going on.
            let tick = self.current();
            if !self.resumed {
                tokio::time::sleep(self.offset).await;
            }
            self.last = Some((tick, Instant::now()));
            return Due { tick, missed: 0 };
        };
        loop {
            let now = self.clock.now();
            let wait = if now < last {
                // The clock was set back.
                self.interval.saturating_sub(since.elapsed())
            } else {
                until(now, after(after(last, self.interval), self.offset))
            };
            if wait.is_zero() {
                let tick = floor(before(now, self.offset), self.interval);
                self.last = Some((tick, Instant::now()));
                let missed = self.between(last, tick);
                return Due { tick, missed };
            }
            tokio::time::sleep(wait.min(LONGEST_SLEEP)).await;
        }
    }
}

/// How long it is from `now` to `then`; zero when that has passed.
fn until(now: Timestamp, then: Timestamp) -> Duration {
    let span: SignedDuration = then.duration_since(now);
    Duration::try_from(span).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(jitter: u64) -> Ticks {
        let clock = Clock::simulated("2026-03-02T10:41:30Z".parse().unwrap());
        let stream = Stream {
            customer: "EMC".into(),
            vdc: "VDC1".into(),
            command: "nodes".into(),
        };
        Ticks::new(
            clock,
            Duration::from_secs(60),
            Duration::from_secs(jitter),
            &stream,
        )
    }

    fn at(text: &str, missed: u64) -> Due {
        Due {
            tick: format!("2026-03-02T{text}Z").parse().unwrap(),
            missed,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ticks_are_multiples_of_the_interval_whatever_the_jitter() {
        for jitter in [0, 10] {
            let mut ticks = ticks(jitter);
            let start = Instant::now();
            assert_eq!(ticks.next().await, at("10:41:00", 0));
            assert_eq!(ticks.next().await, at("10:42:00", 0));
            assert_eq!(start.elapsed().as_secs(), 30 + ticks.offset.as_secs());
            assert_eq!(ticks.next().await, at("10:43:00", 0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_tick_already_done_is_not_given_again() {
        for done in ["10:41:00", "10:42:00"] {
            let mut ticks = ticks(0);
            assert_eq!(ticks.resume(at(done, 0).tick), 0);
            assert_eq!(ticks.next().await, at("10:42:00", 0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_tick_that_the_one_before_has_not_done_is_done_at_once_and_what_nobody_did_is_told() {
        for (done, nobody) in [("10:40:00", 0), ("10:39:00", 1), ("09:41:00", 59)] {
            let mut ticks = ticks(10);
            assert!(!ticks.offset.is_zero());
            let start = Instant::now();
            assert_eq!(ticks.resume(at(done, 0).tick), nobody);
            assert_eq!(ticks.next().await, at("10:41:00", 0));
            assert!(start.elapsed().is_zero());
            assert_eq!(ticks.next().await, at("10:42:00", 0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_tick_is_not_passed_over_while_its_offset_is_waited_for() {
        let mut ticks = ticks(15);
        assert!(!ticks.offset.is_zero());
        ticks.clock = Clock::simulated("2026-03-02T10:41:59.999Z".parse().unwrap());
        assert_eq!(ticks.next().await, at("10:41:00", 0));
        assert_eq!(ticks.next().await, at("10:42:00", 0));
    }

    #[tokio::test(start_paused = true)]
    async fn ticks_that_passed_meanwhile_are_counted() {
        let mut ticks = ticks(0);
        ticks.next().await;
        tokio::time::sleep(Duration::from_secs(200)).await;
        assert_eq!(ticks.next().await, at("10:44:00", 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_set_back_does_not_stop_ticks_and_is_followed() {
        let mut ticks = ticks(0);
        ticks.next().await;
        ticks.clock = Clock::simulated("2026-03-02T09:00:00Z".parse().unwrap());
        let start = Instant::now();
        assert_eq!(ticks.next().await, at("09:01:00", 0));
        assert_eq!(ticks.next().await, at("09:02:00", 0));
        assert_eq!(start.elapsed(), Duration::from_secs(120));
    }
}
