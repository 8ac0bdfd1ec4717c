//! Checkpoints in one file below `path.data`.
//!
//! Owns `checkpoints.json`: written whole to a new file, fsynced, renamed over the old one, with a checksum. A
//! file that does not read back is set aside under another name, with an error in the log, and the streams
//! begin anew (windowed ones go back as far as `max_catch_up` then). Used on a single node only; it does no
//! fencing. Writes are blocking and belong on a blocking thread, see [`FileStore::save`].

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::{Checkpoint, Stream};
use crate::replace::replace;

const FILE: &str = "checkpoints.json";
const FORMAT: u32 = 1;

/// The checkpoints of this machine.
#[derive(Debug, Clone)]
pub struct FileStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    /// The newest values.
    values: Mutex<Values>,
    /// Held while the file is written, so that an older state never replaces a newer one.
    writing: Mutex<u64>,
    /// What was there could not be read.
    after_damage: bool,
}

#[derive(Debug, Default)]
struct Values {
    streams: BTreeMap<String, Checkpoint>,
    /// Grows with each change.
    version: u64,
}

/// The checkpoint file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}; check that path.data exists, that ecsbeat may write there and that the disk is not full", .path.display())]
pub struct StoreError {
    path: PathBuf,
    source: io::Error,
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    /// SHA-256 of the compact JSON of `streams`.
    checksum: String,
    streams: Box<serde_json::value::RawValue>,
}

