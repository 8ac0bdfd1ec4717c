//! Which span of time to ask for next.
//!
//! Owns the arithmetic of windows. Borders are multiples of the step since 1970 (UTC), so that every replica
//! computes the same ones; each window begins exactly where the last one ended. Pure: the time comes in.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::config::WindowSpec;

/// A span of time: from the start (inclusive) to the end (exclusive).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first moment that belongs to it.
    pub start: Timestamp,
    /// The first moment that does not.
    pub end: Timestamp,
}

/// The multiple of `step` at or before `time`.
pub fn floor(time: Timestamp, step: Duration) -> Timestamp {
    let step = i128::try_from(step.as_nanos()).unwrap_or(i128::MAX).max(1);
    let nanos = time.as_nanosecond();
    Timestamp::from_nanosecond(nanos - nanos.rem_euclid(step)).unwrap_or(time)
}

/// `time` moved by `by` into the past, or as far as time goes.
pub fn before(time: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    time.checked_sub(by).unwrap_or(Timestamp::MIN)
}

/// `time` moved by `by` into the future, or as far as time goes.
pub fn after(time: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// Where a stream without a checkpoint begins: one window back.
pub fn beginning(spec: &WindowSpec, interval: Duration, now: Timestamp) -> Timestamp {
    let end = floor(before(now, spec.lag), spec.step);
    floor(before(end, interval.max(spec.step)), spec.step)
}

/// Where to go on from a checkpoint at `until`: there, unless that is longer ago than `max_catch_up`. Then the
/// second value is where it would have gone on.
pub fn resume(
    spec: &WindowSpec,
    until: Timestamp,
    max_catch_up: Duration,
    now: Timestamp,
) -> (Timestamp, Option<Timestamp>) {
    let earliest = floor(before(now, max_catch_up), spec.step);
    if until < earliest {
        (earliest, Some(until))
    } else {
        (until, None)
    }
}

/// The next window after `until` that is complete at `now`, if there is one.
pub fn next(spec: &WindowSpec, until: Timestamp, now: Timestamp) -> Option<Window> {
    let complete = floor(before(now, spec.lag), spec.step);
    // A checkpoint between two borders (the step was changed): a shorter window leads back to them.
    let longest = floor(after(until, spec.max_span), spec.step);
    let end = longest.min(complete);
    (end > until).then_some(Window { start: until, end })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::TimeFormat;

    fn spec(step: u64, max_span: u64, lag: u64) -> WindowSpec {
        WindowSpec {
            step: Duration::from_secs(step),
            max_span: Duration::from_secs(max_span),
            lag: Duration::from_secs(lag),
            overlap: Duration::ZERO,
            format: TimeFormat::Minute,
            start_param: "start_time".into(),
            end_param: "end_time".into(),
            complete_field: None,
        }
    }

    fn at(text: &str) -> Timestamp {
        format!("2026-03-02T{text}Z").parse().unwrap()
    }

    #[test]
    fn minutes_of_events_behind_the_clock() {
        let spec = spec(60, 3600, 60);
        let minute = Duration::from_secs(60);
        assert_eq!(beginning(&spec, minute, at("10:41:30")), at("10:39:00"));
        let window = |start: &str, end: &str| {
            Some(Window {
                start: at(start),
                end: at(end),
            })
        };
        assert_eq!(
            next(&spec, at("10:39:00"), at("10:41:30")),
            window("10:39:00", "10:40:00")
        );
        assert_eq!(next(&spec, at("10:40:00"), at("10:41:30")), None);
        assert_eq!(
            next(&spec, at("07:00:00"), at("10:41:30")),
            window("07:00:00", "08:00:00")
        );
        assert_eq!(
            next(&spec, at("12:00:00"), at("10:41:30")),
            None,
            "the clock went back"
        );
    }

    #[test]
    fn billing_windows_are_all_of_one_length() {
        let spec = spec(600, 600, 900);
        assert_eq!(
            beginning(&spec, Duration::from_secs(600), at("10:41:30")),
            at("10:10:00")
        );
        let window = next(&spec, at("08:00:00"), at("10:41:30")).unwrap();
        assert_eq!((window.start, window.end), (at("08:00:00"), at("08:10:00")));
    }

    #[test]
    fn a_long_outage_is_caught_up_only_so_far() {
        let spec = spec(60, 3600, 60);
        let hour = Duration::from_secs(3600);
        assert_eq!(
            resume(&spec, at("10:00:00"), hour, at("10:41:30")),
            (at("10:00:00"), None)
        );
        assert_eq!(
            resume(&spec, at("08:00:00"), hour, at("10:41:30")),
            (at("09:41:00"), Some(at("08:00:00")))
        );
    }

    proptest! {
        #[test]
        fn windows_follow_each_other_without_gap_and_never_reach_into_the_lag(
            start in 0i64..4_000_000_000, ahead in 0i64..200_000, step in 1u64..4000, spans in 1u64..50, lag in 0u64..4000,
        ) {
            let spec = spec(step, step * spans, lag);
            let now = Timestamp::from_second(start + ahead).unwrap();
            let mut until = Timestamp::from_second(start).unwrap();
            let first = until;
            while let Some(window) = next(&spec, until, now) {
                prop_assert_eq!(window.start, until);
                prop_assert!(window.end > window.start);
                prop_assert!(window.end <= before(now, spec.lag));
                prop_assert!(window.end.duration_since(window.start) <= SignedDuration::try_from(spec.max_span).unwrap());
                until = window.end;
            }
            prop_assert!(until == first || until == floor(before(now, spec.lag), spec.step));
        }
    }
}
