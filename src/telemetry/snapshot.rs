//! A family of gauges that is told as a whole.
//!
//! Owns [`Snapshot`]. Whoever follows from something that comes and goes, as the commands of a tenure do, must not keep
//! a gauge for each: one that is forgotten would show its last value for ever.

use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;

/// The values and their labels, no labels twice. Clones show the same.
#[derive(Debug)]
pub(super) struct Snapshot<L>(Arc<ArcSwap<Vec<(L, f64)>>>);

impl<L> Snapshot<L> {
    /// From now on there are these and no others.
    pub(super) fn tell(&self, values: Vec<(L, f64)>) {
        self.0.store(Arc::new(values));
    }
}

impl<L> Clone for Snapshot<L> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<L> Default for Snapshot<L> {
    fn default() -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Vec::new())))
    }
}

impl<L: EncodeLabelSet> EncodeMetric for Snapshot<L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (labels, value) in self.0.load().iter() {
            encoder.encode_family(labels)?.encode_gauge(value)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }

    fn is_empty(&self) -> bool {
        self.0.load().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn shows_what_was_told_last_and_nothing_else() {
        let lag = Snapshot::<Vec<(&str, &str)>>::default();
        let mut registry = Registry::default();
        registry.register("lag", "Lag", lag.clone());
        let shown = || {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text
        };
        assert_eq!(shown(), "# EOF\n");
        lag.tell(vec![(vec![("vdc", "a")], 1.5), (vec![("vdc", "b")], 2.0)]);
        assert!(
            shown().ends_with("# TYPE lag gauge\nlag{vdc=\"a\"} 1.5\nlag{vdc=\"b\"} 2.0\n# EOF\n"),
            "{}",
            shown()
        );
        lag.tell(vec![(vec![("vdc", "b")], 3.0)]);
        assert!(!shown().contains("\"a\""), "{}", shown());
        lag.tell(Vec::new());
        assert_eq!(shown(), "# EOF\n");
    }
}
