//! Prometheus' own checks.
//!
//! Owns the running of `promtool`: the one named in `PROMTOOL_BIN`, what `make tools` unpacks, or the machine's. Where
//! there is none, what needs it is told as skipped.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What it said, and whether that was praise.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) is_good: bool,
    pub(super) said: String,
}

fn find() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("PROMTOOL_BIN") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "PROMTOOL_BIN: {} is no file", path.display());
        return Some(path);
    }
    let known = [
        super::path("target/prometheus/usr/bin/promtool"),
        PathBuf::from("/usr/bin/promtool"),
    ];
    known.into_iter().find(|path| path.is_file())
}

/// Runs it in a directory; `None` = there is none.
pub(super) fn promtool(directory: &Path, arguments: &[&str], input: &str) -> Option<Verdict> {
    let Some(program) = find() else {
        println!(
            "SKIPPED promtool {}: there is no promtool; run `make tools`, or set PROMTOOL_BIN",
            arguments.join(" ")
        );
        return None;
    };
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // It may end before it has read everything.
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Some(Verdict {
        is_good: output.status.success(),
        said: format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
    })
}
