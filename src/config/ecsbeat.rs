//! `ecsbeat.*` beside its two lists, which are [`super::customers`] and [`super::commands`].

use std::time::Duration;

use super::section::Section;
use super::{Command, Customer, Paths, Trace, commands, customers, duration, trace};

/// `ecsbeat.*`.
#[derive(Debug, Clone)]
pub struct Ecsbeat {
    /// Run every command once, wait until all is acknowledged, exit.
    pub once: bool,
    /// Requests in flight per VDC, at least 1.
    pub max_in_flight: usize,
    /// Tries of one request, the first included, at least 1.
    pub max_attempts: u32,
    /// Bytes of one answer, after decompression, above which it is refused.
    pub max_response_size: u64,
    /// Whether a failed target gives an event of its own (`event.outcome: failure`).
    pub error_events: bool,
    /// How far back a windowed command reaches after an outage or a lost checkpoint.
    pub max_catch_up: Duration,
    /// The span over which polls that are due at the same moment are spread.
    pub start_jitter: Duration,
    /// `ecsbeat.trace`; `None` = exchanges with ECS are not recorded.
    pub trace: Option<Trace>,
    /// The customers, in the order of the file. Never empty.
    pub customers: Vec<Customer>,
    /// The enabled commands. Types are unique.
    pub commands: Vec<Command>,
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Reads the section; beside it `ecsbeat.shutdown_timeout`, which is another spelling of the general one.
pub(super) fn read(section: &Section<'_>, paths: &Paths) -> (Ecsbeat, Option<Duration>) {
    let period = section.duration("period", 300 * SECOND);
    if period < SECOND {
        section.problem(
            "period",
            format!("must be at least 1s, it is {}", duration::show(period)),
        );
    }
    let max_catch_up = section.duration("max_catch_up", 24 * HOUR);
    let commands = commands::read(section, period.max(SECOND), max_catch_up);
    let shortest = commands
        .iter()
        .map(|command| command.interval)
        .min()
        .unwrap_or(period);
    let ecsbeat = Ecsbeat {
        once: section.flag("once", false),
        max_in_flight: section.number("max_in_flight", 1..=256).unwrap_or(4),
        max_attempts: section.number("max_attempts", 1..=100).unwrap_or(3),
        max_response_size: section.bytes("max_response_size", 64_000_000),
        error_events: section.flag("error_events", true),
        max_catch_up,
        start_jitter: start_jitter(section, shortest),
        trace: section.section("trace", |section| trace::read(section, paths)),
        customers: customers::read(section),
        commands,
    };
    if ecsbeat.max_response_size < 1024 {
        section.problem("max_response_size", "must be at least 1kB");
    }
    (
        ecsbeat,
        section
            .alias("shutdown_timeout")
            .and_then(|field| field.duration()),
    )
}

/// Polls spread over more than their interval would run into each other.
fn start_jitter(section: &Section<'_>, shortest: Duration) -> Duration {
    let Some(jitter) = section.maybe_duration("start_jitter") else {
        return (10 * SECOND).min(shortest / 2);
    };
    if jitter >= shortest {
        section.problem(
            "start_jitter",
            format!(
                "must be shorter than the shortest interval of a command: {} >= {}",
                duration::show(jitter),
                duration::show(shortest)
            ),
        );
    }
    jitter
}
