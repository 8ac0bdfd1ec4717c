//! The federation: VDCs, nodes, namespaces, and how they change while the simulator runs. Owns addresses and
//! ids; must never open a socket.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::profile::Profile;
use crate::seed;

/// A change of the federation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// All ports of the node are closed, its connections reset.
    NodeDown {
        /// Number of the VDC.
        vdc: usize,
        /// Number of the node.
        node: usize,
    },
    /// The node is back, out of maintenance, and quick again.
    NodeUp {
        /// Number of the VDC.
        vdc: usize,
        /// Number of the node.
        node: usize,
    },
    /// The node is in maintenance: it answers, and its health says so.
    NodeMaintenance {
        /// Number of the VDC.
        vdc: usize,
        /// Number of the node.
        node: usize,
    },
    /// Every answer of the node takes this much longer.
    NodeSlow {
        /// Number of the VDC.
        vdc: usize,
        /// Number of the node.
        node: usize,
        /// Milliseconds.
        ms: u64,
    },
    /// The node is replaced: new id, new disks, new address; the old one is gone.
    NodeReplace {
        /// Number of the VDC.
        vdc: usize,
        /// Number of the node.
        node: usize,
    },
    /// The node runs another release.
    NodeUpgrade {
        /// Number of the VDC.
        vdc: usize,
        /// Number of the node.
        node: usize,
        /// The release.
        profile: Profile,
    },
    /// A node more.
    NodeAdd {
        /// Number of the VDC.
        vdc: usize,
    },
    /// A node less.
    NodeRemove {
        /// Number of the VDC.
        vdc: usize,
        /// Number of the node.
        node: usize,
    },
    /// All ports of the VDC are closed.
    VdcDown {
        /// Number of the VDC.
        vdc: usize,
    },
    /// The VDC is back.
    VdcUp {
        /// Number of the VDC.
        vdc: usize,
    },
    /// A namespace more.
    NamespaceAdd {
        /// Its name.
        name: String,
    },
    /// A namespace less.
    NamespaceRemove {
        /// Its name.
        name: String,
    },
}

/// Data addresses, where separate, begin at 127.x.100.1.
const DATA_NUMBERS: usize = 100 * 250;

/// The federation as it is now.
#[derive(Debug)]
pub(crate) struct Topology {
    pub(crate) vdcs: Vec<Vdc>,
    pub(crate) namespaces: BTreeSet<String>,
    pub(crate) replication_group: String,
    seed: u64,
    disks_per_node: usize,
    /// The one address of all nodes, where they have not one each.
    shared: Option<IpAddr>,
    separate_networks: bool,
    serial: u64,
}

/// A virtual data center.
#[derive(Debug)]
pub(crate) struct Vdc {
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) storage_pool: String,
    pub(crate) secret: String,
    pub(crate) down: bool,
    pub(crate) nodes: Vec<Node>,
    pub(crate) front: IpAddr,
    addresses_used: usize,
}

/// A node.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Never used again, unlike the number in the VDC.
    pub(crate) serial: u64,
    pub(crate) name: String,
    pub(crate) uuid: String,
    pub(crate) address: IpAddr,
    /// Where the S3 head is; the same as `address` unless networks are separated.
    pub(crate) data_address: IpAddr,
    pub(crate) profile: Profile,
    pub(crate) state: NodeState,
    pub(crate) slow_ms: u64,
    pub(crate) disks: usize,
}

/// The state of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It answers.
    Up,
    /// It answers and is in maintenance.
    Maintenance,
    /// Its ports are closed.
    Down,
}

fn vdc_name(index: usize) -> String {
    match index {
        0 => "vdc-north".to_owned(),
        1 => "vdc-south".to_owned(),
        2 => "vdc-east".to_owned(),
        3 => "vdc-west".to_owned(),
        more => format!("vdc-{}", more + 1),
    }
}

