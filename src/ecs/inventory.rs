//! What a VDC consists of: its id and name, its nodes with id, name, address and version.
//!
//! Owns the reading and the refreshing of the inventory. Polling goes on without it, but for commands that ask
//! for every node. The answers hold the secret of the VDC; only the fields below are taken out of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::client::{Client, Query};
use super::error::EcsError;
use super::listing::Listing;
use crate::retry::Backoff;

/// Pauses while it cannot be read.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// What a VDC says of itself: the shortest answer there is.
const LOCAL_VDC: &str = "/object/vdcs/vdc/local.json";
/// The nodes of a VDC.
const NODES: &str = "/vdc/nodes.json";
/// An extra refresh (a node was not found) comes at most this often.
const LEAST_BETWEEN: Duration = Duration::from_secs(30);

/// One reading of the inventory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// `urn:storageos:VirtualDataCenterData:…`
    pub vdc_id: String,
    /// The name that ECS has for the VDC.
    pub vdc_name: String,
    /// In ECS's order.
    pub nodes: Vec<Arc<Node>>,
    by_id: HashMap<String, Arc<Node>>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// A uuid since 3.1, the address before.
    pub id: String,
    /// `nodename`
    pub name: String,
    /// `mgmt_ip`, or `ip` where that is missing.
    pub ip: String,
    /// ECS version; nodes differ during an upgrade.
    pub version: String,
}

impl Inventory {
    /// The node with this id.
    pub fn node(&self, id: &str) -> Option<&Arc<Node>> {
        self.by_id.get(id)
    }

    fn new(vdc: &Value, nodes: &[Value]) -> Self {
        let text = |value: &Value, names: &[&str]| {
            names
                .iter()
                .find_map(|name| value.get(name)?.as_str().filter(|text| !text.is_empty()))
                .unwrap_or_default()
                .to_owned()
        };
        let nodes: Vec<Arc<Node>> = nodes
            .iter()
            .map(|node| {
                let ip = text(node, &["mgmt_ip", "ip", "data_ip"]);
                let id = text(node, &["nodeid", "id"]);
                Arc::new(Node {
                    id: if id.is_empty() { ip.clone() } else { id },
                    name: text(node, &["nodename", "name"]),
                    ip,
                    version: text(node, &["version"]),
                })
            })
            .filter(|node| !node.id.is_empty())
            .collect();
        let by_id = nodes
            .iter()
            .map(|node| (node.id.clone(), Arc::clone(node)))
            .collect();
        Self {
            vdc_id: text(vdc, &["vdcId", "id"]),
            vdc_name: text(vdc, &["vdcName", "name"]),
            nodes,
            by_id,
        }
    }
}

impl Client {
    /// The last inventory that could be read.
    pub fn inventory(&self) -> Option<Arc<Inventory>> {
        self.inventory.load_full()
    }

    /// Asks for a refresh soon: a node was not found, so the inventory may be old.
    pub fn doubt_inventory(&self) {
        self.refresh_inventory.notify_one();
    }

    /// Has the VDC say what time it is there, for [`Client::source_time`]. Where it does not answer nothing changes.
    pub async fn ask_time(&self) {
        if let Err(error) = self.records(LOCAL_VDC, None).await {
            tracing::debug!(customer = %self.customer, vdc = %self.name, %error, "the VDC does not tell its time");
        }
    }

    /// Waits until the first reading has ended, well or not.
    pub async fn first_inventory(&self) {
        self.first_inventory.wait().await;
    }

    /// Reads the inventory once.
    pub async fn read_inventory(&self) -> Result<Arc<Inventory>, EcsError> {
        let vdc = self.records(LOCAL_VDC, None).await?;
        let nodes = self.records(NODES, Some("/node")).await?;
        let read = Arc::new(Inventory::new(vdc.first().unwrap_or(&Value::Null), &nodes));
        if read.nodes.is_empty() {
            // Polling every one of no nodes would look as if all were well.
            return Err(EcsError::NoInventory(format!("the answer to {NODES} lists none")));
        }
        let old = self.inventory.swap(Some(Arc::clone(&read)));
        if old.as_ref() != Some(&read) {
            let versions: std::collections::BTreeSet<&str> =
                read.nodes.iter().map(|node| node.version.as_str()).collect();
            tracing::info!(
                customer = %self.customer, vdc = %self.name, vdc_name = %read.vdc_name,
                nodes = read.nodes.len(), versions = ?versions, "inventory read"
            );
        }
        Ok(read)
    }

    /// Keeps the inventory fresh until it is dropped: at start, every `cfgrefreshinterval`, on demand, and
    /// again and again while it cannot be read.
    pub async fn keep_inventory(&self) {
        let mut pause = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let read = self.read_inventory().await;
            // Fails when it was set before, which is all the same.
            let _ = self.first_inventory.set(());
            let wait = match read {
                Ok(_) => {
                    pause.reset();
                    if let Some(failures) = self.unread.over() {
                        tracing::info!(customer = %self.customer, vdc = %self.name, failures, "the inventory can be read again");
                    }
                    if self.refresh_interval.is_zero() {
                        Duration::MAX
                    } else {
                        self.refresh_interval
                    }
                }
                Err(error) => {
                    self.tell_unread(&error);
                    pause.pause().min(self.refresh_interval.max(FIRST_PAUSE))
                }
            };
            // A doubt that is still unheard is answered by the wait's end at the latest.
            let least = LEAST_BETWEEN.min(wait);
            tokio::time::sleep(least).await;
            tokio::select! {
                () = tokio::time::sleep(wait.saturating_sub(least)) => {}
                () = self.refresh_inventory.notified() => {}
            }
        }
    }

    fn tell_unread(&self, error: &EcsError) {
        match self.unread.happened() {
            Some(times) => tracing::warn!(
                customer = %self.customer, vdc = %self.name, %error, times,
                "the inventory cannot be read; commands for each node wait for it, the others do without names of nodes"
            ),
            None => {
                tracing::debug!(customer = %self.customer, vdc = %self.name, %error, "the inventory cannot be read again");
            }
        }
    }

    /// The records of a short answer.
    async fn records(&self, path: &str, records: Option<&str>) -> Result<Vec<Value>, EcsError> {
        let mut listing = Listing::new(records, |record: &[u8]| serde_json::from_slice(record).ok());
        self.fetch(&Query::get(path), &mut listing).await?;
        Ok(listing.found())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn old_and_new_shapes() {
        let new =
            json!({"nodename": "n1", "nodeid": "7c0e", "ip": "1", "mgmt_ip": "10.0.0.1", "version": "3.8"});
        let old = json!({"nodename": "n2", "ip": "10.0.0.2", "nodeid": ""});
        let inventory = Inventory::new(
            &json!({"id": "urn:x", "name": "v", "secretKeys": "CANARY"}),
            &[new, old],
        );
        assert_eq!(
            (inventory.vdc_id.as_str(), inventory.vdc_name.as_str()),
            ("urn:x", "v")
        );
        assert_eq!(inventory.node("7c0e").unwrap().ip, "10.0.0.1");
        assert_eq!(inventory.node("10.0.0.2").unwrap().name, "n2");
        assert!(!format!("{inventory:?}").contains("CANARY"));
    }
}
