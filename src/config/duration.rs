//! Durations as Go writes them (`1h30m`, `250ms`), and bare numbers as seconds.
//!
//! Exact to the nanosecond, no floating point. There are no days: `24h`.

use std::fmt::Write as _;
use std::time::Duration;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DurationError {
    #[error("not a duration")]
    Syntax,
    #[error("it must not be negative")]
    Negative,
    #[error("{0:?} is not one of the units ns, us, ms, s, m, h")]
    Unit(String),
    #[error("a leading zero is ambiguous")]
    LeadingZero,
    #[error("it is longer than 292 years")]
    TooLong,
}

/// Reads a duration; a number without a unit is seconds.
pub(super) fn parse(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return Err(DurationError::Syntax);
    }
    let bare = rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if bare && rest.len() > 1 && rest.starts_with('0') && !rest.starts_with("0.") {
        return Err(DurationError::LeadingZero);
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let number_end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let factor = if bare { 1_000_000_000 } else { unit_nanos(unit)? };
        let part = scaled(number, factor).ok_or(DurationError::Syntax)??;
        nanos = nanos.checked_add(part).ok_or(DurationError::TooLong)?;
        rest = tail;
    }
    let nanos = i64::try_from(nanos)
        .map_err(|_| DurationError::TooLong)?
        .unsigned_abs();
    if negative && nanos > 0 {
        return Err(DurationError::Negative);
    }
    Ok(Duration::from_nanos(nanos))
}

/// The shortest spelling in Go's units, for messages: `90s` is `1m30s`.
pub(super) fn show(duration: Duration) -> String {
    let (secs, nanos) = (duration.as_secs(), duration.subsec_nanos());
    if nanos > 0 {
        return format!("{duration:?}");
    }
    let (hours, minutes, seconds) = (secs / 3600, secs / 60 % 60, secs % 60);
    let mut text = String::new();
    for (count, unit) in [(hours, "h"), (minutes, "m"), (seconds, "s")] {
        if count > 0 {
            // Writing to a text cannot fail.
            let _ = write!(text, "{count}{unit}");
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

fn unit_nanos(unit: &str) -> Result<u128, DurationError> {
    Ok(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        "" => return Err(DurationError::Syntax),
        other => return Err(DurationError::Unit(other.chars().take(20).collect())),
    })
}

/// `number` (digits with at most one dot) times `factor`, what is below one cut off. `None`: not a number.
fn scaled(number: &str, factor: u128) -> Option<Result<u128, DurationError>> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    // More than 18 digits behind the dot are below a nanosecond in every unit.
    let fraction = &fraction[..fraction.len().min(18)];
    let whole = if whole.is_empty() {
        Some(0)
    } else {
        whole.parse::<u64>().ok()
    };
    let tenths = if fraction.is_empty() {
        0
    } else {
        fraction.parse::<u64>().ok()?
    };
    let divisor = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let Some(whole) = whole else {
        return Some(Err(DurationError::TooLong));
    };
    let total = (u128::from(whole) * factor).checked_add(u128::from(tenths) * factor / divisor);
    Some(total.ok_or(DurationError::TooLong))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_go_reads_and_bare_seconds() {
        for (text, millis) in [
            ("0", 0),
            ("90", 90_000),
            (" 2.5 ", 2_500),
            ("0.5", 500),
            ("1h30m", 5_400_000),
            ("1m0.25s", 60_250),
            (".5s", 500),
            ("1.s", 1_000),
            ("+3s", 3_000),
            ("-0s", 0),
            ("250ms", 250),
            ("1500us", 1),
        ] {
            let expected = if text == "1500us" {
                Duration::from_micros(1500)
            } else {
                Duration::from_millis(millis)
            };
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_with_a_reason() {
        assert_eq!(parse("1d"), Err(DurationError::Unit("d".to_owned())));
        assert_eq!(parse("5 m"), Err(DurationError::Unit(" m".to_owned())));
        assert_eq!(parse("-1s"), Err(DurationError::Negative));
        assert_eq!(parse("0600"), Err(DurationError::LeadingZero));
        assert_eq!(parse("300h1000000000000h"), Err(DurationError::TooLong));
        for text in ["", "s", "1h2", "1.2.3s", ".", "1..s", "-"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shows_what_it_reads() {
        for text in ["0s", "1m30s", "2h", "1h0m1s", "250ms"] {
            let duration = parse(text).unwrap();
            assert_eq!(parse(&show(duration)), Ok(duration));
        }
        assert_eq!(show(Duration::from_secs(90)), "1m30s");
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn never_panics_on_near_misses(text in "[-+]?[0-9.]{0,30}(h|m|s|ms|µs|d)?[0-9.]{0,30}(h|m|s)?") {
            let _ = parse(&text);
        }

        #[test]
        fn whole_seconds_survive(seconds in 0_u64..9_000_000_000) {
            prop_assert_eq!(parse(&show(Duration::from_secs(seconds))), Ok(Duration::from_secs(seconds)));
            prop_assert_eq!(parse(&seconds.to_string()), Ok(Duration::from_secs(seconds)));
        }
    }
}
