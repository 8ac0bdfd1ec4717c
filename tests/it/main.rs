//! Integration tests: table of contents.

/// `ecsbeat.yml`: the sample, the 2017 file, what is refused and how it is told.
mod config;
/// What ECS does wrong: accounts, answers, connections, topology, load, secrets.
mod faults;
/// The real binary against the simulator: delivery, ends, kills, outages, endpoints.
mod process;
/// The collector against the simulator, in this process or as one of its own.
mod support;
