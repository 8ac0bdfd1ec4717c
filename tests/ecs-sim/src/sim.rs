//! The handle of a running simulator, as tests hold it. Must only pass on what others own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::auth::TokenCounts;
use crate::config::Config;
use crate::control;
use crate::fault::{Faults, Port};
use crate::profile::Profile;
use crate::request_log::LoggedRequest;
use crate::running::Running;
use crate::topology::{Change, Node};
use crate::truth::{self, BillingTruth, Truth};

/// A running federation. Dropping it stops it without waiting; [`Sim::shutdown`] waits.
pub struct Sim {
    running: Arc<Running>,
    control: Option<SocketAddr>,
}

/// A VDC of a running federation.
#[derive(Clone)]
pub struct VdcHandle {
    running: Arc<Running>,
    vdc: usize,
}

/// A node of a running federation, by its number in the VDC.
#[derive(Clone)]
pub struct NodeHandle {
    running: Arc<Running>,
    vdc: usize,
    node: usize,
}

// === impl Sim ===

impl Sim {
    /// Opens all ports and begins to answer.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let control = config.control;
        let running = Running::start(config)?;
        let control = match control {
            Some(address) => Some(control::start(&running, address).await?),
            None => None,
        };
        Ok(Self { running, control })
    }

    /// The certificate of the simulator's authority, to be trusted by clients.
    pub fn ca_pem(&self) -> &str {
        self.running.federation.authority.ca_pem()
    }

    /// The VDC of this number, from 0.
    pub fn vdc(&self, vdc: usize) -> VdcHandle {
        VdcHandle {
            running: Arc::clone(&self.running),
            vdc,
        }
    }

    /// How many VDCs there are.
    pub fn vdcs(&self) -> usize {
        self.running.federation.tokens.len()
    }

    /// The port of the management API on all nodes.
    pub fn mgmt_port(&self) -> u16 {
        self.running.port(Port::Mgmt).unwrap_or(0)
    }

    /// The port of the diagnostics on all nodes, when open.
    pub fn diag_port(&self) -> Option<u16> {
        self.running.port(Port::Diag)
    }

    /// The port of the S3 ping on all nodes, when open.
    pub fn ping_port(&self) -> Option<u16> {
        self.running.port(Port::Ping)
    }

    /// Where the control API listens, when it does.
    pub fn control_address(&self) -> Option<SocketAddr> {
        self.control
    }

    /// The faults in force, to set and clear.
    pub fn faults(&self) -> Faults {
        self.running.federation.faults.clone()
    }

    /// Changes the federation.
    pub fn apply(&self, change: &Change) -> anyhow::Result<()> {
        self.running.apply(change)
    }

    /// What was asked so far, in the order of arrival; requests still being answered are not in it.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.running.federation.log.entries()
    }

    /// Forgets the log.
    pub fn clear_requests(&self) {
        self.running.federation.log.clear();
    }

    /// How many tokens of the account are good in this VDC.
    pub fn live_tokens(&self, user: &str, vdc: usize) -> usize {
        let federation = &self.running.federation;
        federation
            .tokens
            .get(vdc)
            .map_or(0, |tokens| tokens.live(user, federation.clock.now_ms()))
    }

    /// The counts of tokens of a VDC.
    pub fn token_counts(&self, vdc: usize) -> TokenCounts {
        let federation = &self.running.federation;
        let tokens = federation.tokens.get(vdc);
        tokens
            .map(|tokens| tokens.counts(federation.clock.now_ms()))
            .unwrap_or_default()
    }

    /// Whether wrong passwords have locked the account in this VDC.
    pub fn is_locked(&self, user: &str, vdc: usize) -> bool {
        self.running
            .federation
            .tokens
            .get(vdc)
            .is_some_and(|tokens| tokens.has_lock(user))
    }

    /// Unlocks all accounts of all VDCs.
    pub fn unlock(&self) {
        self.running
            .federation
            .tokens
            .iter()
            .for_each(crate::auth::Tokens::unlock);
    }

    /// Kills all tokens of a VDC, or of all.
    pub fn revoke_tokens(&self, vdc: Option<usize>) {
        for (index, tokens) in self.running.federation.tokens.iter().enumerate() {
            if vdc.is_none_or(|vdc| vdc == index) {
                tokens.revoke_all();
            }
        }
    }

    /// TLS handshakes that a VDC has completed on the management port and the ping.
    pub fn handshakes(&self, vdc: usize) -> u64 {
        let traffic = self.running.federation.traffic.get(vdc);
        traffic.map_or(0, |traffic| traffic.handshakes.load(Ordering::Relaxed))
    }

    /// Those of the handshakes that resumed a session.
    pub fn resumed_handshakes(&self, vdc: usize) -> u64 {
        let traffic = self.running.federation.traffic.get(vdc);
        traffic.map_or(0, |traffic| traffic.resumed.load(Ordering::Relaxed))
    }

    /// Management requests that a VDC is answering now, hanging ones included.
    pub fn in_flight(&self, vdc: usize) -> usize {
        self.running
            .federation
            .traffic
            .get(vdc)
            .map_or(0, crate::federation::Traffic::in_flight)
    }

    /// The most management requests that a VDC had to answer at once.
    pub fn max_in_flight(&self, vdc: usize) -> usize {
        self.running
            .federation
            .traffic
            .get(vdc)
            .map_or(0, crate::federation::Traffic::peak)
    }

    /// Begins the peak of [`Sim::max_in_flight`] anew.
    pub fn reset_max_in_flight(&self) {
        self.running
            .federation
            .traffic
            .iter()
            .for_each(crate::federation::Traffic::reset_peak);
    }

    /// All that a perfect collector delivers up to now.
    pub fn truth(&self) -> Truth {
        let federation = &self.running.federation;
        truth::between(federation, federation.begin(), federation.clock.now() + 1)
    }

    /// All that a perfect collector delivers of the time from `from` to `to`, in epoch seconds.
    pub fn truth_between(&self, from: i64, to: i64) -> Truth {
        truth::between(&self.running.federation, from, to)
    }

    /// What a namespace did between two 5-minute marks, in epoch seconds.
    pub fn billing_truth(&self, name: &str, start: i64, end: i64) -> BillingTruth {
        truth::billing(&self.running.federation, name, start, end)
    }

    /// Up to where billing is complete, in epoch seconds.
    pub fn billing_complete_till(&self) -> i64 {
        let federation = &self.running.federation;
        let billing = &federation.config.billing;
        crate::metering::floor(federation.clock.now() - billing.lag_secs, billing.grid_secs)
    }

    /// What the clock shows, in epoch seconds.
    pub fn now(&self) -> i64 {
        self.running.federation.clock.now()
    }

    /// Moves the clock forward.
    pub fn advance_clock(&self, by: Duration) {
        self.running
            .federation
            .clock
            .advance_ms(i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
    }

    /// Sets the clock to an instant in epoch seconds, back or forth.
    pub fn set_clock(&self, seconds: i64) {
        self.running.federation.clock.set(seconds);
    }

    /// Stops the clock; [`Sim::advance_clock`] still moves it.
    pub fn freeze_clock(&self) {
        self.running.federation.clock.freeze();
    }

    /// Lets a stopped clock go on.
    pub fn unfreeze_clock(&self) {
        self.running.federation.clock.unfreeze();
    }

    /// Texts that must never turn up in what a client writes: passwords, secret keys, what tokens begin with.
    pub fn canaries(&self) -> Vec<String> {
        self.running.federation.canaries()
    }

    /// Closes all ports, ends all connections, and waits until nothing is left.
    pub async fn shutdown(self) {
        self.running.shutdown().await;
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.running.stop.cancel();
        self.running.tracker.close();
    }
}

