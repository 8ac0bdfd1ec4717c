//! `queue.mem.*`.

use std::time::Duration;

use super::duration;
use super::output::Outputs;
use super::section::Section;

/// `queue.mem.*`.
#[derive(Debug, Clone)]
pub struct Queue {
    /// Most events held.
    pub events: usize,
    /// Most bytes held.
    pub max_bytes: usize,
    /// Most events handed out as one batch, and the number that is waited for.
    pub flush_min_events: usize,
    /// How long a batch waits to fill; zero = not at all.
    pub flush_timeout: Duration,
}

/// Capacities beyond this are a slip of the finger.
const MAX_EVENTS: i64 = 10_000_000;

/// Reads `queue` and its former names at the root.
pub(super) fn read(root: &Section<'_>, outputs: &Outputs) -> Queue {
    let old_events = root.deprecated("queue_size", "queue.mem.events");
    root.without_effect(
        "bulk_queue_size",
        "it was removed in version 6, there is one queue",
    );
    root.section("queue", |queue| {
        queue.not_in_this_version("disk", ": the queue is queue.mem, what it loses is polled again");
        queue.section("mem", |mem| {
            let preset = outputs.preset.map(|preset| preset.queue);
            let (default_events, default_min, default_timeout) =
                preset.unwrap_or((3200, 1600, Duration::from_secs(1)));
            let old = old_events.as_ref().and_then(|field| field.number(1..=MAX_EVENTS));
            let given = mem.number("events", 1..=MAX_EVENTS);
            if preset.is_some() && mem.field("events").is_some() {
                mem.warning("events", "is overruled by output.elasticsearch.preset");
            }
            let events = if preset.is_some() {
                default_events
            } else {
                given.or(old).unwrap_or(default_events)
            };
            let max_bytes = mem.bytes("max_bytes", 64_000_000);
            if max_bytes < 1_000_000 {
                mem.problem("max_bytes", "must be at least 1MB");
            }
            mem.without_effect(
                "immediate_shutdown",
                "shutdown_timeout decides how long a stop takes",
            );
            let flush = mem.section("flush", |flush| {
                let min_events = flush.number("min_events", 1..=MAX_EVENTS);
                let timeout = flush.maybe_duration("timeout").or(outputs.flush_interval);
                if preset.is_some() {
                    for key in ["min_events", "timeout"] {
                        if flush.field(key).is_some() {
                            flush.warning(key, "is overruled by output.elasticsearch.preset");
                        }
                    }
                    return (default_min, default_timeout);
                }
                if let Some(min_events) = min_events.filter(|min_events| *min_events > events) {
                    let message =
                        format!("must not be larger than queue.mem.events: {min_events} > {events}");
                    flush.problem("min_events", message);
                }
                (
                    min_events.unwrap_or(default_min.min(events)),
                    timeout.unwrap_or(default_timeout),
                )
            });
            Queue {
                events,
                max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX),
                flush_min_events: flush.0,
                flush_timeout: too_long(mem, flush.1),
            }
        })
    })
}

/// A batch that waits for hours looks like an output that is down.
fn too_long(mem: &Section<'_>, timeout: Duration) -> Duration {
    if timeout > Duration::from_secs(600) {
        mem.problem(
            "flush.timeout",
            format!("must be at most 10m, it is {}", duration::show(timeout)),
        );
    }
    timeout
}
