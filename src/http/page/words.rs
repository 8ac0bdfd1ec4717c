//! Numbers and times as people read them.
//!
//! Owns how the status page writes counts, sizes, spans and moments. A moment is told twice: how long ago, and when,
//! in UTC. Knows nothing of what the numbers mean.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

/// What stands where nothing is known.
pub(super) const NONE: &str = "–";

/// `1,234,567`
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().collect();
    String::from_utf8_lossy(&groups.join(&b',')).into_owned()
}

/// `1 command`, `12 commands`
pub(super) fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", count(number as u64))
}

/// A rate in as few digits as say something: `0`, `0.42`, `12.3`, `1,234`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is never negative, and a cast of a float saturates"
)]
pub(super) fn rate(number: f64) -> String {
    match number {
        number if number <= 0.0 => "0".to_owned(),
        number if number < 9.995 => format!("{number:.2}"),
        number if number < 99.95 => format!("{number:.1}"),
        number => count(number.round() as u64),
    }
}

/// `64 MB`, `1.5 kB`; a thousand is a thousand, as in the configuration.
pub(super) fn size(bytes: u64) -> String {
    let mut number = bytes as f64;
    let mut unit = "B";
    for next in ["kB", "MB", "GB", "TB"] {
        if number < 999.5 {
            break;
        }
        number /= 1000.0;
        unit = next;
    }
    if unit == "B" || number >= 9.95 || number.fract() == 0.0 {
        format!("{number:.0} {unit}")
    } else {
        format!("{number:.1} {unit}")
    }
}

/// `350 ms`, `1.2 s`, `42 s`, `3 min 5 s`, `2 h 10 min`, `5 d 3 h`: two units at most.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    if span.is_zero() {
        return "0 s".to_owned();
    }
    if seconds == 0 {
        return format!("{} ms", span.as_millis().max(1));
    }
    if seconds < 10 && span.subsec_millis() >= 100 {
        return format!("{seconds}.{} s", span.subsec_millis() / 100);
    }
    let parts = |whole: u64, unit: &str, rest: u64, small: &str| match rest {
        0 => format!("{whole} {unit}"),
        rest => format!("{whole} {unit} {rest} {small}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => parts(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => parts(seconds / 3600, "h", seconds / 60 % 60, "min"),
        _ => parts(seconds / 86_400, "d", seconds / 3600 % 24, "h"),
    }
}

/// As [`span`], in whole seconds, for what grows while one looks.
pub(super) fn age(age: Duration) -> String {
    span(Duration::from_secs(age.as_secs()))
}

/// `2026-11-30 06:00:14`
pub(super) fn date_time(moment: Timestamp) -> String {
    moment.strftime("%F %T").to_string()
}

/// How long before `now` a moment was; one that lies ahead was just now.
pub(super) fn since(moment: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(moment)).unwrap_or_default()
}

/// `12 s ago`, and when that was: the time of day, with the date unless it is that of today.
pub(super) fn moment(moment: Timestamp, now: Timestamp) -> Markup {
    let passed = now.duration_since(moment);
    let relative = if passed < SignedDuration::ZERO {
        // Clocks of two machines differ a little; an hour ahead is worth telling.
        match passed.unsigned_abs() {
            ahead if ahead < Duration::from_secs(5) => "just now".to_owned(),
            ahead => format!("in {}", age(ahead)),
        }
    } else if passed < SignedDuration::from_secs(1) {
        "just now".to_owned()
    } else {
        format!("{} ago", age(passed.unsigned_abs()))
    };
    let today = moment.strftime("%F").to_string() == now.strftime("%F").to_string();
    let absolute = if today {
        moment.strftime("%T").to_string()
    } else {
        date_time(moment)
    };
    html! {
        time datetime=(moment.to_string()) title={ (date_time(moment)) " UTC" } {
            span.ago { (relative) } " " span.at { (absolute) }
        }
    }
}

/// A moment that may never have been.
pub(super) fn maybe_moment(when: Option<Timestamp>, now: Timestamp, never: &str) -> Markup {
    html! {
        @match when {
            Some(when) => (moment(when, now)),
            None => span.none { (never) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_commas() {
        for (number, want) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (12_345, "12,345"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(count(number), want);
        }
        assert_eq!(counted(1, "command"), "1 command");
        assert_eq!(counted(0, "command"), "0 commands");
    }

    #[test]
    fn rates_and_sizes_are_short() {
        for (number, want) in [
            (0.0, "0"),
            (-1.0, "0"),
            (0.417, "0.42"),
            (9.999, "10.0"),
            (12.34, "12.3"),
            (99.96, "100"),
            (1234.5, "1,235"),
        ] {
            assert_eq!(rate(number), want);
        }
        for (bytes, want) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1 kB"),
            (1500, "1.5 kB"),
            (64_000_000, "64 MB"),
            (999_999, "1.0 MB"),
            (12_345_678_901_234, "12 TB"),
        ] {
            assert_eq!(size(bytes), want);
        }
    }

    #[test]
    fn spans_have_two_units_at_most() {
        for (millis, want) in [
            (0, "0 s"),
            (1, "1 ms"),
            (999, "999 ms"),
            (1234, "1.2 s"),
            (1000, "1 s"),
            (42_900, "42 s"),
            (60_000, "1 min"),
            (185_000, "3 min 5 s"),
            (7_800_000, "2 h 10 min"),
            (442_800_000, "5 d 3 h"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), want);
        }
        assert_eq!(age(Duration::from_millis(1999)), "1 s");
        assert_eq!(span(Duration::from_nanos(1)), "1 ms");
    }

    #[test]
    fn a_moment_is_told_twice() {
        let now: Timestamp = "2026-11-30T06:00:14Z".parse().unwrap();
        for (when, want) in [
            (
                "2026-11-30T06:00:02Z",
                r#"<time datetime="2026-11-30T06:00:02Z" title="2026-11-30 06:00:02 UTC"><span class="ago">12 s ago</span> <span class="at">06:00:02</span></time>"#,
            ),
            (
                "2026-11-29T06:00:14Z",
                r#"<time datetime="2026-11-29T06:00:14Z" title="2026-11-29 06:00:14 UTC"><span class="ago">1 d ago</span> <span class="at">2026-11-29 06:00:14</span></time>"#,
            ),
        ] {
            assert_eq!(moment(when.parse().unwrap(), now).into_string(), want);
        }
        for (when, want) in [
            ("2026-11-30T06:00:14.1Z", ">just now<"),
            ("2026-11-30T06:00:13.5Z", ">just now<"),
            ("2026-11-30T06:10:14Z", ">in 10 min<"),
        ] {
            let text = moment(when.parse().unwrap(), now).into_string();
            assert!(text.contains(want), "{text}");
        }
        assert_eq!(
            maybe_moment(None, now, "never").into_string(),
            r#"<span class="none">never</span>"#
        );
    }
}
