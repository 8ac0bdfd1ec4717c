//! How long sends took.
//!
//! Owns [`Latency`], which is two things at once: a histogram for Prometheus, and for the tree of libbeat's names a
//! sample of what was seen since the start, from which its percentiles are made. The sample is of fixed size, and each
//! send is in it with the same chance (Vitter's algorithm R), as in Beats. Reads no clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Sends that the sample holds.
const SAMPLE: usize = 1024;
/// Bounds of the histogram: a write to a file takes milliseconds, a bulk tens of them, a server in trouble seconds.
const SECONDS: [f64; 11] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The times of sends.
#[derive(Debug, Clone)]
pub struct Latency {
    histogram: Histogram,
    sample: Arc<Mutex<Sample>>,
}

#[derive(Debug, Default)]
struct Sample {
    /// All that were seen.
    count: u64,
    /// Milliseconds of some of them, in no order.
    kept: Vec<u64>,
}

/// What the sample comes to, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Distribution {
    /// Sends since the start.
    pub count: u64,
    /// The shortest.
    pub min: u64,
    /// The longest.
    pub max: u64,
    /// Their mean.
    pub mean: f64,
    /// How far they are from it.
    pub stddev: f64,
    /// Half of them took no longer.
    pub median: f64,
    /// So many of a hundred took no longer.
    pub p75: f64,
    /// As `p75`.
    pub p95: f64,
    /// As `p75`.
    pub p99: f64,
    /// So many of a thousand.
    pub p999: f64,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            histogram: Histogram::new(SECONDS),
            sample: Arc::default(),
        }
    }
}

impl Latency {
    /// One more send, which took so long.
    pub fn observe(&self, took: Duration) {
        self.histogram.observe(took.as_secs_f64());
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let mut sample = self.sample.lock().unwrap_or_else(PoisonError::into_inner);
        sample.count += 1;
        if sample.kept.len() < SAMPLE {
            sample.kept.push(millis);
            return;
        }
        let place = usize::try_from(fastrand::u64(..sample.count)).unwrap_or(usize::MAX);
        if let Some(old) = sample.kept.get_mut(place) {
            *old = millis;
        }
    }

    /// What was seen so far.
    pub fn distribution(&self) -> Distribution {
        let (count, mut kept) = {
            let sample = self.sample.lock().unwrap_or_else(PoisonError::into_inner);
            (sample.count, sample.kept.clone())
        };
        kept.sort_unstable();
        let (Some(min), Some(max)) = (kept.first(), kept.last()) else {
            return Distribution::default();
        };
        let number = kept.len() as f64;
        let mean = kept.iter().map(|millis| *millis as f64).sum::<f64>() / number;
        let variance = kept
            .iter()
            .map(|millis| (*millis as f64 - mean).powi(2))
            .sum::<f64>()
            / number;
        Distribution {
            count,
            min: *min,
            max: *max,
            mean,
            stddev: variance.sqrt(),
            median: percentile(&kept, 0.5),
            p75: percentile(&kept, 0.75),
            p95: percentile(&kept, 0.95),
            p99: percentile(&kept, 0.99),
            p999: percentile(&kept, 0.999),
        }
    }
}

/// Between the two neighbours of the place, as the library does that Beats use. `sorted` is not empty.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a sample of 1024"
)]
fn percentile(sorted: &[u64], part: f64) -> f64 {
    let place = part * (sorted.len() as f64 + 1.0);
    let below = place.floor() as usize;
    let at = |place: usize| {
        sorted
            .get(place.min(sorted.len() - 1))
            .map_or(0.0, |millis| *millis as f64)
    };
    if below < 1 {
        return at(0);
    }
    let (lower, upper) = (at(below - 1), at(below));
    lower + place.fract() * (upper - lower)
}

impl EncodeMetric for Latency {
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.histogram.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl TypedMetric for Latency {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(millis: impl IntoIterator<Item = u64>) -> Distribution {
        let latency = Latency::default();
        for millis in millis {
            latency.observe(Duration::from_millis(millis));
        }
        latency.distribution()
    }

    #[test]
    fn nothing_seen_is_all_zero() {
        assert_eq!(of([]), Distribution::default());
    }

    /// The second and the third line of <https://github.com/elastic/beats/pull/37445>.
    #[test]
    fn the_figures_are_those_of_beats() {
        let two = of([132, 260]);
        assert_eq!((two.count, two.min, two.max), (2, 132, 260));
        assert_eq!((two.mean, two.median, two.stddev), (196.0, 196.0, 64.0));
        assert_eq!(
            (two.p75, two.p95, two.p99, two.p999),
            (260.0, 260.0, 260.0, 260.0)
        );
        let five = of([132, 260, 240, 251, 276]);
        assert_eq!((five.mean, five.median, five.p75), (231.8, 251.0, 268.0));
        assert!((five.stddev - 51.273_384_908_741_88).abs() < 1e-9, "{five:?}");
    }

    #[test]
    fn the_sample_is_bounded_and_stays_near_the_truth() {
        let latency = Latency::default();
        for millis in 0..100_000 {
            latency.observe(Duration::from_millis(millis));
        }
        assert_eq!(latency.sample.lock().unwrap().kept.len(), SAMPLE);
        let seen = latency.distribution();
        assert_eq!(seen.count, 100_000);
        // 20 standard deviations of the mean of 1024.
        assert!((seen.mean - 50_000.0).abs() < 20_000.0, "{seen:?}");
        assert!(seen.median < seen.p75 && seen.p75 < seen.p95 && seen.p95 <= seen.p999);
    }
}
