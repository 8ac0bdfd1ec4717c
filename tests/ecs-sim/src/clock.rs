//! The simulator's clock and the forms in which ECS writes an instant. Every part asks this clock, none the
//! system's, so that a test can move the time. It must never run backwards by itself.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

const RUNNING: i64 = i64::MIN;

/// The system's time plus an offset, or a time that stands still.
#[derive(Debug)]
pub(crate) struct Clock {
    offset_ms: AtomicI64,
    frozen_ms: AtomicI64,
}

fn system_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

// === impl Clock ===

impl Clock {
    /// A running clock that shows `start` (epoch seconds) now, or the system's time.
    pub(crate) fn new(start: Option<i64>) -> Self {
        let offset = start.map_or(0, |seconds| seconds * 1000 - system_ms());
        Self {
            offset_ms: AtomicI64::new(offset),
            frozen_ms: AtomicI64::new(RUNNING),
        }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        match self.frozen_ms.load(Ordering::Relaxed) {
            RUNNING => system_ms().saturating_add(self.offset_ms.load(Ordering::Relaxed)),
            frozen => frozen,
        }
    }

    /// Epoch seconds.
    pub(crate) fn now(&self) -> i64 {
        self.now_ms().div_euclid(1000)
    }

    pub(crate) fn offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::Relaxed)
    }

    /// Moves the time by `ms`, back when negative; a frozen clock moves too.
    pub(crate) fn advance_ms(&self, ms: i64) {
        self.offset_ms.fetch_add(ms, Ordering::Relaxed);
        let _ = self
            .frozen_ms
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |frozen| {
                (frozen != RUNNING).then(|| frozen.saturating_add(ms))
            });
    }

    /// Shows `seconds` from now on.
    pub(crate) fn set(&self, seconds: i64) {
        self.advance_ms(seconds.saturating_mul(1000).saturating_sub(self.now_ms()));
    }

    /// Stops the clock where it is.
    pub(crate) fn freeze(&self) {
        self.frozen_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Lets a frozen clock go on from where it stood.
    pub(crate) fn unfreeze(&self) {
        let shown = self.now_ms();
        self.frozen_ms.store(RUNNING, Ordering::Relaxed);
        self.offset_ms
            .store(shown.saturating_sub(system_ms()), Ordering::Relaxed);
    }
}

fn format(seconds: i64, form: &str) -> String {
    Timestamp::from_second(seconds)
        .map(|at| at.strftime(form).to_string())
        .unwrap_or_default()
}

/// `2026-03-02T10:41`, the stamp of an audit event.
pub(crate) fn minute_stamp(seconds: i64) -> String {
    format(seconds, "%Y-%m-%dT%H:%M")
}

/// `2026-03-02T10:41:07`, the stamp of an alert.
pub(crate) fn second_stamp(seconds: i64) -> String {
    format(seconds, "%Y-%m-%dT%H:%M:%S")
}

/// `2026-03-02T10:41:07Z`, the stamp of billing and Flux.
pub(crate) fn zulu_stamp(seconds: i64) -> String {
    format(seconds, "%Y-%m-%dT%H:%M:%SZ")
}

/// The form of the HTTP `Date` header.
pub(crate) fn http_date(seconds: i64) -> String {
    format(seconds, "%a, %d %b %Y %H:%M:%S GMT")
}

/// Reads a time parameter: to the minute or finer, with or without a zone; without one it is UTC.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let mut full = text.trim().to_owned();
    if full.len() == 16 {
        full.push_str(":00");
    }
    let zoned = full.ends_with('Z')
        || full
            .get(19..)
            .is_some_and(|rest| rest.contains('+') || rest.contains('-'));
    if !zoned {
        full.push('Z');
    }
    if full.len() == 17 {
        full.insert_str(16, ":00");
    }
    full.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_utc_and_read_back() {
        let at = 1_772_448_060;
        assert_eq!(minute_stamp(at), "2026-03-02T10:41");
        assert_eq!(second_stamp(at + 7), "2026-03-02T10:41:07");
        assert_eq!(zulu_stamp(at), "2026-03-02T10:41:00Z");
        assert_eq!(http_date(at), "Mon, 02 Mar 2026 10:41:00 GMT");
        for text in [
            "2026-03-02T10:41",
            "2026-03-02T10:41Z",
            "2026-03-02T10:41:00",
            "2026-03-02T10:41:00Z",
            "2026-03-02T10:41:00.000Z",
            "2026-03-02T11:41:00+01:00",
        ] {
            assert_eq!(parse(text), Some(at), "{text}");
        }
        assert_eq!(parse("yesterday"), None);
    }

    #[test]
    fn a_frozen_clock_moves_only_when_told() {
        let clock = Clock::new(Some(1_000));
        clock.freeze();
        let shown = clock.now_ms();
        clock.advance_ms(5_000);
        assert_eq!(clock.now_ms(), shown + 5_000);
        clock.unfreeze();
        assert!(clock.now_ms() >= shown + 5_000);
        clock.set(9_000);
        assert!((9_000..9_002).contains(&clock.now()));
    }
}
