//! Reads answers record by record, page after page.
//!
//! Owns the following of page markers, with a guard against markers that go round in a circle, and the reading
//! of an answer's body into the emitter while it is still coming in.

use std::collections::HashSet;

use super::emit::{Broken, Emitter};
use super::{Unit, with_parameter};
use crate::config::Paginate;
use crate::decode::{Decoder, Envelope};
use crate::ecs::{Answer, Client, EcsError, Query, Read};

/// Emits every record of an answer; gives what surrounds them.
pub(super) struct Records<'a, 'e> {
    pub(super) emitter: &'a mut Emitter<'e>,
    pub(super) records: Option<&'a str>,
}

impl Read for Records<'_, '_> {
    type Output = Envelope;

    async fn read(&mut self, answer: &mut Answer) -> Result<Envelope, EcsError> {
        self.emitter.answered(answer.took());
        let mut decoder = Decoder::new(self.records);
        while let Some(chunk) = answer.chunk().await? {
            decoder.feed(&chunk).map_err(|error| answer.broken(error))?;
            while let Some(record) = decoder.record().map_err(|error| answer.broken(error))? {
                self.emitter
                    .record(record, false)
                    .await
                    .map_err(|broken| ended(answer, broken))?;
            }
        }
        let envelope = decoder.finish().map_err(|error| answer.broken(error))?;
        let alone = envelope.rest().len() == 1;
        for record in envelope.rest() {
            self.emitter
                .record(record, alone)
                .await
                .map_err(|broken| ended(answer, broken))?;
        }
        Ok(envelope)
    }
}

fn ended(answer: &Answer, broken: Broken) -> EcsError {
    match broken {
        Broken::Record(error) => answer.broken(error),
        Broken::Ended(error) => error,
    }
}

impl Unit {
    /// Sends the query and emits its records, with all following pages.
    pub(super) async fn pages(
        &self,
        client: &Client,
        query: Query,
        emitter: &mut Emitter<'_>,
    ) -> Result<(), EcsError> {
        let Some(paginate) = &self.command.paginate else {
            self.page(client, &query, self.records(), emitter).await?;
            return Ok(());
        };
        let mut markers = Markers::new(paginate, &query.path);
        let mut query = Query {
            path: markers.first(),
            ..query
        };
        loop {
            let envelope = self.page(client, &query, self.records(), emitter).await?;
            match markers.next(&envelope)? {
                Some(path) => query.path = path,
                None => return Ok(()),
            }
        }
    }

    /// Where the command's answers have their records, if that is configured.
    pub(super) fn records(&self) -> Option<&str> {
        self.command.records.as_deref()
    }

    /// Sends the query and emits the records of its one answer.
    pub(super) async fn page(
        &self,
        client: &Client,
        query: &Query,
        records: Option<&str>,
        emitter: &mut Emitter<'_>,
    ) -> Result<Envelope, EcsError> {
        // An output that is down for long fills the queue; there is no use in asking then.
        self.context.queue.ready().await.map_err(|_| EcsError::Stopped)?;
        let mut reader = Records { emitter, records };
        client.fetch(query, &mut reader).await
    }
}

/// The way from page to page.
pub(super) struct Markers<'a> {
    paginate: &'a Paginate,
    base: String,
    seen: HashSet<String>,
}

impl<'a> Markers<'a> {
    pub(super) fn new(paginate: &'a Paginate, path: &str) -> Self {
        let base = match paginate.limit {
            Some(limit) => with_parameter(path, "limit", &limit.to_string()),
            None => path.to_owned(),
        };
        Self {
            paginate,
            base,
            seen: HashSet::new(),
        }
    }

    /// The path of the first page.
    pub(super) fn first(&self) -> String {
        self.base.clone()
    }

    /// The path of the page after the one that `envelope` came with; `None` when that was the last.
    pub(super) fn next(&mut self, envelope: &Envelope) -> Result<Option<String>, EcsError> {
        let Some(marker) = envelope.text(&self.paginate.marker) else {
            return Ok(None);
        };
        let next = with_parameter(&self.base, &self.paginate.param, &marker);
        let marker = marker.into_owned();
        if self.seen.contains(&marker) {
            return Err(EcsError::MarkerLoop {
                path: self.base.clone(),
                marker,
            });
        }
        self.seen.insert(marker);
        Ok(Some(next))
    }
}
