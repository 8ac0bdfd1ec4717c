//! What the connections of a proxy have in common: the rule of the moment, what clients are shown, what was counted.
//! Must never hold a lock while it waits.

use std::net::SocketAddr;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::identity::Identity;
use crate::rule::{Armed, Fault, Rule};

/// What a proxy has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// Connections at this moment. One that lost something in a half-open time stays until that is over.
    pub open: u64,
    /// The most of them at once.
    pub most_open: u64,
    /// Bytes passed on to the upstream, without those of TLS.
    pub to_upstream: u64,
    /// Bytes passed on to clients, without those of TLS.
    pub to_clients: u64,
    /// TLS handshakes that failed.
    pub failed_handshakes: u64,
    /// Connections of clients that found no upstream.
    pub without_upstream: u64,
}

/// A fault, and which rule it is of.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) rule: u64,
    pub(crate) fault: Fault,
}

/// What connections are told besides, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Orders {
    pub(crate) close_idle: u64,
    pub(crate) reset_all: u64,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) upstream: SocketAddr,
    armed: Mutex<Armed>,
    told: watch::Sender<Told>,
    orders: watch::Sender<Orders>,
    identity: Mutex<Option<Identity>>,
    counts: Mutex<Counts>,
}

impl Shared {
    pub(crate) fn new(upstream: SocketAddr) -> Self {
        let told = Told {
            rule: 0,
            fault: Fault::Pass,
        };
        Self {
            upstream,
            armed: Mutex::new(Armed::new(Fault::Pass.into())),
            told: watch::Sender::new(told),
            orders: watch::Sender::default(),
            identity: Mutex::new(None),
            counts: Mutex::default(),
        }
    }

    pub(crate) fn set(&self, rule: Rule) {
        let fault = rule.fault.clone();
        // Both at once: a connection that knows the new fault must not use up the old rule.
        let mut armed = self.armed.lock();
        *armed = Armed::new(rule);
        self.told.send_modify(|told| {
            told.rule += 1;
            told.fault = fault;
        });
    }

    /// The fault of the moment and its successors.
    pub(crate) fn told(&self) -> watch::Receiver<Told> {
        self.told.subscribe()
    }

    pub(crate) fn orders(&self) -> watch::Receiver<Orders> {
        self.orders.subscribe()
    }

    /// An occasion for this rule to strike; tells whether it does.
    pub(crate) fn strike(&self, rule: u64) -> bool {
        let mut armed = self.armed.lock();
        self.told.borrow().rule == rule && armed.strike()
    }

    pub(crate) fn struck(&self) -> u32 {
        self.armed.lock().struck()
    }

    pub(crate) fn show(&self, identity: Option<Identity>) {
        *self.identity.lock() = identity;
    }

    pub(crate) fn identity(&self) -> Option<Identity> {
        self.identity.lock().clone()
    }

    pub(crate) fn close_idle(&self) {
        self.orders.send_modify(|orders| orders.close_idle += 1);
    }

    pub(crate) fn reset_all(&self) {
        self.orders.send_modify(|orders| orders.reset_all += 1);
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock());
    }

    pub(crate) fn counts(&self) -> Counts {
        *self.counts.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_old_rule_uses_up_nothing_of_a_new_one() {
        let shared = Shared::new((Ipv4Addr::LOCALHOST, 1).into());
        shared.set(Fault::Hangup.into());
        let old = shared.told().borrow().rule;
        assert!(shared.strike(old));
        shared.set(Rule::from(Fault::Hangup).times(1));
        assert!(!shared.strike(old));
        assert_eq!(shared.struck(), 0);
        assert!(shared.strike(shared.told().borrow().rule));
    }
}
