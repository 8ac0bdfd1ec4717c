//! Records that are kept beside the log, in files of their own: exchanges with ECS, events that were refused.
//!
//! Owns [`Recorder`]. Recording never waits and never fails: records go through a bounded queue to a thread of its own,
//! which renders and writes them. Those that find the queue full, or that cannot be written, are counted and told.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use super::flush;
use super::log_file::LogFile;
use super::repeat::Lasting;
use crate::clock::Clock;
use crate::config::LogFiles;

/// Records that wait to be written.
const MOST_RECORDS: usize = 1024;
/// Their bytes.
const MOST_BYTES: usize = 32 << 20;
/// How long whoever lets go of a recorder waits for the last records.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What is recorded.
pub trait Record: Send + 'static {
    /// What it is called in the log.
    const KIND: &'static str;

    /// Bytes of memory, roughly.
    fn size(&self) -> usize;

    /// The record as one line, without a line break.
    fn line(self) -> Vec<u8>;
}

/// Takes records; writes them all before it is gone.
pub struct Recorder<R: Record> {
    jobs: SyncSender<Job<R>>,
    waiting: Arc<AtomicUsize>,
    dropped: Counter,
    flood: Lasting,
}

// What is recorded may not be shown.
impl<R: Record> fmt::Debug for Recorder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

enum Job<R> {
    Write(R),
    Flush(SyncSender<()>),
}

/// The thread's side.
struct Writer {
    file: LogFile,
    waiting: Arc<AtomicUsize>,
    dropped: Counter,
    trouble: Lasting,
}

impl<R: Record> Recorder<R> {
    /// Starts the thread; opens nothing before there is something to write. `dropped` counts what is not in the files.
    pub fn start(files: LogFiles, clock: Clock, dropped: Counter) -> io::Result<Self> {
        let (recorder, jobs, mut writer) = Self::parts(files, clock, dropped);
        std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || writer.run(&jobs))?;
        Ok(recorder)
    }

    fn parts(files: LogFiles, clock: Clock, dropped: Counter) -> (Self, Receiver<Job<R>>, Writer) {
        let (jobs, receiver) = sync_channel(MOST_RECORDS);
        let waiting = Arc::new(AtomicUsize::new(0));
        let writer = Writer {
            file: LogFile::new(files, clock),
            waiting: Arc::clone(&waiting),
            dropped: dropped.clone(),
            trouble: Lasting::default(),
        };
        let recorder = Self {
            jobs,
            waiting,
            dropped,
            flood: Lasting::default(),
        };
        (recorder, receiver, writer)
    }

    /// Records, or drops and counts. Comes back at once.
    pub fn record(&self, record: R) {
        let size = record.size();
        let before = self.waiting.fetch_add(size, Ordering::Relaxed);
        // One that is larger than everything may be is taken when nothing else waits.
        let fits = before == 0 || before + size <= MOST_BYTES;
        if fits && self.jobs.try_send(Job::Write(record)).is_ok() {
            return;
        }
        self.waiting.fetch_sub(size, Ordering::Relaxed);
        self.dropped.inc();
        if let Some(dropped) = self.flood.happened() {
            tracing::warn!(
                kind = R::KIND,
                dropped,
                "records were dropped: they came faster than they could be written"
            );
        }
    }
}

impl<R: Record> Drop for Recorder<R> {
    fn drop(&mut self) {
        flush::through(&self.jobs, LAST_WORDS, Job::Flush);
    }
}

impl Writer {
    fn run<R: Record>(&mut self, jobs: &Receiver<Job<R>>) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Write(record) => self.write(record),
                Job::Flush(done) => {
                    let _gone = done.try_send(());
                }
            }
        }
    }

    fn write<R: Record>(&mut self, record: R) {
        let size = record.size();
        let mut line = record.line();
        line.push(b'\n');
        match self.file.write(&line) {
            Ok(()) => {
                if let Some(failures) = self.trouble.over() {
                    tracing::info!(kind = R::KIND, failures, "records can be written again");
                }
            }
            Err(error) => {
                self.dropped.inc();
                if let Some(times) = self.trouble.happened() {
                    tracing::error!(kind = R::KIND, %error, times, "records cannot be written and are dropped");
                }
            }
        }
        self.waiting.fetch_sub(size, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;
    use crate::telemetry::log::tests::{files, lines};

    struct Text(String);

    impl Record for Text {
        const KIND: &'static str = "text";

        fn size(&self) -> usize {
            self.0.len()
        }

        fn line(self) -> Vec<u8> {
            self.0.into_bytes()
        }
    }

    fn text(length: usize) -> Text {
        Text("x".repeat(length))
    }

    fn start(path: &Path, dropped: &Counter) -> Recorder<Text> {
        Recorder::start(files(path), Clock::system(), dropped.clone()).unwrap()
    }

    #[test]
    fn everything_is_written_when_it_is_let_go_of_and_only_the_owner_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let dropped = Counter::default();
        let recorder = start(directory.path(), &dropped);
        for number in 0..100 {
            recorder.record(Text(number.to_string()));
        }
        drop(recorder);
        let path = fs::read_dir(directory.path())
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        let written = fs::read_to_string(&path).unwrap();
        let wanted: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(written.lines().collect::<Vec<_>>(), wanted);
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(dropped.get(), 0);
    }

    #[test]
    fn nobody_waits_and_what_does_not_fit_is_counted_and_told_once() {
        let directory = tempfile::tempdir().unwrap();
        let dropped = Counter::default();
        // Nobody reads the queue.
        let parts = || Recorder::<Text>::parts(files(directory.path()), Clock::system(), dropped.clone());
        let (many, jobs, _writer) = parts();
        let told = lines(|| (0..MOST_RECORDS + 5).for_each(|_| many.record(text(1))));
        assert_eq!(dropped.get(), 5);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0]["kind"], "text");
        drop(jobs);

        let (large, jobs, mut writer) = parts();
        large.record(text(2 * MOST_BYTES));
        large.record(text(1));
        assert_eq!(dropped.get(), 6, "one that is too large is taken alone");
        let Ok(Job::Write(record)) = jobs.try_recv() else {
            panic!("it was not taken")
        };
        writer.write(record);
        large.record(text(1));
        assert_eq!((dropped.get(), large.waiting.load(Ordering::Relaxed)), (6, 1));
        drop(jobs);
    }

    #[test]
    fn a_disk_that_fails_is_told_once_and_when_it_works_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("files");
        // A file where the directory should be: nobody can write below it, not even root.
        fs::write(&path, "").unwrap();
        let dropped = Counter::default();
        let (_recorder, jobs, mut writer) =
            Recorder::<Text>::parts(files(&path), Clock::system(), dropped.clone());
        let told = lines(|| {
            (0..3).for_each(|_| writer.write(text(1)));
            fs::remove_file(&path).unwrap();
            (0..3).for_each(|_| writer.write(text(1)));
        });
        let messages: Vec<_> = told
            .iter()
            .map(|line| line["message"].as_str().unwrap())
            .collect();
        assert_eq!(
            messages,
            [
                "records cannot be written and are dropped",
                "records can be written again"
            ]
        );
        assert_eq!(told[1]["failures"], 3);
        assert_eq!(dropped.get(), 3);
        drop(jobs);
    }
}
