//! Options of the command line and what is told at the start. Must never start anything.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use ecs_sim::{Auth, Billing, Config, FaultRule, Journal, Latency, Profile, Sim, User};

/// A federation of Dell EMC ECS clusters in one process, with switchable faults.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    /// What to run instead of a federation.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The federation.
    #[command(flatten)]
    pub(crate) federation: Federation,
}

/// What else can be run.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A fake Elasticsearch that records what it is sent.
    Bulk(Bulk),
    /// Tell by the exit code whether a federation is up; for container health checks.
    Health(Health),
}

/// Options of the federation.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub(crate) struct Federation {
    /// Decides every id and number of the world.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of VDCs.
    #[arg(long, default_value_t = 2)]
    vdcs: usize,
    /// Number of nodes in each VDC.
    #[arg(long, default_value_t = 4)]
    nodes: usize,
    /// Number of disks in each node.
    #[arg(long, default_value_t = 12)]
    disks: usize,
    /// Number of processes in each node, at most 27.
    #[arg(long, default_value_t = 14)]
    processes: usize,
    /// Number of namespaces in the federation.
    #[arg(long, default_value_t = 25)]
    namespaces: usize,
    /// Names of namespaces with characters outside ASCII.
    #[arg(long)]
    unicode_names: bool,
    /// Number of directory tables in each VDC.
    #[arg(long, default_value_t = 128)]
    directory_tables: usize,
    /// Release: 2.2, 3.1, 3.6, 3.8.0, 3.8.1ce, 4.1 or 4.3.
    #[arg(long, default_value_t = Profile::V3_8_0)]
    profile: Profile,
    /// Port of the management API on all nodes; 0 for a free one.
    #[arg(long, default_value_t = 4443)]
    port: u16,
    /// Port of the diagnostics; 0 for a free one.
    #[arg(long, default_value_t = 9101)]
    diag_port: u16,
    /// Port of the S3 ping; 0 for a free one.
    #[arg(long, default_value_t = 9021)]
    ping_port: u16,
    /// Leave the diagnostics closed.
    #[arg(long)]
    no_diag: bool,
    /// Leave the S3 ping closed.
    #[arg(long)]
    no_ping: bool,
    /// Put ping and diagnostics on networks of their own.
    #[arg(long)]
    separate_networks: bool,
    /// Seconds after which a silent connection is closed.
    #[arg(long, default_value_t = 120)]
    keep_alive: u64,
    /// All nodes on `::1`, each on a free port.
    #[arg(long)]
    ipv6: bool,
    /// All nodes on this address, or on that of this name, for clients on other machines; each on ports of its own,
    /// counted up from those above. The certificates are good for the name.
    #[arg(long, value_name = "HOST", conflicts_with = "ipv6")]
    address: Option<String>,
    /// Where the control API listens.
    #[arg(long, default_value = "127.0.0.1:4480")]
    control: SocketAddr,
    /// Where to write the certificate of the simulator's authority; it is a new one at every start.
    #[arg(long, default_value = "ecs-sim-ca.pem")]
    pub(crate) ca_file: PathBuf,
    /// Account of the form name:password or name:password:ROLE,ROLE; may be repeated.
    #[arg(
        long = "user",
        default_value = "monitor:CANARY-password-monitor:SYSTEM_MONITOR"
    )]
    users: Vec<String>,
    /// Milliseconds that every answer takes.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Milliseconds that the slowest answer in a hundred takes.
    #[arg(long, default_value_t = 0)]
    p99_ms: u64,
    /// Audit events of each VDC in a minute.
    #[arg(long, default_value_t = 3)]
    events: u32,
    /// Alerts of each VDC in a minute.
    #[arg(long, default_value_t = 1)]
    alerts: u32,
    /// One row of the logs in this many shows up late; 0 for none.
    #[arg(long, default_value_t = 0)]
    late_one_in: u32,
    /// How many seconds late.
    #[arg(long, default_value_t = 90)]
    late_secs: i64,
    /// Rows in a page of events or alerts.
    #[arg(long, default_value_t = 100)]
    log_page: usize,
    /// Rows in a page of namespaces.
    #[arg(long, default_value_t = 1000)]
    page: usize,
    /// Rows of the minute `end_time` belong to the answer.
    #[arg(long)]
    inclusive_end: bool,
    /// Seconds by which billing is behind.
    #[arg(long, default_value_t = 600)]
    billing_lag: i64,
    /// Life of a token in seconds.
    #[arg(long, default_value_t = 28_800)]
    token_life: i64,
    /// Life of an unused token in seconds.
    #[arg(long, default_value_t = 7_200)]
    token_idle: i64,
    /// Live tokens of one account in one VDC.
    #[arg(long, default_value_t = 100)]
    token_cap: usize,
    /// Answer dead tokens with 401 instead of a redirect to /login.
    #[arg(long)]
    expired_401: bool,
    /// A token of one VDC is good in all.
    #[arg(long)]
    shared_tokens: bool,
    /// Wrong passwords in a row after which the account is locked.
    #[arg(long)]
    lockout: Option<u32>,
    /// Name that the Host header may have, on releases that check it; may be repeated.
    #[arg(long = "accepted-host")]
    accepted_hosts: Vec<String>,
    /// Epoch seconds that the clock shows at the start.
    #[arg(long)]
    clock: Option<i64>,
    /// Fault to begin with, as the JSON of the control API; may be repeated.
    #[arg(long = "fault")]
    faults: Vec<String>,
}

