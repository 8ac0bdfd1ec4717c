//! Files that follow one another: `<name>-YYYYMMDD[-N].ndjson`.
//!
//! Owns their names, when the next one begins and which old ones go. The day in a name is the one the file was
//! begun on, UTC. Serves the file output; log files, which must survive other accidents, have their own. Its
//! methods block and must not be called on the runtime.

use std::fmt;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use super::durable::{DurableFile, Manner, Medium, at};
use super::writer::{Interrupted, Leave, Records, stopped};
use crate::clock::Clock;

/// What the files are like.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// Where they are; made when missing.
    pub directory: PathBuf,
    /// What their names begin with.
    pub name: String,
    /// Size at which a file is closed and the next begun. A single record may be larger.
    pub max_bytes: u64,
    /// Files kept, the one written to included.
    pub keep: usize,
    /// Mode of new files.
    pub permissions: u32,
    /// Begin a new file in this process, even where the last one has room.
    pub rotate_on_startup: bool,
    /// What every record ends with.
    pub record_end: &'static [u8],
    /// Whether a record is on disk when its writing is over.
    pub sync: bool,
}

/// A sequence of files, of which the last is written to.
pub struct RotatingFile<M = File> {
    rotation: Rotation,
    manner: Manner<M>,
    clock: Clock,
    current: Option<DurableFile<M>>,
}

/// A file's place in the sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// `YYYYMMDD` as a number.
    day: u32,
    /// 0 where the name has none.
    number: u32,
}

impl<M> fmt::Debug for RotatingFile<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RotatingFile")
            .field("rotation", &self.rotation)
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}

impl RotatingFile {
    /// Touches nothing yet.
    pub fn new(rotation: Rotation, clock: Clock) -> Self {
        let manner = Manner::new(rotation.permissions, rotation.record_end);
        Self::with(rotation, manner, clock)
    }

    /// Appends one record, which ends as all do. After an error nothing of it is in the file.
    pub fn write(&mut self, record: &[u8]) -> io::Result<()> {
        self.open()?;
        let sync = self.rotation.sync;
        self.room_for(record.len() as u64)?.append(record, sync)
    }
}

impl<M: Medium> RotatingFile<M> {
    fn with(rotation: Rotation, manner: Manner<M>, clock: Clock) -> Self {
        Self {
            rotation,
            manner,
            clock,
            current: None,
        }
    }

    /// Makes it ready: opens the last file or begins one, and repairs the current one after an error.
    pub(super) fn open(&mut self) -> io::Result<()> {
        if let Some(current) = &mut self.current {
            if !current.is_sound() {
                current.reopen(&self.manner)?;
            }
            return Ok(());
        }
        let directory = &self.rotation.directory;
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(directory)
            .map_err(|error| at(directory, "make the directory", &error))?;
        let last = self.places()?.last().copied();
        let place = match last {
            Some(last) if !self.rotation.rotate_on_startup => last,
            Some(last) => {
                // Opening cuts off what an earlier process left unfinished. A file that we cannot repair is no reason
                // not to begin the next one.
                let _ = DurableFile::open(&self.path(last), &self.manner);
                self.next(Some(last))
            }
            None => self.next(None),
        };
        self.begin(place)
    }

    /// Appends records, the next file being begun where they do not fit. What is counted as written is on disk;
    /// of the rest nothing is in a file.
    pub(super) fn append(&mut self, records: &Records, leave: &Leave) -> Result<(), Interrupted> {
        let mut written = 0;
        while written < records.len() {
            if leave.is_over() {
                return Err(stopped(written));
            }
            self.append_some(records, &mut written)
                .map_err(|error| Interrupted { written, error })?;
        }
        Ok(())
    }

