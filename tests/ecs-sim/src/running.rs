//! A federation with its ports open and its tasks owned. Opens ports for nodes that come later; must never
//! leave a task behind when it stops.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use parking_lot::RwLock;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::fault::Port;
use crate::federation::Federation;
use crate::ports::{self, Endpoint};
use crate::topology::Change;

/// A node by its serial, or the load balancer of a VDC, and the port.
type Place = (usize, Option<u64>, PortKey);
type PortKey = u8;

/// The federation while it runs.
pub(crate) struct Running {
    pub(crate) federation: Arc<Federation>,
    pub(crate) tracker: TaskTracker,
    pub(crate) stop: CancellationToken,
    addresses: RwLock<HashMap<Place, SocketAddr>>,
    /// The number that all nodes use, for each port that is open at all.
    numbers: Vec<(Port, u16)>,
}

fn key(port: Port) -> PortKey {
    match port {
        Port::Mgmt => 0,
        Port::Diag => 1,
        Port::Ping => 2,
    }
}

// === impl Running ===

impl Running {
    pub(crate) fn start(config: Config) -> anyhow::Result<Arc<Self>> {
        let wanted: Vec<(Port, u16)> = [
            (Port::Mgmt, Some(config.mgmt_port)),
            (Port::Diag, config.diag_port),
            (Port::Ping, config.ping_port),
        ]
        .into_iter()
        .filter_map(|(port, number)| number.map(|number| (port, number)))
        .collect();
        let federation = Arc::new(Federation::new(config)?);
        let tracker = TaskTracker::new();
        let stop = CancellationToken::new();
        let mut addresses = HashMap::new();
        let mut numbers = Vec::new();
        for (port, number) in wanted {
            let places = places(&federation, port);
            let ips: Vec<IpAddr> = places.iter().map(|(.., ip)| *ip).collect();
            let number = if federation.config.ipv6 { 0 } else { number };
            let listeners = ports::open_all(&ips, number)?;
            let first = listeners.first().and_then(|listener| listener.local_addr().ok());
            numbers.push((port, first.map_or(0, |address| address.port())));
            for ((vdc, serial, _), listener) in places.into_iter().zip(listeners) {
                let address = listener.local_addr().context("address of a port")?;
                addresses.insert((vdc, serial, key(port)), address);
                let endpoint = Endpoint {
                    vdc,
                    serial,
                    port,
                    address,
                };
                tracker.spawn(ports::keep(
                    endpoint,
                    listener,
                    Arc::clone(&federation),
                    tracker.clone(),
                    stop.clone(),
                ));
            }
        }
        Ok(Arc::new(Self {
            federation,
            tracker,
            stop,
            addresses: RwLock::new(addresses),
            numbers,
        }))
    }

    /// Changes the topology; nodes that are new get their ports.
    pub(crate) fn apply(&self, change: &Change) -> anyhow::Result<()> {
        self.federation.apply(change).map_err(anyhow::Error::msg)?;
        if matches!(change, Change::NodeAdd { .. } | Change::NodeReplace { .. }) {
            for (port, number) in &self.numbers {
                self.open_missing(*port, *number)?;
            }
        }
        Ok(())
    }

    fn open_missing(&self, port: Port, number: u16) -> anyhow::Result<()> {
        for (vdc, serial, ip) in places(&self.federation, port) {
            let mut addresses = self.addresses.write();
            if addresses.contains_key(&(vdc, serial, key(port))) {
                continue;
            }
            let listener: TcpListener = ports::open_one(ip, number)?;
            let address = listener.local_addr().context("address of a port")?;
            addresses.insert((vdc, serial, key(port)), address);
            let endpoint = Endpoint {
                vdc,
                serial,
                port,
                address,
            };
            let (federation, tracker) = (Arc::clone(&self.federation), self.tracker.clone());
            self.tracker.spawn(ports::keep(
                endpoint,
                listener,
                federation,
                tracker,
                self.stop.clone(),
            ));
        }
        Ok(())
    }

    /// Where a port of a node, or of the load balancer, is.
    pub(crate) fn address(&self, vdc: usize, serial: Option<u64>, port: Port) -> Option<SocketAddr> {
        self.addresses.read().get(&(vdc, serial, key(port))).copied()
    }

    /// The number of a port, the same on all nodes unless they share an address.
    pub(crate) fn port(&self, port: Port) -> Option<u16> {
        self.numbers
            .iter()
            .find(|(known, _)| *known == port)
            .map(|(_, number)| *number)
    }

    /// Closes all ports and waits for all tasks.
    pub(crate) async fn shutdown(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// All nodes, and for the management port the load balancers too.
fn places(federation: &Federation, port: Port) -> Vec<(usize, Option<u64>, IpAddr)> {
    let topology = federation.topology.read();
    let mut places = Vec::new();
    let mut fronts = Vec::new();
    for vdc in &topology.vdcs {
        places.extend(vdc.nodes.iter().map(|node| {
            let address = if port == Port::Ping {
                node.data_address
            } else {
                node.address
            };
            (vdc.index, Some(node.serial), address)
        }));
        if federation.config.front && port == Port::Mgmt {
            fronts.push((vdc.index, None, vdc.front));
        }
    }
    // Last, so that on a shared address a node has the same place among the numbers of every port.
    places.extend(fronts);
    places
}
