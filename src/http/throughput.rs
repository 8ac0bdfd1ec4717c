//! How much the outputs take in a second.
//!
//! Owns a short memory of two counters of each output, filled by the listener's own thread every few seconds: rates
//! need a moment to compare with, and a handler has none. Counts nothing itself and waits for nobody.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::telemetry::metrics::{Metrics, OutputLabels};
use crate::telemetry::tree::Source;

/// Time between two samples.
pub(super) const EVERY: Duration = Duration::from_secs(5);
/// Samples that are kept: ten minutes.
const KEPT: usize = 120;
/// What a rate is the mean of.
const SPAN: Duration = Duration::from_secs(60);
/// Below it a rate says nothing.
const SHORTEST: Duration = Duration::from_secs(1);

/// The memory.
#[derive(Debug, Default)]
pub(super) struct Throughput(Mutex<VecDeque<Sample>>);

/// The counters of all outputs at one moment.
#[derive(Debug, Clone)]
struct Sample {
    /// Time since boot.
    at: Duration,
    /// In the order of [`Source::outputs`].
    outputs: Vec<Counts>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    acked: u64,
    bytes: u64,
}

/// What an output takes.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Rates {
    /// Events that it accepted, a second, over the last minute; `None` = it is too early to tell.
    pub(super) events: Option<f64>,
    /// Bytes that were sent, likewise.
    pub(super) bytes: Option<f64>,
    /// Events a second from sample to sample, oldest first: ten minutes at most.
    pub(super) trend: Vec<f64>,
}

impl Throughput {
    /// Remembers the counters of now.
    pub(super) fn sample(&self, source: &Source, since_boot: Duration) {
        let mut samples = self.samples();
        if samples.len() == KEPT {
            samples.pop_front();
        }
        samples.push_back(Sample::take(source, since_boot));
    }

    /// The rates of each output, in the order of [`Source::outputs`].
    pub(super) fn rates(&self, source: &Source, since_boot: Duration) -> Vec<Rates> {
        let now = Sample::take(source, since_boot);
        let samples = self.samples();
        let old = samples.iter().find(|sample| sample.at + SPAN >= now.at);
        let mut steps = Vec::new();
        for output in 0..now.outputs.len() {
            let rate = |of: fn(Counts) -> u64| old.and_then(|old| rate(old, &now, output, of));
            let trend = samples
                .iter()
                .zip(samples.iter().skip(1))
                .filter_map(|(old, new)| self::rate(old, new, output, |counts| counts.acked))
                .collect();
            steps.push(Rates {
                events: rate(|counts| counts.acked),
                bytes: rate(|counts| counts.bytes),
                trend,
            });
        }
        steps
    }

    fn samples(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sample {
    fn take(source: &Source, at: Duration) -> Self {
        let counts = |output: &&'static str| Counts::read(&source.metrics, output);
        Self {
            at,
            outputs: source.outputs.iter().map(counts).collect(),
        }
    }
}

impl Counts {
    fn read(metrics: &Metrics, output: &'static str) -> Self {
        let labels = OutputLabels { output };
        Self {
            acked: metrics.output_acked.get(&labels).map_or(0, |count| count.get()),
            bytes: metrics
                .output_write_bytes
                .get(&labels)
                .map_or(0, |count| count.get()),
        }
    }
}

/// How much a counter grew a second.
fn rate(old: &Sample, new: &Sample, output: usize, of: fn(Counts) -> u64) -> Option<f64> {
    let took = new.at.checked_sub(old.at).filter(|took| *took >= SHORTEST)?;
    let count = |sample: &Sample| sample.outputs.get(output).copied().map(of);
    let grown = count(new)?.saturating_sub(count(old)?);
    Some(grown as f64 / took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::endpoints;

    const SECOND: Duration = Duration::from_secs(1);

    fn acknowledge(source: &Source, events: u64) {
        let labels = OutputLabels {
            output: "elasticsearch",
        };
        source.metrics.output_acked.get_or_create(&labels).inc_by(events);
        source
            .metrics
            .output_write_bytes
            .get_or_create(&labels)
            .inc_by(events * 100);
    }

    #[test]
    fn a_rate_is_of_the_last_minute_and_the_trend_of_the_last_samples() {
        let source = endpoints().source;
        let memory = Throughput::default();
        assert_eq!(memory.rates(&source, SECOND), [Rates::default()], "no sample yet");
        for second in (0..100).step_by(5) {
            memory.sample(&source, SECOND * second);
            // Twice as much from the 50th second on.
            acknowledge(&source, if second < 50 { 50 } else { 100 });
        }
        let rates = memory.rates(&source, SECOND * 100).remove(0);
        // From second 40: 10 seconds at 10, 50 at 20.
        assert_eq!(
            (rates.events, rates.bytes),
            (Some(1100.0 / 60.0), Some(110_000.0 / 60.0))
        );
        assert_eq!(rates.trend.len(), 19);
        assert_eq!((rates.trend[0], rates.trend[18]), (10.0, 20.0));
    }

    #[test]
    fn a_moment_after_the_first_sample_says_nothing() {
        let source = endpoints().source;
        let memory = Throughput::default();
        memory.sample(&source, SECOND);
        acknowledge(&source, 5);
        let soon = memory.rates(&source, SECOND + SECOND / 2).remove(0);
        assert_eq!(soon.events, None);
        let later = memory.rates(&source, SECOND * 3).remove(0);
        assert_eq!((later.events, later.trend), (Some(2.5), Vec::new()));
        // After a long sleep of the machine, too.
        let asleep = memory.rates(&source, SECOND * 1000).remove(0);
        assert_eq!(asleep.events, None);
    }

    #[test]
    fn ten_minutes_are_kept() {
        let source = endpoints().source;
        let memory = Throughput::default();
        for step in 0..1000 {
            memory.sample(&source, EVERY * step);
        }
        assert_eq!(memory.rates(&source, EVERY * 1000)[0].trend.len(), KEPT - 1);
    }
}