/// Where a federation is looked for.
#[derive(Debug, Args)]
pub(crate) struct Health {
    /// Where its control API listens.
    #[arg(long, default_value = "127.0.0.1:4480")]
    pub(crate) control: SocketAddr,
    /// Where it writes the certificate of its authority.
    #[arg(long, default_value = "ecs-sim-ca.pem")]
    pub(crate) ca_file: PathBuf,
}

/// Options of the fake Elasticsearch.
#[derive(Debug, Args)]
pub(crate) struct Bulk {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:9200")]
    listen: SocketAddr,
    /// Version number that it reports.
    #[arg(long, default_value = "8.17.0")]
    version_number: String,
    /// Say that it is OpenSearch.
    #[arg(long)]
    opensearch: bool,
    /// Speak TLS.
    #[arg(long)]
    tls: bool,
    /// Where to write the certificate of the authority, with --tls.
    #[arg(long)]
    pub(crate) ca_file: Option<PathBuf>,
    /// Account of the form name:password that clients must show.
    #[arg(long)]
    user: Option<String>,
    /// Keep every document that arrives, even when it replaces another.
    #[arg(long)]
    keep_all: bool,
}

// === impl Federation ===

impl Federation {
    /// The simulator's configuration.
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        let users: anyhow::Result<Vec<User>> = self.users.iter().map(|text| parse_user(text)).collect();
        Ok(Config {
            seed: self.seed,
            vdcs: self.vdcs,
            nodes_per_vdc: self.nodes,
            disks_per_node: self.disks,
            processes_per_node: self.processes,
            namespaces: self.namespaces,
            unicode_names: self.unicode_names,
            directory_tables: self.directory_tables,
            profile: self.profile,
            mgmt_port: self.port,
            diag_port: (!self.no_diag).then_some(self.diag_port),
            ping_port: (!self.no_ping).then_some(self.ping_port),
            separate_networks: self.separate_networks,
            keep_alive_secs: self.keep_alive,
            ipv6: self.ipv6,
            address: self.address.as_deref().map(resolve).transpose()?,
            name: self
                .address
                .clone()
                .filter(|host| host.parse::<IpAddr>().is_err()),
            clock_start: self.clock,
            users: users?,
            auth: Auth {
                absolute_secs: self.token_life,
                idle_secs: self.token_idle,
                expired_redirects: !self.expired_401,
                tokens_per_user: self.token_cap,
                lockout_after: self.lockout,
                federation_wide: self.shared_tokens,
            },
            journal: Journal {
                events_per_minute: self.events,
                alerts_per_minute: self.alerts,
                late_one_in: self.late_one_in,
                late_secs: self.late_secs,
                page_size: self.log_page,
                inclusive_end: self.inclusive_end,
                ..Journal::default()
            },
            billing: Billing {
                lag_secs: self.billing_lag,
                ..Billing::default()
            },
            latency: Latency {
                ms: self.latency_ms,
                p99_ms: self.p99_ms,
            },
            accepted_hosts: self.accepted_hosts.clone(),
            page_size: self.page,
            control: Some(self.control),
            ..Config::default()
        })
    }

    /// The faults to begin with.
    pub(crate) fn rules(&self) -> anyhow::Result<Vec<FaultRule>> {
        let rules = self
            .faults
            .iter()
            .map(|text| serde_json::from_str(text).with_context(|| format!("--fault {text}")));
        rules.collect()
    }
}

/// The address of a name; of several, one of version 4.
fn resolve(host: &str) -> anyhow::Result<IpAddr> {
    let found = (host, 0)
        .to_socket_addrs()
        .with_context(|| format!("--address {host}"))?;
    let mut found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    found.sort();
    found
        .first()
        .copied()
        .with_context(|| format!("--address {host}: no address has this name"))
}

fn parse_user(text: &str) -> anyhow::Result<User> {
    let mut parts = text.splitn(3, ':');
    let (Some(name), Some(password)) = (parts.next(), parts.next()) else {
        anyhow::bail!("--user needs name:password");
    };
    let roles: Vec<&str> = parts
        .next()
        .unwrap_or("SYSTEM_MONITOR")
        .split(',')
        .filter(|role| !role.is_empty())
        .collect();
    Ok(User::new(name, password, &roles))
}

/// What is told at the start: where everything is, and a configuration to begin with.
pub(crate) fn banner(sim: &Sim, options: &Federation) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "CA certificate: {}", options.ca_file.display());
    if let Some(control) = sim.control_address() {
        let _ = writeln!(text, "control API: http://{control}/state");
    }
    text.push_str("customers:\n- customername: sim\n");
    let (name, password) = options
        .users
        .first()
        .and_then(|user| user.split_once(':'))
        .unwrap_or_default();
    let password = password.split(':').next().unwrap_or_default();
    let _ = writeln!(text, "  username: {name}\n  password: {password}\n  vdcs:");
    for index in 0..sim.vdcs() {
        let vdc = sim.vdc(index);
        let _ = writeln!(text, "  - vdcname: {}\n    nodes:", vdc.name());
        for node in vdc.nodes().iter().take(4) {
            let _ = writeln!(text, "    - host: {}", node.mgmt_host());
        }
    }
    text
}

// === impl Bulk ===

impl Bulk {
    /// The fake's configuration.
    pub(crate) fn config(&self) -> ecs_sim::bulk::Config {
        ecs_sim::bulk::Config {
            listen: self.listen,
            version: self.version_number.clone(),
            opensearch: self.opensearch,
            tls: self.tls,
            account: self.user.clone(),
            keep_all: self.keep_all,
            ..ecs_sim::bulk::Config::default()
        }
    }
}
