//! `ecsbeat.trace`: what is said to ECS, and what it answers, for looking into what goes wrong.

use std::path::PathBuf;

use super::section::Section;
use super::{LogFiles, Paths, logging, output};

/// `ecsbeat.trace`, switched on.
#[derive(Debug, Clone)]
pub struct Trace {
    /// Where to.
    pub files: LogFiles,
    /// Bytes of a body that are kept.
    pub max_body: usize,
}

/// Reads the section; `None` where it is absent or switched off.
pub(super) fn read(section: &Section<'_>, paths: &Paths) -> Option<Trace> {
    let enabled = section.flag("enabled", section.is_present());
    let files = LogFiles {
        path: section
            .some_text("path")
            .map_or_else(|| paths.logs.clone(), PathBuf::from),
        name: output::file_name(section, "name", "ecsbeat-trace"),
        rotate_every_bytes: logging::file_size(section, "max_size", 10_000_000),
        interval: None,
        keep_files: section.number("keep", 2..=1024).unwrap_or(5),
        permissions: 0o600,
        rotate_on_startup: false,
    };
    let max_body = section.bytes("max_body", 65_536);
    if max_body > 16_777_216 {
        section.problem("max_body", "must be at most 16MiB");
    }
    let max_body = usize::try_from(max_body).unwrap_or(0);
    enabled.then_some(Trace { files, max_body })
}
