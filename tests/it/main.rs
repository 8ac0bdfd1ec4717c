//! Integration tests: table of contents.

/// `ecsbeat.yml`: the sample, the 2017 file, what is refused and how it is told.
mod config;
/// The real binary against the simulator: delivery, ends, kills, outages, endpoints.
mod process;
/// What tests share.
mod support;