    /// Appends as many of the records from `written` on as belong into one file.
    fn append_some(&mut self, records: &Records, written: &mut usize) -> io::Result<()> {
        self.open()?;
        let from = *written;
        let first = records.slice(from, from + 1).len() as u64;
        let (max, sync) = (self.rotation.max_bytes, self.rotation.sync);
        let file = self.room_for(first)?;
        let room = max.saturating_sub(file.length()).max(first);
        let start = records.start(from) as u64;
        let until = records.ends.partition_point(|&end| end as u64 <= start + room);
        file.append(records.slice(from, until), sync)?;
        *written = until;
        Ok(())
    }

    /// The current file, or a new one where `size` more bytes do not fit.
    fn room_for(&mut self, size: u64) -> io::Result<&mut DurableFile<M>> {
        let full = self
            .current
            .as_ref()
            .is_none_or(|file| file.length() > 0 && file.length() + size > self.rotation.max_bytes);
        if full {
            let last = self.places()?.last().copied();
            self.begin(self.next(last))?;
        }
        self.current
            .as_mut()
            .ok_or_else(|| io::Error::other("no file is open"))
    }

    fn begin(&mut self, place: Place) -> io::Result<()> {
        let path = self.path(place);
        self.current = Some(DurableFile::open(&path, &self.manner)?);
        self.remove_old()
    }

    /// Keeps to the number of files. One that cannot be removed is tried again with the next rotation: old files
    /// too many are no reason to stop writing.
    fn remove_old(&self) -> io::Result<()> {
        let places = self.places()?;
        let surplus = places.len().saturating_sub(self.rotation.keep.max(1));
        for &place in &places[..surplus] {
            let _ = std::fs::remove_file(self.path(place));
        }
        Ok(())
    }

    /// The place after `last`. Days never go back, even when the clock does: the order of names is the order of
    /// files.
    fn next(&self, last: Option<Place>) -> Place {
        let date = TimeZone::UTC.to_datetime(self.clock.now()).date();
        let today = date.strftime("%Y%m%d").to_string().parse().unwrap_or(0);
        match last {
            Some(last) if last.day >= today => Place {
                number: last.number + 1,
                ..last
            },
            _ => Place {
                day: today,
                number: 0,
            },
        }
    }

    fn path(&self, Place { day, number }: Place) -> PathBuf {
        let name = &self.rotation.name;
        self.rotation.directory.join(if number == 0 {
            format!("{name}-{day:08}.ndjson")
        } else {
            format!("{name}-{day:08}-{number}.ndjson")
        })
    }

    /// The places of the files there are, in order.
    fn places(&self) -> io::Result<Vec<Place>> {
        let directory = &self.rotation.directory;
        let read = || -> io::Result<Vec<Place>> {
            let mut places = Vec::new();
            for entry in std::fs::read_dir(directory)? {
                places.extend(self.place(entry?.file_name()));
            }
            places.sort_unstable();
            Ok(places)
        };
        read().map_err(|error| at(directory, "list", &error))
    }

