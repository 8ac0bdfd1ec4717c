//! Who may change the configuration file, and read the keystore: the owner, who is root or we.
//!
//! A configuration that others may write lets them run our credentials against a server of theirs; a keystore that
//! others may read gives them the credentials themselves. The wording is Beats', because people search for it.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// Checks owner and mode of a configuration file that exists; the error is the message.
pub(crate) fn check(path: &Path) -> Result<(), String> {
    judged(path, verdict)
}

/// The same of a file that nobody else may read.
pub(crate) fn check_private(path: &Path) -> Result<(), String> {
    judged(path, verdict_private)
}

fn judged(path: &Path, verdict: fn(&str, &str, u32, u32, u32) -> Result<(), String>) -> Result<(), String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let us = rustix::process::geteuid().as_raw();
    verdict(
        &name,
        &path.to_string_lossy(),
        metadata.uid(),
        us,
        metadata.permissions().mode(),
    )
}

fn verdict(name: &str, path: &str, owner: u32, us: u32, mode: u32) -> Result<(), String> {
    if owner != 0 && owner != us {
        return Err(format!(
            "config file ({name:?}) must be owned by the beat user (uid={us}) or root"
        ));
    }
    if mode & 0o022 != 0 {
        return Err(format!(
            "config file ({name:?}) can only be writable by the owner but the permissions are {:?} \
             (to fix the permissions use: 'chmod go-w {path}')",
            letters(mode)
        ));
    }
    Ok(())
}

/// Beats want 0600 to the letter; 0400 is as good.
fn verdict_private(name: &str, path: &str, owner: u32, us: u32, mode: u32) -> Result<(), String> {
    if owner != 0 && owner != us {
        return Err(format!(
            "config file ({name:?}) must be owned by the user identifier (uid={us}) or root"
        ));
    }
    if mode & 0o077 != 0 {
        return Err(format!(
            "file ({name:?}) can only be writable and readable by the owner but the permissions are {:?} \
             (to fix the permissions use: 'chmod go-wrx {path}')",
            letters(mode)
        ));
    }
    Ok(())
}

/// `-rw-r--r--`.
fn letters(mode: u32) -> String {
    let mut text = String::from("-");
    for bit in (0..9).rev() {
        let letter = ['x', 'w', 'r'][bit % 3];
        text.push(if mode & (1 << bit) == 0 { '-' } else { letter });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_we_may_own_it() {
        assert_eq!(verdict("e.yml", "/e.yml", 0, 501, 0o100_644), Ok(()));
        assert_eq!(verdict("e.yml", "/e.yml", 501, 501, 0o100_600), Ok(()));
        assert_eq!(
            verdict("e.yml", "/e.yml", 7, 501, 0o100_600).unwrap_err(),
            "config file (\"e.yml\") must be owned by the beat user (uid=501) or root"
        );
    }

    #[test]
    fn nobody_else_may_write_it() {
        assert_eq!(
            verdict("e.yml", "/etc/e.yml", 0, 0, 0o100_664).unwrap_err(),
            "config file (\"e.yml\") can only be writable by the owner but the permissions are \"-rw-rw-r--\" \
             (to fix the permissions use: 'chmod go-w /etc/e.yml')"
        );
        assert!(verdict("e.yml", "/e.yml", 0, 0, 0o100_602).is_err());
    }

    #[test]
    fn nobody_else_may_read_what_is_private() {
        for mode in [0o100_600, 0o100_400] {
            assert_eq!(verdict_private("k", "/k", 0, 7, mode), Ok(()));
        }
        assert_eq!(
            verdict_private("k", "/d/k", 7, 7, 0o100_640).unwrap_err(),
            "file (\"k\") can only be writable and readable by the owner but the permissions are \"-rw-r-----\" \
             (to fix the permissions use: 'chmod go-wrx /d/k')"
        );
        assert_eq!(
            verdict_private("k", "/k", 8, 7, 0o100_600).unwrap_err(),
            "config file (\"k\") must be owned by the user identifier (uid=7) or root"
        );
    }

    #[test]
    fn looks_at_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("e.yml");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!((check(&path), check_private(&path)), (Ok(()), Ok(())));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o620)).unwrap();
        assert!(check(&path).is_err() && check_private(&path).is_err());
    }
}
