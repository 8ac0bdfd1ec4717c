//! Delivers batches to one output until every event has ended.
//!
//! Owns the retry of batches: what can succeed is sent again, for ever unless the user set `max_retries`; what
//! cannot is dropped, counted by reason and logged. Connecting never uses up a retry. A batch that is too large
//! is halved. Acknowledges nothing that the output has not accepted.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::batch::{self, Limits};
use super::health::{Connection, News};
use super::queue::Line;
use crate::clock::Clock;
use crate::config::BackoffConfig;
use crate::election::{NoTenure, Tenure};
use crate::event::Event;
use crate::output::{DropReason, Outcome, RetryReason, Sink, SinkError};
use crate::retry::Backoff;
use crate::telemetry::event_data::{EventData, RefusedEvent};
use crate::telemetry::latency::Latency;
use crate::telemetry::metrics::{DropLabels, Metrics, OutputLabels};
use crate::telemetry::repeat::OncePer;

/// How one output is to be served.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The output's name, for the log and metrics.
    pub name: &'static str,
    /// When a batch is full.
    pub limits: Limits,
    /// Times a failed publish is repeated; `None` = for ever.
    pub max_retries: Option<u32>,
    /// Pauses after failures.
    pub backoff: BackoffConfig,
    /// The longest one connect or publish may take.
    pub timeout: Duration,
}

/// One connection's worth of publishing.
pub struct Publisher<S> {
    sink: S,
    policy: Policy,
    line: Arc<Mutex<Line>>,
    tenure: Tenure,
    clock: Clock,
    counters: Counters,
    health: Connection,
    hurry: CancellationToken,
    event_data: Option<Arc<EventData>>,
    dropped: OncePer<(Arc<str>, DropReason)>,
    connected: bool,
    connecting: Backoff,
    publishing: Backoff,
    /// Answers in a row that ended no event.
    fruitless: u32,
}

/// From so many answers in a row on that ended no event an output counts as failing: a few are ordinary where one is
/// busy, and the events left of a batch come alone.
const FRUITLESS: u32 = 3;

/// So many dropped events of one command are told with their ids, for each reason and each pause.
const DROPPED_TOLD: u64 = 10;
const DROPPED_PAUSE: Duration = Duration::from_secs(60);

struct Counters {
    metrics: Metrics,
    output: &'static str,
    events: Counter,
    batches: Counter,
    active: Gauge,
    acked: Counter,
    failed: Counter,
    duplicates: Counter,
    toomany: Counter,
    dead_letter: Counter,
    split: Counter,
    errors: Counter,
    read_errors: Counter,
    latency: Latency,
    up: Gauge,
}

impl Counters {
    fn new(metrics: &Metrics, output: &'static str) -> Self {
        let labels = OutputLabels { output };
        // There from the start, at zero: what appears with its first loss would not be seen to have grown.
        for reason in DropReason::ALL {
            let reason = reason.as_str();
            drop(
                metrics
                    .output_dropped
                    .get_or_create(&DropLabels { output, reason }),
            );
        }
        Self {
            output,
            events: metrics.output_events.get_or_create(&labels).clone(),
            batches: metrics.output_batches.get_or_create(&labels).clone(),
            active: metrics.output_active.get_or_create(&labels).clone(),
            acked: metrics.output_acked.get_or_create(&labels).clone(),
            failed: metrics.output_failed.get_or_create(&labels).clone(),
            duplicates: metrics.output_duplicates.get_or_create(&labels).clone(),
            toomany: metrics.output_toomany.get_or_create(&labels).clone(),
            dead_letter: metrics.output_dead_letter.get_or_create(&labels).clone(),
            split: metrics.output_split.get_or_create(&labels).clone(),
            errors: metrics.output_write_errors.get_or_create(&labels).clone(),
            read_errors: metrics.output_read_errors.get_or_create(&labels).clone(),
            latency: metrics.output_write_latency.get_or_create(&labels).clone(),
            up: metrics.output_up.get_or_create(&labels).clone(),
            metrics: metrics.clone(),
        }
    }

