//! The simulator seen from outside, through its ports: each of the things that it must reproduce is shown once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod auth;
mod billing;
mod bulk;
mod client;
mod control;
mod dashboards;
mod diagnostics;
mod load;
mod logs;
mod namespaces;
mod tls;
mod topology;
mod transport;
