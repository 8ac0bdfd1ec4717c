//! What a simulator is started with: size, releases, accounts, rates, ports. Every member has a default; must
//! hold no state.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::metering;
use crate::profile::Profile;

/// How a simulator is made.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Config {
    /// Decides every id and number of the world.
    pub seed: u64,
    /// Number of VDCs in the federation.
    pub vdcs: usize,
    /// Number of nodes in each VDC.
    pub nodes_per_vdc: usize,
    /// Number of disks in each node.
    pub disks_per_node: usize,
    /// Number of processes that each node shows, at most 27.
    pub processes_per_node: usize,
    /// Number of namespaces in the federation.
    pub namespaces: usize,
    /// Give every third namespace a name outside ASCII.
    pub unicode_names: bool,
    /// Number of buckets in each namespace.
    pub buckets_per_namespace: usize,
    /// Number of directory tables in each VDC.
    pub directory_tables: usize,
    /// The release that all nodes run at first.
    pub profile: Profile,
    /// Port of the management API; 0 takes a free one, the same on all nodes.
    pub mgmt_port: u16,
    /// Port of the diagnostics (9101); 0 takes a free one; `None` leaves it closed.
    pub diag_port: Option<u16>,
    /// Port of the S3 ping (9021); 0 takes a free one; `None` leaves it closed.
    pub ping_port: Option<u16>,
    /// Give each VDC a load balancer address in front of its nodes.
    pub front: bool,
    /// Separate the networks: the ping is on a data address of its own, and from 3.8 on the diagnostics are on
    /// a private address that cannot be reached.
    pub separate_networks: bool,
    /// Seconds after which a silent connection is closed without a word.
    pub keep_alive_secs: u64,
    /// Put all nodes on `::1`, each on a free port of its own.
    pub ipv6: bool,
    /// Put all nodes and load balancers on this address, where clients on other machines reach them. The ports of the
    /// first node are those below, the next node has the next numbers, and the load balancers come last.
    pub address: Option<IpAddr>,
    /// A name that the certificates of all nodes are good for as well.
    pub name: Option<String>,
    /// Epoch seconds that the clock shows at the start; `None` follows the system.
    pub clock_start: Option<i64>,
    /// Accounts, the same in every VDC.
    pub users: Vec<User>,
    /// Tokens and lock-out.
    pub auth: Auth,
    /// Audit events and alerts.
    pub journal: Journal,
    /// Billing.
    pub billing: Billing,
    /// Time that every answer of the management API takes.
    pub latency: Latency,
    /// Names that the `Host` header may have on releases that check it; empty accepts all.
    pub accepted_hosts: Vec<String>,
    /// Rows in a page of namespaces or buckets when the client asks for no limit.
    pub page_size: usize,
    /// How many requests the log keeps; older ones are forgotten.
    pub request_log: usize,
    /// Where the control API listens; `None` for none.
    pub control: Option<SocketAddr>,
}

/// An account.
#[derive(Debug, Clone)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Password; keep it recognisable, it is one of the canaries.
    pub password: String,
    /// Roles, such as `SYSTEM_MONITOR`; none at all gives 403 everywhere.
    pub roles: Vec<String>,
}

/// Tokens and lock-out.
#[derive(Debug, Clone)]
pub struct Auth {
    /// Life of a token, in seconds.
    pub absolute_secs: i64,
    /// Life of a token that nobody uses, in seconds.
    pub idle_secs: i64,
    /// Answer a dead token with a redirect to `/login` (302) instead of 401.
    pub expired_redirects: bool,
    /// Live tokens that one account may have in one VDC.
    pub tokens_per_user: usize,
    /// Wrong passwords in a row after which the account is locked; `None` for never.
    pub lockout_after: Option<u32>,
    /// A token of one VDC is good in all.
    pub federation_wide: bool,
}

