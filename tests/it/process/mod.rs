//! The real binary against the simulator, a theme in each file.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]
#![allow(clippy::panic, reason = "a test fails where it cannot go on")]
#![allow(clippy::print_stdout, reason = "figures for whoever runs the tests")]

/// Everything that goes wrong with ECS, in one run.
mod all_faults;
/// Damaged checkpoints, full disks.
mod disk;
/// HTTP endpoints and commands.
mod endpoints;
/// HTTP endpoints over TLS.
mod https;
/// SIGKILL at any moment.
mod kill;
/// `--once`, to each output.
mod once;
/// Every way in which Elasticsearch fails.
mod outage;
/// What processors drop, and what they cannot change.
mod processors;
/// What a service manager is told.
mod service;
/// Signals, hanging ends, one process per directory.
mod stop;
