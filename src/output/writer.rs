//! Writing that may block, on a thread of its own.
//!
//! Owns the hand-over from a sink to its file or pipe. A write to a full pipe or a hanging disk can take for ever
//! and nothing can interrupt it, so it must never happen on the runtime, and the thread is never waited for: the
//! process ends without it. When the sink's future is let go of, the rest of the batch is not written any more; what
//! such a write finished all the same, [`super::tally`] finds out.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::codec::Encoder;
use super::{Outcome, RetryReason, SinkError};
use crate::election::Permit;
use crate::event::{Event, EventId};

/// Documents ready to be written, each with its line break.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) bytes: Vec<u8>,
    /// Where each document ends.
    pub(super) ends: Vec<usize>,
    /// The event of each document.
    pub(super) ids: Vec<EventId>,
}

/// A write that broke off.
#[derive(Debug)]
pub(super) struct Interrupted {
    /// Documents that are safely there.
    pub(super) written: usize,
    pub(super) error: io::Error,
}

/// What is written to. Its methods block.
pub(super) trait Target: Send + 'static {
    /// Makes it ready, also after an error.
    fn open(&mut self) -> io::Result<()>;

    /// Writes the records as far as possible. Begins nothing more once `stop` is set.
    fn append(&mut self, records: &Records, leave: &Leave) -> Result<(), Interrupted>;
}

/// Leave to write on: until nobody waits for it any more, or the tenure is over.
#[derive(Debug, Clone)]
pub(super) struct Leave {
    stop: Arc<AtomicBool>,
    permit: Option<Permit>,
}

impl Leave {
    /// Leave until the permit, where there is one, ends.
    pub(super) fn new(permit: Option<Permit>) -> Self {
        Self {
            stop: Arc::default(),
            permit,
        }
    }

    /// Ends the leave when this is dropped.
    pub(super) fn ends_with(&self) -> StopWhenDropped {
        StopWhenDropped(Arc::clone(&self.stop))
    }

    /// Asked before each document: the process may have been paused since the last one.
    pub(super) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
            || self.permit.as_ref().is_some_and(|permit| permit.check().is_err())
    }

    #[cfg(test)]
    pub(super) fn for_ever() -> Self {
        Self::new(None)
    }

    #[cfg(test)]
    pub(super) fn given_up() -> Self {
        Self {
            stop: Arc::new(AtomicBool::new(true)),
            permit: None,
        }
    }
}

/// The thread's address. The thread ends when this is dropped and its work is done.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
}

/// What is told about a job once it is done.
pub(super) type Answer = oneshot::Receiver<Result<(), Interrupted>>;

#[derive(Debug)]
struct Job {
    work: Work,
    leave: Leave,
    answer: oneshot::Sender<Result<(), Interrupted>>,
}

#[derive(Debug)]
enum Work {
    Open,
    Append(Arc<Records>),
}

impl Records {
    /// Ends the document of this event, whose bytes were appended.
    pub(super) fn end(&mut self, id: EventId) {
        self.bytes.push(b'\n');
        self.ends.push(self.bytes.len());
        self.ids.push(id);
    }

    /// Takes the first documents out.
    pub(super) fn skip(&mut self, count: usize) {
        let start = self.start(count);
        self.bytes.drain(..start);
        self.ends.drain(..count);
        self.ids.drain(..count);
        for end in &mut self.ends {
            *end -= start;
        }
    }

    /// The bytes of documents `from..until`.
    pub(super) fn slice(&self, from: usize, until: usize) -> &[u8] {
        &self.bytes[self.start(from)..self.start(until)]
    }

    /// Where document `position` begins.
    pub(super) fn start(&self, position: usize) -> usize {
        match position.checked_sub(1) {
            Some(before) => self.ends[before],
            None => 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }
}

/// A batch ready to be written.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) records: Records,
    /// What became already of events that cannot be written, by their place in the batch.
    rejected: Vec<Option<Outcome>>,
}