impl FileStore {
    /// Opens the store in `directory`, making it where it is missing. What was set aside because it cannot be
    /// read is told in the second value.
    pub fn open(directory: &Path) -> Result<(Self, Option<String>), StoreError> {
        let path = directory.join(FILE);
        let failed = |source| StoreError {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(directory).map_err(failed)?;
        let (streams, complaint) = match fs::read(&path) {
            Ok(bytes) => match parse(&bytes) {
                Ok(streams) => (streams, None),
                Err(why) => {
                    let aside = set_aside(&path).map_err(failed)?;
                    let complaint = format!(
                        "{} is damaged ({why}); it was renamed to {}, and windowed commands go back as far as ecsbeat.max_catch_up",
                        path.display(),
                        aside.display()
                    );
                    (BTreeMap::new(), Some(complaint))
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => (BTreeMap::new(), None),
            Err(error) => return Err(failed(error)),
        };
        let damaged = complaint.is_some();
        let store = Self {
            inner: Arc::new(Inner {
                directory: directory.to_owned(),
                values: Mutex::new(Values {
                    streams,
                    version: u64::from(damaged),
                }),
                writing: Mutex::new(0),
                after_damage: damaged,
            }),
        };
        // Find out at start, not after the first poll, that nothing can be written here.
        store.write()?;
        Ok((store, complaint))
    }

    /// Whether a file that could not be read was set aside when the store was opened.
    pub fn is_after_damage(&self) -> bool {
        self.inner.after_damage
    }

    /// The checkpoint of a stream, if it has one.
    pub fn load(&self, stream: &Stream) -> Option<Checkpoint> {
        self.values().streams.get(&stream.key()).cloned()
    }

    /// Takes the new checkpoint of a stream and writes the file. Comes back when it is on disk.
    /// May be dropped midway: the file is then written all the same, or not at all.
    pub async fn save(&self, stream: &Stream, checkpoint: Checkpoint) -> Result<(), StoreError> {
        {
            let mut values = self.values();
            values.streams.insert(stream.key(), checkpoint);
            values.version += 1;
        }
        self.flush().await
    }

    /// Comes back when everything that was saved is on disk, also by a [`FileStore::save`] that was dropped midway.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || store.write())
            .await
            .unwrap_or_else(|error| {
                Err(StoreError {
                    path: self.inner.directory.join(FILE),
                    source: io::Error::other(error),
                })
            })
    }

    /// Writes the newest values, unless somebody has done so since they changed: saves that come together cost
    /// one write.
    fn write(&self) -> Result<(), StoreError> {
        let mut written = self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (streams, version) = {
            let values = self.values();
            if *written == values.version && *written != 0 {
                return Ok(());
            }
            (serde_json::to_string(&values.streams), values.version)
        };
        let path = self.inner.directory.join(FILE);
        let result = streams
            .map_err(io::Error::other)
            .and_then(|streams| replace(&path, &document(streams)?));
        result.map_err(|source| StoreError { path, source })?;
        *written = version;
        Ok(())
    }

    fn values(&self) -> std::sync::MutexGuard<'_, Values> {
        self.inner.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(bytes: &[u8]) -> Result<BTreeMap<String, Checkpoint>, String> {
    let document: Document = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if document.format != FORMAT {
        return Err(format!("format {} instead of {FORMAT}", document.format));
    }
    if checksum(document.streams.get()) != document.checksum {
        return Err("the checksum does not match".to_owned());
    }
    serde_json::from_str(document.streams.get()).map_err(|error| error.to_string())
}

fn checksum(text: &str) -> String {
    use std::fmt::Write as _;
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The content of the file.
fn document(streams: String) -> io::Result<Vec<u8>> {
    let document = Document {
        format: FORMAT,
        checksum: checksum(&streams),
        streams: serde_json::value::RawValue::from_string(streams)?,
    };
    Ok(serde_json::to_vec(&document)?)
}

fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut number = 0;
    loop {
        number += 1;
        let aside = path.with_extension(format!("json.damaged-{number}"));
        if !aside.exists() {
            fs::rename(path, &aside)?;
            return Ok(aside);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Recent;
    use crate::event::EventId;

    fn stream(command: &str) -> Stream {
        Stream {
            customer: "EMC".into(),
            vdc: "VDC1".into(),
            command: command.into(),
        }
    }

    fn checkpoint() -> Checkpoint {
        let at = "2026-03-02T10:41:00Z".parse().unwrap();
        Checkpoint {
            tick: None,
            until: Some(at),
            recent: vec![Recent {
                id: EventId::of([&b"x"[..]]),
                at,
            }],
        }
    }

    #[tokio::test]
    async fn what_was_saved_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let (store, complaint) = FileStore::open(directory.path()).unwrap();
        assert_eq!(complaint, None);
        assert_eq!(store.load(&stream("alert")), None);
        store.save(&stream("alert"), checkpoint()).await.unwrap();
        let (again, complaint) = FileStore::open(directory.path()).unwrap();
        assert_eq!(
            (again.load(&stream("alert")), complaint),
            (Some(checkpoint()), None)
        );
    }

    #[tokio::test]
    async fn a_slash_in_a_name_does_not_make_two_streams_one() {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = FileStore::open(directory.path()).unwrap();
        let stream = |customer: &str, vdc: &str| Stream {
            customer: customer.into(),
            vdc: vdc.into(),
            command: "alert".into(),
        };
        store.save(&stream("a/b", "c"), checkpoint()).await.unwrap();
        assert_eq!(store.load(&stream("a", "b/c")), None);
        assert_eq!(store.load(&stream("a~1b", "c")), None);
        assert_eq!(store.load(&stream("a/b", "c")), Some(checkpoint()));
    }

    #[tokio::test]
    async fn a_save_that_was_dropped_midway_is_on_disk_after_a_flush() {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = FileStore::open(directory.path()).unwrap();
        let stream = stream("alert");
        {
            let save = store.save(&stream, checkpoint());
            tokio::pin!(save);
            let _ = futures_util::poll!(save);
        }
        store.flush().await.unwrap();
        let (again, _) = FileStore::open(directory.path()).unwrap();
        assert_eq!(again.load(&stream), Some(checkpoint()));
    }

    #[tokio::test]
    async fn a_damaged_file_is_set_aside_whatever_byte_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let (store, _) = FileStore::open(directory.path()).unwrap();
        store.save(&stream("alert"), checkpoint()).await.unwrap();
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            let (store, complaint) = FileStore::open(directory.path()).unwrap();
            assert!(
                complaint.is_some_and(|text| text.contains("damaged")),
                "byte {at}"
            );
            assert_eq!(store.load(&stream("alert")), None);
        }
        fs::write(&path, &good[..good.len() / 2]).unwrap();
        assert!(FileStore::open(directory.path()).unwrap().1.is_some());
        assert!(directory.path().join("checkpoints.json.damaged-1").exists());
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_an_error_at_start() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let error = FileStore::open(&file.join("data")).unwrap_err().to_string();
        assert!(error.contains("path.data"), "{error}");
    }
}
