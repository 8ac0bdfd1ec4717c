//! The file output: one document per line.
//!
//! Owns `output.file`. An event is acknowledged when it is on disk. A full or failing disk drops nothing: the
//! batch fails as a whole and is tried again, and the file holds every document once and whole.

use std::io;
use std::path::PathBuf;

use prometheus_client::metrics::counter::Counter;

use super::codec::Encoder;
use super::directory::{self, Found, Size};
use super::durable::{Medium, at};
use super::format::Format;
use super::rotation::{RotatingFile, Rotation};
use super::tally::Tally;
use super::writer::{Encoded, Interrupted, Leave, Records, Target, Writer};
use super::{BuildError, Outcome, Sink, SinkError};
use crate::clock::Clock;
use crate::config::FileOutput;
use crate::election::Permit;
use crate::event::Event;
use crate::steps::Steps;

/// A sequence of files.
#[derive(Debug)]
pub struct FileSink {
    tally: Tally,
    encoder: Encoder,
}

impl FileSink {
    /// Touches nothing yet; `written` counts bytes.
    pub fn new(config: &FileOutput, clock: Clock, written: Counter) -> Result<Self, BuildError> {
        let encoder = Encoder::lines("output.file", &config.codec)?;
        let rotation = Rotation {
            directory: directory_of(config, &clock)?,
            name: config.filename.clone(),
            max_bytes: config.rotate_every_kb.saturating_mul(1024),
            keep: config.number_of_files,
            permissions: config.permissions,
            rotate_on_startup: config.rotate_on_startup,
            record_end: encoder.record_end(),
            sync: true,
        };
        let file = RotatingFile::new(rotation, clock);
        let writer = Writer::start("output-file", file).map_err(|error| BuildError::Setting {
            key: "output.file".to_owned(),
            problem: format!("no thread for it: {error}"),
        })?;
        Ok(Self {
            tally: Tally::new(writer, written),
            encoder,
        })
    }

    /// See [`Output::encoded`](super::Output::encoded).
    pub(super) fn encoded(&self, batch: &[Event]) -> Vec<u8> {
        Encoded::of(batch, &self.encoder).take_records().bytes
    }
}

/// The directory of the files, today.
fn directory_of(config: &FileOutput, clock: &Clock) -> Result<PathBuf, BuildError> {
    let key = "output.file.path";
    let path = Format::parse(&config.path)
        .map_err(|error| BuildError::Format {
            key: key.to_owned(),
            error,
        })?
        .at(clock.now())
        .ok_or_else(|| BuildError::Setting {
            key: key.to_owned(),
            problem:
                "holds a field; only a date such as %{+yyyy.MM.dd} can be used, as it is taken once at start"
                    .to_owned(),
        })?;
    Ok(PathBuf::from(path))
}

/// Whether files can be written there.
pub(super) async fn test(config: &FileOutput, permit: &Permit, steps: &mut Steps) -> Result<(), BuildError> {
    let path = directory_of(config, &Clock::system())?;
    steps.enter(&format!("file: {}", path.display()));
    steps.ok("parse path");
    let look = tokio::task::spawn_blocking(move || directory::look(&path));
    let found = match tokio::time::timeout(permit.budget(), look).await {
        Ok(Ok(found)) => found,
        Ok(Err(died)) => Err(io::Error::other(died)),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!(
                "no answer within {:?}: does the file system hang?",
                permit.budget()
            ),
        )),
    };
    match found {
        Ok(found) => tell(&found, config, steps),
        Err(error) => steps.failed("directory", &error),
    }
    steps.leave();
    Ok(())
}

fn tell(found: &Found, config: &FileOutput, steps: &mut Steps) {
    if found.exists {
        steps.ok("directory");
    } else {
        let nearest = found.nearest.display();
        steps.warn(
            "directory",
            &format!("not there yet: ecsbeat makes it at its start, in {nearest}"),
        );
    }
    match &found.written {
        Ok(()) => steps.ok("write"),
        Err(error) => steps.failed("write", &at(&found.nearest, "write in", error)),
    }
    match &found.free {
        Ok(free) if *free < config.rotate_every_kb.saturating_mul(1024) => {
            let one = Size(config.rotate_every_kb.saturating_mul(1024));
            steps.warn(
                "free space",
                &format!("{}: one file takes up to {one}", Size(*free)),
            );
        }
        Ok(free) => steps.fact("free space", &Size(*free)),
        Err(error) => steps.warn("free space", &error.to_string()),
    }
}

impl<M: Medium> Target for RotatingFile<M> {
    fn open(&mut self) -> io::Result<()> {
        RotatingFile::open(self)
    }

    fn append(&mut self, records: &Records, leave: &Leave) -> Result<(), Interrupted> {
        RotatingFile::append(self, records, leave)
    }
}

impl Sink for FileSink {
    async fn connect(&mut self, permit: &Permit) -> Result<(), SinkError> {
        self.tally
            .open(permit.budget())
            .await
            .map_err(|error| SinkError::Io(error.to_string()))
    }

    async fn publish(&mut self, permit: &Permit, batch: &[Event]) -> Result<Vec<Outcome>, SinkError> {
        let mut encoded = Encoded::of(batch, &self.encoder);
        let records = encoded.take_records();
        let written = self.tally.append(records, permit, permit.budget()).await;
        encoded.outcomes(written)
    }

