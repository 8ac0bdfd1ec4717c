//! `logging.*`.

use std::path::PathBuf;
use std::time::Duration;

use super::load::Environment;
use super::section::Section;
use super::{Paths, output};

/// `logging.*`.
#[derive(Debug, Clone)]
pub struct Logging {
    /// debug, info, warning, error.
    pub level: LogLevel,
    /// Modules to log at debug level; empty = all.
    pub selectors: Vec<String>,
    /// Log to stderr.
    pub to_stderr: bool,
    /// Log to files.
    pub to_files: bool,
    /// JSON lines (Elastic Common Schema) or text for people.
    pub json: bool,
    /// `logging.files.*`.
    pub files: LogFiles,
    /// Write the metrics line.
    pub metrics_enabled: bool,
    /// Time between metrics lines.
    pub metrics_period: Duration,
}

/// `logging.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// `error`, also `critical`.
    Error,
    /// `warning`, also `warn`.
    Warning,
    /// `info`.
    Info,
    /// `debug`.
    Debug,
}

/// `logging.files.*`.
#[derive(Debug, Clone)]
pub struct LogFiles {
    /// Directory, `path.logs` unless set.
    pub path: PathBuf,
    /// Files are `<name>-YYYYMMDD[-N].ndjson`.
    pub name: String,
    /// Bytes at which a file is closed.
    pub rotate_every_bytes: u64,
    /// Files kept, 2..1024.
    pub keep_files: usize,
    /// Mode of new files.
    pub permissions: u32,
    /// Begin a new file at start.
    pub rotate_on_startup: bool,
}

const LEVELS: [(&str, LogLevel); 6] = [
    ("debug", LogLevel::Debug),
    ("info", LogLevel::Info),
    ("warning", LogLevel::Warning),
    ("warn", LogLevel::Warning),
    ("error", LogLevel::Error),
    ("critical", LogLevel::Error),
];

/// Reads the section. The log goes to files unless the environment reads stderr.
pub(super) fn read(section: &Section<'_>, paths: &Paths, environment: Environment) -> Logging {
    let to_stderr = section.flag("to_stderr", environment != Environment::Default);
    let old_json = section
        .deprecated("json", "logging.format: json or text")
        .and_then(|field| field.flag());
    let format = section.one_of("format", &[("json", true), ("text", false)]);
    let mut selectors = section.texts("selectors").unwrap_or_default();
    if selectors.iter().any(|selector| selector == "*") {
        selectors.clear();
    }
    section.without_effect(
        "to_syslog",
        "log to stderr and let journald or the container runtime take it",
    );
    section.without_effect("to_eventlog", "there is no Windows event log");
    section.without_effect("event_data", "the content of events is never logged");
    let (metrics_enabled, metrics_period) = section.section("metrics", |metrics| {
        metrics.without_effect("namespaces", "there is one");
        (
            metrics.flag("enabled", true),
            metrics.positive_duration("period", Duration::from_secs(30)),
        )
    });
    Logging {
        level: section.one_of("level", &LEVELS).unwrap_or(LogLevel::Info),
        selectors,
        to_stderr,
        to_files: section.flag("to_files", !to_stderr),
        json: format.or(old_json).unwrap_or(true),
        files: section.section("files", |files| LogFiles {
            path: files
                .some_text("path")
                .map_or_else(|| paths.logs.clone(), PathBuf::from),
            name: {
                files.without_effect("interval", "files are rotated by size");
                files.without_effect("redirect_stderr", "nothing is written to stderr but the log");
                files.without_effect("suffix", "files are <name>-<date>[-n].ndjson");
                output::file_name(files, "name")
            },
            rotate_every_bytes: {
                let bytes = files.bytes("rotateeverybytes", 10_485_760);
                if bytes < 1024 {
                    files.problem("rotateeverybytes", "must be at least 1kB");
                }
                bytes
            },
            keep_files: files.number("keepfiles", 2..=1024).unwrap_or(7),
            permissions: files.mode("permissions", 0o600, 0o640),
            rotate_on_startup: files.flag("rotateonstartup", true),
        }),
        metrics_enabled,
        metrics_period,
    }
}
