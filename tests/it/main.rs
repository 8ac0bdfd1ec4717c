//! Integration tests: table of contents.

/// `ecsbeat.yml`: the sample, the 2017 file, what is refused and how it is told.
mod config;
/// What ECS does wrong: accounts, answers, connections, topology, load, secrets.
mod faults;
/// Bugs of the 2017 collector.
mod regression;
/// The collector against the simulator, in one process.
mod support;
