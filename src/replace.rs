//! Small files that are replaced whole.
//!
//! Owns the one way to do so: a crash of the process or the machine leaves the old content or the new, never a part.
//! Blocks; must not be called on the runtime.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Puts `content` in the place of the file at `path`, which only its owner may read, and comes back when that is on
/// disk.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&name)?;
    // What a crash has left there may have another mode.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&name, path)?;
    match path.parent() {
        // The rename itself must survive a crash of the machine.
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
