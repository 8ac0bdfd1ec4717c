//! One batch: from events to outcomes.
//!
//! Owns the bulk request, the classification of what came of it, and the way of refused events to the dead
//! letters. No event is forgotten: one whose fate is not known in the end is sent again.

use std::io;

use super::super::dead_letter::{self, DeadLetterFile};
use super::super::format::Format;
use super::super::{DropReason, Outcome, RetryReason, SinkError};
use super::answer::{self, ItemError, Verdict};
use super::bulk::{Bulk, Finished};
use super::client::{Answer, Body, Method, Request};
use super::{DeadLetters, Deadline, Shared};
use crate::event::{Event, EventId};

/// The fates of a batch while they are being found out.
struct Fates {
    outcomes: Vec<Option<Outcome>>,
    /// Why events are to be sent again. It becomes the batch's error when nothing at all came of it, so that it
    /// is told and the next try waits.
    cause: Option<SinkError>,
}

/// An event that Elasticsearch refuses.
struct Refusal<'a> {
    /// In the batch.
    position: usize,
    event: &'a Event,
    error: ItemError,
}

impl Fates {
    fn new(count: usize) -> Self {
        Self {
            outcomes: vec![None; count],
            cause: None,
        }
    }

    fn set(&mut self, position: usize, outcome: Outcome) {
        self.outcomes[position] = Some(outcome);
    }

    fn reject(&mut self, position: usize, reason: DropReason, message: String) {
        self.set(position, Outcome::Rejected { reason, message });
    }

    fn retry(&mut self, position: usize, reason: RetryReason, cause: Option<SinkError>) {
        self.set(position, Outcome::Retry(reason));
        self.cause = self.cause.take().or(cause);
    }

    fn decided(self) -> Result<Vec<Outcome>, SinkError> {
        let outcomes: Vec<Outcome> = self
            .outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap_or(Outcome::Retry(RetryReason::Failed)))
            .collect();
        let nothing_done = outcomes
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Retry(_)));
        match self.cause {
            Some(cause) if nothing_done => Err(cause),
            _ => Ok(outcomes),
        }
    }
}

impl Shared {
    pub(super) async fn publish(
        &self,
        host: usize,
        batch: &[Event],
        deadline: &Deadline,
    ) -> Result<Vec<Outcome>, SinkError> {
        let mut fates = Fates::new(batch.len());
        let (bulk, sent) = self.bulk(batch, &mut fates).map_err(compression)?;
        if sent.is_empty() {
            return fates.decided();
        }
        let bulk = bulk.finish().map_err(compression)?;
        let (ids, answer) = self.send(host, bulk, deadline).await?;
        match (answer.status, &sent[..]) {
            (200..=299, _) => {}
            (413, &[only]) => {
                self.too_large(only, &batch[only], &mut fates, deadline).await;
                return fates.decided();
            }
            _ => return Err(self.client.refusal(host, "sending a bulk", &answer)),
        }
        let verdicts = answer::verdicts(&ids, &answer.body).map_err(|_| self.unanswered(host))?;
        let mut refused = Vec::new();
        for (&position, verdict) in sent.iter().zip(verdicts) {
            match verdict {
                Verdict::Accepted => fates.set(position, Outcome::Acked),
                Verdict::Duplicate => fates.set(position, Outcome::Duplicate),
                Verdict::Refused(error) => refused.push(Refusal {
                    position,
                    event: &batch[position],
                    error,
                }),
                open => self.again(host, position, open, &mut fates),
            }
        }
        match &self.dead_letters {
            _ if refused.is_empty() => {}
            DeadLetters::Dropped => {
                for Refusal { position, error, .. } in refused {
                    fates.reject(position, DropReason::Refused, error.summary());
                }
            }
            DeadLetters::File(file) => file_letters(file, &refused, &mut fates, deadline).await,
            DeadLetters::Index(index) => {
                self.index_letters(host, index, refused, &mut fates, deadline)
                    .await;
            }
        }
        fates.decided()
    }

