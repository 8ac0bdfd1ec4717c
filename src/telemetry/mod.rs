//! What the process tells about itself: metrics and the log.
//!
//! Nothing here may carry an event's content or a secret.

mod exposition;
pub mod identity;
pub mod interfaces;
pub mod known;
pub mod latency;
pub mod log;
mod log_file;
pub mod metrics;
pub mod metrics_commands;
pub mod metrics_ha;
pub mod metrics_process;
pub mod process;
pub mod repeat;
pub mod report;
pub mod series;
mod snapshot;
pub mod tree;
