//! One POST for each group of names out of a list: how billing is asked.
//!
//! Owns the reading of the list and the groups. A group that fails does not keep the others from being asked. A
//! name that is gone by the time it is asked for gives no row, which is no error. Rows are matched by what is in
//! them, never by position.

use bytes::Bytes;

use super::emit::Emitter;
use super::pages::Markers;
use super::{Round, Unit, escape};
use crate::config::Batch;
use crate::decode::Envelope;
use crate::ecs::{Client, EcsError, Listing, Query};

impl Unit {
    /// Asks about every name of the list, in groups.
    pub(super) async fn batches(
        &self,
        client: &Client,
        batch: &Batch,
        round: &Round,
        emitter: &mut Emitter<'_>,
    ) -> Vec<EcsError> {
        let names = match self.names(client, batch).await {
            Ok(names) => names,
            Err(error) => return vec![error],
        };
        let mut errors = Vec::new();
        for group in names.chunks(batch.size.max(1)) {
            let body = serde_json::json!({ batch.body_key.as_str(): group });
            let query = Query {
                body: Some(Bytes::from(body.to_string())),
                ..self.query(None, round)
            };
            match (
                self.page(client, &query, self.records(), emitter).await,
                &batch.fallback_uri,
            ) {
                (Ok(_), _) => {}
                // This version has no question about several names.
                (Err(EcsError::Unsupported { .. }), Some(uri)) => {
                    errors.extend(self.one_by_one(client, uri, group, round, emitter).await);
                }
                (Err(EcsError::Stopped), _) => return vec![EcsError::Stopped],
                (Err(error), _) => errors.push(error),
            }
        }
        // One error tells what is wrong; a hundred groups may have failed for the same reason.
        errors.dedup_by_key(|error| error.reason());
        errors
    }

    async fn one_by_one(
        &self,
        client: &Client,
        uri: &str,
        names: &[String],
        round: &Round,
        emitter: &mut Emitter<'_>,
    ) -> Vec<EcsError> {
        let mut errors = Vec::new();
        for name in names {
            let path = self.in_window(uri.replace("%s", &escape(name)), round);
            // One name's answer is its one record.
            match self.page(client, &Query::get(path), None, emitter).await {
                // The name is gone, or the version has neither question: the list says which.
                Ok(_) | Err(EcsError::Unsupported { status: 404, .. }) => {}
                Err(error) => errors.push(error),
            }
        }
        errors
    }

    /// The names in the list, with all its pages.
    async fn names(&self, client: &Client, batch: &Batch) -> Result<Vec<String>, EcsError> {
        let mut names = Vec::new();
        let Some(paginate) = &batch.list_paginate else {
            self.names_of_page(client, batch, &batch.list_uri, &mut names)
                .await?;
            return Ok(names);
        };
        let mut markers = Markers::new(paginate, &batch.list_uri);
        let mut path = markers.first();
        loop {
            let envelope = self.names_of_page(client, batch, &path, &mut names).await?;
            match markers.next(&envelope)? {
                Some(next) => path = next,
                None => break,
            }
        }
        // A name that was added meanwhile may shift another to the next page.
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    async fn names_of_page(
        &self,
        client: &Client,
        batch: &Batch,
        path: &str,
        names: &mut Vec<String>,
    ) -> Result<Envelope, EcsError> {
        let name = |record: &[u8]| crate::event::field(record, &batch.list_field);
        let mut listing = Listing::new(Some(&batch.list_records), name);
        let envelope = client.fetch(&Query::get(path), &mut listing).await?;
        names.extend(listing.found());
        Ok(envelope)
    }
}
