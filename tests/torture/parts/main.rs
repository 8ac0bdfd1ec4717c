//! Tests of what the torture is made of: the checker on recordings made by hand, proxies, the receiver, etcd.
//!
//! The torture itself has no test harness, so that its parts are tested from here.

#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    dead_code,
    reason = "a test fails by panicking, tells what it skips, and does not use all of a part"
)]

#[path = "../checker/mod.rs"]
mod checker;
#[path = "../etcd.rs"]
mod etcd;
#[path = "../ports.rs"]
mod ports;
#[path = "../process.rs"]
mod process;
#[path = "../proxy.rs"]
mod proxy;
#[path = "../receiver.rs"]
mod receiver;
#[path = "../record.rs"]
mod record;
#[path = "../recorder.rs"]
mod recorder;
#[path = "../wire.rs"]
mod wire;

/// The receiver's ids and its recording.
mod arrivals;
/// The verbs of the proxy.
mod links;
/// Members of etcd, and what an administrator does to them.
mod members;
/// Each rule on a recording that keeps it, and on one that breaks it.
mod rules;
