//! Files, on a small disk of their own.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::memory;
use super::receiver::{Own, Reach, Receiver};
use super::table::{self, Until};
use crate::support::windowed::whole_lines_in;

/// A directory on a file system of 16 MiB, as long as this lives.
struct Files {
    directory: TempDir,
}

impl Files {
    fn filler(&self) -> PathBuf {
        self.directory.path().join("filler")
    }

    fn out(&self) -> PathBuf {
        self.directory.path().join("out")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // The process may still have a file open there.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.directory.path())
            .status();
    }
}

impl Receiver for Files {
    const NAME: &'static str = "file";
    const OWN: &'static [Own] = &[Own {
        name: "disk full",
        until: Until::Errors(3),
        repeats: false,
    }];

    async fn start() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"])
            .arg(directory.path());
        if !mount.output().is_ok_and(|output| output.status.success()) {
            println!("SKIPPED: a file system of its own can be mounted by root only");
            return None;
        }
        Some(Self { directory })
    }

    fn address(&self) -> Option<SocketAddr> {
        None
    }

    fn config(&self, _reach: &Reach) -> String {
        format!(
            "output.file: {{path: '{}', rotate_every_kb: 64, number_of_files: 1024}}",
            self.out().display()
        )
    }

    async fn documents(&self) -> Vec<Vec<u8>> {
        let lines = whole_lines_in(&self.out());
        lines.into_iter().map(String::into_bytes).collect()
    }

    async fn violations(&self) -> Vec<String> {
        let files = fs::read_dir(self.out())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let torn = files.filter(|path| !fs::read(path).unwrap().ends_with(b"\n"));
        torn.map(|path| format!("{} ends in the midst of a line", path.display()))
            .collect()
    }

    async fn strike(&mut self, _own: &str) {
        let full = fs::write(self.filler(), vec![0; 32 * 1024 * 1024]);
        assert!(full.is_err(), "16 MiB take 32?");
    }

    async fn undo(&mut self, _own: &str) {
        fs::remove_file(self.filler()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_when_the_disk_is_full() {
    table::local::<Files>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_outage_holds_no_more_than_the_queue_and_is_made_up_for() {
    memory::outage::<Files>().await;
}
