//! What the process tells about itself: metrics and the log.
//!
//! Nothing here may carry an event's content or a secret.

pub mod metrics;
