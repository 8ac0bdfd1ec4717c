//! `window` of a command: spans of time without gap and overlap, and the arithmetic that makes them possible.

use std::time::Duration;

use super::duration;
use super::section::Section;

/// A command that asks for spans of time, without gap and overlap, from its checkpoint on.
#[derive(Debug, Clone)]
pub struct WindowSpec {
    /// Window borders are multiples of it (UTC).
    pub step: Duration,
    /// The longest window asked for at once; at least `step`. Equal to `step` where the answer has one row for
    /// the whole window, so that all rows cover spans of one length.
    pub max_span: Duration,
    /// How far behind the clock a window must end, so that the answer is complete.
    pub lag: Duration,
    /// How far before the window's start the question reaches, for rows that appear late; rows already
    /// delivered are recognised by their id.
    pub overlap: Duration,
    /// How times are written.
    pub format: TimeFormat,
    /// Name of the query parameter of the start (inclusive).
    pub start_param: String,
    /// Name of the query parameter of the end (exclusive, or of the same granule).
    pub end_param: String,
    /// A field of each record that says up to when the source's data is complete (billing's `uptodate_till`): a
    /// window that ends later is asked again instead of being delivered unfinished.
    pub complete_field: Option<String>,
}

/// How times are written into the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormat {
    /// `2026-03-02T10:41`, UTC.
    Minute,
    /// `2026-03-02T10:41:00`, UTC.
    Second,
    /// `2026-03-02T10:41:00Z`.
    Rfc3339,
    /// Seconds since 1970.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMillis,
}

const FORMATS: [(&str, TimeFormat); 5] = [
    ("minute", TimeFormat::Minute),
    ("second", TimeFormat::Second),
    ("rfc3339", TimeFormat::Rfc3339),
    ("epoch_seconds", TimeFormat::EpochSeconds),
    ("epoch_millis", TimeFormat::EpochMillis),
];

/// What the window has to fit.
pub(super) struct Around<'c, 'a> {
    /// The section that holds the window.
    pub(super) command: &'c Section<'a>,
    /// The command's interval.
    pub(super) interval: Duration,
    /// `ecsbeat.max_catch_up`.
    pub(super) max_catch_up: Duration,
}

/// Reads the section.
pub(super) fn read(section: &Section<'_>, around: &Around<'_, '_>) -> WindowSpec {
    let own_step = section.maybe_duration("step").filter(|step| !step.is_zero());
    let step = own_step.unwrap_or(around.interval);
    let text = |key, default: &str| section.some_text(key).unwrap_or_else(|| default.to_owned());
    let window = WindowSpec {
        step,
        max_span: section
            .maybe_duration("max_span")
            .filter(|span| !span.is_zero())
            .unwrap_or(step),
        lag: section.duration("lag", Duration::from_secs(60)),
        overlap: section.duration("overlap", Duration::ZERO),
        format: section.one_of("format", &FORMATS).unwrap_or(TimeFormat::Minute),
        start_param: text("start_param", "start_time"),
        end_param: text("end_param", "end_time"),
        complete_field: section.some_text("complete_field"),
    };
    let granule = granule(section, window.format);
    if let Some(rest) = arithmetic(step, granule) {
        let message = format!("must be a multiple of {}: {rest}", duration::show(granule));
        if own_step.is_some() {
            section.problem("step", message);
        } else {
            around
                .command
                .problem("interval", format!("is the length of a window and {message}"));
        }
    }
    if let Some(rest) = arithmetic(window.overlap, granule) {
        section.problem(
            "overlap",
            format!("must be a multiple of {}: {rest}", duration::show(granule)),
        );
    }
    if window.max_span < step {
        let (span, step) = (duration::show(window.max_span), duration::show(step));
        section.problem(
            "max_span",
            format!("must not be shorter than a step: {span} < {step}"),
        );
    } else if let Some(rest) = arithmetic(window.max_span, step) {
        section.problem("max_span", format!("must be a multiple of the step: {rest}"));
    }
    reach(section, &window, around.max_catch_up);
    window
}

/// Borders of windows are multiples of this.
fn granule(section: &Section<'_>, format: TimeFormat) -> Duration {
    let (least, name) = match format {
        TimeFormat::Minute => (Duration::from_secs(60), "minute"),
        TimeFormat::EpochMillis => (Duration::from_millis(1), "epoch_millis"),
        TimeFormat::Second => (Duration::from_secs(1), "second"),
        TimeFormat::Rfc3339 => (Duration::from_secs(1), "rfc3339"),
        TimeFormat::EpochSeconds => (Duration::from_secs(1), "epoch_seconds"),
    };
    let granularity = section.duration("granularity", least);
    if granularity.is_zero() {
        return least;
    }
    if let Some(rest) = arithmetic(granularity, least) {
        let least = duration::show(least);
        section.problem(
            "granularity",
            format!("must be a multiple of {least} with format {name}: {rest}"),
        );
        // Told once is enough.
        return Duration::from_nanos(1);
    }
    granularity
}

/// A command that may not look back as far as its first window begins would never ask anything.
fn reach(section: &Section<'_>, window: &WindowSpec, max_catch_up: Duration) {
    let needed = window.lag.saturating_add(window.step);
    if needed > max_catch_up {
        let [lag, step, needed, most] = [window.lag, window.step, needed, max_catch_up].map(duration::show);
        let message =
            format!("does not fit into ecsbeat.max_catch_up: lag {lag} + step {step} = {needed} > {most}");
        section.problem("", message);
    }
}

/// Why `value` is no multiple of `of`: `7m = 1 x 5m + 2m`. `None`: it is.
fn arithmetic(value: Duration, of: Duration) -> Option<String> {
    let (nanos, granule) = (value.as_nanos(), of.as_nanos());
    if granule == 0 || nanos % granule == 0 {
        return None;
    }
    let rest = Duration::from_nanos(u64::try_from(nanos % granule).unwrap_or(u64::MAX));
    let [value, of, rest] = [value, of, rest].map(duration::show);
    Some(format!("{value} = {} x {of} + {rest}", nanos / granule))
}
