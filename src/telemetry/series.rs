//! The metrics read back, for those who need sums instead of series.
//!
//! Owns [`Series`]: every sample of [`Metrics`], taken from the very text that `/metrics` gives, so that the two
//! can never disagree. Families cannot be listed in any other way.

use std::collections::BTreeMap;

use super::metrics::Metrics;

/// All samples at one moment.
#[derive(Debug, Default)]
pub struct Series(Vec<Sample>);

#[derive(Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: Number,
}

/// Whole numbers stay whole: counters of bytes outgrow what a float holds exactly.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Number {
    Whole(i128),
    Float(f64),
}

impl Series {
    /// Takes all samples.
    pub fn read(metrics: &Metrics) -> Self {
        Self::parse(&metrics.openmetrics().unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(Sample::parse).collect())
    }

    /// The sum of all series of that name, without the prefix `ecsbeat_`, that have all of these label values.
    pub fn sum_of(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let has_all = |sample: &&Sample| {
            labels
                .iter()
                .all(|(label, value)| sample.label(label) == Some(value))
        };
        whole(self.named(name).filter(has_all))
    }

    /// The sum of all series of that name.
    pub fn sum(&self, name: &str) -> u64 {
        whole(self.named(name))
    }

    /// The sums of all series of that name, by the value of one label.
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<&str, u64> {
        let mut sums = BTreeMap::new();
        for sample in self.named(name) {
            if let Some(value) = sample.label(label) {
                let sum: &mut u64 = sums.entry(value).or_default();
                *sum = sum.saturating_add(whole(std::iter::once(sample)));
            }
        }
        sums
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.0
            .iter()
            .filter(move |sample| sample.name.strip_prefix("ecsbeat_") == Some(name))
    }
}

impl Sample {
    fn label(&self, key: &str) -> Option<&str> {
        self.labels
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// `name{key="value",…} number`; comments and blank lines are none.
    fn parse(line: &str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let end = line.find(['{', ' '])?;
        let (name, mut rest) = line.split_at(end);
        let mut labels = Vec::new();
        if let Some(list) = rest.strip_prefix('{') {
            rest = list;
            while !rest.starts_with('}') {
                let (key, after) = rest.trim_start_matches(',').split_once("=\"")?;
                let (value, after) = quoted(after)?;
                labels.push((key.to_owned(), value));
                rest = after;
            }
            rest = &rest[1..];
        }
        let number = rest.split_ascii_whitespace().next()?;
        let value = match number.parse() {
            Ok(whole) => Number::Whole(whole),
            Err(_) => Number::Float(number.parse().ok()?),
        };
        Some(Self {
            name: name.to_owned(),
            labels,
            value,
        })
    }
}

/// The text up to the closing quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            c => value.push(c),
        }
    }
    None
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and sums of gauges are shown as whole numbers that are never negative"
)]
fn whole<'a>(samples: impl Iterator<Item = &'a Sample>) -> u64 {
    let sum: i128 = samples
        .map(|sample| match sample.value {
            Number::Whole(number) => number,
            Number::Float(number) => i128::from(number as u64),
        })
        .sum();
    u64::try_from(sum.max(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::{CommandLabels, DropLabels, OutputLabels};

    #[test]
    fn reads_back_what_was_counted() {
        let metrics = Metrics::new();
        for (customer, command, events) in [
            ("A", "nodes", 3),
            ("A \"x\",}\\\n=\"", "nodes", 4),
            ("A", "disks", 5),
        ] {
            let labels = CommandLabels {
                customer: customer.to_owned(),
                vdc: "VDC1".to_owned(),
                command: command.to_owned(),
            };
            metrics.events.get_or_create(&labels).inc_by(events);
        }
        let file = OutputLabels { output: "file" };
        metrics
            .output_write_bytes
            .get_or_create(&file)
            .inc_by(9_007_199_254_740_993);
        let dropped = DropLabels {
            output: "file",
            reason: "refused",
        };
        metrics.output_dropped.get_or_create(&dropped).inc_by(2);
        metrics.queue_bytes.set(7);
        let series = Series::read(&metrics);
        assert_eq!(series.sum("events_total"), 12);
        assert_eq!(
            series.by("events_total", "command"),
            BTreeMap::from([("disks", 5), ("nodes", 7)])
        );
        assert_eq!(
            series.by("events_total", "customer").get("A \"x\",}\\\n=\""),
            Some(&4)
        );
        assert_eq!(series.sum("output_write_bytes_total"), 9_007_199_254_740_993);
        assert_eq!(
            series.sum_of(
                "output_dropped_events_total",
                &[("output", "file"), ("reason", "refused")]
            ),
            2
        );
        assert_eq!(
            series.sum_of("output_dropped_events_total", &[("reason", "too_large")]),
            0
        );
        assert_eq!(
            series.sum_of(
                "output_dropped_events_total",
                &[("output", "console"), ("reason", "refused")]
            ),
            0
        );
        assert_eq!(series.sum("queue_filled_bytes"), 7);
        assert_eq!(series.sum("no_such_series"), 0);
    }

    #[test]
    fn a_broken_line_is_left_out() {
        for line in ["", "#", "x", "ecsbeat_a{b=\"c", "ecsbeat_a{b} 1", "ecsbeat_a one"] {
            assert_eq!(Series::parse(line).sum("a"), 0, "{line}");
        }
    }
}
