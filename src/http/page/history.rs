//! Who led when.
//!
//! Owns the table of the last terms, the newest first, as `/history` tells them. How long a term lasted follows from
//! when the next began.

use std::time::Duration;

use maud::{Markup, html};

use super::{View, words};
use crate::cluster::{HistoryRecord, Reason};

/// Terms that are shown; `/history` has the rest.
const SHOWN: usize = 15;

/// Why the leadership changed, in words.
fn meaning(reason: Reason) -> &'static str {
    match reason {
        Reason::Startup => "there was no leader before",
        Reason::Graceful => "the leader was stopped in order",
        Reason::Switchover => "an operator asked for it",
        Reason::Expired => "the leader's lease ran out: it crashed, hung or was cut off",
        Reason::Lost => "the leader's key was taken away",
        Reason::Yield => "the leader saw no output or no ECS, and a standby did",
    }
}

/// Nothing for a single node, which has no terms.
pub(super) fn section(view: &View<'_>) -> Markup {
    let history = &view.cluster.history;
    html! {
        @if view.snapshot.facts.ha_enabled {
            section aria-labelledby="history" {
                h2 #history {
                    "Elections"
                    @if history.len() > SHOWN {
                        " "
                        small { "the last " (SHOWN) ", older ones at " a href="history?pretty" { "/history" } }
                    }
                }
                @if history.is_empty() {
                    p.empty { "Nobody has led yet." }
                } @else {
                    table {
                        caption { "The last terms: who led, why that changed, and how long nobody led before" }
                        thead {
                            tr {
                                th.n scope="col" { "Term" }
                                th scope="col" { "Leader" }
                                th scope="col" { "After" }
                                th scope="col" { "Began" }
                                th scope="col" { "Why" }
                                th.n scope="col" { "Nobody led for" }
                                th.n scope="col" { "Lasted" }
                            }
                        }
                        tbody {
                            @for (at, record) in history.iter().enumerate().rev().take(SHOWN) {
                                (row(view, record, history.get(at + 1)))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn row(view: &View<'_>, record: &HistoryRecord, next: Option<&HistoryRecord>) -> Markup {
    let now = view.snapshot.now;
    let gap = |record: &HistoryRecord| record.gap_ms.map(Duration::from_millis);
    html! {
        tr {
            th.n scope="row" data-label="Term" { (record.term) }
            td data-label="Leader" { (record.to) }
            td data-label="After" {
                @match &record.from {
                    Some(from) => (from),
                    None => span.none { (words::NONE) },
                }
            }
            td data-label="Began" { (words::moment(record.at, now)) }
            td data-label="Why" { b { (record.reason.as_str()) } " " span.every { (meaning(record.reason)) } }
            td.n data-label="Nobody led for" {
                @match gap(record) {
                    Some(gap) => (words::span(gap)),
                    None => span.none { (words::NONE) },
                }
            }
            td.n data-label="Lasted" {
                @match next {
                    Some(next) => {
                        @let between = words::since(record.at, next.at);
                        (words::age(between.saturating_sub(gap(next).unwrap_or_default())))
                    }
                    None if view.leader.is_some() && record.term == view.snapshot.leadership.term => {
                        (words::age(words::since(record.at, now))) " so far"
                    }
                    None => span.none { (words::NONE) },
                }
            }
        }
    }
}
