//! What tests share.

/// The real binary as a process of its own, and the directory it lives in.
pub(crate) mod process;
/// What of the logs must have been delivered, and what was.
pub(crate) mod windowed;
