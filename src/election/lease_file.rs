//! The lease of this process and the last term in which it led, on disk, for the process after it.
//!
//! Owns `lease.json` below `path.data`. The directory is locked for as long as its process lives (a stopped process
//! keeps the lock, a dead one does not), so that whoever has the lock knows the lease in the file to be a dead
//! process's, and may revoke it at once instead of waiting for its end. Only on a local disk: a lock of a network
//! file system proves nothing. And only where that very file was locked: a directory that was copied, restored or
//! cloned with its machine has another lock, and what it tells of may well live. So the file says under which lock it
//! was written, and is believed by nobody else.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::dcs::LeaseId;
use crate::replace::replace;

/// In `path.data`: whose lock a process holds for as long as it lives.
pub(crate) const LOCK: &str = "ecsbeat.lock";
const FILE: &str = "lease.json";
/// Of the running kernel: another after a boot, and on another machine. Containers have that of their host.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Where the lease is remembered.
#[derive(Debug, Clone)]
pub(super) struct LeaseFile {
    path: PathBuf,
    lock: Option<Lock>,
}

/// A lock that one process at a time holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Lock {
    boot: String,
    device: u64,
    inode: u64,
}

impl Lock {
    /// That of this file; `None` where it cannot be told.
    fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        let boot = std::fs::read_to_string(BOOT_ID).ok()?;
        Some(Self {
            boot: boot.trim().to_owned(),
            device: found.dev(),
            inode: found.ino(),
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    /// 0 = it was given back.
    lease: LeaseId,
    /// The last term in which it led; 0 = in none.
    #[serde(default)]
    reigned: u64,
    /// Under which it was written; `None` = unknown, so it proves nothing.
    #[serde(default)]
    lock: Option<Lock>,
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
            lock: Lock::of(&directory.join(LOCK)),
        }
    }

    /// The predecessor's: nothing where it was not written under the lock that the caller holds. Blocks.
    pub(super) fn read(&self) -> Legacy {
        let text = std::fs::read(&self.path).unwrap_or_default();
        let Ok(it) = serde_json::from_slice::<Remembered>(&text) else {
            return Legacy::default();
        };
        if it.lock.is_none() || it.lock != self.lock {
            if it.lease != 0 {
                tracing::info!(
                    "the lease in path.data was written elsewhere or before this machine was booted: it is left alone"
                );
            }
            return Legacy::default();
        }
        Legacy {
            lease: (it.lease != 0).then_some(it.lease),
            reigned: it.reigned,
        }
    }

    /// Remembers it. Blocks.
    pub(super) fn write(&self, legacy: Legacy) -> std::io::Result<()> {
        let remembered = Remembered {
            lease: legacy.lease.unwrap_or_default(),
            reigned: legacy.reigned,
            lock: self.lock.clone(),
        };
        replace(&self.path, &serde_json::to_vec(&remembered)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that this test may take for locked.
    fn locked() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(LOCK), "").unwrap();
        directory
    }

    const LED: Legacy = Legacy {
        lease: Some(77),
        reigned: 20,
    };

    #[test]
    fn a_lease_is_found_by_the_next_process_until_it_is_given_back() {
        let directory = locked();
        let file = LeaseFile::new(directory.path());
        assert_eq!(file.read(), Legacy::default());
        file.write(LED).unwrap();
        assert_eq!(LeaseFile::new(directory.path()).read(), LED);
        let given_back = Legacy { lease: None, ..LED };
        file.write(given_back).unwrap();
        assert_eq!(file.read(), given_back);
        for text in ["{\"lease\":5}", "{\"lease\":5,\"lock\":null}", "rubbish", ""] {
            std::fs::write(directory.path().join(FILE), text).unwrap();
            assert_eq!(file.read(), Legacy::default(), "{text}");
        }
    }

    #[test]
    fn in_a_copy_of_the_directory_it_proves_nothing() {
        let (ours, copy) = (locked(), locked());
        LeaseFile::new(ours.path()).write(LED).unwrap();
        std::fs::copy(ours.path().join(FILE), copy.path().join(FILE)).unwrap();
        assert_eq!(LeaseFile::new(copy.path()).read(), Legacy::default());
        // Nor under a lock that was made anew: the old one may still be held.
        let before = std::fs::File::open(ours.path().join(LOCK)).unwrap();
        std::fs::remove_file(ours.path().join(LOCK)).unwrap();
        std::fs::write(ours.path().join(LOCK), "").unwrap();
        assert_eq!(LeaseFile::new(ours.path()).read(), Legacy::default());
        drop(before);
    }

    #[test]
    fn after_a_boot_or_on_a_cloned_machine_it_proves_nothing() {
        let directory = locked();
        let file = LeaseFile::new(directory.path());
        file.write(LED).unwrap();
        let path = directory.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        let boot = file.lock.unwrap().boot;
        assert!(boot.len() > 30, "{boot}");
        std::fs::write(&path, text.replace(&boot, "another")).unwrap();
        assert_eq!(LeaseFile::new(directory.path()).read(), Legacy::default());
        // Where neither lock can be told, nothing is proven either.
        let unknown = LeaseFile {
            path: path.clone(),
            lock: None,
        };
        unknown.write(LED).unwrap();
        assert_eq!(unknown.read(), Legacy::default());
    }
}
