//! A file of whole records.
//!
//! Owns the promise that what was appended is on disk and that the file never holds part of a record: after a
//! failed write it is cut back to where it was, and what an earlier process left unfinished is cut off on
//! opening. Its methods block and must not be called on the runtime.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Mode;

/// How a file's content is reached: a [`File`], or in tests one that fails at will.
pub trait Medium: Send + 'static {
    /// Writes all of it at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Has it on disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts it to this length.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

impl Medium for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// Turns an opened file into its medium.
pub(super) type Wrap<M> = Arc<dyn Fn(File) -> M + Send + Sync>;

/// How files are opened.
pub(super) struct Manner<M> {
    /// Mode of new files.
    pub(super) permissions: u32,
    /// What every record ends with.
    pub(super) record_end: &'static [u8],
    pub(super) wrap: Wrap<M>,
}

impl Manner<File> {
    pub(super) fn new(permissions: u32, record_end: &'static [u8]) -> Self {
        Self {
            permissions,
            record_end,
            wrap: Arc::new(|file| file),
        }
    }
}

/// An open file.
pub(super) struct DurableFile<M> {
    path: PathBuf,
    medium: M,
    identity: (u64, u64),
    /// Bytes of whole records.
    length: u64,
    broken: bool,
}

impl<M> fmt::Debug for DurableFile<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableFile")
            .field("path", &self.path)
            .field("length", &self.length)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

impl<M: Medium> DurableFile<M> {
    /// Opens the file at its end or makes it. An unfinished last record is cut off.
    pub(super) fn open(path: &Path, manner: &Manner<M>) -> io::Result<Self> {
        let open = || {
            let existed = path.try_exists()?;
            let file = OpenOptions::new()
                .read(true)
                .append(true)
                .create(true)
                .mode(manner.permissions)
                .open(path)?;
            if !existed {
                // The process's umask must not decide.
                rustix::fs::fchmod(&file, Mode::from_raw_mode(manner.permissions))?;
                sync_directory(path)?;
            }
            let metadata = file.metadata()?;
            let length = complete_length(&file, metadata.len(), manner.record_end)?;
            if length < metadata.len() {
                file.set_len(length)?;
                file.sync_data()?;
            }
            Ok(Self {
                medium: (manner.wrap)(file),
                identity: (metadata.dev(), metadata.ino()),
                path: path.to_owned(),
                length,
                broken: false,
            })
        };
        open().map_err(|error| at(path, "open", &error))
    }

    /// Bytes of whole records.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Whether the file can be appended to: no write failed, and it was not moved or removed meanwhile.
    pub(super) fn is_sound(&self) -> bool {
        let same = std::fs::metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity);
        same && !self.broken
    }

    /// Appends whole records. After an error none of them is in the file, unless even cutting it back failed;
    /// then opening it again does that.
    pub(super) fn append(&mut self, records: &[u8], sync: bool) -> io::Result<()> {
        let written = self
            .medium
            .append(records)
            .and_then(|()| if sync { self.medium.sync() } else { Ok(()) });
        if let Err(error) = written {
            self.broken = true;
            // At once rather than before the next try: the process may not live to see that.
            let _ = self.medium.truncate(self.length);
            return Err(at(&self.path, "write", &error));
        }
        self.length += records.len() as u64;
        Ok(())
    }

    /// Opens the file again after an error, and cuts off what the failed write may have left. A file that was
    /// moved or removed meanwhile is begun anew.
    pub(super) fn reopen(&mut self, manner: &Manner<M>) -> io::Result<()> {
        let mut anew = Self::open(&self.path, manner)?;
        if anew.identity == self.identity && anew.length > self.length {
            anew.medium
                .truncate(self.length)
                .map_err(|error| at(&self.path, "cut back", &error))?;
            anew.length = self.length;
        }
        *self = anew;
        Ok(())
    }
}

/// The error with the file's name, and of the same kind.
pub(super) fn at(path: &Path, doing: &str, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("cannot {doing} {}: {error}", path.display()),
    )
}

/// Makes a new file's name survive a power failure.
fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => File::open(directory)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// The length of `file` up to the end of its last whole record.
fn complete_length(file: &File, length: u64, record_end: &[u8]) -> io::Result<u64> {
    const BLOCK: u64 = 64 * 1024;
    let overlap = record_end.len() as u64 - 1;
    let mut until = length;
    let mut block = Vec::new();
    while until > overlap {
        let from = until.saturating_sub(BLOCK);
        block.resize(usize::try_from(until - from).unwrap_or(usize::MAX), 0);
        file.read_exact_at(&mut block, from)?;
        if let Some(found) = memchr::memmem::rfind(&block, record_end) {
            return Ok(from + (found + record_end.len()) as u64);
        }
        if from == 0 {
            break;
        }
        // The mark may lie across the border of two blocks.
        until = from + overlap;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manner(record_end: &'static [u8]) -> Manner<File> {
        Manner::new(0o600, record_end)
    }

    #[test]
    fn an_unfinished_last_record_is_cut_off_on_opening() {
        let directory = tempfile::tempdir().unwrap();
        let long = "x".repeat(200_000);
        let cases: [(&'static [u8], String, String); 9] = [
            (b"\n", String::new(), String::new()),
            (b"\n", "{}\n".into(), "{}\n".into()),
            (b"\n", "{}\n{\"a\":".into(), "{}\n".into()),
            (b"\n", "{\"a\":".into(), String::new()),
            (b"\n", format!("{{}}\n{long}"), "{}\n".into()),
            (b"\n", long.clone(), String::new()),
            (
                b"\n}\n",
                "{\n  \"a\": 1\n}\n{\n  \"b\": {\n  }\n".into(),
                "{\n  \"a\": 1\n}\n".into(),
            ),
            (b"\n}\n", "{\n".into(), String::new()),
            // The mark lies across two blocks that are read.
            (
                b"\n}\n",
                format!("{{\n}}\n{}", "x".repeat(65_534)),
                "{\n}\n".into(),
            ),
        ];
        for (position, (record_end, before, after)) in cases.into_iter().enumerate() {
            let path = directory.path().join(position.to_string());
            std::fs::write(&path, &before).unwrap();
            let file = DurableFile::open(&path, &manner(record_end)).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after, "case {position}");
            assert_eq!(file.length(), after.len() as u64);
        }
    }

    #[test]
    fn new_files_have_the_mode_asked_for_whatever_the_umask() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new");
        DurableFile::open(&path, &Manner::new(0o666, b"\n")).unwrap();
        assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o777, 0o666);
    }

    #[test]
    fn notices_that_the_file_was_moved_or_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let mut file = DurableFile::open(&path, &manner(b"\n")).unwrap();
        file.append(b"1\n", true).unwrap();
        assert!(file.is_sound());
        std::fs::rename(&path, directory.path().join("b")).unwrap();
        assert!(!file.is_sound());
        file.reopen(&manner(b"\n")).unwrap();
        file.append(b"2\n", true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "2\n");
    }

    #[test]
    fn errors_name_the_file() {
        let error = DurableFile::open(Path::new("/nowhere/x"), &manner(b"\n")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(
            error.to_string().starts_with("cannot open /nowhere/x: "),
            "{error}"
        );
    }
}
