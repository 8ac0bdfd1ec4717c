//! Integration tests: table of contents.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

/// `ecsbeat.yml`: the sample, the 2017 file, what is refused and how it is told.
mod config;
/// The real binary against the simulator: delivery, ends, kills, outages, endpoints.
mod process;
/// What tests share.
mod support;
/// Who may import whom, and how long a file may be.
mod tidy;
