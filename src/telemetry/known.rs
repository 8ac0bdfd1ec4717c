//! A gauge that is there only while its value is known.
//!
//! Owns [`Known`]. A series that says 0 where nobody knows would start alarms: a lease with 0 s left, an etcd last
//! seen in 1970. Absent is what it is then.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use prometheus_client::encoding::{EncodeGaugeValue, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;

/// The value, if it is known. Clones show the same.
#[derive(Debug)]
pub struct Known<N = i64>(Arc<ArcSwapOption<N>>);

impl<N> Known<N> {
    /// From now on it is this; `None` = nobody knows.
    pub fn tell(&self, value: Option<N>) {
        self.0.store(value.map(Arc::new));
    }
}

impl<N> Clone for Known<N> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<N> Default for Known<N> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<N: EncodeGaugeValue> EncodeMetric for Known<N> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        match &*self.0.load() {
            Some(value) => encoder.encode_gauge(&**value),
            // It went away since `is_empty` was asked.
            None => Ok(()),
        }
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }

    fn is_empty(&self) -> bool {
        self.0.load().is_none()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn is_absent_until_it_is_known_and_again_when_it_is_not() {
        let gauge = Known::<f64>::default();
        let mut registry = Registry::default();
        registry.register("left", "What is left", gauge.clone());
        let shown = || {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text
        };
        assert_eq!(shown(), "# EOF\n");
        gauge.tell(Some(1.5));
        assert!(shown().contains("# TYPE left gauge\nleft 1.5\n"), "{}", shown());
        gauge.tell(None);
        assert_eq!(shown(), "# EOF\n");
    }
}