    fn place(&self, file: impl AsRef<Path>) -> Option<Place> {
        let rest = file
            .as_ref()
            .to_str()?
            .strip_prefix(&self.rotation.name)?
            .strip_prefix('-')?
            .strip_suffix(".ndjson")?;
        let (day, number) = rest.split_once('-').unwrap_or((rest, "0"));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        // A leading zero or a written `-0` is not a name of ours.
        let ours =
            day.len() == 8 && digits(day) && digits(number) && (rest.len() == 8 || !number.starts_with('0'));
        Some(Place {
            day: day.parse().ok().filter(|_| ours)?,
            number: number.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex, mpsc};
    use std::time::Duration;

    use prometheus_client::metrics::counter::Counter;

    use super::*;
    use crate::event::EventId;
    use crate::output::samples::permit;
    use crate::output::tally::Tally;
    use crate::output::writer::Writer;

    struct Folder {
        directory: tempfile::TempDir,
        day: &'static str,
    }

    impl Folder {
        fn new() -> Self {
            Self {
                directory: tempfile::tempdir().unwrap(),
                day: "2026-03-02",
            }
        }

        fn rotation(&self) -> Rotation {
            Rotation {
                directory: self.directory.path().join("made/here"),
                name: "ecs".to_owned(),
                max_bytes: 20,
                keep: 3,
                permissions: 0o600,
                rotate_on_startup: false,
                record_end: b"\n",
                sync: true,
            }
        }

        fn clock(&self) -> Clock {
            Clock::simulated(format!("{}T10:00:00Z", self.day).parse().unwrap())
        }

        fn open(&self) -> RotatingFile {
            let mut file = RotatingFile::new(self.rotation(), self.clock());
            file.open().unwrap();
            file
        }

        /// Names and contents, in order.
        fn content(&self) -> Vec<(String, String)> {
            let mut found: Vec<_> = std::fs::read_dir(self.rotation().directory)
                .unwrap()
                .map(|entry| {
                    let path = entry.unwrap().path();
                    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                    (name, std::fs::read_to_string(path).unwrap())
                })
                .collect();
            found.sort();
            found
        }

        fn names(&self) -> Vec<String> {
            self.content().into_iter().map(|(name, _)| name).collect()
        }
    }

    fn records(list: &[&str]) -> Records {
        let mut records = Records::default();
        for text in list {
            records.bytes.extend_from_slice(text.as_bytes());
            records.end(EventId::of([text.as_bytes()]));
        }
        records
    }

    #[tokio::test]
    async fn a_full_file_is_followed_by_the_next_and_the_oldest_goes() {
        let folder = Folder::new();
        let mut file = folder.open();
        file.append(&records(&["1234567", "abcdefg", "xyz", "q"]), &Leave::for_ever())
            .unwrap();
        let want = |name: &str, content: &str| (name.to_owned(), content.to_owned());
        assert_eq!(
            folder.content(),
            [
                want("ecs-20260302-1.ndjson", "q\n"),
                want("ecs-20260302.ndjson", "1234567\nabcdefg\nxyz\n"),
            ]
        );
        let large = "a record beyond the size limit";
        file.append(&records(&[large, "x", "y", large]), &Leave::for_ever())
            .unwrap();
        assert_eq!(
            folder.content(),
            [
                want("ecs-20260302-2.ndjson", &format!("{large}\n")),
                want("ecs-20260302-3.ndjson", "x\ny\n"),
                want("ecs-20260302-4.ndjson", &format!("{large}\n")),
            ]
        );
    }

    #[tokio::test]
    async fn numbers_are_counted_not_sorted_as_text_and_days_follow_each_other() {
        let mut folder = Folder::new();
        let mut file = folder.open();
        for _ in 0..12 {
            file.write(b"12345678901234567890\n").unwrap();
        }
        assert_eq!(
            folder.names(),
            [
                "ecs-20260302-10.ndjson",
                "ecs-20260302-11.ndjson",
                "ecs-20260302-9.ndjson"
            ]
        );
        folder.day = "2026-03-03";
        let mut file = folder.open();
        file.write(b"x\n").unwrap();
        assert!(folder.names().contains(&"ecs-20260303.ndjson".to_owned()));
        folder.day = "2026-03-01";
        let mut file = folder.open();
        file.write(b"12345678901234567890\n").unwrap();
        assert!(
            folder.names().contains(&"ecs-20260303-1.ndjson".to_owned()),
            "a clock that went back does not change the order: {:?}",
            folder.names()
        );
    }

    #[tokio::test]
    async fn on_startup_the_last_file_is_continued_or_left_alone() {
        let folder = Folder::new();
        folder.open().write(b"one\n").unwrap();
        let last = folder.rotation().directory.join("ecs-20260302.ndjson");
        File::options()
            .append(true)
            .open(&last)
            .unwrap()
            .write_all(b"unfini")
            .unwrap();
        folder.open().write(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&last).unwrap(), "one\ntwo\n");
        let rotation = Rotation {
            rotate_on_startup: true,
            ..folder.rotation()
        };
        let mut file = RotatingFile::new(rotation, folder.clock());
        file.write(b"three\n").unwrap();
        file.open().unwrap();
        file.write(b"four\n").unwrap();
        assert_eq!(std::fs::read_to_string(&last).unwrap(), "one\ntwo\n");
        let next = folder.rotation().directory.join("ecs-20260302-1.ndjson");
        assert_eq!(std::fs::read_to_string(next).unwrap(), "three\nfour\n");
    }

    #[tokio::test]
    async fn files_of_other_names_are_left_alone() {
        let folder = Folder::new();
        drop(folder.open());
        let others = [
            "ecs-2026030.ndjson",
            "ecs-20260302-.ndjson",
            "ecs-20260302-0.ndjson",
            "ecs-20260302-01.ndjson",
            "ecs-20260302-1.ndjson.gz",
            "ecs-+2026030.ndjson",
            "ecsbeat-20260101.ndjson",
            "ecs-other-20260101.ndjson",
        ];
        for name in others {
            std::fs::write(folder.rotation().directory.join(name), "").unwrap();
        }
        let mut file = folder.open();
        for _ in 0..9 {
            file.write(b"12345678901234567890\n").unwrap();
        }
        let names = folder.names();
        assert_eq!(names.len(), others.len() + 3, "{names:?}");
        assert!(others.iter().all(|&other| names.iter().any(|name| name == other)));
    }

    #[tokio::test]
    async fn a_stopped_append_begins_nothing_more() {
        let folder = Folder::new();
        let mut file = folder.open();
        let interrupted = file.append(&records(&["a"]), &Leave::given_up()).unwrap_err();
        assert_eq!(interrupted.written, 0);
        assert_eq!(folder.content()[0].1, "");
    }

    /// A disk with room for so many bytes, which may also fail to sync or to truncate.
    #[derive(Default)]
    struct Disk {
        room: usize,
        fail_sync: bool,
        fail_truncate: bool,
    }

    struct Faulty(File, Arc<Mutex<Disk>>);

    impl Medium for Faulty {
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            let mut disk = self.1.lock().unwrap();
            let count = bytes.len().min(disk.room);
            disk.room -= count;
            self.0.write_all(&bytes[..count])?;
            if count < bytes.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            if self.1.lock().unwrap().fail_sync {
                return Err(io::Error::from_raw_os_error(5));
            }
            self.0.sync_data()
        }

        fn truncate(&mut self, length: u64) -> io::Result<()> {
            if self.1.lock().unwrap().fail_truncate {
                return Err(io::Error::from_raw_os_error(5));
            }
            self.0.set_len(length)
        }
    }

