//! The outputs of the real binary: how they are tried, several at once, what is told of them, and what goes wrong between
//! them and their servers: a table of faults for every output.
//!
//! Each output is a [`receiver::Receiver`]; a new one needs that and a test that calls [`table::network`] and its
//! siblings. `make outputs` prints what the tables have measured.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]
#![allow(clippy::panic, reason = "a test fails where it cannot go on")]
#![allow(clippy::print_stdout, reason = "the tables are for whoever runs the tests")]

/// Elasticsearch.
mod elasticsearch;
/// Files.
mod file;
/// Kafka.
mod kafka;
/// Logstash.
mod logstash;
/// A long outage: what is held is bounded.
mod memory;
/// libbeat's metrics of outputs, in `/stats` and in the log.
mod metrics;
/// What a server of an output must be able to do here.
mod receiver;
/// Redis.
mod redis;
/// What was measured, for people.
mod report;
/// Two outputs of which one is down.
mod several;
/// `test output`: the tree of steps, word by word.
mod steps;
/// Faults, how long they last, and what may come of them.
mod table;
/// One collector, its federation and its output.
mod world;
