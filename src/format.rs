//! Format strings as in Beats: `ecsbeat-%{[ecs-event-type]}-%{+yyyy.MM.dd}`.
//!
//! Owns their grammar and evaluation. A format string is parsed once, when the configuration is read, so that
//! evaluating it cannot fail: only a field that an event lacks, without a fallback, leaves it without a result. Dates
//! are those of the event, in UTC, so that an event has one and the same index whoever sends it and whenever.

mod date;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::event::Event;
use date::Pattern;

/// A parsed format string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// `path` is dotted.
    Field {
        path: String,
        fallback: Option<String>,
    },
    Date(Pattern),
}

/// A piece of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// What the format string itself says, dates and fallbacks included.
    Text(&'a str),
    /// What stands in the event.
    Value(&'a str),
}

/// What Beats reserve after a colon.
const OPERATORS: &str = "!@#&*=+<>?";

/// A format string that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {position}: {problem}")]
pub struct FormatError {
    /// Counted from 1.
    pub position: usize,
    /// What is wrong and what to do.
    pub problem: String,
}

/// A field that the event lacks and that has no fallback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing<'a> {
    /// Its dotted path.
    pub field: &'a str,
}

/// A character of a format string.
#[derive(Debug, Clone, Copy)]
struct Sign {
    c: char,
    /// A backslash has taken its meaning away.
    escaped: bool,
    /// Counted from 1.
    position: usize,
}

impl Sign {
    /// Whether it is this character with its meaning.
    fn is(&self, c: char) -> bool {
        self.c == c && !self.escaped
    }
}

impl FormatError {
    fn at(position: usize, problem: impl Into<String>) -> Self {
        Self {
            position,
            problem: problem.into(),
        }
    }
}

