//! What was written, also by a write that nobody waited for any more.
//!
//! Owns the account between one sink and its [`Writer`]: what a write finishes after its time was up counts when its
//! events come again, so that no document is written twice. It must be the only one to append through that writer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use super::writer::{Answer, Interrupted, Leave, Records, Writer, late, lost};
use crate::election::Permit;
use crate::event::EventId;

/// A writer, and what its sink has not been told of.
#[derive(Debug)]
pub(super) struct Tally {
    writer: Writer,
    /// Bytes of whole documents.
    bytes: Counter,
    /// A write whose answer did not come in time.
    unanswered: Option<Unanswered>,
    /// The events of documents that are written, which the sink takes for unwritten.
    untold: Vec<EventId>,
}

#[derive(Debug)]
struct Unanswered {
    records: Arc<Records>,
    answer: Answer,
}

impl Tally {
    /// Nothing is written yet; `bytes` counts what will be.
    pub(super) fn new(writer: Writer, bytes: Counter) -> Self {
        Self {
            writer,
            bytes,
            unanswered: None,
            untold: Vec::new(),
        }
    }

    /// Makes the target ready.
    pub(super) async fn open(&self, budget: Duration) -> io::Result<()> {
        self.writer.open(budget).await
    }

    /// As [`Writer::append`], but documents that an earlier write finished late count as written already.
    pub(super) async fn append(
        &mut self,
        mut records: Records,
        permit: &Permit,
        budget: Duration,
    ) -> Result<(), Interrupted> {
        let deadline = Instant::now() + budget;
        // The thread would not begin before it is done with that one.
        if self.answer(deadline).await.is_none() {
            return Err(late(budget));
        }
        let known = self.known(&records);
        records.skip(known);
        if records.len() == 0 {
            return Ok(());
        }
        let leave = Leave::new(Some(permit.clone()));
        let _stop_when_dropped = leave.ends_with();
        let records = Arc::new(records);
        let answer = self.writer.begin(Arc::clone(&records), leave);
        self.unanswered = Some(Unanswered { records, answer });
        let result = self.answer(deadline).await;
        // The sink hears of it now.
        self.untold.clear();
        result
            .unwrap_or_else(|| Err(late(budget)))
            .map_err(|Interrupted { written, error }| Interrupted {
                written: written + known,
                error,
            })
    }

    /// Waits for the answer that is due, if one is. `None`: it did not come in time, and is due still.
    async fn answer(&mut self, deadline: Instant) -> Option<Result<(), Interrupted>> {
        let Some(Unanswered { records, answer }) = &mut self.unanswered else {
            return Some(Ok(()));
        };
        let result = tokio::time::timeout_at(deadline, answer)
            .await
            .ok()?
            .unwrap_or_else(|_| Err(lost()));
        let written = match &result {
            Ok(()) => records.len(),
            Err(interrupted) => interrupted.written,
        };
        self.bytes.inc_by(records.start(written) as u64);
        self.untold.extend(&records.ids[..written]);
        self.unanswered = None;
        Some(result)
    }

    /// How many documents at the beginning of `records` are written already. What is tried again comes first and in
    /// its order: where another event comes, the rest was given up.
    fn known(&mut self, records: &Records) -> usize {
        let pairs = self.untold.iter().zip(&records.ids);
        let known = pairs.take_while(|(untold, id)| untold == id).count();
        if known < records.len() {
            self.untold.clear();
        } else {
            self.untold.drain(..known);
        }
        known
    }
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
