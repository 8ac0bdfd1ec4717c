//! What is wrong or out of the ordinary, in sentences, and what to do about it.
//!
//! Owns the explanation of every word in `reasons`, and what stands at the top of the page besides: a pause, a change
//! of leader that is under way, an old view, configurations that differ. Judges nothing itself but how bad it is.

use maud::{Markup, html};

use super::{Level, View, badge, words};
use crate::http::body::vdcs_down;

/// A sentence or two for the top of the page.
pub(super) struct Notice {
    level: Level,
    /// The word in the answers of the endpoints, where it is one of theirs.
    word: Option<&'static str>,
    text: Markup,
}

/// How bad a reason is.
pub(super) fn level(reason: &str) -> Level {
    match reason {
        "nofailover" | "not_leader" | "not_standby" => Level::Idle,
        "starting" | "draining" | "stopped" => Level::Warning,
        _ => Level::Bad,
    }
}

/// What a reason means and what to do. The words are those of [`crate::http::rules`] and of
/// [`crate::status::Leadership::barred`]; one that is not known here says that much at least.
fn explain(reason: &str) -> &'static str {
    match reason {
        "starting" => "The process has started and does not work yet.",
        "draining" => "It ends its work in order and gives the leadership up.",
        "stopped" => "It has ended its work.",
        "lost" => {
            "It has lost its lease and cuts off what was under way; the next leader polls again what was not \
             acknowledged."
        }
        "lease_expired" => "Its lease is over and nothing is sent any more.",
        "dcs_unreachable" => {
            "etcd does not answer this instance. Without it nobody can take over, and a leader stops before its lease \
             ends. See that a majority of etcd's members is up and can be reached from here."
        }
        "output_down" => {
            "An output takes no events. They wait in the queue, and polling slows down when it is full; nothing is \
             dropped for that."
        }
        "ecs_down" => "Every command of a VDC fails.",
        "loop_stalled" => {
            "The main loop stands still. /liveness says so too; what starts this process should start it again."
        }
        "nofailover" => "It never leads, as it was told by ha.priority: 0.",
        "identity_mismatch" => {
            "It may not lead: its customers, VDCs or commands differ from the leader's, and events would get other \
             ids. Give all instances the same configuration."
        }
        "config_mismatch" => {
            "It may not lead: its configuration differs from the leader's and ha.config_mismatch is refuse. Give all \
             instances the same configuration."
        }
        "schema_too_new" => {
            "It may not lead: a newer release has written into etcd what this one does not know."
        }
        "term_regressed" => {
            "It may not lead: etcd's revisions went back, as after a restored backup, and terms would not grow. See \
             docs/ha.md."
        }
        "not_leader" => "It does not lead.",
        "not_standby" => "It leads.",
        _ => "It may not lead.",
    }
}

/// All there are, the worst first.
pub(super) fn of(view: &View<'_>) -> Vec<Notice> {
    let mut notices: Vec<_> = view
        .verdict
        .reasons
        .iter()
        .copied()
        .map(|reason| told(view, reason))
        .collect();
    notices.extend(cluster(view));
    notices.sort_by_key(|notice| std::cmp::Reverse(notice.level));
    notices
}

/// A reason, with the names that belong to it.
fn told(view: &View<'_>, reason: &'static str) -> Notice {
    let down = vdcs_down(&view.units);
    let failing = view.outputs.iter().filter(|(_, output)| output.up == Some(false));
    let text = html! {
        (explain(reason))
        @match reason {
            "output_down" => {
                ul {
                    @for (name, output) in failing {
                        li {
                            b { (name) }
                            @if let Some(since) = output.failing_since {
                                " fails since " (words::moment(since, view.snapshot.now))
                            }
                            @if let Some(error) = &output.last_error { ": " span.error { (error) } }
                        }
                    }
                }
            }
            "ecs_down" => {
                ul {
                    @for key in down {
                        li { b { (super::commands::whose(key)) } }
                    }
                }
            }
            _ => {}
        }
    };
    Notice {
        level: level(reason),
        word: Some(reason),
        text,
    }
}

/// What concerns the whole cluster.
fn cluster(view: &View<'_>) -> Vec<Notice> {
    let mut notices = Vec::new();
    let facts = &view.snapshot.facts;
    if !facts.ha_enabled {
        return notices;
    }
    let mut note = |level, text| {
        notices.push(Notice {
            level,
            word: None,
            text,
        });
    };
    if view.leader.is_none() && !facts.paused {
        note(
            Level::Bad,
            html! { "Nobody leads: nothing is polled. What has a window is made up for; ticks of gauges pass." },
        );
    }
    if facts.paused {
        note(
            Level::Warning,
            html! {
                "The cluster is paused: nobody takes over, also when the leader fails. End it with "
                code { "ecsbeat resume" } "."
            },
        );
    }
    if let Some(order) = &view.cluster.switchover {
        note(
            Level::Warning,
            html! {
                "A change of leader is under way (" (order.reason.as_str()) "): from " b { (order.leader) } " to "
                @match &order.candidate {
                    Some(candidate) => b { (candidate) },
                    None => "whoever is ready",
                }
                ", asked of " b { (order.by) } " " (words::moment(order.at, view.snapshot.now)) "."
            },
        );
    }
    if view.is_stale() {
        note(
            Level::Warning,
            html! {
                "What stands here of the other instances is "
                @match view.view_age() {
                    Some(age) => { "what etcd told " (words::age(age)) " ago and may have changed since." },
                    None => "not known yet: etcd has not answered since the start.",
                }
            },
        );
    }
    let differ: Vec<_> = view
        .members
        .iter()
        .filter(|row| row.config_mismatch == Some(true))
        .map(|row| row.instance.as_str())
        .collect();
    if !differ.is_empty() {
        note(
            Level::Warning,
            html! {
                "Configured differently from the leader: "
                @for (at, name) in differ.iter().enumerate() {
                    @if at > 0 { ", " }
                    b { (name) }
                }
                "."
            },
        );
    } else if view.snapshot.leadership.config_mismatch {
        note(
            Level::Warning,
            html! { "This instance is configured differently from the leader." },
        );
    }
    notices
}

/// Nothing, where there is nothing to say.
pub(super) fn section(notices: &[Notice]) -> Markup {
    html! {
        @if !notices.is_empty() {
            section.notices aria-labelledby="notices" {
                h2 #notices { "To know" }
                ul {
                    @for notice in notices {
                        li.notice.(notice.level.as_str()) {
                            (badge(notice.level, notice.word.unwrap_or(match notice.level {
                                Level::Bad => "wrong",
                                _ => "note",
                            })))
                            div { (notice.text) }
                        }
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
    fn every_reason_is_explained() {
        let unknown = explain("no such word");
        for reason in [
            "starting",
            "draining",
            "stopped",
            "lost",
            "lease_expired",
            "dcs_unreachable",
            "output_down",
            "ecs_down",
            "loop_stalled",
            "nofailover",
            "identity_mismatch",
            "config_mismatch",
            "schema_too_new",
            "term_regressed",
            "not_leader",
            "not_standby",
        ] {
            assert_ne!(explain(reason), unknown, "{reason}");
        }
    }
}