fn address(shared: Option<IpAddr>, vdc: usize, number: usize) -> IpAddr {
    if let Some(address) = shared {
        return address;
    }
    let octet = |value: usize| u8::try_from(value).unwrap_or(u8::MAX);
    IpAddr::V4(Ipv4Addr::new(
        127,
        octet(10 + vdc),
        octet(number / 250),
        octet(number % 250 + 1),
    ))
}

fn namespace_name(index: usize, unicode: bool) -> String {
    if unicode && index % 3 == 2 {
        format!("größe-東京-{}", index + 1)
    } else {
        format!("ns{}", index + 1)
    }
}

// === impl Topology ===

impl Topology {
    pub(crate) fn new(config: &Config) -> Self {
        let shared = config
            .address
            .or(config.ipv6.then_some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        let mut topology = Self {
            vdcs: Vec::new(),
            namespaces: (0..config.namespaces)
                .map(|index| namespace_name(index, config.unicode_names))
                .collect(),
            replication_group: format!(
                "urn:storageos:ReplicationGroupInfo:{}:global",
                seed::uuid(&[config.seed, 0x4e97])
            ),
            seed: config.seed,
            disks_per_node: config.disks_per_node,
            shared,
            separate_networks: config.separate_networks,
            serial: 0,
        };
        for index in 0..config.vdcs {
            topology.vdcs.push(Vdc {
                index,
                name: vdc_name(index),
                id: format!(
                    "urn:storageos:VirtualDataCenterData:{}",
                    seed::uuid(&[config.seed, 0xdc, index as u64])
                ),
                storage_pool: seed::uuid(&[config.seed, 0x5b, index as u64]),
                secret: format!(
                    "CANARY-secretKeys-{}",
                    seed::hex(&[config.seed, 0x5ec, index as u64], 24)
                ),
                down: false,
                nodes: Vec::new(),
                front: address(shared, index, 254 * 250),
                addresses_used: 0,
            });
            for _ in 0..config.nodes_per_vdc {
                topology.add_node(index, config.profile);
            }
        }
        topology
    }

    fn add_node(&mut self, vdc: usize, profile: Profile) {
        let number = self.vdcs[vdc].addresses_used;
        let node = self.make_node(
            vdc,
            number,
            &format!("n{}.{}.example.net", number + 1, self.vdcs[vdc].name),
            profile,
        );
        self.vdcs[vdc].nodes.push(node);
    }

    fn make_node(&mut self, vdc: usize, number: usize, name: &str, profile: Profile) -> Node {
        self.serial += 1;
        self.vdcs[vdc].addresses_used = number + 1;
        Node {
            serial: self.serial,
            name: name.to_owned(),
            uuid: seed::uuid(&[self.seed, 0x40de, vdc as u64, number as u64]),
            address: address(self.shared, vdc, number),
            data_address: address(
                self.shared,
                vdc,
                number + if self.separate_networks { DATA_NUMBERS } else { 0 },
            ),
            profile,
            state: NodeState::Up,
            slow_ms: 0,
            disks: self.disks_per_node,
        }
    }

    /// Makes the change; says what is wrong with it otherwise.
    pub(crate) fn apply(&mut self, change: &Change) -> Result<(), String> {
        match change {
            Change::NodeDown { vdc, node } => self.node(*vdc, *node)?.state = NodeState::Down,
            Change::NodeUp { vdc, node } => {
                let node = self.node(*vdc, *node)?;
                node.state = NodeState::Up;
                node.slow_ms = 0;
            }
            Change::NodeMaintenance { vdc, node } => self.node(*vdc, *node)?.state = NodeState::Maintenance,
            Change::NodeSlow { vdc, node, ms } => self.node(*vdc, *node)?.slow_ms = *ms,
            Change::NodeUpgrade { vdc, node, profile } => self.node(*vdc, *node)?.profile = *profile,
            Change::NodeReplace { vdc, node } => {
                let old = self.node(*vdc, *node)?.clone();
                let number = self.vdcs[*vdc].addresses_used;
                self.vdcs[*vdc].nodes[*node] = self.make_node(*vdc, number, &old.name, old.profile);
            }
            Change::NodeAdd { vdc } => {
                let nodes = &self.vdc(*vdc)?.nodes;
                let profile = nodes.first().map_or(Profile::default(), |node| node.profile);
                self.add_node(*vdc, profile);
            }
            Change::NodeRemove { vdc, node } => {
                self.node(*vdc, *node)?;
                self.vdcs[*vdc].nodes.remove(*node);
            }
            Change::VdcDown { vdc } => self.vdc(*vdc)?.down = true,
            Change::VdcUp { vdc } => self.vdc(*vdc)?.down = false,
            Change::NamespaceAdd { name } => {
                self.namespaces.insert(name.clone());
            }
            Change::NamespaceRemove { name } => {
                if !self.namespaces.remove(name) {
                    return Err(format!("no namespace {name}"));
                }
            }
        }
        Ok(())
    }

    fn vdc(&mut self, index: usize) -> Result<&mut Vdc, String> {
        self.vdcs
            .get_mut(index)
            .ok_or_else(|| format!("no VDC number {index}"))
    }

    fn node(&mut self, vdc: usize, index: usize) -> Result<&mut Node, String> {
        let nodes = &mut self.vdc(vdc)?.nodes;
        nodes
            .get_mut(index)
            .ok_or_else(|| format!("no node number {index} in VDC {vdc}"))
    }
}

// === impl Vdc ===

impl Vdc {
    /// The node of this serial and its number.
    pub(crate) fn by_serial(&self, serial: u64) -> Option<(usize, &Node)> {
        self.nodes
            .iter()
            .enumerate()
            .find(|(_, node)| node.serial == serial)
    }