    /// See [`Output::encoded`](crate::output::Output::encoded).
    pub(super) fn encoded(&self, batch: &[Event]) -> Result<Vec<u8>, SinkError> {
        let (bulk, _) = self
            .bulk(batch, &mut Fates::new(batch.len()))
            .map_err(compression)?;
        Ok(bulk.finish().map_err(compression)?.bytes)
    }

    /// The body for the batch and the positions that are in it. Events that cannot be in it are decided here.
    fn bulk(&self, batch: &[Event], fates: &mut Fates) -> io::Result<(Bulk, Vec<usize>)> {
        let mut bulk = Bulk::new(self.compression_level);
        let mut sent = Vec::with_capacity(batch.len());
        for (position, event) in batch.iter().enumerate() {
            let Some(index) = self.index.select(event) else {
                let message =
                    "no index for it: neither a rule of indices nor index fits, for want of a field";
                fates.reject(position, DropReason::NoDestination, message.to_owned());
                continue;
            };
            if !event.body.starts_with(b"{") {
                fates.reject(position, DropReason::Refused, "not a JSON object".to_owned());
                continue;
            }
            let pipeline = self.pipeline.select(event);
            bulk.create(&index, pipeline.as_deref(), event.id, &event.body)?;
            sent.push(position);
        }
        Ok((bulk, sent))
    }

    async fn send(
        &self,
        host: usize,
        bulk: Finished,
        deadline: &Deadline,
    ) -> Result<(Vec<EventId>, Answer), SinkError> {
        let size = bulk.bytes.len() as u64;
        let request = Request {
            method: Method::POST,
            path: &["_bulk"],
            query: &self.parameters,
            body: Some(Body {
                bytes: bulk.bytes,
                kind: "application/x-ndjson",
                gzip: bulk.gzip,
            }),
        };
        let answer = self.client.send(host, request, deadline).await?;
        self.written.inc_by(size);
        Ok((bulk.ids, answer))
    }

    /// Notes that an event is to be sent again, and why.
    fn again(&self, host: usize, position: usize, verdict: Verdict, fates: &mut Fates) {
        match verdict {
            Verdict::TooMany => fates.retry(position, RetryReason::TooMany, None),
            Verdict::Denied(error) => {
                let text = format!(
                    "{}: it may not write there: {}: grant create_doc and auto_configure, or lift the index's \
                     write block",
                    self.client.name(host),
                    error.summary()
                );
                fates.retry(position, RetryReason::Failed, Some(SinkError::Denied(text)));
            }
            Verdict::Unanswered => fates.retry(position, RetryReason::Failed, Some(self.unanswered(host))),
            _ => fates.retry(position, RetryReason::Failed, None),
        }
    }

    fn unanswered(&self, host: usize) -> SinkError {
        SinkError::Protocol(format!(
            "{}: the answer to a bulk does not tell what became of the events: is something else in between, or \
             an ingest pipeline that changes _id?",
            self.client.name(host)
        ))
    }

    /// A request with this event alone is too large.
    async fn too_large(&self, position: usize, event: &Event, fates: &mut Fates, deadline: &Deadline) {
        let message = format!(
            "the event of {} bytes is larger than a request may be: raise http.max_content_length in \
             Elasticsearch, or the limit of the proxy before it",
            event.body.len()
        );
        if let DeadLetters::File(file) = &self.dead_letters {
            let error = ItemError {
                status: 413,
                kind: "too_large".to_owned(),
                reason: message,
            };
            let refusal = Refusal {
                position,
                event,
                error,
            };
            return file_letters(file, &[refusal], fates, deadline).await;
        }
        fates.reject(position, DropReason::TooLarge, message);
    }

