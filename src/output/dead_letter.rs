//! Events that Elasticsearch refuses for good.
//!
//! Owns the shape of a dead letter, which keeps the event's text whatever is wrong with it, and the file that
//! takes dead letters. Nothing here ever deletes one.

use std::io;
use std::path::PathBuf;

use serde::Serialize;

use super::super::durable::{DurableFile, Manner, at};
use super::super::writer::{Interrupted, Leave, Records, Target, stopped};
use super::answer::ItemError;
use crate::event::Event;

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

/// The document that stands for `event`.
pub(super) fn document(event: &Event, error: &ItemError) -> Vec<u8> {
    let message = String::from_utf8_lossy(&event.body);
    let letter = Letter {
        timestamp: format!("{:.3}", event.timestamp),
        message: &message,
        error: Error {
            kind: &error.kind,
            message: &error.reason,
        },
        event: Id {
            id: event.id.to_string(),
        },
    };
    // Strings only: this cannot fail.
    serde_json::to_vec(&letter).unwrap_or_default()
}

/// `non_indexable_policy.dead_letter_file`.
#[derive(Debug)]
pub(super) struct LetterFile {
    path: PathBuf,
    file: Option<DurableFile<std::fs::File>>,
}

impl LetterFile {
    /// Touches nothing yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

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