    fn faulty(folder: &Folder, disk: &Arc<Mutex<Disk>>) -> RotatingFile<Faulty> {
        let disk = Arc::clone(disk);
        let manner = Manner {
            permissions: 0o600,
            record_end: b"\n",
            wrap: Arc::new(move |file| Faulty(file, Arc::clone(&disk))),
        };
        RotatingFile::with(folder.rotation(), manner, folder.clock())
    }

    #[tokio::test]
    async fn a_full_disk_leaves_no_part_of_a_record_and_the_retry_doubles_none() {
        let folder = Folder::new();
        let disk = Arc::new(Mutex::new(Disk {
            room: 17,
            ..Disk::default()
        }));
        let mut file = faulty(&folder, &disk);
        file.append(&records(&["first"]), &Leave::for_ever()).unwrap();
        // "first" and one more record fit into the file, the third begins the next: there the disk is full.
        let batch = records(&["second", "third", "fourth"]);
        let interrupted = file.append(&batch, &Leave::for_ever()).unwrap_err();
        assert_eq!(interrupted.error.kind(), io::ErrorKind::StorageFull);
        assert!(interrupted.error.to_string().contains("ecs-20260302.ndjson"));
        assert_eq!(interrupted.written, 0);
        assert_eq!(folder.content()[0].1, "first\n", "cut back at once");
        file.append(&batch, &Leave::for_ever()).unwrap_err();
        disk.lock().unwrap().room = 1000;
        file.append(&batch, &Leave::for_ever()).unwrap();
        let all: String = folder.content().into_iter().rev().map(|(_, text)| text).collect();
        assert_eq!(all, "first\nsecond\nthird\nfourth\n");
    }