    /// Sends dead letters to their index, once. A group that is too large is halved here: the publisher does not
    /// know of it.
    async fn index_letters(
        &self,
        host: usize,
        index: &Format,
        refused: Vec<Refusal<'_>>,
        fates: &mut Fates,
        deadline: &Deadline,
    ) {
        let mut groups = vec![refused];
        while let Some(mut group) = groups.pop() {
            let sent = match self.letters(index, &mut group, fates) {
                _ if group.is_empty() => continue,
                Ok(bulk) => self.send(host, bulk, deadline).await,
                Err(error) => Err(compression(error)),
            };
            let error = match sent {
                Ok((ids, answer)) if (200..=299).contains(&answer.status) => {
                    match answer::verdicts(&ids, &answer.body) {
                        Ok(verdicts) => {
                            self.lettered(host, &group, verdicts, fates);
                            continue;
                        }
                        Err(_) => self.unanswered(host),
                    }
                }
                Ok((_, answer)) if answer.status == 413 && group.len() > 1 => {
                    let half = group.split_off(group.len() / 2);
                    groups.extend([half, group]);
                    continue;
                }
                Ok((_, answer)) if answer.status == 413 => {
                    for refusal in group {
                        let message = format!("{}; its dead letter is too large", refusal.error.summary());
                        fates.reject(refusal.position, DropReason::TooLarge, message);
                    }
                    continue;
                }
                Ok((_, answer)) => self.client.refusal(host, "sending dead letters", &answer),
                Err(error) => error,
            };
            // The host is in trouble: the other groups would meet it too.
            let mut cause = Some(error);
            for refusal in group.iter().chain(groups.iter().flatten()) {
                fates.retry(refusal.position, RetryReason::Failed, cause.take());
            }
            return;
        }
    }

    /// The body for a group of dead letters. Those whose index cannot be told leave the group.
    fn letters(
        &self,
        index: &Format,
        group: &mut Vec<Refusal<'_>>,
        fates: &mut Fates,
    ) -> io::Result<Finished> {
        let mut bulk = Bulk::new(self.compression_level);
        let mut failed = None;
        group.retain(|refusal| {
            let Some(index) = index.of(refusal.event) else {
                let message = format!("{}; no dead-letter index for it", refusal.error.summary());
                fates.reject(refusal.position, DropReason::NoDestination, message);
                return false;
            };
            let letter = dead_letter::document(refusal.event, &refusal.error.kind, &refusal.error.reason);
            if let Err(error) = bulk.create(&index.to_lowercase(), None, refusal.event.id, &letter) {
                failed = Some(error);
            }
            true
        });
        match failed {
            Some(error) => Err(error),
            None => bulk.finish(),
        }
    }

    fn lettered(&self, host: usize, group: &[Refusal<'_>], verdicts: Vec<Verdict>, fates: &mut Fates) {
        for (Refusal { position, error, .. }, verdict) in group.iter().zip(verdicts) {
            match verdict {
                Verdict::Accepted | Verdict::Duplicate => fates.set(*position, Outcome::DeadLettered),
                Verdict::Refused(again) => {
                    let message = format!(
                        "{}; the dead-letter index refuses it too: {}",
                        error.summary(),
                        again.summary()
                    );
                    fates.reject(*position, DropReason::Refused, message);
                }
                open => self.again(host, *position, open, fates),
            }
        }
    }
}

/// Appends dead letters to their file.
async fn file_letters(
    file: &DeadLetterFile,
    refused: &[Refusal<'_>],
    fates: &mut Fates,
    deadline: &Deadline,
) {
    let letters = refused.iter().map(|Refusal { event, error, .. }| {
        (event.id, dead_letter::document(event, &error.kind, &error.reason))
    });
    let appended = file.append(letters, &deadline.permit, deadline.remaining()).await;
    let is_filed = appended.is_ok();
    let mut failed = appended.err();
    for &Refusal { position, .. } in refused {
        if is_filed {
            fates.set(position, Outcome::DeadLettered);
        } else {
            fates.retry(position, RetryReason::Failed, failed.take());
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn compression(error: io::Error) -> SinkError {
    SinkError::Io(format!("cannot compress a bulk: {error}"))
}
