//! Events that an output refuses for good.
//!
//! Owns the shape of a dead letter, which keeps the event's text whatever is wrong with it, and the file that
//! takes dead letters. Nothing here ever deletes one.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::document::single_line;
use super::durable::{DurableFile, Manner, at};
use super::writer::{Interrupted, Leave, Records, Target, Writer, stopped};
use super::{BuildError, SinkError};
use crate::election::Permit;
use crate::event::{Event, EventId};

#[derive(Serialize)]
struct Letter<'a> {
    #[serde(rename = "@timestamp")]
    timestamp: String,
    message: &'a str,
    error: Error<'a>,
    event: Id,
}

#[derive(Serialize)]
struct Error<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct Id {
    id: String,
}

/// The document that stands for `event`: why it is here, by a name (`kind`) and in words.
pub(super) fn document(event: &Event, kind: &str, reason: &str) -> Vec<u8> {
    let message = String::from_utf8_lossy(&event.body);
    let letter = Letter {
        timestamp: format!("{:.3}", event.timestamp),
        message: &message,
        error: Error {
            kind,
            message: reason,
        },
        event: Id {
            id: event.id.to_string(),
        },
    };
    // Strings only: this cannot fail.
    serde_json::to_vec(&letter).unwrap_or_default()
}

/// A file that takes dead letters, one in a line.
#[derive(Debug)]
pub(super) struct DeadLetterFile(Writer);

impl DeadLetterFile {
    /// Touches nothing yet. `key` is the setting it stems from.
    pub(super) fn start(key: &str, path: PathBuf) -> Result<Self, BuildError> {
        let file = LetterFile { path, file: None };
        let writer = Writer::start("output-dead-letter", file).map_err(|error| BuildError::Setting {
            key: key.to_owned(),
            problem: format!("no thread for it: {error}"),
        })?;
        Ok(Self(writer))
    }

    /// Makes it, where it is not there.
    pub(super) async fn open(&self, budget: Duration) -> Result<(), SinkError> {
        let opened = self.0.open(budget).await;
        opened.map_err(|error| SinkError::Io(error.to_string()))
    }

    /// Appends all of them, [`document`]s and whose they are, or fails.
    pub(super) async fn append(
        &self,
        letters: impl Iterator<Item = (EventId, Vec<u8>)>,
        permit: &Permit,
        budget: Duration,
    ) -> Result<(), SinkError> {
        let mut records = Records::default();
        for (id, letter) in letters {
            records.bytes.extend_from_slice(&single_line(&letter));
            records.end(id);
        }
        let appended = self.0.append(records, permit, budget).await;
        appended.map_err(|interrupted| SinkError::Io(interrupted.error.to_string()))
    }
}

#[derive(Debug)]
struct LetterFile {
    path: PathBuf,
    file: Option<DurableFile<std::fs::File>>,
}

impl LetterFile {
    fn write(&mut self, letters: &[u8]) -> io::Result<()> {
        self.open()?;
        match &mut self.file {
            Some(file) => file.append(letters, true),
            None => Err(io::Error::other("the dead-letter file is not open")),
        }
    }

    fn manner() -> Manner<std::fs::File> {
        Manner::new(0o600, b"\n")
    }
}

impl Target for LetterFile {
    fn open(&mut self) -> io::Result<()> {
        match &mut self.file {
            Some(file) if file.is_sound() => Ok(()),
            Some(file) => file.reopen(&Self::manner()),
            None => {
                if let Some(directory) = self.path.parent() {
                    std::fs::create_dir_all(directory)
                        .map_err(|error| at(directory, "make the directory", &error))?;
                }
                self.file = Some(DurableFile::open(&self.path, &Self::manner())?);
                Ok(())
            }
        }
    }

    fn append(&mut self, records: &Records, leave: &Leave) -> Result<(), Interrupted> {
        if leave.is_over() {
            return Err(stopped(0));
        }
        self.write(&records.bytes)
            .map_err(|error| Interrupted { written: 0, error })
    }
}