    async fn close(&mut self) -> Result<(), SinkError> {
        // Every acknowledged event is on disk already.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::Codec;
    use crate::output::DropReason;
    use crate::output::samples::{event, permit};

    fn config(path: &Path) -> FileOutput {
        FileOutput {
            path: path.to_str().unwrap().to_owned(),
            filename: "ecsbeat".to_owned(),
            rotate_every_kb: 1,
            number_of_files: 7,
            permissions: 0o600,
            rotate_on_startup: true,
            codec: Codec::default(),
        }
    }

    fn sink(config: &FileOutput) -> FileSink {
        counted(config).0
    }

    /// A sink, and the bytes it wrote.
    fn counted(config: &FileOutput) -> (FileSink, Counter) {
        let clock = Clock::simulated("2026-03-02T10:00:00Z".parse().unwrap());
        let written = Counter::default();
        (FileSink::new(config, clock, written.clone()).unwrap(), written)
    }

    const LONG: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn writes_documents_and_rotates_by_size() {
        let directory = tempfile::tempdir().unwrap();
        let (mut sink, written) = counted(&config(&directory.path().join("%{+yyyy}")));
        sink.connect(&permit(LONG)).await.unwrap();
        let document = format!(r#"{{"text":"{}"}}"#, "x".repeat(600));
        for _ in 0..3 {
            let outcomes = sink.publish(&permit(LONG), &[event(&document)]).await.unwrap();
            assert_eq!(outcomes, [Outcome::Acked]);
        }
        sink.close().await.unwrap();
        let read = |name| std::fs::read_to_string(directory.path().join("2026").join(name)).unwrap();
        assert_eq!(read("ecsbeat-20260302.ndjson"), format!("{document}\n"));
        assert_eq!(read("ecsbeat-20260302-1.ndjson"), format!("{document}\n"));
        assert_eq!(read("ecsbeat-20260302-2.ndjson"), format!("{document}\n"));
        assert_eq!(written.get(), 3 * 612);
    }

    #[tokio::test]
    async fn pretty_documents_are_told_apart_after_a_crash() {
        let directory = tempfile::tempdir().unwrap();
        let config = FileOutput {
            codec: Codec::Json {
                pretty: true,
                escape_html: false,
            },
            rotate_on_startup: false,
            ..config(directory.path())
        };
        let path = directory.path().join("ecsbeat-20260302.ndjson");
        std::fs::write(&path, "{\n  \"a\": {\n    \"b\": 1\n  }\n}\n{\n  \"c\": {\n  }\n").unwrap();
        let mut sink = sink(&config);
        sink.publish(&permit(LONG), &[event(r#"{"d":1}"#)]).await.unwrap();
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            "{\n  \"a\": {\n    \"b\": 1\n  }\n}\n{\n  \"d\": 1\n}\n"
        );
    }

    #[tokio::test]
    async fn an_event_that_makes_no_line_does_not_stop_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let config = FileOutput {
            codec: Codec::Format("%{+yyyy} %{[a]}".to_owned()),
            ..config(directory.path())
        };
        let (mut sink, written) = counted(&config);
        let batch = [r#"{"a":"x\ny"}"#, r#"{"b":1}"#, r#"{"a":2}"#].map(event);
        let outcomes = sink.publish(&permit(LONG), &batch).await.unwrap();
        assert_eq!((&outcomes[0], &outcomes[2]), (&Outcome::Acked, &Outcome::Acked));
        assert!(
            matches!(
                &outcomes[1],
                Outcome::Rejected {
                    reason: DropReason::Encoding,
                    ..
                }
            ),
            "{outcomes:?}"
        );
        let outcomes = sink.publish(&permit(LONG), &batch[1..2]).await.unwrap();
        assert!(matches!(outcomes[..], [Outcome::Rejected { .. }]), "{outcomes:?}");
        let text = std::fs::read_to_string(directory.path().join("ecsbeat-20260302.ndjson")).unwrap();
        assert_eq!(text, "2026 x\\ny\n2026 2\n");
        assert_eq!(written.get(), text.len() as u64);
    }

    #[tokio::test]
    async fn a_disk_without_room_is_an_error_of_the_whole_batch() {
        let directory = tempfile::tempdir().unwrap();
        // The next file's name leads to a device that is always full.
        std::os::unix::fs::symlink("/dev/full", directory.path().join("ecsbeat-20260302.ndjson")).unwrap();
        let config = FileOutput {
            rotate_on_startup: false,
            ..config(directory.path())
        };
        let mut sink = sink(&config);
        for _ in 0..2 {
            let error = sink.publish(&permit(LONG), &[event("{}")]).await.unwrap_err();
            assert!(
                matches!(&error, SinkError::Io(text) if text.contains("No space left") && text.contains("ecsbeat-20260302.ndjson")),
                "{error:?}"
            );
        }
        std::fs::remove_file(directory.path().join("ecsbeat-20260302.ndjson")).unwrap();
        let outcomes = sink.publish(&permit(LONG), &[event("{}")]).await.unwrap();
        assert_eq!(outcomes, [Outcome::Acked]);
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_made_is_told_by_connect() {
        let directory = tempfile::tempdir().unwrap();
        let taken = directory.path().join("taken");
        std::fs::write(&taken, "").unwrap();
        let mut sink = sink(&config(&taken.join("below")));
        let error = sink.connect(&permit(LONG)).await.unwrap_err();
        assert!(
            matches!(&error, SinkError::Io(text) if text.contains("taken/below")),
            "{error:?}"
        );
    }

    #[test]
    fn a_field_in_the_path_is_refused() {
        let error = FileSink::new(
            &config(Path::new("/x/%{[a]}")),
            Clock::system(),
            Counter::default(),
        )
        .unwrap_err();
        assert!(error.to_string().starts_with("output.file.path: "), "{error}");
    }
}