    /// The node of this dashboard id, which is an address on old releases.
    pub(crate) fn by_id(&self, id: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.dashboard_id() == id)
    }

    pub(crate) fn addresses(&self) -> String {
        self.nodes
            .iter()
            .map(|node| node.address.to_string())
            .collect::<Vec<_>>()
            .join(",")
    }
}

// === impl Node ===

impl Node {
    pub(crate) fn dashboard_id(&self) -> String {
        if self.profile.has_address_ids() {
            self.address.to_string()
        } else {
            self.uuid.clone()
        }
    }

    pub(crate) fn health(&self, vdc_down: bool) -> &'static str {
        match self.state {
            _ if vdc_down => "NotAccessible",
            NodeState::Up => "Good",
            NodeState::Maintenance => "Maintenance",
            NodeState::Down => "NotAccessible",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> Topology {
        Topology::new(&Config {
            nodes_per_vdc: 2,
            ..Config::for_tests()
        })
    }

    #[test]
    fn addresses_are_on_loopback_and_apart() {
        assert_eq!(address(None, 0, 0).to_string(), "127.10.0.1");
        assert_eq!(address(None, 3, 251).to_string(), "127.13.1.2");
        assert_eq!(topology().vdcs[1].front.to_string(), "127.11.254.1");
    }

    #[test]
    fn a_replaced_node_has_a_new_id_and_address_under_the_old_name() {
        let mut topology = topology();
        let old = topology.vdcs[0].nodes[1].clone();
        topology.apply(&Change::NodeReplace { vdc: 0, node: 1 }).unwrap();
        let new = &topology.vdcs[0].nodes[1];
        assert_eq!(new.name, old.name);
        assert_ne!(
            (&new.uuid, new.address, new.serial),
            (&old.uuid, old.address, old.serial)
        );
        topology.apply(&Change::NodeAdd { vdc: 0 }).unwrap();
        assert_eq!(topology.vdcs[0].nodes.len(), 3);
        assert_eq!(topology.vdcs[0].nodes[2].address.to_string(), "127.10.0.4");
    }

    #[test]
    fn an_impossible_change_is_refused() {
        let mut topology = topology();
        assert!(topology.apply(&Change::NodeDown { vdc: 0, node: 9 }).is_err());
        assert!(topology.apply(&Change::VdcDown { vdc: 9 }).is_err());
        assert!(
            topology
                .apply(&Change::NamespaceRemove {
                    name: "none".to_owned()
                })
                .is_err()
        );
    }
}
