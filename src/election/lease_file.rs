//! The lease of this process, on disk, for the process after it.
//!
//! Owns `lease.json` below `path.data`. The directory is locked for as long as its process lives (a stopped process
//! keeps the lock, a dead one does not), so that whoever has the lock knows the lease in the file to be a dead
//! process's, and may revoke it at once instead of waiting for its end. Only on a local disk: a lock of a network
//! file system proves nothing.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::dcs::LeaseId;
use crate::replace::replace;

const FILE: &str = "lease.json";

/// Where the lease is remembered.
#[derive(Debug, Clone)]
pub(super) struct LeaseFile {
    path: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    /// 0 = it was given back.
    lease: LeaseId,
}

impl LeaseFile {
    /// The file in `directory`, whose lock the caller holds.
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            path: directory.join(FILE),
        }
    }

    /// The predecessor's lease. Blocks.
    pub(super) fn read(&self) -> Option<LeaseId> {
        let text = std::fs::read(&self.path).ok()?;
        let remembered: Remembered = serde_json::from_slice(&text).ok()?;
        (remembered.lease != 0).then_some(remembered.lease)
    }

    /// Remembers a lease, or that there is none. Blocks.
    pub(super) fn write(&self, lease: Option<LeaseId>) -> std::io::Result<()> {
        let lease = lease.unwrap_or_default();
        replace(&self.path, &serde_json::to_vec(&Remembered { lease })?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_found_by_the_next_process_until_it_is_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let file = LeaseFile::new(directory.path());
        assert_eq!(file.read(), None);
        file.write(Some(77)).unwrap();
        assert_eq!(LeaseFile::new(directory.path()).read(), Some(77));
        file.write(None).unwrap();
        assert_eq!(file.read(), None);
        std::fs::write(directory.path().join(FILE), "rubbish").unwrap();
        assert_eq!(file.read(), None);
    }
}
