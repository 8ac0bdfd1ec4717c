//! Who may poll and publish.
//!
//! Owns [`Tenure`] (the right to work, with a term and an end) and [`Permit`] (the right to one send, bounded
//! in time), and how one of several replicas comes to hold a tenure: [`machine`] decides, a loop on a thread of its
//! own carries out what it decides. Leadership is a value, never a flag: whatever polls, publishes or writes a
//! checkpoint takes a permit, so no code path can do so without a live tenure. Nothing here publishes anything.

mod clocks;
pub(crate) mod controls;
mod gate;
mod gatekeeper;
mod lease_file;
pub mod machine;
mod notes;
pub mod order;
pub mod replica;
mod solo;

pub(crate) use lease_file::LOCK;

pub use gate::{NoTenure, Permit, Tenure};
pub use solo::solo;

#[cfg(test)]
mod simulation;
