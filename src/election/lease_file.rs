//! The lease of this process and the last term in which it led, on disk, for the process after it.
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
    /// The last term in which it led; 0 = in none.
    #[serde(default)]
    reigned: u64,
}

/// What a process leaves to the one after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Legacy {
    /// Its lease; `None` = it was given back.
    pub(super) lease: Option<LeaseId>,
    /// The last term in which it led; 0 = in none.
    pub(super) reigned: u64,
}

impl LeaseFile {
    /// The file in `directory`, whose lock the caller holds.
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            path: directory.join(FILE),
        }
    }

    /// The predecessor's. Blocks.
    pub(super) fn read(&self) -> Legacy {
        let text = std::fs::read(&self.path).unwrap_or_default();
        let remembered = serde_json::from_slice::<Remembered>(&text);
        remembered.map_or_else(
            |_| Legacy::default(),
            |it| Legacy {
                lease: (it.lease != 0).then_some(it.lease),
                reigned: it.reigned,
            },
        )
    }

    /// Remembers it. Blocks.
    pub(super) fn write(&self, legacy: Legacy) -> std::io::Result<()> {
        let remembered = Remembered {
            lease: legacy.lease.unwrap_or_default(),
            reigned: legacy.reigned,
        };
        replace(&self.path, &serde_json::to_vec(&remembered)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_found_by_the_next_process_until_it_is_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let file = LeaseFile::new(directory.path());
        assert_eq!(file.read(), Legacy::default());
        let led = Legacy {
            lease: Some(77),
            reigned: 20,
        };
        file.write(led).unwrap();
        assert_eq!(LeaseFile::new(directory.path()).read(), led);
        let given_back = Legacy { lease: None, ..led };
        file.write(given_back).unwrap();
        assert_eq!(file.read(), given_back);
        // As an older release wrote it, and as nobody did.
        for (text, lease) in [("{\"lease\":5}", Some(5)), ("rubbish", None)] {
            std::fs::write(directory.path().join(FILE), text).unwrap();
            assert_eq!(file.read(), Legacy { lease, reigned: 0 });
        }
    }
}
