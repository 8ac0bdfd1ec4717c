//! Whether files can be written in a directory, for `test output`.
//!
//! Owns the look at it: there or can be made, writable, room. Writes a file without a name, which is gone when it is
//! closed, so that nothing is left behind even if the process is killed meanwhile. Its methods block and must not be
//! called on the runtime.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// Bytes that are written for the look.
const PROBE: usize = 4096;

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    /// The directory itself, or what of its path there is already.
    pub(super) nearest: PathBuf,
    /// Whether the directory itself is there.
    pub(super) exists: bool,
    /// Whether something could be written to disk at `nearest`.
    pub(super) written: io::Result<()>,
    /// Bytes that we may still write there.
    pub(super) free: io::Result<u64>,
}

/// Looks. An error: neither the directory nor what leads to it can be used.
pub(super) fn look(directory: &Path) -> io::Result<Found> {
    let (nearest, exists) = nearest(directory)?;
    Ok(Found {
        written: write(&nearest),
        free: free(&nearest),
        nearest,
        exists,
    })
}

/// The directory, or the last one of its path that is there.
fn nearest(directory: &Path) -> io::Result<(PathBuf, bool)> {
    for (steps_up, path) in directory.ancestors().enumerate() {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => return Ok((path.to_owned(), steps_up == 0)),
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::NotADirectory,
                    format!("{} is there and no directory", path.display()),
                ));
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) => {}
            Err(error) => return Err(super::durable::at(path, "look at", &error)),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn write(directory: &Path) -> io::Result<()> {
    let nameless = rustix::fs::open(
        directory,
        OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::RUSR | Mode::WUSR,
    );
    let mut file = match nameless {
        Ok(file) => File::from(file),
        // Not every file system has files without a name.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => {
            named(directory)?
        }
        Err(error) => return Err(error.into()),
    };
    file.write_all(&[0; PROBE])?;
    file.sync_data()
}

/// A file that has lost its name already.
fn named(directory: &Path) -> io::Result<File> {
    let path = directory.join(format!(".ecsbeat-test-{}", uuid::Uuid::new_v4()));
    let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn free(directory: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(directory)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// A number of bytes for people.
pub(super) struct Size(pub(super) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
        let mut size = self.0 as f64;
        let mut unit = "bytes";
        for next in UNITS {
            if size < 1000.0 {
                break;
            }
            (size, unit) = (size / 1000.0, next);
        }
        let digits = usize::from(unit != "bytes" && size < 100.0);
        write!(f, "{size:.digits$} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_empty(directory: &Path) -> bool {
        std::fs::read_dir(directory).unwrap().next().is_none()
    }

    #[test]
    fn a_directory_that_is_there_is_written_to_and_left_empty() {
        let directory = tempfile::tempdir().unwrap();
        let found = look(directory.path()).unwrap();
        assert!(found.exists && found.nearest == directory.path());
        found.written.unwrap();
        assert!(found.free.unwrap() > 0);
        assert!(is_empty(directory.path()));
        let mut file = named(directory.path()).unwrap();
        assert!(is_empty(directory.path()), "also where a name is needed");
        file.write_all(b"x").unwrap();
    }

    #[test]
    fn one_that_is_not_there_is_looked_at_where_it_would_be_made() {
        let directory = tempfile::tempdir().unwrap();
        let found = look(&directory.path().join("a/b")).unwrap();
        assert!(!found.exists && found.nearest == directory.path());
        found.written.unwrap();
        assert!(is_empty(directory.path()));
        let relative = look(Path::new("no-such-directory/below")).unwrap();
        assert_eq!((relative.exists, relative.nearest), (false, PathBuf::from(".")));
    }

    #[test]
    fn what_is_no_directory_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("below")] {
            let error = look(&path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotADirectory, "{error}");
        }
        // A file system that nobody can write to, whoever we are.
        let found = look(Path::new("/proc/self")).unwrap();
        assert!(found.exists && found.written.is_err());
    }

    #[test]
    fn sizes_are_for_people() {
        for (bytes, want) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (12_345_678, "12.3 MB"),
            (123_456_789_012, "123 GB"),
            (u64::MAX, "18447 PB"),
        ] {
            assert_eq!(Size(bytes).to_string(), want);
        }
    }
}
