//! Times as ECS writes and reads them.
//!
//! Owns the parsing of a record's own time and the writing of window borders. ECS writes times with or without
//! zone and seconds; without a zone they are UTC. Pure.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::config::TimeFormat;

/// The time that `text` says: RFC 3339, a date and time without zone (UTC), or seconds or milliseconds since
/// 1970.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number: i64 = text.parse().ok()?;
        // Seconds reach this size in the year 5138.
        return if number < 100_000_000_000 {
            Timestamp::from_second(number).ok()
        } else {
            Timestamp::from_millisecond(number).ok()
        };
    }
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    let civil: DateTime = text.parse().ok()?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

/// A window border as the query wants it.
pub(crate) fn write(time: Timestamp, format: TimeFormat) -> String {
    let second = time.as_second();
    let civil = TimeZone::UTC.to_datetime(time);
    match format {
        TimeFormat::Minute => civil.strftime("%Y-%m-%dT%H:%M").to_string(),
        TimeFormat::Second => civil.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        TimeFormat::Rfc3339 => civil.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        TimeFormat::EpochSeconds => second.to_string(),
        TimeFormat::EpochMillis => time.as_millisecond().to_string(),
    }
}

/// The span that a written border covers: it may belong to either side, depending on the server.
pub(crate) fn granule(format: TimeFormat) -> SignedDuration {
    match format {
        TimeFormat::Minute => SignedDuration::from_mins(1),
        TimeFormat::EpochMillis => SignedDuration::from_millis(1),
        TimeFormat::Second | TimeFormat::Rfc3339 | TimeFormat::EpochSeconds => SignedDuration::from_secs(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_writing_a_time() {
        let want: Timestamp = "2026-03-02T10:41:00Z".parse().unwrap();
        for text in [
            "2026-03-02T10:41",
            "2026-03-02T10:41:00",
            "2026-03-02T10:41:00Z",
            "2026-03-02T11:41:00+01:00",
            " 2026-03-02T10:41:00.000Z",
            "1772448060",
            "1772448060000",
        ] {
            assert_eq!(parse(text), Some(want), "{text}");
        }
        for text in ["", "N/A", "yesterday", "99999999999999999999", "2026-13-02T10:41"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn borders_are_utc() {
        let time: Timestamp = "2026-03-02T23:41:05+01:00".parse().unwrap();
        assert_eq!(write(time, TimeFormat::Minute), "2026-03-02T22:41");
        assert_eq!(write(time, TimeFormat::Second), "2026-03-02T22:41:05");
        assert_eq!(write(time, TimeFormat::Rfc3339), "2026-03-02T22:41:05Z");
        assert_eq!(write(time, TimeFormat::EpochSeconds), "1772491265");
        assert_eq!(write(time, TimeFormat::EpochMillis), "1772491265000");
    }
}
