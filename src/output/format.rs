//! Format strings as in Beats: `ecsbeat-%{[ecs-event-type]}-%{+yyyy.MM.dd}`.
//!
//! Owns their grammar and evaluation. A format string is parsed once, when the configuration is read, so that
//! evaluating it cannot fail: a field that an event lacks, without a fallback, makes the result `None`. Dates are
//! those of the event, in UTC, so that an event has one and the same index whoever sends it and whenever.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::event::Event;

/// A parsed format string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field { path: String, fallback: Option<String> },
    Date(Vec<DatePart>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum DatePart {
    Text(String),
    Unit(Unit, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Year,
    WeekYear,
    Week,
    Month,
    Day,
    DayOfYear,
    DayOfWeek,
    Hour,
    Minute,
    Second,
    Fraction,
}

/// A format string that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {position}: {problem}")]
pub struct FormatError {
    /// Counted from 1.
    pub position: usize,
    /// What is wrong and what to do.
    pub problem: String,
}

impl Format {
    /// Reads a format string.
    ///
    /// `%{[a.b]}` and `%{[a][b]}` are fields, `%{[a]:x}` a field with a fallback, `%{+yyyy.MM.dd}` is the event's
    /// date. A backslash before `%` or another backslash takes its meaning away.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let at = text.len() - rest.len();
            if let Some(escaped) = rest
                .strip_prefix('\\')
                .filter(|after| after.starts_with(['%', '\\']))
            {
                literal.push_str(&escaped[..1]);
                rest = &escaped[1..];
            } else if let Some(inner) = rest.strip_prefix("%{") {
                let end = inner.find('}').ok_or_else(|| {
                    error(text, at, "the expression that begins here is not closed: add `}`")
                })?;
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(expression(text, at + 2, &inner[..end])?);
                rest = &inner[end + 1..];
            } else {
                literal.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self(parts))
    }

    /// The text for an event; `None` when it lacks a field that has no fallback.
    pub fn of(&self, event: &Event) -> Option<String> {
        self.render(event.timestamp, |path| event.field(path))
    }

    /// The text for a moment, where there is no event: every field counts as missing.
    pub fn at(&self, time: Timestamp) -> Option<String> {
        self.render(time, |_| None)
    }

    fn render(&self, time: Timestamp, field: impl Fn(&str) -> Option<String>) -> Option<String> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field { path, fallback } => match field(path) {
                    Some(value) => out.push_str(&value),
                    None => out.push_str(fallback.as_deref()?),
                },
                Part::Date(units) => write_date(&mut out, units, TimeZone::UTC.to_datetime(time)),
            }
        }
        Some(out)
    }
}

/// What stands between `%{` and `}`; `start` is its place in `text`.
fn expression(text: &str, start: usize, inner: &str) -> Result<Part, FormatError> {
    if let Some(pattern) = inner.strip_prefix('+') {
        return date(text, start + 1, pattern).map(Part::Date);
    }
    if !inner.starts_with('[') {
        return Err(error(
            text,
            start,
            "a field in brackets, as in %{[event.dataset]}, or a date, as in %{+yyyy.MM.dd}, is needed here",
        ));
    }
    // A colon within the brackets belongs to the field's name.
    let (path, fallback) = match inner.find("]:") {
        Some(end) => (&inner[..=end], Some(inner[end + 2..].to_owned())),
        None => (inner, None),
    };
    let names = path.strip_prefix('[').and_then(|path| path.strip_suffix(']'));
    let valid = names.is_some_and(|names| {
        names
            .split("][")
            .all(|name| !name.is_empty() && !name.contains(['[', ']', '{']))
    });
    match names {
        Some(names) if valid => Ok(Part::Field {
            // One pair of brackets holds a dotted path, several hold one name each.
            path: if names.contains("][") { path } else { names }.to_owned(),
            fallback,
        }),
        _ => Err(error(
            text,
            start,
            "not a field: write %{[a.b]}, %{[a][b]} or %{[a.b]:fallback}",
        )),
    }
}

