//! `output.logstash.*`.
//!
//! Owns which of Beats' options there are, and their defaults. Reaches nobody.

use std::time::Duration;

use super::section::Section;
use super::{HostPort, Network, output_network};

/// `output.logstash`: Logstash's beats input, or whatever else takes the Lumberjack protocol, version 2.
#[derive(Debug, Clone)]
pub struct LogstashOutput {
    /// Where it listens; port 5044 unless given. Never empty.
    pub hosts: Vec<HostPort>,
    /// What all network outputs have. Connections are secured where `ssl.enabled` says so.
    pub network: Network,
    /// zlib level of batches, 0..=9, 0 = plain.
    pub compression_level: u32,
    /// Batches in flight on one connection, at least 1: what is sent before the one ahead is acknowledged.
    pub pipelining: usize,
    /// Age at which a connection is replaced, between two batches; `None` = it lasts.
    pub ttl: Option<Duration>,
    /// Begin with small windows, and with smaller ones after a failure.
    pub slow_start: bool,
    /// `@metadata.beat`: the root of the index name in a pipeline; default `ecsbeat`.
    pub index: String,
}

/// Port of the beats input.
const PORT: u16 = 5044;

const DEFAULTS: output_network::Defaults = output_network::Defaults {
    loadbalance: false,
    bulk_max_size: 2048,
    timeout: Duration::from_secs(30),
};

/// Reads the section.
pub(super) fn read(section: &Section<'_>) -> LogstashOutput {
    let ttl = section.duration("ttl", Duration::ZERO);
    let output = LogstashOutput {
        hosts: output_network::hosts(section, PORT, "localhost:5044"),
        network: output_network::read(section, DEFAULTS),
        compression_level: section.number("compression_level", 0..=9).unwrap_or(3),
        pipelining: section.number::<usize>("pipelining", 0..=256).unwrap_or(2).max(1),
        ttl: (!ttl.is_zero()).then_some(ttl),
        slow_start: section.flag("slow_start", false),
        index: section.some_text("index").unwrap_or_else(|| "ecsbeat".to_owned()),
    };
    if output.index.contains("%{") {
        section.warning(
            "index",
            "is sent as it is, in @metadata.beat: no field or time is put into it; do that in the pipeline",
        );
    }
    section.without_effect("escape_html", "nothing is escaped that JSON does not ask for");
    output
}