    /// An output answered for a batch after so long.
    fn took(&self, time: Duration) {
        self.latency.observe(time);
        self.metrics.all_write_latency.observe(time);
    }

    fn dropped(&self, reason: DropReason) {
        let labels = DropLabels {
            output: self.output,
            reason: reason.as_str(),
        };
        self.metrics.output_dropped.get_or_create(&labels).inc();
    }
}

/// A batch on its way, with the number of times it failed.
struct Parcel {
    events: Vec<Event>,
    failures: u32,
}

impl<S: Sink> Publisher<S> {
    /// A publisher that takes its batches from `line`, which several publishers of one output may share.
    pub fn new(
        sink: S,
        policy: Policy,
        line: Arc<Mutex<Line>>,
        tenure: Tenure,
        clock: Clock,
        metrics: &Metrics,
        health: Connection,
    ) -> Self {
        let backoff = Backoff::new(policy.backoff.init, policy.backoff.max);
        Self {
            sink,
            counters: Counters::new(metrics, policy.name),
            policy,
            line,
            tenure,
            clock,
            health,
            hurry: CancellationToken::new(),
            event_data: None,
            dropped: OncePer::several(DROPPED_TOLD, DROPPED_PAUSE),
            connected: false,
            connecting: backoff.clone(),
            publishing: backoff,
            fruitless: 0,
        }
    }

    /// Once `hurry` is cancelled no batch waits to be filled: there is somebody who waits for the last one.
    #[must_use]
    pub fn hurried_by(mut self, hurry: CancellationToken) -> Self {
        self.hurry = hurry;
        self
    }

    /// The content of events that are given up goes there.
    #[must_use]
    pub fn with_event_data(mut self, event_data: Option<Arc<EventData>>) -> Self {
        self.event_data = event_data;
        self
    }

    /// Publishes until the queue is closed and empty, or the tenure is over. Then closes the output. Dropping it
    /// midway lets go of the events in hand: their polls are then incomplete and are polled again.
    pub async fn run(mut self) {
        let over = self.tenure.cancelled().clone();
        let work = async {
            // Reach the output before there is anything to say, so that a wrong address shows at start.
            while !self.connected {
                if self.try_to_connect().await.is_err() || (!self.connected && self.has_nothing_to_do()) {
                    return;
                }
            }
            loop {
                let batch = {
                    let mut line = self.line.lock().await;
                    batch::next(&mut line, self.policy.limits, &self.hurry).await
                };
                let Some(events) = batch else { break };
                if self.deliver(events).await.is_err() {
                    return;
                }
            }
            if let Err(error) = self.sink.close().await {
                tracing::warn!(output = self.policy.name, %error, "closing the output failed");
            }
        };
        tokio::select! {
            () = over.cancelled() => {}
            () = work => {}
        }
    }

