//! What the process tells about itself: metrics and the log.
//!
//! Nothing here may carry a secret, nor an event's content but [`event_data`], where that was asked for.

pub mod cut;
pub mod event_data;
mod exposition;
mod flush;
pub mod identity;
pub mod interfaces;
pub mod known;
pub mod latency;
pub mod log;
mod log_file;
pub mod metrics;
pub mod metrics_certificates;
pub mod metrics_commands;
pub mod metrics_ha;
pub mod metrics_process;
pub mod panics;
pub mod process;
pub mod recorder;
pub mod repeat;
pub mod report;
pub mod series;
mod snapshot;
pub mod tree;
