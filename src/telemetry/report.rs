//! The metrics line of the log.
//!
//! Owns [`run`]: every period one line with what was counted since the last one, and the totals at the end, in the
//! very words of Beats, which people paste into support threads and tools look for.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::tree::{Source, Tree};

/// Logs until `cancel`, then the totals. May be dropped at any time; the totals are missing then.
pub async fn run(source: Source, period: Duration, cancel: CancellationToken) {
    let span = go_duration(period);
    info!(target: "ecsbeat::monitoring", "Starting metrics logging every {span}");
    let mut before = Tree::default();
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let now = Tree::read(&source);
        if let Some(metrics) = changed(&before, &now) {
            info!(target: "ecsbeat::monitoring", monitoring = %metrics, "Non-zero metrics in the last {span}");
        } else {
            info!(target: "ecsbeat::monitoring", "No non-zero metrics in the last {span}");
        }
        before = now;
    }
    let metrics = wrap(&Tree::read(&source));
    info!(target: "ecsbeat::monitoring", monitoring = %metrics, "Total metrics");
    let uptime = go_duration(source.started.elapsed());
    info!(target: "ecsbeat::monitoring", "Uptime: {uptime}");
    info!(target: "ecsbeat::monitoring", "Stopping metrics logging.");
}

/// What is worth a line: `None` when nothing was counted.
fn changed(before: &Tree, now: &Tree) -> Option<Value> {
    let (delta, counted) = now.since(before);
    counted.then(|| wrap(&delta))
}

fn wrap(tree: &Tree) -> Value {
    json!({"metrics": tree.to_json()})
}

/// A duration as Go prints it, to the millisecond: `30s`, `1m0s`, `2h3m4.005s`.
fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let fraction = format!(".{:03}", duration.subsec_millis());
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    let rest = format!("{}{fraction}s", seconds % 60);
    match (hours, minutes) {
        (0, 0) => rest,
        (0, minutes) => format!("{minutes}m{rest}"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::status::Status;
    use crate::telemetry::identity::Identity;
    use crate::telemetry::log::tests::lines;
    use crate::telemetry::metrics::{Metrics, OutputLabels};

    #[test]
    fn durations_look_like_those_of_go() {
        for (millis, want) in [
            (30_000, "30s"),
            (60_000, "1m0s"),
            (90_500, "1m30.5s"),
            (3_600_000, "1h0m0s"),
            (7_384_005, "2h3m4.005s"),
            (0, "0s"),
            (10, "0.01s"),
        ] {
            assert_eq!(go_duration(Duration::from_millis(millis)), want);
        }
    }

    fn source() -> Source {
        Source {
            identity: Arc::new(Identity::new("n1", Uuid::nil(), "n1", None, "")),
            metrics: Metrics::new(),
            status: Arc::new(Status::new(Timestamp::UNIX_EPOCH)),
            outputs: vec!["file"],
            started: std::time::Instant::now(),
            runtime: None,
        }
    }

    #[test]
    fn gauges_alone_are_not_worth_a_line() {
        let source = source();
        source.metrics.queue_added.inc();
        let tree = Tree::read(&source);
        assert!(changed(&Tree::default(), &tree).is_some());
        assert_eq!(changed(&tree, &tree), None);
    }

    #[test]
    fn logs_what_changed_every_period_and_everything_at_the_end() {
        let source = source();
        let file = OutputLabels { output: "file" };
        let acked = source.metrics.output_acked.get_or_create_owned(&file);
        let lines = lines(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(async {
                let cancel = CancellationToken::new();
                let work = async {
                    acked.inc_by(5);
                    tokio::time::sleep(Duration::from_secs(31)).await;
                    acked.inc_by(2);
                    tokio::time::sleep(Duration::from_secs(30)).await;
                    cancel.cancel();
                };
                tokio::join!(run(source, Duration::from_secs(30), cancel.clone()), work);
            });
        });
        let messages: Vec<_> = lines
            .iter()
            .map(|line| line["message"].as_str().unwrap())
            .collect();
        assert_eq!(messages[0], "Starting metrics logging every 30s");
        assert_eq!(messages[1..3], ["Non-zero metrics in the last 30s"; 2]);
        assert_eq!(messages[3], "Total metrics");
        assert!(messages[4].starts_with("Uptime: "), "{}", messages[4]);
        let acked =
            |line: usize| &lines[line]["monitoring"]["metrics"]["libbeat"]["output"]["events"]["acked"];
        assert_eq!(*acked(1), 5);
        assert_eq!(*acked(2), 2);
        assert_eq!(*acked(3), 7);
        assert_eq!(lines[1]["log.logger"], "monitoring");
        assert!(lines[2]["monitoring"]["metrics"]["beat"]["memstats"]["rss"].is_u64());
    }
}
