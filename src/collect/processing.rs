//! Sends finished events through the processors.
//!
//! Owns what is counted and logged of that. It happens in the unit's task, before the queue: an event that a processor
//! drops takes no room there, and counts as done for its poll.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Unit;
use crate::processor::{Notice, Processors, Told, Verdict};
use crate::telemetry::metrics::{FilterLabels, ProcessorLabels};
use crate::telemetry::repeat::OncePer;

/// Pause between two log lines of one processor: most failures are of every event of a kind.
const PAUSE: Duration = Duration::from_secs(60);

/// The processors of all units, and what was told of them.
#[derive(Debug)]
pub struct Processing {
    /// Every processor of the configuration.
    pub processors: Processors,
    told: OncePer<(Arc<str>, bool)>,
}

impl Processing {
    /// Nothing was told yet.
    pub fn new(processors: Processors) -> Self {
        Self {
            processors,
            told: OncePer::new(PAUSE),
        }
    }
}

/// The document as it goes on; `None`: a processor dropped the event, which is counted.
pub(super) fn process(unit: &Unit, body: Bytes) -> Option<Bytes> {
    let mut notices = Vec::new();
    let verdict = unit.chain.run(body, &mut notices);
    for notice in &notices {
        tell(unit, notice);
    }
    match verdict {
        Verdict::Keep(body) => Some(body),
        Verdict::Drop(processor) => {
            let labels = unit.labels();
            let labels = FilterLabels {
                customer: labels.customer,
                vdc: labels.vdc,
                command: labels.command,
                processor,
            };
            unit.context.metrics.filtered_events.get_or_create(&labels).inc();
            None
        }
    }
}

fn tell(unit: &Unit, notice: &Notice) {
    let metrics = &unit.context.metrics;
    let labels = ProcessorLabels {
        processor: notice.processor,
    };
    let stays = matches!(notice.event, Told::Protected(_));
    let counter = if stays {
        &metrics.processor_protected_fields
    } else {
        &metrics.processor_errors
    };
    counter.get_or_create(&labels).inc();
    let key = (Arc::clone(&notice.place), stays);
    let Some(suppressed) = unit.context.processing.told.pass(&key) else {
        return;
    };
    let (stream, processor) = (&unit.stream, &*notice.place);
    match &notice.event {
        Told::Failed(error) => {
            tracing::warn!(%stream, processor, error, suppressed, "a processor failed on an event, which goes on without it");
        }
        Told::Protected(field) => {
            tracing::warn!(%stream, processor, field, suppressed, "a processor must not change this field of an event; it stays");
        }
    }
}
