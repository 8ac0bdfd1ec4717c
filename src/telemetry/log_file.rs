//! The log's files.
//!
//! Owns [`LogFile`]: `<name>-YYYYMMDD[-N].ndjson`, closed at a size or a time, the oldest deleted. It gives errors back and
//! tries anew with the next line; it opens nothing but regular files and never follows a link, so that opening
//! cannot block.
//!
//! The file output rotates by the same names; once both exist they can share one implementation.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use jiff::Timestamp;
use rustix::fs::OFlags;

use crate::clock::Clock;
use crate::config::LogFiles;

/// Date (`YYYYMMDD`) and number of a file; ordered by age.
type Id = (u32, u32);

/// The file that is written, and those before it.
#[derive(Debug)]
pub(super) struct LogFile {
    config: LogFiles,
    clock: Clock,
    /// The file in use since start, open or not.
    current: Option<Id>,
    open: Option<(File, u64)>,
    /// The interval in which the file was last written.
    period: Option<i64>,
}

impl LogFile {
    /// Opens nothing yet.
    pub(super) fn new(config: LogFiles, clock: Clock) -> Self {
        Self {
            config,
            clock,
            current: None,
            open: None,
            period: None,
        }
    }

    /// Appends a line. After an error the next call opens the file anew.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        // Put back only when all went well.
        let (mut file, mut size) = match self.open.take() {
            Some(open) => open,
            None => self.resume()?,
        };
        let period = self.period(self.clock.now());
        let over = self.period.is_some() && self.period != period;
        if size > 0 && (over || size + length > self.config.rotate_every_bytes) {
            (file, size) = self.next()?;
        }
        self.period = period;
        file.write_all(line)?;
        self.open = Some((file, size + length));
        Ok(())
    }

    /// The file to go on with.
    fn resume(&mut self) -> io::Result<(File, u64)> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(&self.config.path)?;
        let Some(id) = self.current.or(self.existing()?.last().copied()) else {
            return self.next();
        };
        let (file, size) = self.open_old(id)?;
        let fresh_wanted = self.current.is_none() && self.config.rotate_on_startup;
        if fresh_wanted && size > 0 {
            return self.next();
        }
        if self.current.is_none() {
            // An earlier process wrote it.
            let written = file.metadata()?.modified()?;
            self.period = Timestamp::try_from(written)
                .ok()
                .and_then(|written| self.period(written));
        }
        self.current = Some(id);
        Ok((file, size))
    }

    /// A new file; the oldest go.
    fn next(&mut self) -> io::Result<(File, u64)> {
        let today = self.today();
        let mut files = self.existing()?;
        let id = match files.last() {
            // Also when the clock was set back: the newest file stays the newest.
            Some(&(date, number)) if date >= today => (date, number + 1),
            _ => (today, 0),
        };
        let file = self.options().create_new(true).open(self.path(id))?;
        files.push(id);
        let surplus = files.len().saturating_sub(self.config.keep_files.max(1));
        for old in &files[..surplus] {
            // What cannot be deleted now is tried again with the next file.
            let _next_time = fs::remove_file(self.path(*old));
        }
        self.current = Some(id);
        Ok((file, 0))
    }

    /// An existing file, or the same name anew if somebody took it away; an unfinished last line is ended.
    fn open_old(&self, id: Id) -> io::Result<(File, u64)> {
        let mut file = self.options().create(true).open(self.path(id))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("is not a regular file"));
        }
        let mut size = metadata.len();
        if size > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                size += 1;
            }
        }
        Ok((file, size))
    }

    fn options(&self) -> OpenOptions {
        // Open for both directions: a pipe that somebody put there does not wait for its other end.
        let mut options = OpenOptions::new();
        options
            .read(true)
            .append(true)
            .mode(self.config.permissions)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        options
    }

    /// The files there are, the oldest first.
    fn existing(&self) -> io::Result<Vec<Id>> {
        let mut files: Vec<_> = fs::read_dir(&self.config.path)?
            .filter_map(|entry| self.id(entry.ok()?.file_name().to_str()?))
            .collect();
        files.sort_unstable();
        Ok(files)
    }

    fn id(&self, name: &str) -> Option<Id> {
        let rest = name.strip_prefix(&self.config.name)?.strip_prefix('-')?;
        let rest = rest.strip_suffix(".ndjson")?;
        let (date, number) = match rest.split_once('-') {
            Some((date, number)) => (date, number.parse().ok().filter(|number| *number > 0)?),
            None => (rest, 0),
        };
        let valid = date.len() == 8 && date.bytes().all(|digit| digit.is_ascii_digit());
        valid.then(|| Some((date.parse().ok()?, number)))?
    }

    fn path(&self, (date, number): Id) -> PathBuf {
        let name = &self.config.name;
        self.config.path.join(match number {
            0 => format!("{name}-{date:08}.ndjson"),
            number => format!("{name}-{date:08}-{number}.ndjson"),
        })
    }

    /// The number of the interval that a moment is in; `None` where files are not closed by time.
    fn period(&self, at: Timestamp) -> Option<i64> {
        let interval = i64::try_from(self.config.interval?.as_secs()).ok()?;
        Some(at.as_second().div_euclid(interval.max(1)))
    }

    fn today(&self) -> u32 {
        let today = self.clock.now().strftime("%Y%m%d").to_string();
        today.parse().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::*;

    const DAY: &str = "2026-03-02T10:41:00Z";

    fn config(path: &Path) -> LogFiles {
        LogFiles {
            path: path.to_owned(),
            name: "ecsbeat".to_owned(),
            rotate_every_bytes: 10,
            interval: None,
            keep_files: 3,
            permissions: 0o600,
            rotate_on_startup: true,
        }
    }

    fn log(config: LogFiles, now: &str) -> LogFile {
        LogFile::new(config, Clock::simulated(now.parse().unwrap()))
    }

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn text(path: &Path, name: &str) -> String {
        fs::read_to_string(path.join(name)).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn begins_a_new_file_at_the_size_and_keeps_a_number_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/logs");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("other.ndjson"), "x").unwrap();
        fs::write(path.join("ecsbeat-20260302-x.ndjson"), "x").unwrap();
        let mut log = log(config(&path), DAY);
        for _ in 0..7 {
            log.write(b"12345\n").unwrap();
        }
        assert_eq!(
            names(&path),
            [
                "ecsbeat-20260302-4.ndjson",
                "ecsbeat-20260302-5.ndjson",
                "ecsbeat-20260302-6.ndjson",
                "ecsbeat-20260302-x.ndjson",
                "other.ndjson"
            ]
        );
        // A line longer than the size has a file of its own.
        log.write(b"1234567890123\n").unwrap();
        assert_eq!(text(&path, "ecsbeat-20260302-7.ndjson"), "1234567890123\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_fills_the_file_exactly_still_fits() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log(config(dir.path()), DAY);
        log.write(b"1234\n").unwrap();
        log.write(b"5678\n").unwrap();
        assert_eq!(names(dir.path()), ["ecsbeat-20260302.ndjson"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_begins_a_new_file_or_goes_on_as_configured() {
        let dir = tempfile::tempdir().unwrap();
        log(config(dir.path()), DAY).write(b"1\n").unwrap();
        log(config(dir.path()), DAY).write(b"2\n").unwrap();
        assert_eq!(
            names(dir.path()),
            ["ecsbeat-20260302-1.ndjson", "ecsbeat-20260302.ndjson"]
        );
        let mut going_on = config(dir.path());
        going_on.rotate_on_startup = false;
        log(going_on, "2026-03-03T00:00:00Z").write(b"3\n").unwrap();
        assert_eq!(text(dir.path(), "ecsbeat-20260302-1.ndjson"), "2\n3\n");
        log(config(dir.path()), "2026-03-03T00:00:00Z")
            .write(b"4\n")
            .unwrap();
        assert_eq!(text(dir.path(), "ecsbeat-20260303.ndjson"), "4\n");
        // The clock was set back: what is written now is still the newest.
        log(config(dir.path()), DAY).write(b"5\n").unwrap();
        assert_eq!(text(dir.path(), "ecsbeat-20260303-1.ndjson"), "5\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_file_is_begun_with_each_interval_also_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        config.rotate_every_bytes = 1000;
        config.rotate_on_startup = false;
        config.interval = Some(std::time::Duration::from_secs(3600));
        let mut log = log(config.clone(), DAY);
        log.write(b"1\n").unwrap();
        log.write(b"2\n").unwrap();
        tokio::time::advance(std::time::Duration::from_secs(19 * 60)).await;
        log.write(b"3\n").unwrap();
        assert_eq!(text(dir.path(), "ecsbeat-20260302-1.ndjson"), "3\n");
        // The file is of the machine's clock, and older than this.
        let mut later =
            super::LogFile::new(config, Clock::simulated("2100-03-02T10:41:00Z".parse().unwrap()));
        later.write(b"4\n").unwrap();
        assert_eq!(text(dir.path(), "ecsbeat-21000302.ndjson"), "4\n");
        assert_eq!(text(dir.path(), "ecsbeat-20260302.ndjson"), "1\n2\n");
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_file_is_used_instead_of_adding_another() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ecsbeat-20260302.ndjson"), "").unwrap();
        log(config(dir.path()), DAY).write(b"1\n").unwrap();
        assert_eq!(names(dir.path()), ["ecsbeat-20260302.ndjson"]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_error_an_unfinished_line_is_ended_first() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log(config(dir.path()), DAY);
        log.write(b"12\n").unwrap();
        log.open = None;
        let path = dir.path().join("ecsbeat-20260302.ndjson");
        fs::write(&path, "12\nha").unwrap();
        log.write(b"34\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "12\nha\n34\n");
    }

    #[tokio::test(start_paused = true)]
    async fn files_have_the_configured_mode_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = log(config(dir.path()), DAY);
        log.write(b"1\n").unwrap();
        let path = dir.path().join("ecsbeat-20260302.ndjson");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_file(&path).unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &path).unwrap();
        log.open = None;
        log.write(b"2\n").unwrap_err();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pipe_in_place_of_the_file_is_an_error_and_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ecsbeat-20260302.ndjson");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        log(config(dir.path()), DAY).write(b"1\n").unwrap_err();
    }
}
