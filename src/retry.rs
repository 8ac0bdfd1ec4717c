//! Pauses between tries.
//!
//! Owns [`Backoff`]: exponential, capped, with equal jitter (half of each pause is fixed, half random) as in
//! Beats. Pure: it gives durations and never sleeps.

use std::time::Duration;

/// A growing pause.
#[derive(Debug, Clone)]
pub struct Backoff {
    init: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses of `init`, twice that, and so on up to `max`. `max` below `init` counts as `init`.
    pub fn new(init: Duration, max: Duration) -> Self {
        Self {
            init,
            max: max.max(init),
            next: init,
        }
    }

    /// The next pause: between half of it and all of it.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.max);
        let half = pause / 2;
        half + half.mul_f64(fastrand::f64())
    }

    /// Starts over: something succeeded.
    pub fn reset(&mut self) {
        self.next = self.init;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap_and_starts_over() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        for want in [1.0, 2.0, 4.0, 5.0, 5.0] {
            let got = backoff.pause().as_secs_f64();
            assert!(
                got >= want / 2.0 && got <= want,
                "{got} is not within [{}, {want}]",
                want / 2.0
            );
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_secs(1));
    }
}
