//! The thread that writes lines out.
//!
//! Owns [`Writer`]: to stderr, to files, or both. While the files cannot be written, lines go to stderr instead; it
//! says so once, and tries the files again later. It never gives up and never panics: the process outlives its log.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use tracing::Level;

use super::line::{Format, Line};
use crate::clock::Clock;
use crate::config::Logging;
use crate::telemetry::log_file::LogFile;

/// Pause before files that failed are tried again.
const RETRY: Duration = Duration::from_secs(30);

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) enum Job {
    /// Write this line, line break included.
    Line(String),
    /// Tell when everything before is written.
    Flush(SyncSender<()>),
}

/// Where lines go.
pub(super) struct Writer<E> {
    format: Format,
    clock: Clock,
    stderr: E,
    to_stderr: bool,
    file: Option<LogFile>,
    /// The file fails until, at least.
    retry_at: Option<Instant>,
    dropped: Arc<AtomicU64>,
}

impl<E: Write> Writer<E> {
    pub(super) fn new(
        config: &Logging,
        format: Format,
        clock: Clock,
        stderr: E,
        dropped: Arc<AtomicU64>,
    ) -> Self {
        Self {
            format,
            stderr,
            to_stderr: config.to_stderr,
            file: config
                .to_files
                .then(|| LogFile::new(config.files.clone(), clock.clone())),
            clock,
            retry_at: None,
            dropped,
        }
    }

    /// Writes until nobody logs any more.
    pub(super) fn run(&mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Line(line) => self.write(&line, Instant::now()),
                Job::Flush(done) => {
                    let _gone = done.try_send(());
                }
            }
        }
    }

    fn write(&mut self, line: &str, now: Instant) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let note = Line::own(
                Level::WARN,
                "log lines were dropped: they came faster than they could be written",
            )
            .with("log.dropped", dropped);
            self.place(&self.render(&note), now);
        }
        self.place(line, now);
    }

    fn place(&mut self, line: &str, now: Instant) {
        let filed = self.file(line, now);
        if self.to_stderr || filed == Some(false) {
            self.print(line);
        }
    }

    /// Whether the file has the line; `None` = there is no file.
    fn file(&mut self, line: &str, now: Instant) -> Option<bool> {
        let file = self.file.as_mut()?;
        if self.retry_at.is_some_and(|at| now < at) {
            return Some(false);
        }
        match file.write(line.as_bytes()) {
            Ok(()) => {
                if self.retry_at.take().is_some() {
                    let note = Line::own(Level::INFO, "the log file can be written again");
                    let note = self.render(&note);
                    if let Some(file) = self.file.as_mut() {
                        let _told_next_time = file.write(note.as_bytes());
                    }
                }
                Some(true)
            }
            Err(error) => {
                if self.retry_at.replace(now + RETRY).is_none() {
                    let note = Line::own(
                        Level::ERROR,
                        "the log file cannot be written, logging to stderr until it can",
                    )
                    .with("error.message", error.to_string());
                    let note = self.render(&note);
                    self.print(&note);
                }
                Some(false)
            }
        }
    }

    fn print(&mut self, line: &str) {
        // There is nowhere left to report a failure to.
        let _nowhere = self.stderr.write_all(line.as_bytes());
        let _nowhere = self.stderr.flush();
    }

    fn render(&self, line: &Line) -> String {
        line.render(self.format, self.clock.now())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::telemetry::log::tests::config;

    fn writer(logs: &Path, to_stderr: bool) -> Writer<Vec<u8>> {
        let mut config = config();
        config.to_files = true;
        config.to_stderr = to_stderr;
        config.files.path = logs.to_owned();
        Writer::new(
            &config,
            Format::Text,
            Clock::system(),
            Vec::new(),
            Arc::new(AtomicU64::new(0)),
        )
    }

    fn in_files(logs: &Path) -> String {
        let mut texts: Vec<_> = fs::read_dir(logs)
            .unwrap()
            .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        texts.sort();
        texts.concat()
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told_once_replaced_by_stderr_and_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("logs");
        // A file where the directory should be: nobody can write below it, not even root.
        fs::write(&logs, "").unwrap();
        let mut writer = writer(&logs, false);
        let start = Instant::now();
        writer.write("one\n", start);
        writer.write("two\n", start + RETRY / 2);
        writer.write("three\n", start + RETRY);
        let stderr = String::from_utf8(std::mem::take(&mut writer.stderr)).unwrap();
        assert_eq!(stderr.matches("cannot be written").count(), 1, "{stderr}");
        assert!(stderr.ends_with("one\ntwo\nthree\n"), "{stderr}");

        fs::remove_file(&logs).unwrap();
        writer.write("four\n", start + RETRY * 3 / 2);
        assert_eq!(writer.stderr, b"four\n", "tried again too early");
        writer.stderr.clear();
        writer.write("five\n", start + RETRY * 2);
        writer.write("six\n", start + RETRY * 2);
        assert!(writer.stderr.is_empty());
        let filed = in_files(&logs);
        assert!(
            filed.starts_with("five\n") && filed.ends_with("\nsix\n"),
            "{filed}"
        );
        assert_eq!(filed.matches("can be written again").count(), 1, "{filed}");
    }

    #[test]
    fn both_places_get_every_line_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path(), true);
        writer.write("one\n", Instant::now());
        assert_eq!(writer.stderr, b"one\n");
        assert_eq!(in_files(dir.path()), "one\n");
    }

    #[test]
    fn dropped_lines_are_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path(), false);
        writer.dropped.store(17, Ordering::Relaxed);
        writer.write("one\n", Instant::now());
        writer.write("two\n", Instant::now());
        let filed = in_files(dir.path());
        assert_eq!(filed.matches("log.dropped=17").count(), 1, "{filed}");
        assert!(filed.ends_with("one\ntwo\n"), "{filed}");
    }
}
