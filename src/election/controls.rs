//! Switches that break the product on purpose, so that the tests of its promises can be seen to fail.
//!
//! Owns `ECSBEAT_NEGATIVE_CONTROL`, which exists only in builds with the feature `negative-controls`. In every other
//! build nothing here can be switched, and the compiler removes it. Must never be part of a release.

/// The gate stays open until a renewal is refused.
pub(super) fn gate_is_off() -> bool {
    is_on("gate")
}

/// Checkpoints are written whoever leads.
pub(crate) fn fencing_is_off() -> bool {
    is_on("fencing")
}

/// Checkpoints are written before the events are acknowledged.
pub(crate) fn order_is_off() -> bool {
    is_on("checkpoint-order")
}

#[cfg(feature = "negative-controls")]
fn is_on(what: &str) -> bool {
    use std::sync::OnceLock;
    static CONTROL: OnceLock<String> = OnceLock::new();
    CONTROL.get_or_init(|| std::env::var("ECSBEAT_NEGATIVE_CONTROL").unwrap_or_default()) == what
}

#[cfg(not(feature = "negative-controls"))]
const fn is_on(_: &str) -> bool {
    false
}
