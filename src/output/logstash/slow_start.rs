//! How many events a window may have.
//!
//! Owns the limit: fixed, or with `slow_start` small at first, larger with each full window that is acknowledged and
//! half as large after a failure, so that a server that is in trouble gets little to do twice. Pure.

use super::frame::MOST_EVENTS;

/// Events in the first window.
const FIRST: usize = 10;

/// The limit of one connection's windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WindowSize {
    now: usize,
    most: usize,
    slow_start: bool,
}

impl WindowSize {
    /// `most` is the size of batches, 0 for any; no window is larger than the protocol's servers take.
    pub(super) fn new(slow_start: bool, most: usize) -> Self {
        let most = if most == 0 {
            MOST_EVENTS
        } else {
            most.min(MOST_EVENTS)
        };
        Self {
            now: if slow_start { FIRST.min(most) } else { most },
            most,
            slow_start,
        }
    }

    /// Most events of the next window.
    pub(super) fn now(&self) -> usize {
        self.now
    }

    /// A window of `events` was acknowledged. One that was not full proves nothing about larger ones.
    pub(super) fn acknowledged(&mut self, events: usize) {
        if self.slow_start && events >= self.now {
            // Half as much again, rounded up.
            self.now = (self.now + self.now.div_ceil(2)).min(self.most);
        }
    }

    /// A window failed.
    pub(super) fn failed(&mut self) {
        if self.slow_start {
            self.now = (self.now / 2).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(window: &mut WindowSize, count: usize) -> Vec<usize> {
        let next = |_| {
            let now = window.now();
            window.acknowledged(now);
            now
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn grows_by_half_with_each_full_window_up_to_the_batch() {
        let mut window = WindowSize::new(true, 50);
        assert_eq!(sizes(&mut window, 6), [10, 15, 23, 35, 50, 50]);
        let mut window = WindowSize::new(true, 0);
        assert_eq!(sizes(&mut window, 30).last(), Some(&MOST_EVENTS));
    }

    #[test]
    fn a_window_that_was_not_full_does_not_make_it_grow() {
        let mut window = WindowSize::new(true, 50);
        window.acknowledged(9);
        assert_eq!(window.now(), 10);
        window.acknowledged(10);
        assert_eq!(window.now(), 15);
    }

    #[test]
    fn halves_with_each_failure_down_to_one_and_recovers() {
        let mut window = WindowSize::new(true, 50);
        for want in [5, 2, 1, 1] {
            window.failed();
            assert_eq!(window.now(), want);
        }
        assert_eq!(sizes(&mut window, 4), [1, 2, 3, 5]);
    }

    #[test]
    fn without_it_the_size_is_that_of_the_batch() {
        for (most, want) in [(0, 10_000), (1, 1), (2048, 2048), (20_000, 10_000)] {
            let mut window = WindowSize::new(false, most);
            assert_eq!(window.now(), want);
            window.failed();
            window.acknowledged(want);
            assert_eq!(window.now(), want);
        }
        assert_eq!(
            WindowSize::new(true, 4).now(),
            4,
            "a batch smaller than the first window"
        );
    }
}
