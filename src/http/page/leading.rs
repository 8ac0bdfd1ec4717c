//! The head of the page: who leads, since when, and what this instance is to that.

use maud::{Markup, html};

use super::{Level, View, badge, members, notices, words};
use crate::status::State;

/// Who leads, in a line.
pub(super) fn headline(view: &View<'_>) -> String {
    let facts = &view.snapshot.facts;
    let Some(cluster) = view.endpoints.identity.cluster.as_deref() else {
        return match facts.state() {
            State::Starting => format!("{} starts", view.own()),
            State::Stopped => format!("{} has stopped", view.own()),
            _ => format!("{} works alone", view.own()),
        };
    };
    match &view.leader {
        // Its own lease is proof enough; of others etcd has to tell.
        Some(leader) if view.is_stale() && &*leader.name != view.own() => {
            format!("{} led {cluster} when etcd last answered", leader.name)
        }
        Some(leader) => format!("{} leads {cluster}", leader.name),
        None if view.cluster.seen.is_none() => format!("Nobody is known to lead {cluster} yet"),
        None => format!("Nobody leads {cluster}"),
    }
}

/// Whether it is fit for its role, in a word.
fn health(view: &View<'_>) -> (Level, &'static str) {
    let reasons = &view.verdict.reasons;
    let troubles = reasons.iter().any(|reason| notices::level(reason) > Level::Idle);
    match (view.verdict.ok, troubles) {
        (false, _) => (Level::Bad, "not healthy"),
        (true, true) => (Level::Warning, "degraded"),
        (true, false) => (Level::Good, "healthy"),
    }
}

/// What a state means to whoever does not know the words.
fn meaning(state: State) -> &'static str {
    match state {
        State::Starting => "has read its configuration; nothing runs yet",
        State::Standby => "stands by",
        State::Candidate => "races for the lease",
        State::Leader => "holds the lease: it polls and publishes",
        State::Draining => "ends its work in order",
        State::Lost => "has lost its lease: it neither polls nor publishes",
        State::Single => "polls and publishes, without a cluster",
        State::Stopped => "has ended its work",
    }
}

pub(super) fn section(view: &View<'_>, headline: &str) -> Markup {
    let facts = &view.snapshot.facts;
    let now = view.snapshot.now;
    let state = facts.state();
    let (level, word) = health(view);
    let leadership = &view.snapshot.leadership;
    html! {
        section.lead aria-labelledby="headline" {
            h1 #headline { (headline) }
            @if let Some(leader) = &view.leader {
                p {
                    "since " (words::moment(leader.since, now))
                    @if facts.ha_enabled { ", term " b { (leadership.term) } }
                    @if facts.ha_enabled && &*leader.name != view.own() {
                        ", at " (members::address(&leader.address))
                    }
                }
            }
            dl.facts {
                div {
                    dt { "This instance" }
                    dd { b { (view.own()) } " " (meaning(state)) }
                }
                div {
                    dt { "State" }
                    dd { (state.as_str()) " " (badge(level, word)) }
                }
                @if facts.ha_enabled {
                    div {
                        dt { "Lease left" }
                        dd {
                            @match facts.lease_remaining {
                                Some(left) if !left.is_zero() => (words::span(left)),
                                Some(_) => "over",
                                None => span.none { "holds none" },
                            }
                        }
                    }
                    div {
                        dt { "etcd" }
                        dd {
                            @if facts.dcs_reachable {
                                (badge(Level::Good, "answers"))
                            } @else {
                                (badge(Level::Bad, "does not answer")) " last "
                                (words::maybe_moment(leadership.dcs_last_seen, now, "never"))
                            }
                        }
                    }
                    div {
                        dt { "View of the cluster" }
                        dd {
                            @match view.view_age() {
                                Some(age) if view.is_stale() => {
                                    (words::age(age)) " old " (badge(Level::Warning, "stale"))
                                }
                                Some(age) => { (words::span(age)) " old" }
                                None => span.none { "none yet" },
                            }
                        }
                    }
                }
            }
        }
    }
}

impl View<'_> {
    /// How old it is what etcd last told of the cluster; `None` = it never did.
    pub(super) fn view_age(&self) -> Option<std::time::Duration> {
        let seen = self.cluster.seen?;
        Some(self.snapshot.since_boot.saturating_sub(seen))
    }

    /// Whether what is told of the others may have changed since: the view is renewed several times within `ha.ttl`.
    pub(super) fn is_stale(&self) -> bool {
        let facts = &self.snapshot.facts;
        let old = || self.view_age().is_none_or(|age| age >= facts.ttl);
        facts.ha_enabled && (!facts.dcs_reachable || old())
    }
}

/// A mark for the tab: full for the one that works, hollow for the others, a cross where something is wrong.
pub(super) fn icon(view: &View<'_>) -> &'static str {
    match (health(view).0, view.works()) {
        (Level::Bad, _) => {
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath d='M3 3l10 \
             10M13 3L3 13' stroke='%23d33' stroke-width='3'/%3E%3C/svg%3E"
        }
        (Level::Warning, _) => {
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath d='M8 2l7 \
             12H1z' fill='%23d90'/%3E%3C/svg%3E"
        }
        (_, true) => {
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' \
             cy='8' r='6' fill='%232a8'/%3E%3C/svg%3E"
        }
        (_, false) => {
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' \
             cy='8' r='5' fill='none' stroke='%2378a' stroke-width='3'/%3E%3C/svg%3E"
        }
    }
}
