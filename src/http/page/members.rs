//! The table of instances.
//!
//! Owns a row for each replica, as `/cluster` tells them: its role and state, how far it is behind, whether it was
//! configured as the leader was.

use maud::{Markup, html};
use url::Url;

use super::{Level, View, badge, words};
use crate::http::body::LEADER;
use crate::http::cluster::Row;

/// Letters of a configuration's hash that are shown: enough to tell two apart.
const HASH: usize = 8;

pub(super) fn section(view: &View<'_>) -> Markup {
    let alone = !view.snapshot.facts.ha_enabled;
    html! {
        section aria-labelledby="members" {
            h2 #members {
                "Instances"
                @if !alone { " " small { (words::counted(view.members.len(), "member")) } }
            }
            table {
                caption { "The instances, what they do and how they were configured" }
                thead {
                    tr {
                        th scope="col" { "Instance" }
                        th scope="col" { "Role" }
                        th scope="col" { "State" }
                        th.n scope="col" { "Lag" }
                        th.n scope="col" { "Priority" }
                        th scope="col" { "Configuration" }
                        th scope="col" { "Sees" }
                        th scope="col" { "Version" }
                        th scope="col" { "Address" }
                        th scope="col" { "Started" }
                    }
                }
                tbody {
                    @for row in &view.members { (member(view, row)) }
                }
            }
        }
    }
}

fn member(view: &View<'_>, row: &Row) -> Markup {
    let none = || html! { span.none { (words::NONE) } };
    let other_version = row.version != view.endpoints.identity.version();
    html! {
        tr.own[row.is_self] {
            th scope="row" {
                (row.instance)
                @if row.is_self { " " span.tag { "this one" } }
            }
            td.status data-label="Role" {
                @if row.role == LEADER { (badge(Level::Good, row.role)) } @else { (badge(Level::Idle, row.role)) }
            }
            td data-label="State" { (row.state) }
            td.n data-label="Lag" {
                @match row.lag_s {
                    Some(lag) => (words::span(std::time::Duration::from_secs(lag))),
                    None => (none()),
                }
            }
            td.n data-label="Priority" {
                @match row.priority {
                    Some(0) => "0 (never)",
                    Some(priority) => (priority),
                    None => (none()),
                }
            }
            td data-label="Configuration" { (configuration(row)) }
            td data-label="Sees" {
                @match row.probe {
                    Some(probe) => {
                        (seen("output", probe.output)) " " (seen("ECS", probe.ecs))
                    }
                    None => (none()),
                }
            }
            td data-label="Version" {
                (row.version)
                @if other_version { " " span.tag { "other than here" } }
            }
            td.address data-label="Address" { (address(&row.address)) }
            td data-label="Started" { (words::moment(row.since, view.snapshot.now)) }
        }
    }
}

/// The hash, and how it compares with the leader's.
fn configuration(row: &Row) -> Markup {
    let Some(hash) = &row.config_hash else {
        return html! { span.none { (words::NONE) } };
    };
    let short: String = hash.chars().take(HASH).collect();
    html! {
        code title=(hash) { (short) }
        " "
        @if row.identity_mismatch == Some(true) {
            (badge(Level::Bad, "other ids"))
        } @else if row.config_mismatch == Some(true) {
            (badge(Level::Warning, "differs"))
        } @else if row.config_mismatch == Some(false) {
            (badge(Level::Good, "same"))
        }
    }
}

fn seen(what: &str, reached: bool) -> Markup {
    if reached {
        badge(Level::Good, what)
    } else {
        badge(Level::Bad, &format!("no {what}"))
    }
}

/// An address that others gave of themselves: a link where it is one that a browser can do no harm with.
pub(super) fn address(address: &str) -> Markup {
    let harmless = |url: &Url| matches!(url.scheme(), "http" | "https") && url.username().is_empty();
    let link = Url::parse(address).ok().filter(harmless);
    html! {
        @match link {
            Some(url) => a href=(url.as_str()) { (address) },
            None => (address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_web_are_links() {
        assert_eq!(
            address("http://node-b:5066").into_string(),
            r#"<a href="http://node-b:5066/">http://node-b:5066</a>"#
        );
        for other in [
            "",
            "node-b:5066",
            "javascript:alert(1)",
            "data:text/html,x",
            "http://a:b@c/",
        ] {
            assert_eq!(address(other).into_string(), other);
        }
    }
}
