//! The directory `path.data`.
//!
//! Owns its lock (one process per directory) and `meta.json` with the identity that survives restarts.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::election::LOCK;
use crate::replace::replace;

/// The data directory, locked for as long as this value lives.
#[derive(Debug)]
pub struct DataDirectory {
    /// `agent.id`
    pub id: Uuid,
    _lock: File,
}

/// The data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Another process works there.
    #[error("data path already locked by another beat: {}; give each instance its own path.data", .0.display())]
    Locked(PathBuf),
    /// Not readable or writable.
    #[error("{}: {source}; check path.data and its permissions", .path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct Meta {
    uuid: Uuid,
}

impl DataDirectory {
    /// Makes the directory where it is missing, locks it and reads its identity.
    pub fn open(directory: &Path) -> Result<Self, DataError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| DataError::Io { path, source }
        };
        fs::create_dir_all(directory).map_err(at(directory))?;
        let path = directory.join(LOCK);
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(at(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataError::Locked(directory.to_owned())),
            Err(TryLockError::Error(source)) => return Err(at(&path)(source)),
        }
        let meta = directory.join("meta.json");
        let id = identity(&meta).map_err(at(&meta))?;
        Ok(Self { id, _lock: lock })
    }
}

/// The identity in `meta.json`; a new one where there is none, or none that can be read.
fn identity(path: &Path) -> io::Result<Uuid> {
    match fs::read(path) {
        Ok(bytes) => {
            if let Ok(meta) = serde_json::from_slice::<Meta>(&bytes) {
                return Ok(meta.uuid);
            }
            tracing::warn!(path = %path.display(), "meta.json is damaged; this instance gets a new agent.id");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let meta = Meta { uuid: Uuid::new_v4() };
    replace(path, &serde_json::to_vec(&meta)?)?;
    Ok(meta.uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_per_directory_and_one_identity_over_restarts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        let first = DataDirectory::open(&path).unwrap();
        let error = DataDirectory::open(&path).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("data path already locked by another beat"),
            "{error}"
        );
        let id = first.id;
        drop(first);
        assert_eq!(DataDirectory::open(&path).unwrap().id, id);
        fs::write(path.join("meta.json"), "broken").unwrap();
        assert_ne!(DataDirectory::open(&path).unwrap().id, id);
    }
}