impl Encoded {
    /// Each event of `batch` as a document that ends with a line break.
    pub(super) fn of(batch: &[Event], encoder: &Encoder) -> Self {
        let mut records = Records::default();
        let rejected = batch
            .iter()
            .map(|event| {
                encoder
                    .encode(event, &mut records.bytes)
                    .map(|()| records.end(event.id))
                    .err()
            })
            .collect();
        Self { records, rejected }
    }

    /// Takes the records, and leaves what is needed to tell the outcomes.
    pub(super) fn take_records(&mut self) -> Records {
        std::mem::take(&mut self.records)
    }

    /// What became of the batch when its records were written like that. As long as something came of it the rest is
    /// tried again at once; that try meets the error too and tells it.
    pub(super) fn outcomes(self, written: Result<(), Interrupted>) -> Result<Vec<Outcome>, SinkError> {
        let mut left = match written {
            Ok(()) => usize::MAX,
            Err(Interrupted { written: 0, error }) => return Err(SinkError::Io(error.to_string())),
            Err(Interrupted { written, .. }) => written,
        };
        let outcome = |rejected: Option<Outcome>| {
            rejected.unwrap_or_else(|| {
                if left == 0 {
                    return Outcome::Retry(RetryReason::Failed);
                }
                left -= 1;
                Outcome::Acked
            })
        };
        Ok(self.rejected.into_iter().map(outcome).collect())
    }
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(name: &str, mut target: impl Target) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            for job in queue {
                let result = if job.leave.is_over() {
                    Err(stopped(0))
                } else {
                    match &job.work {
                        Work::Open => target.open().map_err(|error| Interrupted { written: 0, error }),
                        Work::Append(records) => target.append(records, &job.leave),
                    }
                };
                // Nobody may be left to hear it.
                let _ = job.answer.send(result);
            }
        })?;
        Ok(Self { jobs })
    }

    /// Makes the target ready.
    pub(super) async fn open(&self, budget: Duration) -> io::Result<()> {
        let leave = Leave::new(None);
        let _stop_when_dropped = leave.ends_with();
        let answer = self.send(Work::Open, leave);
        heard(answer, budget)
            .await
            .map_err(|interrupted| interrupted.error)
    }

    /// Writes `records` for as long as the permit holds. Dropping the future stops the writing after the document at
    /// hand.
    pub(super) async fn append(
        &self,
        records: Records,
        permit: &Permit,
        budget: Duration,
    ) -> Result<(), Interrupted> {
        let leave = Leave::new(Some(permit.clone()));
        let _stop_when_dropped = leave.ends_with();
        heard(self.begin(Arc::new(records), leave), budget).await
    }

    /// Has `records` written while `leave` lasts; the answer is to be waited for by the caller.
    pub(super) fn begin(&self, records: Arc<Records>, leave: Leave) -> Answer {
        self.send(Work::Append(records), leave)
    }

    fn send(&self, work: Work, leave: Leave) -> Answer {
        let (answer, result) = oneshot::channel();
        // A thread that has ended drops the job, and with it the sender of the answer.
        let _ = self.jobs.send(Job { work, leave, answer });
        result
    }
}

async fn heard(answer: Answer, budget: Duration) -> Result<(), Interrupted> {
    match tokio::time::timeout(budget, answer).await {
        Ok(result) => result.unwrap_or_else(|_| Err(lost())),
        Err(_) => Err(late(budget)),
    }
}

/// The answer when there is none, nor will be.
pub(super) fn lost() -> Interrupted {
    Interrupted {
        written: 0,
        error: io::Error::other("the writing thread has ended"),
    }
}

/// The answer when there is none yet.
pub(super) fn late(budget: Duration) -> Interrupted {
    Interrupted {
        written: 0,
        error: io::Error::new(io::ErrorKind::TimedOut, format!("not written within {budget:?}")),
    }
}

/// The answer when a write was stopped after `written` documents.
pub(super) fn stopped(written: usize) -> Interrupted {
    Interrupted {
        written,
        error: io::Error::new(
            io::ErrorKind::Interrupted,
            "stopped before everything was written",
        ),
    }
}

