//! The status page: `/` for browsers.
//!
//! Owns the document: what is in it in which order, its style and script, and the headers that allow these two and
//! nothing else. The page is made of the same snapshots as every other answer, by the server, so that it says
//! everything without JavaScript; with it, the script asks for the page again every two seconds and puts what has
//! changed in place. Everything that is shown goes through [`maud`], which escapes it: names come out of
//! configurations, errors from ECS.

mod commands;
mod history;
mod leading;
mod members;
mod notices;
mod outputs;
#[cfg(test)]
mod tests;
mod words;

use std::sync::{Arc, LazyLock};

use axum::Extension;
use axum::extract::State as Shared;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::body::Snapshot;
use super::cluster::{self, Row};
use super::query::Query;
use super::rules::{Check, Verdict, judge};
use super::throughput::Throughput;
use super::{Endpoints, Shared as SharedEndpoints, accept, stats};
use crate::status::{Cluster, Leader, OutputStatus, UnitKey, UnitStatus};
use crate::version;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Only our own style and script, recognized by what they are; data comes from here and nowhere else.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    // Base64 has no letter that a header may not have; if it had, nothing would be allowed.
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// Where the same is told to programs.
const DATA: [&str; 8] = [
    "health?pretty",
    "cluster?pretty",
    "history?pretty",
    "commands?pretty",
    "stats?pretty",
    "state?pretty",
    "?pretty",
    "metrics",
];

/// `/`: the page for those who prefer HTML, to all others what a Beat says there. Who asks for `?pretty` wants JSON.
pub(super) async fn root(
    Shared(endpoints): Shared<SharedEndpoints>,
    Extension(throughput): Extension<Arc<Throughput>>,
    query: Query,
    headers: HeaderMap,
) -> Response {
    let mut response = if accept::prefers_html(&headers) && !query.names("pretty") {
        page(&endpoints, &throughput)
    } else {
        stats::beat(&endpoints.identity, &query).into_response()
    };
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept"));
    response
}

fn page(endpoints: &Endpoints, throughput: &Throughput) -> Response {
    let text = document(&View::take(endpoints), throughput).into_string();
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, POLICY.clone()),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            HeaderValue::from_static("same-origin"),
        ),
    ];
    (headers, text).into_response()
}

/// All that the page tells, at one moment.
struct View<'a> {
    endpoints: &'a Endpoints,
    snapshot: Snapshot<'a>,
    /// Of `/health`.
    verdict: Verdict,
    leader: Option<Leader>,
    cluster: Arc<Cluster>,
    members: Vec<Row>,
    /// None where this instance does not work.
    units: Vec<(UnitKey, Arc<UnitStatus>)>,
    /// As `units`.
    outputs: Vec<(&'static str, Arc<OutputStatus>)>,
}

impl<'a> View<'a> {
    fn take(endpoints: &'a Endpoints) -> Self {
        let snapshot = Snapshot::take(endpoints);
        let cluster = endpoints.status.cluster();
        let leader = snapshot.leading();
        let name = leader.as_ref().map(|leader| &*leader.name);
        let (units, outputs) = if snapshot.facts.works() {
            (endpoints.status.units(), endpoints.status.outputs())
        } else {
            // What it did while it led says nothing about now.
            (Vec::new(), Vec::new())
        };
        Self {
            verdict: judge(Check::Health, false, &snapshot.facts),
            members: cluster::rows(endpoints, &snapshot, name, &cluster.members),
            units,
            outputs,
            endpoints,
            snapshot,
            leader,
            cluster,
        }
    }

    /// The name of this instance.
    fn own(&self) -> &'a str {
        &self.endpoints.identity.instance
    }

    fn works(&self) -> bool {
        self.snapshot.facts.works()
    }
}

/// The page. What is marked with `data-keep` is the script's.
fn document(view: &View<'_>, throughput: &Throughput) -> Markup {
    let notices = notices::of(view);
    let identity = &view.endpoints.identity;
    let headline = leading::headline(view);
    html! {
        (DOCTYPE)
        html lang="en" data-build=(version::COMMIT) {
            head {
                meta charset="utf-8";
                title { (headline) " · ecsbeat on " (view.own()) }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href=(leading::icon(view));
                noscript { meta http-equiv="refresh" content="10"; }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.brand {
                        strong { "ecsbeat" }
                        @match identity.cluster.as_deref() {
                            Some(cluster) => { " cluster " b { (cluster) } },
                            None => " single node",
                        }
                    }
                    p #live role="status" data-keep { "as of " (words::date_time(view.snapshot.now)) " UTC" }
                }
                p #silent role="alert" data-keep hidden {}
                main {
                    (leading::section(view, &headline))
                    (notices::section(&notices))
                    (members::section(view))
                    (commands::section(view))
                    (outputs::section(view, throughput))
                    (history::section(view))
                }
                footer {
                    nav aria-label="The same for programs" {
                        @for path in DATA {
                            a href=(path) { "/" (path.trim_end_matches("?pretty")) } " "
                        }
                    }
                    p {
                        "Made by " b { (view.own()) } " at " (words::date_time(view.snapshot.now))
                        " UTC. ecsbeat " (identity.version()) " (" (version::COMMIT) "), up for "
                        (words::age(words::since(view.endpoints.status.started(), view.snapshot.now)))
                        ". All times are UTC."
                    }
                    noscript { p { "Without JavaScript this page loads itself again every 10 seconds." } }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// A state as a mark and a word: never a colour alone.
fn badge(level: Level, word: &str) -> Markup {
    html! { span.badge.(level.as_str()) { (word) } }
}

/// How good or bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// As it should be.
    Good,
    /// Neither good nor bad.
    Idle,
    /// Worth a look.
    Warning,
    /// Wrong.
    Bad,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Idle => "idle",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}

fn hash(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    format!("sha256-{}", BASE64_STANDARD.encode(digest))
}