    #[tokio::test]
    async fn records_in_a_finished_file_count_although_the_next_file_fails() {
        let folder = Folder::new();
        let disk = Arc::new(Mutex::new(Disk {
            room: 21,
            ..Disk::default()
        }));
        let mut file = faulty(&folder, &disk);
        let batch = records(&["1234567890", "12345678", "abc"]);
        let interrupted = file.append(&batch, &Leave::for_ever()).unwrap_err();
        assert_eq!(interrupted.written, 2);
        let contents: Vec<String> = folder.content().into_iter().map(|(_, text)| text).collect();
        assert_eq!(contents, ["", "1234567890\n12345678\n"]);
    }

    #[tokio::test]
    async fn records_that_were_not_synced_do_not_count_and_are_not_doubled() {
        let folder = Folder::new();
        let disk = Arc::new(Mutex::new(Disk {
            room: 1000,
            fail_sync: true,
            fail_truncate: true,
        }));
        let mut file = faulty(&folder, &disk);
        let batch = records(&["one", "two"]);
        assert_eq!(file.append(&batch, &Leave::for_ever()).unwrap_err().written, 0);
        // The file could not be cut back, and stays unusable until it can.
        assert_eq!(folder.content()[0].1, "one\ntwo\n");
        disk.lock().unwrap().fail_sync = false;
        assert_eq!(file.append(&batch, &Leave::for_ever()).unwrap_err().written, 0);
        disk.lock().unwrap().fail_truncate = false;
        file.append(&batch, &Leave::for_ever()).unwrap();
        assert_eq!(folder.content()[0].1, "one\ntwo\n");
    }

    /// A disk on which nothing is synced until told so.
    struct Hanging(File, Arc<Mutex<mpsc::Receiver<()>>>);

    impl Medium for Hanging {
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.write_all(bytes)
        }

        fn sync(&mut self) -> io::Result<()> {
            self.1.lock().unwrap().recv().unwrap();
            self.0.sync_data()
        }

        fn truncate(&mut self, length: u64) -> io::Result<()> {
            self.0.set_len(length)
        }
    }

    #[tokio::test]
    async fn what_a_disk_that_hung_has_after_all_is_not_written_again() {
        let folder = Folder::new();
        let (go_on, told) = mpsc::channel();
        let told = Arc::new(Mutex::new(told));
        let manner = Manner {
            permissions: 0o600,
            record_end: b"\n",
            wrap: Arc::new(move |file| Hanging(file, Arc::clone(&told))),
        };
        let file = RotatingFile::with(folder.rotation(), manner, folder.clock());
        let mut tally = Tally::new(Writer::start("test", file).unwrap(), Counter::default());
        // Two files: the first has the first two.
        let batch = ["1234567890", "12345678", "abc"];
        let short = Duration::from_millis(20);
        let interrupted = tally
            .append(records(&batch), &permit(short), short)
            .await
            .unwrap_err();
        assert_eq!(interrupted.written, 0);
        go_on.send(()).unwrap();
        go_on.send(()).unwrap();
        let long = Duration::from_secs(10);
        tally.append(records(&batch), &permit(long), long).await.unwrap();
        let contents: Vec<String> = folder.content().into_iter().map(|(_, text)| text).collect();
        assert_eq!(contents, ["abc\n", "1234567890\n12345678\n"]);
    }
}
