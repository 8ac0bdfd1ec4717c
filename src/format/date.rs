//! The dates of format strings: what stands behind `%{+`.
//!
//! Owns their letters, which are those of Joda-Time as far as Beats have them
//! (<https://github.com/elastic/beats/blob/main/libbeat/common/dtfmt/doc.go>). A pattern is parsed once and then cannot
//! fail. Times are in UTC. Reads no clock.

use std::fmt::Write as _;

use jiff::civil::{DateTime, Weekday};

use super::{FormatError, Sign};

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// And how many letters there are of it.
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
    NameOfDay,
    HalfDay,
    HourOfHalfDay,
    Hour,
    Minute,
    Second,
    Fraction,
    Offset,
}

/// Most letters in a row; more than that is a slip of the finger.
const MOST: usize = 9;
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

impl Pattern {
    /// Reads a pattern; `start` is where it begins in the whole.
    pub(super) fn parse(signs: &[Sign], start: usize) -> Result<Self, FormatError> {
        if signs.is_empty() {
            return Err(FormatError::at(
                start,
                "a date pattern such as yyyy.MM.dd is needed after `+`",
            ));
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = signs;
        while let [sign, after @ ..] = rest {
            if sign.is('\'') {
                rest = quoted(sign, after, &mut literal)?;
            } else if sign.c.is_ascii_alphabetic() && !sign.escaped {
                let count = rest.iter().take_while(|next| next.is(sign.c)).count();
                let unit = unit(sign.c, count).ok_or_else(|| unknown(sign, count))?;
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(Part::Unit(unit, count));
                rest = &rest[count..];
            } else {
                literal.push(sign.c);
                rest = after;
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self(parts))
    }

    /// Whether the text has a line break.
    pub(super) fn breaks_lines(&self) -> bool {
        let breaks = |part: &Part| matches!(part, Part::Text(text) if super::breaks_lines(text));
        self.0.iter().any(breaks)
    }

    pub(super) fn write(&self, out: &mut String, time: DateTime) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Unit(unit, count) => write_unit(out, *unit, *count, time),
            }
        }
    }
}

/// Appends what is in single quotes, where two of them are one, and gives what follows.
fn quoted<'a>(open: &Sign, mut rest: &'a [Sign], literal: &mut String) -> Result<&'a [Sign], FormatError> {
    if let [quote, after @ ..] = rest
        && quote.is('\'')
    {
        literal.push('\'');
        return Ok(after);
    }
    while let [sign, after @ ..] = rest {
        rest = after;
        if !sign.is('\'') {
            literal.push(sign.c);
            continue;
        }
        match rest {
            [quote, after @ ..] if quote.is('\'') => {
                literal.push('\'');
                rest = after;
            }
            _ => return Ok(rest),
        }
    }
    Err(FormatError::at(
        open.position,
        "the quote that begins here is not closed",
    ))
}

fn unknown(sign: &Sign, count: usize) -> FormatError {
    let problem = format!(
        "`{}` is no part of a date here: use yyyy yy MM MMM dd E HH mm ss SSS, K and a for half days, xxxx and ww \
         for weeks, DDD, e, z; put letters in single quotes",
        sign.c.to_string().repeat(count.min(MOST + 1))
    );
    FormatError::at(sign.position, problem)
}

/// Beats also have h and k, which are an hour off there.
fn unit(letter: char, count: usize) -> Option<Unit> {
    let unit = match letter {
        'y' | 'Y' => Unit::Year,
        'x' => Unit::WeekYear,
        'w' => Unit::Week,
        'M' => Unit::Month,
        'd' => Unit::Day,
        'D' => Unit::DayOfYear,
        'e' => Unit::DayOfWeek,
        'E' => Unit::NameOfDay,
        'a' => Unit::HalfDay,
        'K' => Unit::HourOfHalfDay,
        'H' => Unit::Hour,
        'm' => Unit::Minute,
        's' => Unit::Second,
        'S' => Unit::Fraction,
        'z' => Unit::Offset,
        _ => return None,
    };
    (count <= MOST).then_some(unit)
}

fn write_unit(out: &mut String, unit: Unit, count: usize, time: DateTime) {
    let number = match unit {
        Unit::Year => year(time.year(), count),
        Unit::WeekYear => year(time.date().iso_week_date().year(), count),
        Unit::Week => i32::from(time.date().iso_week_date().week()),
        Unit::Month if count > 2 => {
            let place = usize::try_from(time.month() - 1).unwrap_or_default();
            return push_name(out, MONTHS.get(place).copied().unwrap_or_default(), count);
        }
        Unit::Month => i32::from(time.month()),
        Unit::Day => i32::from(time.day()),
        Unit::DayOfYear => i32::from(time.date().day_of_year()),
        Unit::DayOfWeek => i32::from(time.date().weekday().to_monday_one_offset()),
        Unit::NameOfDay => return push_name(out, name(time.date().weekday()), count),
        Unit::HalfDay => return out.push_str(if time.hour() < 12 { "AM" } else { "PM" }),
        Unit::HourOfHalfDay => i32::from(time.hour()) % 12,
        Unit::Hour => i32::from(time.hour()),
        Unit::Minute => i32::from(time.minute()),
        Unit::Second => i32::from(time.second()),
        Unit::Fraction => {
            let nanoseconds = format!("{:09}", time.subsec_nanosecond());
            return out.push_str(nanoseconds.get(..count).unwrap_or(&nanoseconds));
        }
        Unit::Offset => return out.push_str("+00:00"),
    };
    // Writing to a string cannot fail.
    let _ = write!(out, "{number:0count$}");
}

fn year(year: i16, count: usize) -> i32 {
    let year = i32::from(year);
    if count == 2 { year.rem_euclid(100) } else { year }
}

/// The whole name from four letters on, else the first three.
fn push_name(out: &mut String, name: &str, count: usize) {
    let short = name.get(..3).unwrap_or(name);
    out.push_str(if count > 3 { name } else { short });
}

fn name(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}