    /// Sends the events until each has ended. An error means that the tenure is over.
    async fn deliver(&mut self, events: Vec<Event>) -> Result<(), NoTenure> {
        let mut parcels = vec![Parcel { events, failures: 0 }];
        while let Some(parcel) = parcels.pop() {
            self.connect().await?;
            let permit = self.tenure.permit(self.policy.timeout).await?;
            let count = parcel.events.len();
            self.counters.batches.inc();
            self.counters.events.inc_by(count as u64);
            let in_flight = InFlight::new(&self.counters.active, count);
            let begin = Instant::now();
            let result = self.sink.publish(&permit, &parcel.events).await;
            drop(in_flight);
            if result.is_ok() {
                self.counters.took(begin.elapsed());
            }
            match result {
                Ok(outcomes) if outcomes.len() == count => {
                    self.answered(&outcomes);
                    let (left, busy) = self.settle(parcel, outcomes);
                    if let Some(left) = left {
                        // Some were accepted: no pause, unless the output asked for one.
                        if busy || left.events.len() == count {
                            self.pause().await;
                        }
                        parcels.push(left);
                    } else {
                        self.publishing.reset();
                    }
                }
                Ok(outcomes) => {
                    let error = SinkError::Protocol(format!(
                        "the output answered for {} of {count} events",
                        outcomes.len()
                    ));
                    self.failed(&error, true);
                    self.counters.failed.inc_by(count as u64);
                    parcels.extend(self.again(parcel));
                    self.pause().await;
                }
                Err(SinkError::TooLarge(message)) if count > 1 => {
                    tracing::debug!(
                        output = self.policy.name,
                        events = count,
                        error = message,
                        "batch refused as a whole, halved"
                    );
                    self.counters.split.inc();
                    self.counters.failed.inc_by(count as u64);
                    let mut events = parcel.events;
                    let second = events.split_off(count / 2);
                    // The first half goes first.
                    parcels.push(Parcel {
                        events: second,
                        failures: parcel.failures,
                    });
                    parcels.push(Parcel {
                        events,
                        failures: parcel.failures,
                    });
                }
                Err(SinkError::TooLarge(message)) => {
                    // Nothing smaller can be sent, and it would be refused for ever.
                    for event in parcel.events {
                        self.give_up(event, DropReason::TooLarge, &message);
                    }
                }
                Err(SinkError::BrokenOff { outcomes, cause }) if outcomes.len() == count => {
                    self.failed(&cause, true);
                    self.connected = false;
                    let (left, _) = self.settle(parcel, outcomes);
                    parcels.extend(left);
                    // It gets on, so the pauses begin anew; but whoever breaks off is not asked again at once.
                    self.publishing.reset();
                    self.pause().await;
                }
                Err(error) => {
                    self.failed(&error, true);
                    self.connected = false;
                    self.counters.failed.inc_by(count as u64);
                    parcels.extend(self.again(parcel));
                    let asked = match error {
                        SinkError::Busy { retry_after, .. } => retry_after.unwrap_or_default(),
                        _ => Duration::ZERO,
                    };
                    // Some say 0 and are as busy as before.
                    let pause = self.publishing.pause();
                    tokio::time::sleep(asked.min(self.policy.backoff.max).max(pause)).await;
                }
            }
        }
        Ok(())
    }

