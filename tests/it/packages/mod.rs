//! What `deploy/` ships, held against the programs that it is for, and against the product.
//!
//! Owns where those programs are found: on this machine, or below `target/`, where `tests/tools.sh` has put them. What
//! cannot be tried without one is told on stderr, where it is seen even if all tests pass.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]
#![allow(clippy::panic, reason = "a test fails where it cannot go on")]

/// `deploy/compose.yml`, as Docker reads it.
mod compose;
/// The Debian package, built, installed, upgraded and removed.
mod debian;
/// `deploy/haproxy`.
mod haproxy;
/// `deploy/kubernetes`.
mod kubernetes;
/// `deploy/systemd`.
mod unit;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize as _;
use serde_json::Value;

/// A file of the project.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Its text.
fn text(name: &str) -> String {
    fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The documents of a YAML file.
fn documents(name: &str) -> Vec<Value> {
    let text = text(name);
    let read = |document| Value::deserialize(document).unwrap_or_else(|error| panic!("{name}: {error}"));
    let found: Vec<Value> = serde_yaml::Deserializer::from_str(&text).map(read).collect();
    assert!(!found.is_empty(), "{name} is empty");
    found
}

/// The program of this machine, or the one below `target/`; `None` is told, with what is not done.
fn program(name: &str, below_target: &str, what: &str) -> Option<PathBuf> {
    let installed = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|path| path.is_file())
    });
    let unpacked = file("target").join(below_target);
    let found = installed.or_else(|| unpacked.is_file().then_some(unpacked));
    if found.is_none() {
        skipped(what, &format!("there is no {name}; `make tools` has it"));
    }
    found
}

/// Told past the harness, which keeps what passing tests print to itself.
fn skipped(what: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}: {why}");
}

/// The folders of libraries below that of an unpacked program, for the loader.
fn with_libraries(command: &mut Command, program: &Path) {
    let Some(tree) = program
        .strip_prefix(file("target"))
        .ok()
        .and_then(|below| below.iter().next())
        .map(|name| file("target").join(name))
    else {
        return;
    };
    let mut folders = Vec::new();
    let mut left = vec![tree];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                left.push(path);
            } else if path.to_string_lossy().contains(".so")
                && let Some(parent) = path.parent().map(Path::to_path_buf)
                && !folders.contains(&parent)
            {
                folders.push(parent);
            }
        }
    }
    command.env("LD_LIBRARY_PATH", std::env::join_paths(folders).unwrap());
}

/// What a program that has ended has said.
struct Said {
    code: Option<i32>,
    stdout: String,
    /// Both streams.
    all: String,
}

impl Said {
    #[track_caller]
    fn well(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.all);
        self
    }
}

fn run(command: &mut Command) -> Said {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let all = format!("{command:?}\n{stdout}{}", String::from_utf8_lossy(&output.stderr));
    Said {
        code: output.status.code(),
        stdout,
        all,
    }
}
