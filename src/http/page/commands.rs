//! The table of commands.
//!
//! Owns a row for each command of each VDC, as `/commands` tells them, those of one VDC together. An error has a row of
//! its own below its command. A replica polls nothing and has none.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use maud::{Markup, html};

use super::{Level, View, badge, members, words};
use crate::status::{UnitKey, UnitStatus};

/// Columns of the table.
const COLUMNS: usize = 8;
/// A poll that has not ended for so many intervals is late.
const LATE: u32 = 3;
/// Short intervals are given at least so long before a poll is late.
const PATIENCE: Duration = Duration::from_secs(30);

type Unit = (UnitKey, Arc<UnitStatus>);

/// What a VDC is called: the customer's name and its own. At level `system` it is the customer's whole.
pub(super) fn whose(key: &UnitKey) -> String {
    if key.vdc.is_empty() {
        key.customer.to_string()
    } else {
        format!("{} / {}", key.customer, key.vdc)
    }
}

/// How a command fares, in a word.
fn fares(unit: &UnitStatus, now: Timestamp) -> (Level, &'static str) {
    let patience = unit.interval.saturating_mul(LATE).max(PATIENCE);
    match unit.last_tick {
        _ if unit.last_error.is_some() => (Level::Bad, "failing"),
        None => (Level::Idle, "not yet"),
        Some(tick) if words::since(tick, now) >= patience => (Level::Warning, "late"),
        Some(_) => (Level::Good, "ok"),
    }
}

pub(super) fn section(view: &View<'_>) -> Markup {
    let now = view.snapshot.now;
    let count = |word: &str| {
        let units = view.units.iter();
        units.filter(|(_, unit)| fares(unit, now).1 == word).count()
    };
    let (failing, late) = (count("failing"), count("late"));
    html! {
        section aria-labelledby="commands" {
            h2 #commands {
                "Commands"
                @if !view.units.is_empty() {
                    " "
                    small {
                        (words::counted(view.units.len(), "command"))
                        @if failing > 0 { ", " (words::count(failing as u64)) " failing" }
                        @if late > 0 { ", " (words::count(late as u64)) " late" }
                    }
                }
            }
            @if view.units.is_empty() { (none(view)) } @else { (table(view)) }
        }
    }
}

/// Why there are none, and where to look.
fn none(view: &View<'_>) -> Markup {
    html! {
        p.empty {
            @if view.works() {
                "Nothing has been polled yet."
            } @else {
                "This instance polls nothing."
                @if let Some(leader) = &view.leader {
                    " The commands are on the page of " b { (leader.name) } ": " (members::address(&leader.address))
                }
            }
        }
    }
}

fn table(view: &View<'_>) -> Markup {
    html! {
        table {
            caption { "The commands of each VDC: the last poll, what is delivered, what is wrong" }
            thead {
                tr {
                    th scope="col" { "Command" }
                    th scope="col" { "State" }
                    th scope="col" { "Last tick" }
                    th.n scope="col" { "Took" }
                    th.n scope="col" { "Events" }
                    th.n scope="col" { "Since start" }
                    th.n scope="col" { "Lag" }
                    th.n scope="col" { "Missed ticks" }
                }
            }
            // Units come sorted, those of one VDC side by side.
            @for vdc in view.units.chunk_by(|(a, _), (b, _)| a.of_one_vdc(b)) {
                tbody {
                    tr.group {
                        th colspan=(COLUMNS) scope="rowgroup" {
                            @if let Some((key, _)) = vdc.first() { (whose(key)) }
                        }
                    }
                    @for unit in vdc { (row(unit, view.snapshot.now)) }
                }
            }
        }
    }
}

fn row((key, unit): &Unit, now: Timestamp) -> Markup {
    let (level, word) = fares(unit, now);
    let polled = unit.last_tick.is_some();
    html! {
        tr {
            th scope="row" {
                (key.command) " " span.every { "every " (words::span(unit.interval)) }
            }
            td.status data-label="State" { (badge(level, word)) }
            td data-label="Last tick" { (words::maybe_moment(unit.last_tick, now, words::NONE)) }
            td.n data-label="Took" {
                @if polled { (words::span(unit.last_duration)) } @else { span.none { (words::NONE) } }
            }
            td.n data-label="Events" {
                @if polled { (words::count(unit.last_events)) } @else { span.none { (words::NONE) } }
            }
            td.n data-label="Since start" { (words::count(unit.events)) }
            td.n data-label="Lag" {
                @match unit.lag(now) {
                    Some(lag) => (words::age(lag)),
                    None => span.none { (words::NONE) },
                }
            }
            td.n data-label="Missed ticks" {
                @if unit.missed_ticks > 0 { strong { (words::count(unit.missed_ticks)) } } @else { "0" }
            }
        }
        @if let Some(error) = &unit.last_error {
            tr.why {
                td colspan=(COLUMNS) {
                    span.hidden { "Error of " (key.command) ": " }
                    span.error { (error) }
                    " "
                    span.every {
                        (words::count(unit.failures)) " in a row, last success "
                        (words::maybe_moment(unit.last_success, now, "never"))
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_late_when_its_poll_does_not_end() {
        let now = Timestamp::UNIX_EPOCH + Duration::from_secs(10_000);
        let unit = |interval, ago: Option<u64>| UnitStatus {
            interval: Duration::from_secs(interval),
            last_tick: ago.map(|ago| now - Duration::from_secs(ago)),
            ..UnitStatus::default()
        };
        for (interval, ago, want) in [
            (60, None, "not yet"),
            (60, Some(179), "ok"),
            (60, Some(180), "late"),
            (1, Some(29), "ok"),
            (1, Some(30), "late"),
        ] {
            assert_eq!(fares(&unit(interval, ago), now).1, want, "{interval} {ago:?}");
        }
        let failed = UnitStatus {
            last_error: Some("refused".to_owned()),
            ..unit(60, Some(999))
        };
        assert_eq!(fares(&failed, now), (Level::Bad, "failing"));
    }
}
