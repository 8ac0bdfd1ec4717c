//! `logging.*`.

use std::path::PathBuf;
use std::time::Duration;

use super::load::Environment;
use super::section::Section;
use super::{Paths, log_selectors, output};

/// `logging.*`.
#[derive(Debug, Clone)]
pub struct Logging {
    /// debug, info, warning, error.
    pub level: LogLevel,
    /// What to log at debug level, in lower case; empty = everything of ours. See [`super::selected`].
    pub selectors: Vec<String>,
    /// Log to stderr.
    pub to_stderr: bool,
    /// Log to files.
    pub to_files: bool,
    /// JSON lines (Elastic Common Schema) or text for people.
    pub json: bool,
    /// `logging.files.*`.
    pub files: LogFiles,
    /// `logging.event_data.*`; `None` = the content of events is not written anywhere.
    pub event_data: Option<LogFiles>,
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

/// `logging.files.*`, and other files that are written and rotated like these.
#[derive(Debug, Clone)]
pub struct LogFiles {
    /// Directory, `path.logs` unless set.
    pub path: PathBuf,
    /// Files are `<name>-YYYYMMDD[-N].ndjson`.
    pub name: String,
    /// Bytes at which a file is closed.
    pub rotate_every_bytes: u64,
    /// Time after which a file is closed, counted in whole intervals since 1970 (UTC).
    pub interval: Option<Duration>,
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
    section.without_effect(
        "to_syslog",
        "log to stderr and let journald or the container runtime take it",
    );
    section.without_effect("to_eventlog", "there is no Windows event log");
    let event_data = section.section("event_data", |section| event_data(section, paths));
    let (metrics_enabled, metrics_period) = section.section("metrics", |metrics| {
        metrics.without_effect("namespaces", "there is one");
        (
            metrics.flag("enabled", true),
            metrics.positive_duration("period", Duration::from_secs(30)),
        )
    });
    let mut logging = Logging {
        level: section.one_of("level", &LEVELS).unwrap_or(LogLevel::Info),
        selectors: Vec::new(),
        to_stderr,
        to_files: section.flag("to_files", !to_stderr),
        json: format.or(old_json).unwrap_or(true),
        files: section.section("files", |section| files(section, paths, &LOG)),
        event_data,
        metrics_enabled,
        metrics_period,
    };
    let selectors = section.texts("selectors").unwrap_or_default();
    for warning in log_selectors::set(&mut logging, &selectors) {
        section.warning("selectors", warning);
    }
    logging
}

/// What files are like unless told.
struct Usual {
    name: &'static str,
    rotate_every_bytes: u64,
    keep_files: usize,
    rotate_on_startup: bool,
}

const LOG: Usual = Usual {
    name: "ecsbeat",
    rotate_every_bytes: 10_485_760,
    keep_files: 7,
    rotate_on_startup: true,
};

const EVENT_DATA: Usual = Usual {
    name: "ecsbeat-events-data",
    rotate_every_bytes: 5_242_880,
    keep_files: 2,
    rotate_on_startup: false,
};

fn files(section: &Section<'_>, paths: &Paths, usual: &Usual) -> LogFiles {
    section.without_effect("redirect_stderr", "nothing is written to stderr but the log");
    section.without_effect("suffix", "files are <name>-<date>[-n].ndjson");
    LogFiles {
        path: section
            .some_text("path")
            .map_or_else(|| paths.logs.clone(), PathBuf::from),
        name: output::file_name(section, "name", usual.name),
        rotate_every_bytes: file_size(section, "rotateeverybytes", usual.rotate_every_bytes),
        interval: interval(section),
        keep_files: section.number("keepfiles", 2..=1024).unwrap_or(usual.keep_files),
        permissions: section.mode("permissions", 0o600, 0o640),
        rotate_on_startup: section.flag("rotateonstartup", usual.rotate_on_startup),
    }
}

/// The size at which a file is closed.
pub(super) fn file_size(section: &Section<'_>, key: &'static str, usual: u64) -> u64 {
    let bytes = section.bytes(key, usual);
    if bytes < 1024 {
        section.problem(key, "must be at least 1kB");
    }
    bytes
}

fn interval(section: &Section<'_>) -> Option<Duration> {
    let interval = section
        .maybe_duration("interval")
        .filter(|interval| !interval.is_zero())?;
    if interval < Duration::from_secs(60) {
        section.problem(
            "interval",
            "must be at least 1m, or 0 for files that are closed by size alone",
        );
    }
    Some(interval)
}

/// Beats write the content of events that were refused unless told not to. Here it has to be asked for.
fn event_data(section: &Section<'_>, paths: &Paths) -> Option<LogFiles> {
    let enabled = section.maybe_flag("enabled");
    let files = section.section("files", |section| files(section, paths, &EVENT_DATA));
    if enabled.is_none() && section.is_present() {
        section.warning(
            "",
            "has no effect without `enabled: true`: the content of events is written only where that is asked for",
        );
    }
    enabled.unwrap_or(false).then_some(files)
}
