//! Writes a recording.
//!
//! Owns the clock of a run ([`Watch`]) and the file of a cluster ([`Recorder`]). A line that cannot be written is
//! remembered and told at the end: a recording with holes proves nothing.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

use crate::record::{Line, Micros, What};

/// The clock of a run: monotonic, the same for all clusters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watch {
    zero: Instant,
    epoch: Micros,
}

/// The recording of one cluster. Clones write to the same file.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    watch: Watch,
    file: Arc<Mutex<Open>>,
}

#[derive(Debug)]
struct Open {
    writer: BufWriter<File>,
    failed: Option<String>,
}

/// As microseconds; what does not fit is for ever.
pub(crate) fn micros(time: Duration) -> Micros {
    Micros::try_from(time.as_micros()).unwrap_or(Micros::MAX)
}

impl Watch {
    /// Zero is now.
    pub(crate) fn start() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            zero: Instant::now(),
            epoch: micros(since),
        }
    }

    /// Now.
    pub(crate) fn now(self) -> Micros {
        micros(self.zero.elapsed())
    }

    /// Microseconds since 1970 at zero.
    pub(crate) fn epoch(self) -> Micros {
        self.epoch
    }

    /// Seconds since 1970, now.
    pub(crate) fn wall(self) -> i64 {
        i64::try_from((self.epoch + self.now()) / 1_000_000).unwrap_or(i64::MAX)
    }
}

impl Recorder {
    /// A new file.
    pub(crate) fn create(path: &Path, watch: Watch) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        let open = Open {
            writer: BufWriter::new(file),
            failed: None,
        };
        Ok(Self {
            watch,
            file: Arc::new(Mutex::new(open)),
        })
    }

    /// The clock.
    pub(crate) fn watch(&self) -> Watch {
        self.watch
    }

    /// Now.
    pub(crate) fn now(&self) -> Micros {
        self.watch.now()
    }

    /// Writes down what happens now; gives when that is.
    pub(crate) fn note(&self, what: What) -> Micros {
        let at = self.now();
        self.note_at(at, what);
        at
    }

    /// Writes down what happened at `at`.
    pub(crate) fn note_at(&self, at: Micros, what: What) {
        let line = serde_json::to_string(&Line { at, what });
        let mut open = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match line {
            Ok(line) => writeln!(open.writer, "{line}").map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = written {
            open.failed.get_or_insert(error);
        }
    }

    /// Brings everything to the disk; fails if anything could not be written.
    pub(crate) fn finish(&self) -> anyhow::Result<()> {
        let mut open = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        open.writer.flush().context("write the recording")?;
        match open.failed.take() {
            Some(error) => anyhow::bail!("a line of the recording could not be written: {error}"),
            None => Ok(()),
        }
    }
}
