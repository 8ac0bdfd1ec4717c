//! Integration tests: table of contents.

/// `ecsbeat.yml`: the sample, the 2017 file, what is refused and how it is told.
mod config;
