//! Level `dtinfo`: the directory tables of a VDC, from the diagnostics port of one of its nodes.
//!
//! Owns the choice of the node: one after the other, a few at most, until one gives both answers. The joining of the two is
//! `decode::diagnostics`.

use super::emit::{Broken, Emitter};
use super::{Harvest, Round, Unit};
use crate::config::{HostPort, Method};
use crate::decode::diagnostics;
use crate::ecs::{Client, EcsError, Endpoint, Query};

const OWNERSHIP: &str = "/diagnostic/DumpOwnershipInfo/";
pub(crate) const INIT_STAT: &str = "/stats/dt/DTInitStat/";

/// Nodes that are asked before the poll is given up.
const MOST_NODES: usize = 5;

impl Unit {
    /// Emits every directory table of the VDC.
    pub(super) async fn directory_tables(
        &self,
        client: &Client,
        round: &Round,
        harvest: &mut Harvest,
    ) -> Result<(), EcsError> {
        let mut nodes = client.nodes();
        // Room for nodes of the inventory: what is configured may be nothing but load balancers.
        nodes.truncate(MOST_NODES - 2);
        if let Some(inventory) = client.inventory() {
            // A load balancer does not forward the diagnostics port: then the nodes themselves are asked.
            for node in &inventory.nodes {
                let address = HostPort {
                    host: node.ip.clone(),
                    port: 0,
                };
                if !node.ip.is_empty() && nodes.iter().all(|known| known.host != address.host) {
                    nodes.push(address);
                }
            }
        }
        let mut last = EcsError::Stopped;
        // Every node has the same answers, and where the port is closed it is closed on all of them: a firewall that
        // swallows the question must not hold the poll up once for each node of a large VDC.
        for node in nodes.into_iter().take(MOST_NODES) {
            match self.tables_of(client, &node).await {
                Ok(tables) => {
                    let mut emitter = Emitter::new(self, client, None, round, harvest);
                    emitter.about(client.inventory().and_then(|inventory| {
                        inventory
                            .nodes
                            .iter()
                            .find(|known| known.ip == node.host)
                            .cloned()
                    }));
                    return emit(&mut emitter, &tables, &node).await;
                }
                Err(EcsError::Stopped) => return Err(EcsError::Stopped),
                Err(error) => {
                    tracing::debug!(stream = %self.stream, %node, %error, "trying the next node");
                    last = error;
                }
            }
        }
        Err(last)
    }

    async fn tables_of(
        &self,
        client: &Client,
        node: &HostPort,
    ) -> Result<Vec<diagnostics::DirectoryTable>, EcsError> {
        let query = |path: &str| Query {
            endpoint: Endpoint::Diagnostics,
            method: Method::Get,
            path: path.to_owned(),
            body: None,
            headers: Vec::new(),
            node: Some(node.clone()),
        };
        self.context.queue.ready().await.map_err(|_| EcsError::Stopped)?;
        let ownership = client.fetch_whole(&query(OWNERSHIP)).await?;
        let init_stat = client.fetch_whole(&query(INIT_STAT)).await?;
        diagnostics::tables(&ownership, &init_stat).map_err(|error| EcsError::Decode {
            node: node.to_string(),
            path: INIT_STAT.to_owned(),
            error,
        })
    }
}

async fn emit(
    emitter: &mut Emitter<'_>,
    tables: &[diagnostics::DirectoryTable],
    node: &HostPort,
) -> Result<(), EcsError> {
    for table in tables {
        // Strings and small numbers only.
        let record = serde_json::to_vec(table).unwrap_or_default();
        emitter
            .record(&record, false)
            .await
            .map_err(|broken| match broken {
                Broken::Record(error) => EcsError::Decode {
                    node: node.to_string(),
                    path: OWNERSHIP.to_owned(),
                    error,
                },
                Broken::Ended(error) => error,
            })?;
    }
    Ok(())
}
