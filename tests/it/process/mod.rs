//! The real binary against the simulator, a theme in each file.

/// SIGKILL at any moment.
mod kill;
/// `--once`, to each output.
mod once;
/// Every way in which Elasticsearch fails.
mod outage;
/// Signals, hanging ends, one process per directory.
mod stop;
