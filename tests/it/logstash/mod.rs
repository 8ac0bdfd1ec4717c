//! The Logstash output: its configuration, its examples, and the real binary against a recording server.

mod config;
mod delivery;
