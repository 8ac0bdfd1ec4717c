//! Integration tests: table of contents.

#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::let_and_return,
    clippy::format_collect,
    reason = "a test fails by panicking, tells what it skips, and reads like a story"
)]

/// Commands of the real binary: what they print, change and end with.
mod commands;
/// `ecsbeat.yml`: the sample, the 2017 file, what is refused and how it is told.
mod config;
/// The section `ha`: what it takes, what it refuses, and by what replicas know that they were configured alike.
mod config_ha;
/// Odd answers of a simulated ECS, and what the collector makes of them.
mod data_faults;
/// The store over real etcd clusters: requests, watches, faults, logins, TLS.
mod dcs;
/// What is written for operators is true.
mod docs;
/// What `deploy/examples` shows is valid and works.
mod examples;
/// What ECS does wrong: accounts, answers, connections, topology, load, secrets.
mod faults;
/// For every type, answers in the shapes that ECS gives and the events they must become.
mod golden;
/// Replicas of which one leads: the real binary over a real etcd, a promise in each test.
mod ha;
/// The Kafka output: delivery, faults, fencing, access.
mod kafka;
/// The log as operators meet it.
mod logging;
/// The Logstash output.
mod logstash;
/// Metrics, alerts and dashboards: what they name exists.
mod monitoring;
/// The outputs of the real binary: tried, several at once, counted; and what goes wrong between them and their servers.
mod outputs;
/// What `deploy/` ships: unit, Debian package, Kubernetes, HAProxy, compose file.
mod packages;
/// The status page in a real browser.
mod page;
/// The real binary against the simulator: delivery, ends, kills, outages, endpoints.
mod process;
/// The configuration in the READMEs loads.
mod readme;
/// The Redis output over real servers.
mod redis;
/// The collector against the simulator, in this process or as one of its own.
/// Bugs of the 2017 collector.
mod regression;
/// A different secret in every place that takes one, and everything that the binary tells.
mod secrets;
/// The servers that outputs are tested against, by themselves.
mod servers;
/// The collector against the simulator, in one process.
mod support;
/// Who may import whom, and how long a file may be.
mod tidy;