/// A date pattern with the letters of Joda-Time.
fn date(text: &str, start: usize, pattern: &str) -> Result<Vec<DatePart>, FormatError> {
    if pattern.is_empty() {
        return Err(error(
            text,
            start,
            "a date pattern such as yyyy.MM.dd is needed after `+`",
        ));
    }
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let at = start + pattern.len() - rest.len();
        if let Some(quoted) = rest.strip_prefix('\'') {
            let end = quoted
                .find('\'')
                .ok_or_else(|| error(text, at, "the quote that begins here is not closed"))?;
            literal.push_str(if end == 0 { "'" } else { &quoted[..end] });
            rest = &quoted[end + 1..];
        } else if c.is_ascii_alphabetic() {
            let count = rest.chars().take_while(|&next| next == c).count();
            let unit = unit(c, count).ok_or_else(|| {
                let problem = format!(
                    "`{}` is no part of a date here: use yyyy yy MM dd HH mm ss SSS, xxxx and ww for weeks, DDD, \
                     e; put letters in single quotes",
                    &rest[..count]
                );
                error(text, at, &problem)
            })?;
            if !literal.is_empty() {
                parts.push(DatePart::Text(std::mem::take(&mut literal)));
            }
            parts.push(DatePart::Unit(unit, count));
            rest = &rest[count..];
        } else {
            literal.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    if !literal.is_empty() {
        parts.push(DatePart::Text(literal));
    }
    Ok(parts)
}

fn unit(letter: char, count: usize) -> Option<Unit> {
    let (unit, most) = match letter {
        'y' | 'Y' => (Unit::Year, 4),
        'x' => (Unit::WeekYear, 4),
        'w' => (Unit::Week, 2),
        'M' => (Unit::Month, 2),
        'd' => (Unit::Day, 2),
        'D' => (Unit::DayOfYear, 3),
        'e' => (Unit::DayOfWeek, 1),
        'H' => (Unit::Hour, 2),
        'm' => (Unit::Minute, 2),
        's' => (Unit::Second, 2),
        'S' => (Unit::Fraction, 9),
        _ => return None,
    };
    (count <= most).then_some(unit)
}

fn write_date(out: &mut String, parts: &[DatePart], time: DateTime) {
    for part in parts {
        let (unit, width) = match part {
            DatePart::Text(text) => {
                out.push_str(text);
                continue;
            }
            DatePart::Unit(unit, width) => (*unit, *width),
        };
        let number = match unit {
            Unit::Year => i32::from(time.year()),
            Unit::WeekYear => i32::from(time.date().iso_week_date().year()),
            Unit::Week => i32::from(time.date().iso_week_date().week()),
            Unit::Month => i32::from(time.month()),
            Unit::Day => i32::from(time.day()),
            Unit::DayOfYear => i32::from(time.date().day_of_year()),
            Unit::DayOfWeek => i32::from(time.date().weekday().to_monday_one_offset()),
            Unit::Hour => i32::from(time.hour()),
            Unit::Minute => i32::from(time.minute()),
            Unit::Second => i32::from(time.second()),
            Unit::Fraction => {
                let nanoseconds = format!("{:09}", time.subsec_nanosecond());
                out.push_str(&nanoseconds[..width]);
                continue;
            }
        };
        let two_digits = width == 2 && matches!(unit, Unit::Year | Unit::WeekYear);
        let number = if two_digits {
            number.rem_euclid(100)
        } else {
            number
        };
        // Writing to a string cannot fail.
        let _ = write!(out, "{number:0width$}");
    }
}

fn error(text: &str, byte: usize, problem: &str) -> FormatError {
    FormatError {
        position: text.get(..byte).unwrap_or(text).chars().count() + 1,
        problem: problem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::output::samples::event_at;

    fn check(format: &str, want: Option<&str>) {
        let event = event_at(
            "2027-01-02T03:04:05.678901234Z",
            r#"{"a":{"b":"x","n":7},"c.d":"y","Flag":true,"empty":"","null":null,"list":["z"],"a:b":"colon"}"#,
        );
        let got = Format::parse(format).unwrap().of(&event);
        assert_eq!(got.as_deref(), want, "{format}");
    }

    #[test]
    fn text_fields_and_dates() {
        check("plain", Some("plain"));
        check("", Some(""));
        check("100%", Some("100%"));
        check("{a}", Some("{a}"));
        check("%{[a.b]}", Some("x"));
        check("%{[a][b]}", Some("x"));
        check("<%{[a.n]}-%{[c.d]}-%{[Flag]}>", Some("<7-y-true>"));
        check("%{[a:b]}", Some("colon"));
        check("%{[missing]}", None);
        check("a%{[missing]:}b", Some("ab"));
        check("%{[missing]:fall back}", Some("fall back"));
        check("%{[a.b]:fallback}", Some("x"));
        check("%{[null]:n}%{[list]:l}%{[a]:o}", Some("nlo"));
        check("%{[empty]}", Some(""));
        check(r"\%{[a.b]}\\\x", Some(r"%{[a.b]}\\x"));
        check("ü%{[a.b]}ü", Some("üxü"));
    }

    #[test]
    fn dates_are_the_events_own_in_utc() {
        check("i-%{+yyyy.MM.dd}", Some("i-2027.01.02"));
        check("%{+yyyy-MM-dd'T'HH:mm:ss.SSS}", Some("2027-01-02T03:04:05.678"));
        check("%{+yy M d H m s S}", Some("27 1 2 3 4 5 6"));
        check("%{+xxxx.ww.e}", Some("2026.53.6"));
        check("%{+DDD''''}", Some("002''"));
        check("%{+YYYY.MM}", Some("2027.01"));
    }

    #[test]
    fn errors_point_at_the_place() {
        for (format, position, part) in [
            ("abc%{[x]", 4, "not closed"),
            ("ü%{x}", 4, "a field in brackets"),
            ("%{}", 3, "a field in brackets"),
            ("%{[]}", 3, "not a field"),
            ("%{[a}", 3, "not a field"),
            ("%{[a][]}", 3, "not a field"),
            ("%{[a]x}", 3, "not a field"),
            ("%{+}", 4, "a date pattern"),
            ("%{+yyyy.QQ}", 9, "`QQ` is no part of a date"),
            ("%{+MMM}", 4, "`MMM` is no part"),
            ("%{+yyyy'T}", 8, "quote"),
        ] {
            let error = Format::parse(format).unwrap_err();
            assert_eq!(error.position, position, "{format}: {error}");
            assert!(error.problem.contains(part), "{format}: {error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(format in "[%{}\\[\\]+:'\\\\yMdxwDeHmsSQaü.é ]{0,24}", text: String, seconds in -377_705_023_201_i64..253_402_207_200) {
            let time = Timestamp::from_second(seconds).unwrap();
            for format in [format, text] {
                if let Ok(format) = Format::parse(&format) {
                    let _ = format.at(time);
                }
            }
        }

        #[test]
        fn text_without_signs_stays_as_it_is(text in "[a-zA-Z0-9 ._{}\\[\\]+:-]{0,40}") {
            prop_assert_eq!(Format::parse(&text).unwrap().at(Timestamp::UNIX_EPOCH), Some(text));
        }
    }
}