// === impl VdcHandle ===

impl VdcHandle {
    /// The node of this number, from 0.
    pub fn node(&self, node: usize) -> NodeHandle {
        NodeHandle {
            running: Arc::clone(&self.running),
            vdc: self.vdc,
            node,
        }
    }

    /// All nodes there are now.
    pub fn nodes(&self) -> Vec<NodeHandle> {
        let topology = self.running.federation.topology.read();
        let count = topology.vdcs.get(self.vdc).map_or(0, |vdc| vdc.nodes.len());
        (0..count).map(|node| self.node(node)).collect()
    }

    /// The name of the VDC.
    pub fn name(&self) -> String {
        self.running
            .federation
            .topology
            .read()
            .vdcs
            .get(self.vdc)
            .map(|vdc| vdc.name.clone())
            .unwrap_or_default()
    }

    /// The urn of the VDC.
    pub fn id(&self) -> String {
        self.running
            .federation
            .topology
            .read()
            .vdcs
            .get(self.vdc)
            .map(|vdc| vdc.id.clone())
            .unwrap_or_default()
    }

    /// `address:port` of the load balancer in front of the VDC.
    pub fn front_host(&self) -> Option<String> {
        self.running
            .address(self.vdc, None, Port::Mgmt)
            .map(|address| address.to_string())
    }

