//! The real binary against the simulator, a theme in each file.

/// `--once`, to each output.
mod once;
