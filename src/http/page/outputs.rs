//! The outputs and the queue before them.
//!
//! Owns a row for each output: whether it works, how much it takes, what became of the events; and how full the queue
//! is. Totals are those of `/metrics`, since the start of the process.

use maud::{Markup, html};

use super::{Level, View, badge, words};
use crate::http::throughput::{Rates, Throughput};
use crate::status::OutputStatus;
use crate::telemetry::metrics::OutputLabels;
use crate::telemetry::series::Series;

/// Columns of the table.
const COLUMNS: usize = 12;
/// Size of the small picture of the last ten minutes, in its own units.
const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 24.0;

pub(super) fn section(view: &View<'_>, throughput: &Throughput) -> Markup {
    html! {
        section aria-labelledby="outputs" {
            h2 #outputs { "Outputs" }
            @if view.works() {
                (table(view, throughput))
                (queue(view))
            } @else {
                p.empty { "This instance publishes nothing." }
            }
        }
    }
}

fn table(view: &View<'_>, throughput: &Throughput) -> Markup {
    let source = &view.endpoints.source;
    let series = Series::read(&source.metrics);
    let rates = throughput.rates(source, view.snapshot.since_boot);
    html! {
        table {
            caption { "The outputs: whether they work, how much they take, what became of the events" }
            thead {
                tr {
                    th scope="col" { "Output" }
                    th scope="col" { "State" }
                    th.n scope="col" { "Events/s" }
                    th.n scope="col" { "Bytes/s" }
                    th.n scope="col" { "Delivered" }
                    th.n scope="col" { "Known already" }
                    th.n scope="col" { "Sent again" }
                    th.n scope="col" { "Dead letter" }
                    th.n scope="col" { "Dropped" }
                    th.n scope="col" { "Under way" }
                    th.n scope="col" { "Latency p50, p99" }
                    th scope="col" { "Last acknowledged" }
                }
            }
            tbody {
                @for (name, rates) in source.outputs.iter().copied().zip(&rates) {
                    (row(view, &series, name, rates))
                }
            }
        }
    }
}

fn row(view: &View<'_>, series: &Series, name: &'static str, rates: &Rates) -> Markup {
    let status = view.outputs.iter().find(|(output, _)| *output == name);
    let status = status.map(|(_, status)| &**status);
    let now = view.snapshot.now;
    let sum = |series_name| series.sum_of(series_name, &[("output", name)]);
    let total = |series_name| words::count(sum(series_name));
    let dropped = sum("output_dropped_events_total");
    html! {
        tr {
            th scope="row" { (name) }
            td.status data-label="State" { (fares(status)) }
            td.n data-label="Events/s" { (known(rates.events, words::rate)) (trend(&rates.trend)) }
            td.n data-label="Bytes/s" { (known(rates.bytes, |bytes| words::size(whole(bytes)))) }
            td.n data-label="Delivered" { (total("output_acked_events_total")) }
            td.n data-label="Known already" { (total("output_duplicate_events_total")) }
            td.n data-label="Sent again" { (total("output_failed_events_total")) }
            td.n data-label="Dead letter" { (total("output_dead_letter_events_total")) }
            td.n data-label="Dropped" {
                @if dropped > 0 { strong { (words::count(dropped)) } } @else { "0" }
            }
            td.n data-label="Under way" { (total("output_active_events")) }
            td.n data-label="Latency p50, p99" { (latency(view, name)) }
            td data-label="Last acknowledged" {
                (words::maybe_moment(status.and_then(|status| status.last_ack), now, "nothing yet"))
            }
        }
        @if let Some(error) = status.and_then(|status| status.last_error.as_ref()) {
            tr.why {
                td colspan=(COLUMNS) {
                    span.hidden { "Error of " (name) ": " }
                    span.error { (error) }
                    @if let Some(since) = status.and_then(|status| status.failing_since) {
                        " " span.every { "since " (words::moment(since, now)) }
                    }
                }
            }
        }
    }
}

fn fares(status: Option<&OutputStatus>) -> Markup {
    match status.and_then(|status| status.up) {
        Some(true) => badge(Level::Good, "ok"),
        Some(false) => badge(Level::Bad, "failing"),
        None => badge(Level::Idle, "not yet"),
    }
}

fn known(number: Option<f64>, show: impl Fn(f64) -> String) -> Markup {
    html! {
        @match number {
            Some(number) => (show(number)),
            None => span.none { (words::NONE) },
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is never negative, and a cast of a float saturates"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

fn latency(view: &View<'_>, output: &'static str) -> Markup {
    let latency = &view.endpoints.source.metrics.output_write_latency;
    let seen = latency.get(&OutputLabels { output });
    let seen = seen.map(|seen| seen.distribution());
    html! {
        @match seen.filter(|seen| seen.count > 0) {
            Some(seen) => (format!("{:.0} ms, {:.0} ms", seen.median, seen.p99)),
            None => span.none { (words::NONE) },
        }
    }
}

/// A line for the events a second of the last ten minutes, up to now; nothing where it is too early for one.
fn trend(steps: &[f64]) -> Markup {
    let most = steps.iter().copied().fold(0.0, f64::max);
    let Some(gaps) = steps.len().checked_sub(1).filter(|gaps| *gaps > 0) else {
        return html! {};
    };
    let scale = if most > 0.0 { (HEIGHT - 2.0) / most } else { 0.0 };
    let points: Vec<_> = steps
        .iter()
        .enumerate()
        .map(|(at, step)| {
            let x = at as f64 * WIDTH / gaps as f64;
            format!("{x:.1},{:.1}", HEIGHT - 1.0 - step * scale)
        })
        .collect();
    let label = format!("the last ten minutes, at most {}", words::rate(most));
    html! {
        svg.trend viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(label) {
            polyline points=(points.join(" ")) vector-effect="non-scaling-stroke" {}
        }
    }
}

/// How full the queue is, by both of its bounds.
fn queue(view: &View<'_>) -> Markup {
    let metrics = &view.endpoints.source.metrics;
    let value = |gauge: i64| u64::try_from(gauge).unwrap_or_default();
    let fills = [
        (
            "queue-events",
            "Events in the queue",
            value(metrics.queue_events.get()),
            value(metrics.queue_max_events.get()),
            words::count as fn(u64) -> String,
        ),
        (
            "queue-bytes",
            "Bytes in the queue",
            value(metrics.queue_bytes.get()),
            value(metrics.queue_max_bytes.get()),
            words::size as fn(u64) -> String,
        ),
    ];
    html! {
        dl.facts.queue {
            @for (id, name, filled, bound, show) in fills {
                div {
                    dt #(id) { (name) }
                    dd {
                        @if bound > 0 {
                            meter aria-labelledby=(id) min="0" max=(bound) high=(bound / 10 * 9) optimum="0" value=(filled.min(bound)) {}
                            " "
                        }
                        (show(filled)) " of " (show(bound))
                    }
                }
            }
        }
    }
}
