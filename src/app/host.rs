//! The machine as `add_host_metadata` shows it.
//!
//! Owns no more than the way from what telemetry reads to what the processor wants.

use crate::processor::Host;
use crate::telemetry::identity;
use crate::telemetry::interfaces::Addresses;

/// Reads the machine, which takes a moment.
pub(super) fn read() -> Host {
    let host = identity::Host::read();
    let addresses = Addresses::read();
    Host {
        architecture: host.architecture().to_owned(),
        hostname: host.hostname,
        id: host.id,
        containerized: host.containerized,
        os_platform: host.platform,
        os_family: host.family,
        os_name: host.os_name,
        os_version: host.os_version,
        os_codename: host.os_codename,
        os_kernel: host.kernel,
        ip: addresses.ip.iter().map(ToString::to_string).collect(),
        mac: addresses.mac,
    }
}
