//! Tests of [`super`]: writes that end late, and what comes after them.

use std::sync::{Mutex, mpsc};

use super::*;
use crate::output::samples::permit;
use crate::output::writer::{Target, stopped};

/// Takes as many documents of each job as `gate` says, once it says so.
struct Gated {
    gate: mpsc::Receiver<usize>,
    taken: Arc<Mutex<Vec<String>>>,
}

impl Target for Gated {
    fn open(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn append(&mut self, records: &Records, _: &Leave) -> Result<(), Interrupted> {
        let count = self.gate.recv().unwrap().min(records.len());
        let text = String::from_utf8(records.slice(0, count).to_vec()).unwrap();
        self.taken.lock().unwrap().extend(text.lines().map(str::to_owned));
        if count < records.len() {
            return Err(stopped(count));
        }
        Ok(())
    }
}

/// A tally, the gate of its target, and what went through.
struct Setting {
    tally: Tally,
    gate: mpsc::Sender<usize>,
    taken: Arc<Mutex<Vec<String>>>,
    bytes: Counter,
}

/// The gate lets all documents of a job through.
const ALL: usize = usize::MAX;
/// Time that is up before anything came through the gate.
const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(10);

impl Setting {
    fn new() -> Self {
        let (open_gate, gate) = mpsc::channel();
        let (taken, bytes) = (Arc::default(), Counter::default());
        let target = Gated {
            gate,
            taken: Arc::clone(&taken),
        };
        Self {
            tally: Tally::new(Writer::start("test", target).unwrap(), bytes.clone()),
            gate: open_gate,
            taken,
            bytes,
        }
    }

    fn gate(&self, count: usize) {
        self.gate.send(count).unwrap();
    }

    async fn append(&mut self, documents: &[&str], budget: Duration) -> Result<(), Interrupted> {
        let mut records = Records::default();
        for document in documents {
            records.bytes.extend_from_slice(document.as_bytes());
            records.end(EventId::of([document.as_bytes()]));
        }
        self.tally.append(records, &permit(budget), budget).await
    }

    /// The time is up, and nothing is known to be written.
    async fn late(&mut self, documents: &[&str]) {
        let error = self.append(documents, SHORT).await.unwrap_err();
        assert_eq!((error.written, error.error.kind()), (0, io::ErrorKind::TimedOut));
    }

    async fn works(&mut self, documents: &[&str]) {
        self.append(documents, LONG).await.unwrap();
    }

    #[track_caller]
    fn taken(&self, want: &[&str]) {
        let taken = self.taken.lock().unwrap();
        assert_eq!(*taken, want);
        let bytes: usize = want.iter().map(|document| document.len() + 1).sum();
        assert_eq!(self.bytes.get(), bytes as u64);
    }
}

#[tokio::test]
async fn a_stuck_write_ends_with_the_budget_and_what_waits_behind_it_is_not_written() {
    let mut setting = Setting::new();
    for _ in 0..2 {
        setting.late(&["{}", "{}"]).await;
    }
    setting.gate(ALL);
    setting.gate(ALL);
    setting.works(&["1"]).await;
    setting.taken(&["{}", "{}", "1"]);
}

#[tokio::test]
async fn what_a_write_finished_late_is_not_written_again() {
    let mut setting = Setting::new();
    setting.late(&["1", "2", "3"]).await;
    // The first job takes two, the second the rest.
    setting.gate(2);
    setting.gate(ALL);
    setting.works(&["1", "2", "3"]).await;
    setting.taken(&["1", "2", "3"]);
    // All of it, and it comes again in two batches.
    setting.late(&["4", "5"]).await;
    setting.gate(ALL);
    setting.works(&["4"]).await;
    setting.works(&["5"]).await;
    setting.taken(&["1", "2", "3", "4", "5"]);
    // Nothing of it.
    setting.late(&["6"]).await;
    setting.gate(0);
    setting.gate(ALL);
    setting.works(&["6"]).await;
    setting.taken(&["1", "2", "3", "4", "5", "6"]);
}

#[tokio::test]
async fn what_was_finished_late_is_told_although_the_next_write_is_late_too() {
    let mut setting = Setting::new();
    setting.late(&["1", "2"]).await;
    setting.gate(1);
    let error = setting
        .append(&["1", "2"], Duration::from_millis(200))
        .await
        .unwrap_err();
    assert_eq!((error.written, error.error.kind()), (1, io::ErrorKind::TimedOut));
    setting.gate(ALL);
    setting.works(&["2"]).await;
    setting.taken(&["1", "2"]);
    // Of what was told nothing is left to be counted again.
    setting.gate(ALL);
    setting.works(&["2"]).await;
    setting.taken(&["1", "2", "2"]);
}

#[tokio::test]
async fn other_events_are_written_whatever_was_finished_late() {
    let mut setting = Setting::new();
    setting.late(&["1", "2"]).await;
    setting.gate(ALL);
    setting.gate(ALL);
    // The first was given up meanwhile.
    setting.works(&["3", "1"]).await;
    setting.gate(ALL);
    setting.works(&["2"]).await;
    setting.taken(&["1", "2", "3", "1", "2"]);
}
