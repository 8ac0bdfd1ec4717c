//! Replicas of which one leads: the real binary over a real etcd.
//!
//! Owns one test for each promise, named by it. What only chance finds is left to the torture.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]
#![allow(clippy::panic, reason = "a test fails where it cannot go on")]
#![allow(clippy::print_stdout, reason = "figures for whoever runs the tests")]

/// Logins and certificates.
mod access;
/// What an administrator does in etcd.
mod administrator;
/// Where a new leader goes on.
mod checkpoints;
/// Processes that die, hosts that are gone.
mod crash;
/// What is told while everything hangs.
mod endpoints;
/// Replicas that were configured differently.
mod mismatch;
/// Two processes of one name.
mod names;
/// What operators ask for.
mod orders;
/// etcd that is away.
mod outage;
/// A leader that stands still.
mod pause;
/// Who is preferred.
mod priority;
/// Before there is a leader.
mod start;
/// Orderly ends.
mod stop;
/// Metrics and log lines.
mod telemetry;
/// Which windows were polled.
mod windows;