impl Format {
    /// Reads a format string.
    ///
    /// `%{[a.b]}`, `%{[a][b]}` and `%{[a.b]:fallback}` are fields, `%{+yyyy.MM.dd}` is the event's date. A backslash
    /// takes the meaning of the character after it away, in braces and outside. The fallback also stands in for an
    /// empty text. A colon within brackets or in a date needs no backslash, as it does in Beats.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let signs = signs(text)?;
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = &signs[..];
        while let [sign, after @ ..] = rest {
            if let Some(inside) = opened(rest) {
                let end = inside.iter().position(|sign| sign.is('}')).ok_or_else(|| {
                    FormatError::at(
                        sign.position,
                        "the expression that begins here is not closed: add `}`",
                    )
                })?;
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(expression(sign.position + 2, &inside[..end])?);
                rest = &inside[end + 1..];
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

    /// The text for an event; `None` when it lacks a field that has no fallback.
    pub fn of(&self, event: &Event) -> Option<String> {
        let mut out = String::new();
        let put = |piece: Piece<'_>| out.push_str(piece.as_str());
        self.render(event.timestamp, |path| event.field(path), put).ok()?;
        Some(out)
    }

    /// The text for a moment, where there is no event: every field counts as missing.
    pub fn at(&self, time: Timestamp) -> Option<String> {
        let mut out = String::new();
        self.render(time, |_| None, |piece| out.push_str(piece.as_str()))
            .ok()?;
        Some(out)
    }

    /// Gives the text for an event piece by piece to `put`. After an error what was put is of no use.
    pub fn pieces(&self, event: &Event, put: impl FnMut(Piece<'_>)) -> Result<(), Missing<'_>> {
        self.render(event.timestamp, |path| event.field(path), put)
    }

    /// Whether the format string itself, and not only what stands in events, has a line break.
    pub fn breaks_lines(&self) -> bool {
        self.0.iter().any(|part| match part {
            Part::Text(text) => breaks_lines(text),
            Part::Field { fallback, .. } => fallback.as_deref().is_some_and(breaks_lines),
            Part::Date(pattern) => pattern.breaks_lines(),
        })
    }

    fn render(
        &self,
        time: Timestamp,
        field: impl Fn(&str) -> Option<String>,
        mut put: impl FnMut(Piece<'_>),
    ) -> Result<(), Missing<'_>> {
        for part in &self.0 {
            match part {
                Part::Text(text) => put(Piece::Text(text)),
                Part::Field { path, fallback } => match (field(path), fallback) {
                    (Some(value), None) => put(Piece::Value(&value)),
                    (Some(value), Some(_)) if !value.is_empty() => put(Piece::Value(&value)),
                    (_, Some(fallback)) => put(Piece::Text(fallback)),
                    (None, None) => return Err(Missing { field: path }),
                },
                Part::Date(pattern) => {
                    let mut date = String::new();
                    pattern.write(&mut date, TimeZone::UTC.to_datetime(time));
                    put(Piece::Text(&date));
                }
            }
        }
        Ok(())
    }
}

impl<'a> Piece<'a> {
    /// The text, wherever it comes from.
    pub fn as_str(&self) -> &'a str {
        match self {
            Self::Text(text) | Self::Value(text) => text,
        }
    }
}

fn breaks_lines(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

/// The characters, backslashes applied to what follows them.
fn signs(text: &str) -> Result<Vec<Sign>, FormatError> {
    let mut signs = Vec::with_capacity(text.len());
    let mut characters = text.chars().zip(1..);
    while let Some((first, position)) = characters.next() {
        let escaped = first == '\\';
        let c = if escaped {
            let next = characters.next().ok_or_else(|| {
                let problem = "a backslash takes the meaning of the character after it away, and there is none: \
                               write two of them for one";
                FormatError::at(position, problem)
            })?;
            next.0
        } else {
            first
        };
        signs.push(Sign { c, escaped, position });
    }
    Ok(signs)
}

/// What follows `%{`, if that is what these begin with.
fn opened(signs: &[Sign]) -> Option<&[Sign]> {
    match signs {
        [percent, brace, inside @ ..] if percent.is('%') && brace.is('{') => Some(inside),
        _ => None,
    }
}

/// What stands between `%{` and `}`; it begins at `start`.
fn expression(start: usize, inside: &[Sign]) -> Result<Part, FormatError> {
    let nested = (0..inside.len()).find(|&place| opened(&inside[place..]).is_some());
    if let Some(sign) = nested.and_then(|place| inside.get(place)) {
        let problem = "an expression cannot be within another one, not even as its fallback";
        return Err(FormatError::at(sign.position, problem));
    }
    match inside {
        [plus, pattern @ ..] if plus.is('+') => Pattern::parse(pattern, start + 1).map(Part::Date),
        [bracket, ..] if bracket.is('[') => field(start, inside),
        _ => Err(FormatError::at(
            start,
            "a field in brackets, as in %{[event.dataset]}, or a date, as in %{+yyyy.MM.dd}, is needed here",
        )),
    }
}

/// `[a.b]`, `[a][b]`, `[a]:fallback`.
fn field(start: usize, inside: &[Sign]) -> Result<Part, FormatError> {
    let wrong = || {
        FormatError::at(
            start,
            "not a field: write %{[a.b]}, %{[a][b]} or %{[a.b]:fallback}",
        )
    };
    let mut path = String::new();
    let mut rest = inside;
    while let [bracket, after @ ..] = rest
        && bracket.is('[')
    {
        let end = after.iter().position(|sign| sign.is(']')).ok_or_else(wrong)?;
        let (name, behind) = after.split_at(end);
        if name.is_empty() || name.iter().any(|sign| sign.is('[') || sign.is('{')) {
            return Err(wrong());
        }
        if !path.is_empty() {
            path.push('.');
        }
        path.extend(name.iter().map(|sign| sign.c));
        rest = &behind[1..];
    }
    while let [blank, after @ ..] = rest
        && blank.c.is_ascii_whitespace()
    {
        rest = after;
    }
    let fallback = match rest {
        [] => None,
        [colon, fallback @ ..] if colon.is(':') => {
            let operator = |sign: &&Sign| !sign.escaped && OPERATORS.contains(sign.c);
            if let Some(sign) = fallback.first().filter(operator) {
                let c = sign.c;
                let problem =
                    format!("`:{c}` means nothing here: write `:\\{c}` for a fallback that begins so");
                return Err(FormatError::at(colon.position, problem));
            }
            Some(fallback.iter().map(|sign| sign.c).collect())
        }
        _ => return Err(wrong()),
    };
    Ok(Part::Field { path, fallback })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::EventId;
    use crate::pipeline::ack::Ack;

    fn event() -> Event {
        let body = r#"{"a":{"b":"x","n":7,"c.d":"deep"},"c.d":"y","Flag":true,"empty":"","null":null,"list":["z"],
            "a:b":"colon"}"#;
        Event::new(
            EventId::of([&b"x"[..]]),
            "2027-01-02T03:04:05.678901234Z".parse().unwrap(),
            "sample".into(),
            body.into(),
            Ack::none(),
        )
    }

    fn check(format: &str, want: Option<&str>) {
        let got = Format::parse(format).unwrap().of(&event());
        assert_eq!(got.as_deref(), want, "{format}");
    }

    #[test]
    fn text_and_fields() {
        check("plain", Some("plain"));
        check("", Some(""));
        check("100%", Some("100%"));
        check("{a}", Some("{a}"));
        check("%{[a.b]}", Some("x"));
        check("%{[a][b]}", Some("x"));
        check("%{[a][c.d]} %{[a.c][d]} %{[a.c.d]}", Some("deep deep deep"));
        check("<%{[a.n]}-%{[c.d]}-%{[Flag]}>", Some("<7-y-true>"));
        check("%{[a.b] }", Some("x"));
        check("%{[a:b]}", Some("colon"));
        check("%{[missing]}", None);
        check("%{[empty]}", Some(""));
        check("ü%{[a.b]}ü", Some("üxü"));
    }

    #[test]
    fn a_fallback_stands_in_for_what_is_missing_or_empty_or_no_single_value() {
        check("a%{[missing]:}b", Some("ab"));
        check("%{[missing]:fall back}", Some("fall back"));
        check("%{[missing] :x}", Some("x"));
        check("%{[missing]:http://x}", Some("http://x"));
        check("%{[a.b]:fallback}", Some("x"));
        check("%{[empty]:e}", Some("e"));
        check("%{[null]:n}%{[list]:l}%{[a]:o}", Some("nlo"));
        check("%{[missing]:x}%{[missing]}", None);
    }

    #[test]
    fn a_backslash_takes_the_meaning_away() {
        check(r"\%{[a.b]}\\\x", Some(r"%{[a.b]}\x"));
        check(r"\a\\b", Some(r"a\b"));
        check(r"%{[missing]:\}\:\\}", Some(r"}:\"));
        check(r"%{[missing]:\?x}", Some("?x"));
        check(r"%{[a\:b]}", Some("colon"));
        check(r"%{+HH\:mm\y}", Some("03:04y"));
    }

    #[test]
    fn dates_are_the_events_own_in_utc() {
        check("i-%{+yyyy.MM.dd}", Some("i-2027.01.02"));
        check(
            "%{+yyyy-MM-dd'T'HH:mm:ss.SSSz}",
            Some("2027-01-02T03:04:05.678+00:00"),
        );
        check("%{+yy M d H m s S}", Some("27 1 2 3 4 5 6"));
        check("%{+yyyyyy.ddd}", Some("002027.002"));
        check("%{+xxxx.ww.e}", Some("2026.53.6"));
        check("%{+EEEE E MMMM MMM K a}", Some("Saturday Sat January Jan 3 AM"));
        check("%{+DDD'''' 'plain '' text'}", Some("002'' plain ' text"));
        check("%{+YYYY.MM}", Some("2027.01"));
        let evening = "2026-12-31T23:59:59Z".parse().unwrap();
        let at = |format: &str| Format::parse(format).unwrap().at(evening);
        assert_eq!(at("%{+KK aa}").as_deref(), Some("11 PM"));
        assert_eq!(at("%{[a]}"), None);
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
            ("%{[a]:%{[b]}}", 7, "within another"),
            ("%{[a]:?b}", 6, "`:?` means nothing"),
            ("%{+}", 4, "a date pattern"),
            ("%{+yyyy.QQ}", 9, "`QQ` is no part of a date"),
            ("%{+hh}", 4, "`hh` is no part"),
            ("%{+yyyy'T}", 8, "quote"),
            (r"a\", 2, "there is none"),
        ] {
            let error = Format::parse(format).unwrap_err();
            assert_eq!(error.position, position, "{format}: {error}");
            assert!(error.problem.contains(part), "{format}: {error}");
        }
    }

    #[test]
    fn pieces_tell_what_the_event_says_from_what_the_format_says() {
        let format = Format::parse("a%{[a.b]}%{[no]:f}%{+yyyy}").unwrap();
        let event = event();
        let mut found = Vec::new();
        let put =
            |piece: Piece<'_>| found.push((matches!(piece, Piece::Value(_)), piece.as_str().to_owned()));
        format.pieces(&event, put).unwrap();
        let want = [(false, "a"), (true, "x"), (false, "f"), (false, "2027")];
        assert_eq!(found, want.map(|(value, text)| (value, text.to_owned())));
        let format = Format::parse("%{[no][such]}").unwrap();
        assert_eq!(format.pieces(&event, |_| {}), Err(Missing { field: "no.such" }));
    }

    #[test]
    fn line_breaks_of_its_own_are_known() {
        for format in ["a\nb", "%{[a]:\r}", "%{+yyyy\n}"] {
            assert!(Format::parse(format).unwrap().breaks_lines(), "{format:?}");
        }
        assert!(!Format::parse(r"a\n%{[a]:b}%{+yyyy}").unwrap().breaks_lines());
    }

    proptest! {
        #[test]
        fn never_panics(
            format in "[%{}\\[\\]+:'\\\\yMdxwDeHmsSQaEKzü.é ]{0,24}",
            text: String,
            seconds in -377_705_023_201_i64..253_402_207_200,
        ) {
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
