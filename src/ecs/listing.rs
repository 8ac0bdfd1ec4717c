//! Short lists that are needed before polling: nodes, names.
//!
//! Owns [`Listing`]: it keeps what is wanted of each record while the answer comes in, so that whatever else an
//! answer holds is never in memory as a whole. The records that are polled go another way, see `collect`.

use super::answer::Answer;
use super::client::Read;
use super::error::EcsError;
use crate::decode::{Decoder, Envelope};

/// Takes something out of every record of an answer.
#[derive(Debug)]
pub struct Listing<'a, T, F> {
    records: Option<&'a str>,
    take: F,
    found: Vec<T>,
}

impl<'a, T, F: Fn(&[u8]) -> Option<T>> Listing<'a, T, F> {
    /// A listing of what `take` gives for the records at the pointer `records` (by shape, where that is `None`).
    pub fn new(records: Option<&'a str>, take: F) -> Self {
        Self {
            records,
            take,
            found: Vec::new(),
        }
    }

    /// What was found in the last answer that was read to its end.
    pub fn found(self) -> Vec<T> {
        self.found
    }
}

impl<T: Send, F: Fn(&[u8]) -> Option<T> + Send> Read for Listing<'_, T, F> {
    type Output = Envelope;

    async fn read(&mut self, answer: &mut Answer) -> Result<Envelope, EcsError> {
        // An answer that broke off before is read anew.
        self.found.clear();
        let mut decoder = Decoder::new(self.records);
        while let Some(chunk) = answer.chunk().await? {
            decoder.feed(&chunk).map_err(|error| answer.broken(error))?;
            while let Some(record) = decoder.record().map_err(|error| answer.broken(error))? {
                self.found.extend((self.take)(record));
            }
        }
        let envelope = decoder.finish().map_err(|error| answer.broken(error))?;
        self.found
            .extend(envelope.rest().iter().filter_map(|record| (self.take)(record)));
        Ok(envelope)
    }
}
