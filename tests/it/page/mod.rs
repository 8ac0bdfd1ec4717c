//! The status page in a real browser: the real binary, and a Chromium that looks at it.
//!
//! What is rendered in which state is a matter of unit tests; here it is shown, read aloud, kept up to date and
//! switched to dark.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]
#![allow(clippy::panic, reason = "a test fails where it cannot go on")]

/// What every page must be.
mod checks;
/// Replicas of which one leads.
mod cluster;
/// A single node.
mod single;