/// Audit events and alerts.
#[derive(Debug, Clone)]
pub struct Journal {
    /// Audit events that each VDC writes in a minute.
    pub events_per_minute: u32,
    /// Alerts that each VDC raises in a minute.
    pub alerts_per_minute: u32,
    /// Every `burst_every`th minute has ten times as many; 0 for never.
    pub burst_every: u32,
    /// One row in this many shows up late; 0 for none.
    pub late_one_in: u32,
    /// How many seconds after its time a late row shows up.
    pub late_secs: i64,
    /// Rows in a page when the client asks for no limit.
    pub page_size: usize,
    /// Largest limit that a client can ask for.
    pub max_page_size: usize,
    /// Whether rows of the minute `end_time` belong to the answer.
    pub inclusive_end: bool,
    /// Age of the oldest row at the start of the simulator, in minutes.
    pub history_mins: i64,
}

/// Billing.
#[derive(Debug, Clone)]
pub struct Billing {
    /// How far `uptodate_till` is behind the clock, in seconds.
    pub lag_secs: i64,
    /// Windows begin and end on multiples of it, in seconds. That of the real thing is 300; the figures are booked
    /// every 300 seconds whatever it is, so that most of several shorter windows show that nothing happened.
    pub grid_secs: i64,
}

/// Time that every answer takes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Latency {
    /// Milliseconds of an ordinary answer.
    pub ms: u64,
    /// Milliseconds of the slowest answer in a hundred; no effect when smaller than `ms`.
    pub p99_ms: u64,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            vdcs: 2,
            nodes_per_vdc: 4,
            disks_per_node: 12,
            processes_per_node: 14,
            namespaces: 25,
            unicode_names: false,
            buckets_per_namespace: 4,
            directory_tables: 128,
            profile: Profile::V3_8_0,
            mgmt_port: 4443,
            diag_port: Some(9101),
            ping_port: Some(9021),
            front: true,
            separate_networks: false,
            keep_alive_secs: 120,
            ipv6: false,
            address: None,
            name: None,
            clock_start: None,
            users: vec![User::new(
                "monitor",
                "CANARY-password-monitor",
                &["SYSTEM_MONITOR"],
            )],
            auth: Auth::default(),
            journal: Journal::default(),
            billing: Billing::default(),
            latency: Latency::default(),
            accepted_hosts: Vec::new(),
            page_size: 1000,
            request_log: 5_000,
            control: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4480)),
        }
    }
}

impl Config {
    /// Free ports everywhere and no control API, so that many simulators run side by side; a larger log.
    pub fn for_tests() -> Self {
        Self {
            mgmt_port: 0,
            diag_port: Some(0),
            ping_port: Some(0),
            users: vec![
                User::new("monitor", "CANARY-password-monitor", &["SYSTEM_MONITOR"]),
                User::new("admin", "CANARY-password-admin", &["SYSTEM_ADMIN"]),
                User::new("nobody", "CANARY-password-nobody", &[]),
            ],
            request_log: 200_000,
            control: None,
            ..Self::default()
        }
    }
}

// === impl User ===

impl User {
    /// An account with these roles.
    pub fn new(name: &str, password: &str, roles: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            password: password.to_owned(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        }
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            absolute_secs: 8 * 3600,
            idle_secs: 2 * 3600,
            expired_redirects: true,
            tokens_per_user: 100,
            lockout_after: None,
            federation_wide: false,
        }
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            events_per_minute: 3,
            alerts_per_minute: 1,
            burst_every: 0,
            late_one_in: 0,
            late_secs: 90,
            page_size: 100,
            max_page_size: 1000,
            inclusive_end: false,
            history_mins: 60,
        }
    }
}

impl Default for Billing {
    fn default() -> Self {
        Self {
            lag_secs: 600,
            grid_secs: metering::STEP,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_readme() {
        let config = Config::default();
        assert_eq!(
            (config.vdcs, config.nodes_per_vdc, config.disks_per_node),
            (2, 4, 12)
        );
        assert_eq!(
            (config.mgmt_port, config.diag_port, config.ping_port),
            (4443, Some(9101), Some(9021))
        );
        assert_eq!(Config::for_tests().mgmt_port, 0);
    }
}