    /// Ends the events that have ended; gives those that have not, and whether the output was busy.
    fn settle(&self, parcel: Parcel, outcomes: Vec<Outcome>) -> (Option<Parcel>, bool) {
        let failures = parcel.failures;
        let mut left = Vec::new();
        let mut busy = false;
        for (event, outcome) in parcel.events.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Acked => {
                    self.counters.acked.inc();
                    event.ack.acked();
                }
                Outcome::Duplicate => {
                    self.counters.duplicates.inc();
                    event.ack.acked();
                }
                Outcome::DeadLettered => {
                    self.counters.dead_letter.inc();
                    event.ack.acked();
                }
                Outcome::Rejected { reason, message } => self.give_up(event, reason, &message),
                Outcome::Retry(reason) => {
                    self.counters.failed.inc();
                    if reason == RetryReason::TooMany {
                        self.counters.toomany.inc();
                        busy = true;
                    }
                    left.push(event);
                }
            }
        }
        if left.is_empty() {
            return (None, busy);
        }
        (
            self.again(Parcel {
                events: left,
                failures,
            }),
            busy,
        )
    }

    /// The same parcel once more, or nothing where `max_retries` is used up.
    fn again(&self, mut parcel: Parcel) -> Option<Parcel> {
        parcel.failures += 1;
        if self.policy.max_retries.is_none_or(|max| parcel.failures <= max) {
            return Some(parcel);
        }
        for event in parcel.events {
            self.give_up(event, DropReason::MaxRetries, "max_retries is used up");
        }
        None
    }

    fn give_up(&self, event: Event, reason: DropReason, message: &str) {
        self.counters.dropped(reason);
        if let Some(suppressed) = self.dropped.pass(&(Arc::clone(&event.kind), reason)) {
            tracing::warn!(
                output = self.policy.name, event_id = %event.id, command = %event.kind, reason = reason.as_str(),
                error = message, suppressed, "event dropped"
            );
        }
        if let Some(event_data) = &self.event_data {
            event_data.record(RefusedEvent {
                at: self.clock.now(),
                output: self.policy.name,
                id: event.id.to_string(),
                command: event.kind.to_string(),
                reason: reason.as_str(),
                error: message.to_owned(),
                body: event.body.clone(),
            });
        }
        event.ack.dropped();
    }

    /// Whether the queue was closed and nothing is left in it: then nobody waits for a connection.
    fn has_nothing_to_do(&self) -> bool {
        // Where another publisher holds the line, that one finds out.
        self.line
            .try_lock()
            .is_ok_and(|line| line.is_closed() && line.is_empty())
    }

    /// Connects where there is no connection, for as long as it takes.
    async fn connect(&mut self) -> Result<(), NoTenure> {
        while !self.connected {
            self.try_to_connect().await?;
        }
        Ok(())
    }

    /// Tries once, with a pause after a failure.
    async fn try_to_connect(&mut self) -> Result<(), NoTenure> {
        let permit = self.tenure.permit(self.policy.timeout).await?;
        match self.sink.connect(&permit).await {
            Ok(()) => {
                self.connected = true;
                self.connecting.reset();
                self.works(self.health.reached());
            }
            Err(error) => {
                self.failed(&error, false);
                tokio::time::sleep(self.connecting.pause()).await;
            }
        }
        Ok(())
    }

    async fn pause(&mut self) {
        tokio::time::sleep(self.publishing.pause()).await;
    }

    /// The output answered for each event of a batch.
    fn answered(&mut self, outcomes: &[Outcome]) {
        let accepted = |outcome: &Outcome| {
            matches!(
                outcome,
                Outcome::Acked | Outcome::Duplicate | Outcome::DeadLettered
            )
        };
        if outcomes.iter().any(accepted) {
            self.fruitless = 0;
            self.works(self.health.worked(Some(self.clock.now())));
        } else if outcomes
            .iter()
            .any(|outcome| !matches!(outcome, Outcome::Retry(_)))
        {
            self.fruitless = 0;
            self.works(self.health.worked(None));
        } else {
            self.fruitless = self.fruitless.saturating_add(1);
            if self.fruitless >= FRUITLESS {
                self.fails("it answers, and accepts no event for now", true);
            }
        }
    }

    fn works(&self, failed_since: Option<Timestamp>) {
        self.counters.up.set(i64::from(self.health.output_works()));
        if let Some(since) = failed_since {
            tracing::info!(output = self.policy.name, %since, "the output works again");
        }
    }

    fn failed(&self, error: &SinkError, of_batch: bool) {
        if error.is_of_answer() {
            self.counters.read_errors.inc();
        } else {
            self.counters.errors.inc();
        }
        self.fails(&error.to_string(), of_batch);
    }

    /// Logs when an output begins to fail and when its error changes, not at every try.
    fn fails(&self, text: &str, of_batch: bool) {
        let news = self.health.failed(text, of_batch, self.clock.now());
        self.counters.up.set(i64::from(self.health.output_works()));
        match news {
            News::Known => tracing::debug!(output = self.policy.name, error = text, "the output still fails"),
            News::New => tracing::error!(
                output = self.policy.name,
                error = text,
                "the output fails; events are kept and sent again"
            ),
        }
    }
}

/// Counts events as waiting for an answer, also when the waiting is cut short.
struct InFlight<'a>(&'a Gauge, i64);

impl<'a> InFlight<'a> {
    fn new(gauge: &'a Gauge, count: usize) -> Self {
        let count = count.try_into().unwrap_or(i64::MAX);
        gauge.inc_by(count);
        Self(gauge, count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec_by(self.1);
    }
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
