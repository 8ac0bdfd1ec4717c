//! Which node of a VDC to ask.
//!
//! Owns [`NodePool`]: the configured nodes with their recent failures. A node that failed is left alone for
//! `blockduration` and then tried again; even without blocking, nodes that failed lately are chosen last. There
//! is always an answer: where every node is blocked, the one whose block ends first is asked (a single load
//! balancer must not be lost). Never sends anything itself.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::HostPort;

/// How long a failure counts against a node that is not blocked.
const MEMORY: Duration = Duration::from_secs(30);

/// The nodes of one VDC.
#[derive(Debug)]
pub(super) struct NodePool {
    block_duration: Duration,
    nodes: Mutex<Vec<Node>>,
}

#[derive(Debug)]
struct Node {
    address: HostPort,
    blocked_until: Option<Instant>,
    failed_at: Option<Instant>,
}

impl NodePool {
    /// A pool of the configured nodes; zero `block_duration` = nodes are never blocked.
    pub(super) fn new(nodes: &[HostPort], block_duration: Duration) -> Self {
        let nodes = nodes
            .iter()
            .map(|address| Node {
                address: address.clone(),
                blocked_until: None,
                failed_at: None,
            })
            .collect();
        Self {
            block_duration,
            nodes: Mutex::new(nodes),
        }
    }

    /// The node for request slot `slot`, preferably none of `tried`. The same slot gets the same node while that
    /// is well, so that its connection is used again.
    pub(super) fn choose(&self, slot: usize, tried: &[HostPort]) -> Option<HostPort> {
        let now = Instant::now();
        let nodes = self.lock();
        let rank = |node: &Node| {
            let blocked = node.blocked_until.filter(|until| *until > now);
            let failing = node.failed_at.is_some_and(|at| now.duration_since(at) < MEMORY);
            (tried.contains(&node.address), blocked.is_some(), failing, blocked)
        };
        let best = nodes.iter().map(rank).min()?;
        let equal: Vec<&Node> = nodes.iter().filter(|node| rank(node) == best).collect();
        equal.get(slot % equal.len()).map(|node| node.address.clone())
    }

    /// The node answered.
    pub(super) fn succeeded(&self, address: &HostPort) {
        if let Some(node) = self.lock().iter_mut().find(|node| node.address == *address) {
            node.blocked_until = None;
            node.failed_at = None;
        }
    }

    /// The node did not answer, or could not serve.
    pub(super) fn failed(&self, address: &HostPort) {
        let now = Instant::now();
        if let Some(node) = self.lock().iter_mut().find(|node| node.address == *address) {
            node.failed_at = Some(now);
            if !self.block_duration.is_zero() {
                node.blocked_until = Some(now + self.block_duration);
            }
        }
    }

    /// How many nodes are blocked at this moment.
    pub(super) fn blocked(&self) -> usize {
        let now = Instant::now();
        self.lock()
            .iter()
            .filter(|node| node.blocked_until.is_some_and(|until| until > now))
            .count()
    }

    /// All configured addresses, those that failed lately last.
    pub(super) fn in_order(&self) -> Vec<HostPort> {
        let mut order = Vec::new();
        while let Some(next) = self.choose(0, &order) {
            if order.contains(&next) {
                break;
            }
            order.push(next);
        }
        order
    }

    /// Whether there is a node that is not in `tried`.
    pub(super) fn has_other(&self, tried: &[HostPort]) -> bool {
        self.lock().iter().any(|node| !tried.contains(&node.address))
    }

    /// Whether `host` is one of the configured hosts.
    pub(super) fn knows(&self, host: &str) -> bool {
        self.lock().iter().any(|node| node.address.host == host)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Node>> {
        self.nodes
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: u16) -> HostPort {
        HostPort {
            host: host.to_owned(),
            port,
        }
    }

    fn pool(block: u64) -> (NodePool, [HostPort; 3]) {
        // The same host on two ports, and an IPv6 address: blocking must tell them apart.
        let nodes = [
            address("10.0.0.1", 4443),
            address("10.0.0.1", 4444),
            address("fe80::1", 4443),
        ];
        (NodePool::new(&nodes, Duration::from_secs(block)), nodes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_node_is_left_alone_for_the_block_duration_and_then_tried_again() {
        let (pool, nodes) = pool(600);
        assert_eq!(pool.choose(0, &[]), Some(nodes[0].clone()));
        pool.failed(&nodes[0]);
        assert_eq!(
            (0..6)
                .filter(|slot| pool.choose(*slot, &[]) == Some(nodes[0].clone()))
                .count(),
            0
        );
        assert_eq!(pool.blocked(), 1);
        tokio::time::advance(Duration::from_secs(601)).await;
        assert_eq!(pool.choose(0, &[]), Some(nodes[0].clone()));
    }

    #[tokio::test(start_paused = true)]
    async fn without_blocking_a_failed_node_is_only_chosen_last() {
        let (pool, nodes) = pool(0);
        pool.failed(&nodes[0]);
        pool.failed(&nodes[1]);
        assert_eq!(pool.blocked(), 0);
        assert_eq!(pool.choose(0, &[]), Some(nodes[2].clone()));
        assert_eq!(pool.choose(0, &nodes[2..]), Some(nodes[0].clone()));
        assert_eq!(pool.in_order()[0], nodes[2]);
        pool.succeeded(&nodes[0]);
        assert_eq!(pool.choose(0, &[]), Some(nodes[0].clone()));
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_are_blocked_the_first_to_be_free_is_asked() {
        let (pool, nodes) = pool(600);
        for node in &nodes {
            pool.failed(node);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(pool.choose(0, &[]), Some(nodes[0].clone()));
        assert_eq!(pool.choose(5, &[nodes[0].clone()]), Some(nodes[1].clone()));
    }

    #[tokio::test(start_paused = true)]
    async fn slots_spread_over_the_nodes_and_stay_where_they_are() {
        let (pool, nodes) = pool(0);
        for slot in 0..9 {
            assert_eq!(pool.choose(slot, &[]), Some(nodes[slot % 3].clone()));
        }
    }
}
