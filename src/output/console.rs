//! The console output: one document per line on standard output.
//!
//! Owns `output.console`. Logs never go there. Whoever reads the pipe must find whole documents only, so one that
//! was written in part is finished before anything else.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use prometheus_client::metrics::counter::Counter;
use rustix::fs::OFlags;

use super::codec::Encoder;
use super::tally::Tally;
use super::writer::{Encoded, Interrupted, Leave, Records, Target, Writer, stopped};
use super::{BuildError, Outcome, Sink, SinkError};
use crate::config::ConsoleOutput;
use crate::election::Permit;
use crate::event::{Event, EventId};
use crate::steps::Steps;

/// Bytes handed to the system at once; between them the write can be stopped.
const CHUNK: usize = 64 * 1024;

/// Standard output.
#[derive(Debug)]
pub struct Console {
    tally: Tally,
    encoder: Encoder,
}

/// A stream that cannot be taken back.
struct Stream<W> {
    out: W,
    /// The rest of a document that was written in part.
    rest: Vec<u8>,
    /// The event of that document, while it may come again.
    begun: Option<EventId>,
}

impl Console {
    /// The process's standard output; `written` counts bytes.
    pub fn new(config: &ConsoleOutput, written: Counter) -> Result<Self, BuildError> {
        // Rust's own handle holds back a line that failed, and then nobody knows what was written.
        let out = io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| BuildError::Setting {
                key: "output.console".to_owned(),
                problem: format!("standard output cannot be used: {error}"),
            })?;
        Self::on(File::from(out), config, written)
    }

    fn on(
        out: impl Write + Send + 'static,
        config: &ConsoleOutput,
        written: Counter,
    ) -> Result<Self, BuildError> {
        let encoder = Encoder::lines("output.console", &config.codec)?;
        let stream = Stream {
            out,
            rest: Vec::new(),
            begun: None,
        };
        let writer = Writer::start("output-console", stream).map_err(|error| BuildError::Setting {
            key: "output.console".to_owned(),
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

/// Whether standard output is there and can be written to.
pub(super) fn test(steps: &mut Steps) {
    steps.enter("console");
    let writable = rustix::fs::fcntl_getfl(io::stdout())
        .map_err(io::Error::from)
        .and_then(|flags| {
            if flags & OFlags::RWMODE == OFlags::RDONLY {
                Err(io::Error::other("it is open for reading only"))
            } else {
                Ok(())
            }
        });
    // Both outcomes are told.
    let _ = steps.result("standard output", writable);
    steps.leave();
}

impl Sink for Console {
    async fn connect(&mut self, _: &Permit) -> Result<(), SinkError> {
        Ok(())
    }

    async fn publish(&mut self, permit: &Permit, batch: &[Event]) -> Result<Vec<Outcome>, SinkError> {
        let mut encoded = Encoded::of(batch, &self.encoder);
        let records = encoded.take_records();
        let mut written = self.tally.append(records, permit, permit.budget()).await;
        if let Err(Interrupted { error, .. }) = &mut written {
            let text = format!("cannot write to standard output: {error}");
            *error = io::Error::new(error.kind(), text);
        }
        encoded.outcomes(written)
    }

    async fn close(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

impl<W: Write + Send + 'static> Target for Stream<W> {
    fn open(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn append(&mut self, records: &Records, leave: &Leave) -> Result<(), Interrupted> {
        while !self.rest.is_empty() {
            match self.out.write(&self.rest) {
                Ok(0) => {
                    let error = io::ErrorKind::WriteZero.into();
                    return Err(Interrupted { written: 0, error });
                }
                Ok(count) => drop(self.rest.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Interrupted { written: 0, error }),
            }
        }
        // Where its event comes again, as the first, it is written with that.
        let begun = self.begun.take();
        let mut position = match (begun, records.ids.first()) {
            (Some(begun), Some(first)) if begun == *first => records.start(1),
            _ => 0,
        };
        while position < records.bytes.len() {
            let until = records.bytes.len().min(position + CHUNK);
            let failed = if leave.is_over() {
                stopped(0).error
            } else {
                match self.out.write(&records.bytes[position..until]) {
                    Ok(0) => io::ErrorKind::WriteZero.into(),
                    Ok(count) => {
                        position += count;
                        continue;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => error,
                }
            };
            let written = records.ends.partition_point(|&end| end <= position);
            if position > records.start(written) {
                self.rest
                    .extend_from_slice(&records.bytes[position..records.ends[written]]);
                self.begun = Some(records.ids[written]);
            }
            return Err(Interrupted {
                written,
                error: failed,
            });
        }
        self.out
            .flush()
            .map_err(|error| Interrupted { written: 0, error })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;
    use crate::config::Codec;
    use crate::output::RetryReason;
    use crate::output::samples::{event, permit};

    const CONFIG: ConsoleOutput = ConsoleOutput {
        codec: Codec::Json {
            pretty: false,
            escape_html: false,
        },
        bulk_max_size: 0,
    };

    #[tokio::test]
    async fn writes_a_line_for_each_event() {
        let (mut reader, pipe) = io::pipe().unwrap();
        let written = Counter::default();
        let mut console = Console::on(pipe, &CONFIG, written.clone()).unwrap();
        let permit = permit(Duration::from_secs(10));
        console.connect(&permit).await.unwrap();
        let batch = [event(r#"{"a":1}"#), event("{\"b\":\n2}")];
        let outcomes = console.publish(&permit, &batch).await.unwrap();
        assert_eq!(outcomes, [Outcome::Acked, Outcome::Acked]);
        console.close().await.unwrap();
        drop(console);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "{\"a\":1}\n{\"b\": 2}\n");
        assert_eq!(written.get(), text.len() as u64);
    }

    #[tokio::test]
    async fn pretty_is_indented() {
        let (mut reader, pipe) = io::pipe().unwrap();
        let config = ConsoleOutput {
            codec: Codec::Json {
                pretty: true,
                escape_html: false,
            },
            ..CONFIG
        };
        let mut console = Console::on(pipe, &config, Counter::default()).unwrap();
        let batch = [event(r#"{"a":1}"#), event("{}")];
        console
            .publish(&permit(Duration::from_secs(10)), &batch)
            .await
            .unwrap();
        drop(console);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "{\n  \"a\": 1\n}\n{}\n");
    }

    #[tokio::test]
    async fn a_closed_pipe_is_an_error_and_nothing_is_acknowledged() {
        let (reader, pipe) = io::pipe().unwrap();
        drop(reader);
        let mut console = Console::on(pipe, &CONFIG, Counter::default()).unwrap();
        let error = console
            .publish(&permit(Duration::from_secs(10)), &[event("{}")])
            .await
            .unwrap_err();
        assert!(
            matches!(&error, SinkError::Io(text) if text.contains("Broken pipe")),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn a_pipe_that_nobody_reads_does_not_hold_the_sink_beyond_its_budget() {
        let (_reader, pipe) = io::pipe().unwrap();
        let mut console = Console::on(pipe, &CONFIG, Counter::default()).unwrap();
        let batch: Vec<Event> = (0..40_000).map(|_| event(r#"{"a":"0123456789"}"#)).collect();
        let error = console
            .publish(&permit(Duration::from_millis(50)), &batch)
            .await
            .unwrap_err();
        assert!(
            matches!(&error, SinkError::Io(text) if text.contains("not written within")),
            "{error:?}"
        );
    }

    /// Takes so many bytes and then fails, until it is allowed more.
    struct Limited(Arc<Mutex<(usize, Vec<u8>)>>);

    impl Write for Limited {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self.0.lock().unwrap();
            let count = bytes.len().min(state.0);
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.0 -= count;
            state.1.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_document_written_in_part_is_finished_first() {
        let state = Arc::new(Mutex::new((11, Vec::new())));
        let written = Counter::default();
        let mut console = Console::on(Limited(Arc::clone(&state)), &CONFIG, written.clone()).unwrap();
        let permit = permit(Duration::from_secs(10));
        let batch = [event(r#"{"a":1}"#), event(r#"{"b":2}"#), event(r#"{"c":3}"#)];
        let retry = Outcome::Retry(RetryReason::Failed);
        let outcomes = console.publish(&permit, &batch).await.unwrap();
        assert_eq!(outcomes, [Outcome::Acked, retry.clone(), retry]);
        console.publish(&permit, &batch[1..]).await.unwrap_err();
        state.lock().unwrap().0 = 1000;
        console.publish(&permit, &batch[1..]).await.unwrap();
        let text = String::from_utf8(state.lock().unwrap().1.clone()).unwrap();
        assert_eq!(text, "{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n");
        assert_eq!(written.get(), text.len() as u64);
    }

    #[tokio::test]
    async fn a_document_written_in_part_is_finished_also_when_its_event_was_given_up() {
        let state = Arc::new(Mutex::new((3, Vec::new())));
        let mut console = Console::on(Limited(Arc::clone(&state)), &CONFIG, Counter::default()).unwrap();
        let permit = permit(Duration::from_secs(10));
        let batch = [event(r#"{"a":1}"#), event(r#"{"b":2}"#)];
        console.publish(&permit, &batch[..1]).await.unwrap_err();
        state.lock().unwrap().0 = 1000;
        console.publish(&permit, &batch[1..]).await.unwrap();
        // What was finished then is not taken for written a second time.
        console.publish(&permit, &batch[..1]).await.unwrap();
        let text = String::from_utf8(state.lock().unwrap().1.clone()).unwrap();
        assert_eq!(text, "{\"a\":1}\n{\"b\":2}\n{\"a\":1}\n");
    }

    #[tokio::test]
    async fn a_pipe_that_is_read_late_has_every_document_once() {
        let (mut reader, pipe) = io::pipe().unwrap();
        let written = Counter::default();
        let mut console = Console::on(pipe, &CONFIG, written.clone()).unwrap();
        let want: Vec<String> = (0..40_000).map(|number| format!(r#"{{"a":{number}}}"#)).collect();
        let mut batch: Vec<Event> = want.iter().map(|document| event(document)).collect();
        console
            .publish(&permit(Duration::from_millis(50)), &batch)
            .await
            .unwrap_err();
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        while !batch.is_empty() {
            let permit = permit(Duration::from_secs(10));
            let mut outcomes = console.publish(&permit, &batch).await.unwrap().into_iter();
            batch.retain(|_| outcomes.next() != Some(Outcome::Acked));
        }
        drop(console);
        let text = reading.join().unwrap().unwrap();
        assert!(text.lines().eq(want.iter()), "{} lines", text.lines().count());
        assert_eq!(written.get(), text.len() as u64);
    }

    /// Takes three bytes, then nothing: no error, but no byte either.
    struct Closed(usize);

    impl Write for Closed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.0);
            self.0 -= count;
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_takes_nothing_any_more_is_an_error_every_time() {
        let mut console = Console::on(Closed(3), &CONFIG, Counter::default()).unwrap();
        for _ in 0..3 {
            let error = console
                .publish(&permit(Duration::from_secs(10)), &[event(r#"{"a":1}"#)])
                .await
                .unwrap_err();
            assert!(
                matches!(&error, SinkError::Io(text) if !text.contains("not written within")),
                "{error:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_write_that_ends_between_two_documents_leaves_nothing_to_finish() {
        let state = Arc::new(Mutex::new((8, Vec::new())));
        let mut console = Console::on(Limited(Arc::clone(&state)), &CONFIG, Counter::default()).unwrap();
        let permit = permit(Duration::from_secs(10));
        let batch = [event(r#"{"a":1}"#), event(r#"{"b":2}"#)];
        let outcomes = console.publish(&permit, &batch).await.unwrap();
        assert_eq!(outcomes, [Outcome::Acked, Outcome::Retry(RetryReason::Failed)]);
        state.lock().unwrap().0 = 1000;
        console.publish(&permit, &batch[1..]).await.unwrap();
        let text = String::from_utf8(state.lock().unwrap().1.clone()).unwrap();
        assert_eq!(text, "{\"a\":1}\n{\"b\":2}\n");
    }
}