    /// Closes all ports of the VDC.
    pub fn down(&self) -> anyhow::Result<()> {
        self.running.apply(&Change::VdcDown { vdc: self.vdc })
    }

    /// Opens the ports of the VDC again.
    pub fn up(&self) -> anyhow::Result<()> {
        self.running.apply(&Change::VdcUp { vdc: self.vdc })
    }

    /// Adds a node and gives its handle.
    pub fn add_node(&self) -> anyhow::Result<NodeHandle> {
        self.running.apply(&Change::NodeAdd { vdc: self.vdc })?;
        Ok(self.node(self.nodes().len().saturating_sub(1)))
    }
}

// === impl NodeHandle ===

impl NodeHandle {
    fn with<T: Default>(&self, read: impl FnOnce(&Node) -> T) -> T {
        let topology = self.running.federation.topology.read();
        topology
            .vdcs
            .get(self.vdc)
            .and_then(|vdc| vdc.nodes.get(self.node))
            .map(read)
            .unwrap_or_default()
    }

    fn host(&self, port: Port) -> Option<String> {
        let serial = self.with(|node| Some(node.serial));
        self.running
            .address(self.vdc, serial, port)
            .map(|address| address.to_string())
    }

    /// `address:port` of the management API; empty when there is no such node.
    pub fn mgmt_host(&self) -> String {
        self.host(Port::Mgmt).unwrap_or_default()
    }

    /// `address:port` of the diagnostics, when open.
    pub fn diag_host(&self) -> Option<String> {
        self.host(Port::Diag)
    }

    /// `address:port` of the S3 ping, when open.
    pub fn ping_host(&self) -> Option<String> {
        self.host(Port::Ping)
    }

    /// The address alone.
    pub fn address(&self) -> String {
        self.with(|node| node.address.to_string())
    }

    /// The id by which dashboards know the node.
    pub fn id(&self) -> String {
        self.with(Node::dashboard_id)
    }

    /// The name of the node.
    pub fn name(&self) -> String {
        self.with(|node| node.name.clone())
    }

    /// Closes its ports and resets its connections.
    pub fn down(&self) -> anyhow::Result<()> {
        self.running.apply(&Change::NodeDown {
            vdc: self.vdc,
            node: self.node,
        })
    }

    /// Opens its ports; ends maintenance and slowness too.
    pub fn up(&self) -> anyhow::Result<()> {
        self.running.apply(&Change::NodeUp {
            vdc: self.vdc,
            node: self.node,
        })
    }

    /// Puts it into maintenance.
    pub fn maintenance(&self) -> anyhow::Result<()> {
        self.running.apply(&Change::NodeMaintenance {
            vdc: self.vdc,
            node: self.node,
        })
    }

    /// Makes each of its answers take longer.
    pub fn slow(&self, by: Duration) -> anyhow::Result<()> {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.running.apply(&Change::NodeSlow {
            vdc: self.vdc,
            node: self.node,
            ms,
        })
    }

    /// Replaces it: new id, new address, same name and number.
    pub fn replace(&self) -> anyhow::Result<()> {
        self.running.apply(&Change::NodeReplace {
            vdc: self.vdc,
            node: self.node,
        })
    }

    /// Makes it run another release.
    pub fn upgrade(&self, profile: Profile) -> anyhow::Result<()> {
        self.running.apply(&Change::NodeUpgrade {
            vdc: self.vdc,
            node: self.node,
            profile,
        })
    }

    /// Takes it out of the VDC; the nodes after it move up one number.
    pub fn remove(&self) -> anyhow::Result<()> {
        self.running.apply(&Change::NodeRemove {
            vdc: self.vdc,
            node: self.node,
        })
    }
}
