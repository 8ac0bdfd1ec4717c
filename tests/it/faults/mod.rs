//! What ECS does wrong, and what the collector makes of it. Each test is named after the item of the list of
//! faults that it proves.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

/// Logging in, the life of tokens.
mod auth;
/// Connections, header names, clocks.
mod connections;
/// The cap on tokens, roles, accepted hosts.
mod limits;
/// How hard ECS is asked.
mod load;
/// Releases of ECS.
mod releases;
/// Passwords and tokens.
mod secrets;
/// Statuses: what is asked again.
mod statuses;
/// Nodes and VDCs that come and go.
mod topology;