/// The end of a [`Leave`].
pub(super) struct StopWhenDropped(Arc<AtomicBool>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::config::Codec;
    use crate::output::DropReason;
    use crate::output::samples::{event, permit};

    fn encoded(batch: &[Event], codec: &Codec) -> Encoded {
        Encoded::of(batch, &Encoder::lines("output.test", codec).unwrap())
    }

    fn records(batch: &[Event]) -> Records {
        encoded(batch, &Codec::default()).records
    }

    /// Takes what is appended when `gate` lets it.
    struct Gated {
        gate: mpsc::Receiver<()>,
        appended: Arc<Mutex<Vec<usize>>>,
    }

    impl Target for Gated {
        fn open(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn append(&mut self, records: &Records, _: &Leave) -> Result<(), Interrupted> {
            self.gate.recv().unwrap();
            self.appended.lock().unwrap().push(records.len());
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_stuck_write_ends_with_the_budget_and_what_waits_behind_it_is_not_written() {
        let (open_gate, gate) = mpsc::channel();
        let appended = Arc::new(Mutex::new(Vec::new()));
        let target = Gated {
            gate,
            appended: Arc::clone(&appended),
        };
        let writer = Writer::start("test", target).unwrap();
        let batch = [event("{}"), event("{}")];
        let short = Duration::from_millis(20);
        for _ in 0..2 {
            let error = writer
                .append(records(&batch), &permit(short), short)
                .await
                .unwrap_err();
            assert_eq!((error.written, error.error.kind()), (0, io::ErrorKind::TimedOut));
        }
        open_gate.send(()).unwrap();
        open_gate.send(()).unwrap();
        let long = Duration::from_secs(10);
        writer
            .append(records(&batch[..1]), &permit(long), long)
            .await
            .unwrap();
        assert_eq!(
            *appended.lock().unwrap(),
            [2, 1],
            "the second batch was given up before its turn"
        );
    }

    #[test]
    fn records_know_where_each_document_is() {
        let records = records(&[event("{\"a\":1}"), event("{}")]);
        assert_eq!(records.bytes, b"{\"a\":1}\n{}\n");
        assert_eq!(records.slice(0, 1), b"{\"a\":1}\n");
        assert_eq!(records.slice(1, 2), b"{}\n");
        assert_eq!(records.slice(1, 1), b"");
        let mut rest = records;
        rest.skip(1);
        assert_eq!((rest.len(), rest.ids.len()), (1, 1));
        assert_eq!((rest.start(0), rest.slice(0, 1)), (0, &b"{}\n"[..]));
    }

    #[test]
    fn what_cannot_be_written_is_told_beside_what_was() {
        let batch = [r#"{"a":1}"#, "{}", r#"{"a":2}"#, "{}", r#"{"a":3}"#].map(event);
        let codec = Codec::Format("%{[a]}".to_owned());
        let broken = |written| {
            let error = io::Error::other("full");
            encoded(&batch, &codec).outcomes(Err(Interrupted { written, error }))
        };
        assert_eq!(encoded(&batch, &codec).records.bytes, b"1\n2\n3\n");
        let shape = |outcomes: Vec<Outcome>| -> String {
            let letter = |outcome: &Outcome| match outcome {
                Outcome::Acked => 'a',
                Outcome::Retry(RetryReason::Failed) => 'r',
                Outcome::Rejected {
                    reason: DropReason::Encoding,
                    ..
                } => 'x',
                other => panic!("{other:?}"),
            };
            outcomes.iter().map(letter).collect()
        };
        assert_eq!(shape(encoded(&batch, &codec).outcomes(Ok(())).unwrap()), "axaxa");
        assert_eq!(shape(broken(2).unwrap()), "axaxr");
        assert_eq!(shape(broken(1).unwrap()), "axrxr");
        assert!(matches!(broken(0), Err(SinkError::Io(text)) if text == "full"));
    }
}
