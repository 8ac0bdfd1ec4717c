//! The timers of `ha.*`, and the arithmetic that they have to satisfy.
//!
//! Owns the relations between them. They are what makes two leaders impossible: a set that does not add up is
//! refused at start, with the sum in the message.

use std::time::Duration;

use super::duration::show;
use super::section::Section;

/// A lease that is shorter ends in every hiccup of etcd.
const LEAST_TTL: Duration = Duration::from_secs(5);
/// A pause or a budget that is shorter is no time for a round trip and a disk.
const LEAST_STEP: Duration = Duration::from_millis(500);
/// The margin covers clocks whose rates differ by less than one in so many.
const RATE: u32 = 10;

/// Timers that belong together; see [`super::Ha`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Timers {
    pub(super) ttl: Duration,
    pub(super) loop_wait: Duration,
    pub(super) retry_timeout: Duration,
    pub(super) safety_margin: Duration,
    pub(super) drain_timeout: Duration,
}

/// Reads the timers of the section `ha`.
pub(super) fn read(section: &Section<'_>) -> Timers {
    let timers = Timers {
        ttl: section.duration("ttl", Duration::from_secs(10)),
        loop_wait: section.duration("loop_wait", Duration::from_secs(3)),
        retry_timeout: section.duration("retry_timeout", Duration::from_secs(3)),
        safety_margin: section.duration("safety_margin", Duration::from_secs(1)),
        drain_timeout: section.duration("drain_timeout", Duration::from_secs(3)),
    };
    let keys = [
        "ttl",
        "loop_wait",
        "retry_timeout",
        "safety_margin",
        "drain_timeout",
    ];
    // Against a default that stands in for what cannot be read, nothing can be said.
    if !keys.iter().any(|key| section.is_wrong(key)) {
        limits(section, &timers);
        relations(section, &timers);
    }
    timers
}

fn limits(section: &Section<'_>, timers: &Timers) {
    if timers.ttl < LEAST_TTL {
        section.problem(
            "ttl",
            format!("must be at least {}, it is {}", show(LEAST_TTL), show(timers.ttl)),
        );
    } else if timers.ttl.subsec_nanos() > 0 {
        let found = show(timers.ttl);
        section.problem(
            "ttl",
            format!("must be whole seconds, as etcd counts them; it is {found}"),
        );
    }
    for (key, found) in [
        ("loop_wait", timers.loop_wait),
        ("retry_timeout", timers.retry_timeout),
    ] {
        if found < LEAST_STEP {
            section.problem(
                key,
                format!("must be at least {}, it is {}", show(LEAST_STEP), show(found)),
            );
        }
    }
}

fn relations(section: &Section<'_>, timers: &Timers) {
    let [ttl, loop_wait, retry_timeout, safety_margin, drain_timeout] = [
        timers.ttl,
        timers.loop_wait,
        timers.retry_timeout,
        timers.safety_margin,
        timers.drain_timeout,
    ]
    .map(show);
    let needed = timers
        .loop_wait
        .saturating_add(timers.retry_timeout.saturating_mul(2))
        .saturating_add(timers.safety_margin);
    if needed > timers.ttl {
        section.problem(
            "ttl",
            format!(
                "must be at least loop_wait + 2 x retry_timeout + safety_margin, so that a renewal can fail once: \
                 {loop_wait} + 2 x {retry_timeout} + {safety_margin} = {} > {ttl}",
                show(needed)
            ),
        );
    }
    let least = timers.ttl / RATE;
    if timers.safety_margin < least {
        section.problem(
            "safety_margin",
            format!(
                "must be at least a tenth of ttl, for clocks that run at different rates: {safety_margin} < {ttl} / \
                 {RATE} = {}",
                show(least)
            ),
        );
    }
    let working = timers.ttl.saturating_sub(timers.safety_margin);
    // A margin as long as the lease was told above.
    if timers.drain_timeout >= working && !working.is_zero() {
        section.problem(
            "drain_timeout",
            format!(
                "must be shorter than ttl - safety_margin, the time that a renewal lasts: {drain_timeout} >= {ttl} - \
                 {safety_margin} = {}",
                show(working)
            ),
        );
    }
}
