//! The log.
//!
//! Owns [`init`] and the subscriber that turns `tracing` events into lines: ECS JSON as Beats write it, or text
//! for people. Logging never blocks and never fails: a line is put into a bounded queue that a thread of its own
//! writes out, so that a slow disk or a full pipe delays neither a poll nor the renewal of a lease. Lines that
//! find the queue full are counted and the count is logged. No event's content and no secret belongs here.

mod filter;
mod line;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Scope};

use self::filter::Filter;
use self::line::{Fields, Format, Line};
use self::writer::{Job, Writer};
use super::flush;
use crate::clock::Clock;
use crate::config::Logging;

pub use self::line::OBJECT_FIELD;

/// Lines that wait to be written.
const QUEUE: usize = 4096;
/// How long the end of the process waits for the last lines.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Something else receives the events of this process.
    #[error("the log is set up already")]
    Twice,
    /// The thread could not be made.
    #[error("cannot start the thread that writes the log: {0}")]
    Thread(std::io::Error),
}

/// Keeps the log complete: lets go of it only when the last lines are out.
#[derive(Debug)]
#[must_use = "the last lines are lost when this is dropped at once"]
pub struct Log {
    jobs: SyncSender<Job>,
}

/// Starts logging as configured, for the whole process. A file that cannot be written is no error: its lines go
/// to stderr until it can.
pub fn init(config: &Logging) -> Result<Log, InitError> {
    let clock = Clock::system();
    let format = if config.json { Format::Json } else { Format::Text };
    let dropped = Arc::new(AtomicU64::new(0));
    let (layer, jobs) = layer(config, format, clock.clone(), Arc::clone(&dropped));
    let handle = layer.jobs.clone();
    let mut writer = Writer::new(config, format, clock, std::io::stderr(), dropped);
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || writer.run(&jobs))
        .map_err(InitError::Thread)?;
    tracing::subscriber::set_global_default(Registry::default().with(layer)).map_err(|_| InitError::Twice)?;
    Ok(Log { jobs: handle })
}

fn layer(
    config: &Logging,
    format: Format,
    clock: Clock,
    dropped: Arc<AtomicU64>,
) -> (LogLayer, Receiver<Job>) {
    let (jobs, receiver) = sync_channel(QUEUE);
    let layer = LogLayer {
        filter: Filter::new(config.level, &config.selectors),
        format,
        clock,
        jobs,
        dropped,
    };
    (layer, receiver)
}

impl Log {
    /// Waits until everything logged so far is written, at most `limit`. For the moment before the process ends
    /// without unwinding.
    pub fn flush(&self, limit: Duration) {
        flush::through(&self.jobs, limit, Job::Flush);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush(LAST_WORDS);
    }
}

/// Turns events into lines.
#[derive(Debug)]
struct LogLayer {
    filter: Filter,
    format: Format,
    clock: Clock,
    jobs: SyncSender<Job>,
    dropped: Arc<AtomicU64>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.filter.allows(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.filter.allows(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.filter.highest())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            record.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        // From the outermost span inwards; the nearer one wins.
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.extend(of_span);
            }
        }
        event.record(&mut fields);
        let metadata = event.metadata();
        let line = Line {
            level: *metadata.level(),
            logger: filter::logger(metadata.target()),
            origin: metadata.file().zip(metadata.line()),
            fields,
        };
        let line = line.render(self.format, self.clock.now());
        if self.jobs.try_send(Job::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
