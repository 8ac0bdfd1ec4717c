//! The rules in force, in the order in which they were set. Owns the counting of matches and strikes; must
//! never hold its lock while a fault acts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Fault, FaultRule, Port, Scope};
use crate::seed::mix;

/// The faults in force; a handle that can be cloned.
#[derive(Debug, Clone)]
pub struct Faults {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    seed: u64,
    armed: Mutex<Armory>,
    count: AtomicUsize,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Armory {
    next_id: u64,
    rules: Vec<Armed>,
}

#[derive(Debug, Clone)]
struct Armed {
    id: u64,
    rule: FaultRule,
    matched: u32,
    struck: u32,
}

/// What a rule is compared with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) vdc: usize,
    pub(crate) node: Option<usize>,
    pub(crate) port: Port,
    /// Path and method, when a request is there already.
    pub(crate) request: Option<(&'a str, &'a str)>,
}

/// A fault that strikes, and how often it has struck before.
#[derive(Debug, Clone)]
pub(crate) struct Hit {
    pub(crate) fault: Fault,
    pub(crate) before: u32,
}

// === impl Faults ===

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        let inner = Inner {
            seed,
            armed: Mutex::default(),
            count: AtomicUsize::new(0),
            changes: watch::Sender::new(0),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Puts a rule into force and gives its number. Open connections meet it with their next request.
    pub fn set(&self, rule: FaultRule) -> u64 {
        let mut armory = self.inner.armed.lock();
        armory.next_id += 1;
        let id = armory.next_id;
        armory.rules.push(Armed {
            id,
            rule,
            matched: 0,
            struck: 0,
        });
        self.changed(&armory);
        id
    }

    /// Ends one rule; `false` when there was none of this number.
    pub fn remove(&self, id: u64) -> bool {
        let mut armory = self.inner.armed.lock();
        let before = armory.rules.len();
        armory.rules.retain(|armed| armed.id != id);
        self.changed(&armory);
        armory.rules.len() < before
    }

    /// Ends all rules.
    pub fn clear(&self) {
        let mut armory = self.inner.armed.lock();
        armory.rules.clear();
        self.changed(&armory);
    }

    /// The rules in force: number, rule, strikes so far.
    pub fn list(&self) -> Vec<(u64, FaultRule, u32)> {
        let armory = self.inner.armed.lock();
        armory
            .rules
            .iter()
            .map(|armed| (armed.id, armed.rule.clone(), armed.struck))
            .collect()
    }

    fn changed(&self, armory: &Armory) {
        self.inner.count.store(armory.rules.len(), Ordering::Release);
        self.inner.changes.send_modify(|generation| *generation += 1);
    }

    /// Told whenever the rules or the topology change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// Tells all ports to look at their state again.
    pub(crate) fn notify(&self) {
        self.inner.changes.send_modify(|generation| *generation += 1);
    }

    /// The fault that closes this port, if any; nothing is counted.
    pub(crate) fn of_listener(&self, target: &Target<'_>) -> Option<Fault> {
        if self.is_quiet() {
            return None;
        }
        let armory = self.inner.armed.lock();
        let mut rules = armory.rules.iter().map(|armed| &armed.rule);
        rules
            .find(|rule| rule.fault.is_of_listener() && rule.scope.matches(target))
            .map(|rule| rule.fault.clone())
    }

    /// The faults that strike a new connection.
    pub(crate) fn of_connection(&self, target: &Target<'_>) -> Vec<Hit> {
        self.strike(target, Fault::is_of_connection)
    }

    /// The faults that strike a request.
    pub(crate) fn of_request(&self, target: &Target<'_>) -> Vec<Hit> {
        self.strike(target, Fault::is_of_request)
    }

    fn is_quiet(&self) -> bool {
        self.inner.count.load(Ordering::Acquire) == 0
    }

    fn strike(&self, target: &Target<'_>, wanted: impl Fn(&Fault) -> bool) -> Vec<Hit> {
        if self.is_quiet() {
            return Vec::new();
        }
        let seed = self.inner.seed;
        let mut armory = self.inner.armed.lock();
        let candidates = armory.rules.iter_mut();
        candidates
            .filter(|armed| wanted(&armed.rule.fault) && armed.rule.scope.matches(target))
            .filter_map(|armed| armed.strike(seed))
            .collect()
    }
}

// === impl Armed ===

impl Armed {
    fn strike(&mut self, seed: u64) -> Option<Hit> {
        self.matched = self.matched.saturating_add(1);
        let over = self.rule.times.is_some_and(|times| self.struck >= times);
        if self.matched <= self.rule.skip || over || !self.is_chosen(seed) {
            return None;
        }
        let before = self.struck;
        self.struck = self.struck.saturating_add(1);
        Some(Hit {
            fault: self.rule.fault.clone(),
            before,
        })
    }

    fn is_chosen(&self, seed: u64) -> bool {
        self.rule.probability.is_none_or(|share| {
            let draw = mix(&[seed, self.id, u64::from(self.matched)]) % 1_000_000;
            (draw as f64) < share * 1_000_000.0
        })
    }
}

// === impl Scope ===

impl Scope {
    fn matches(&self, target: &Target<'_>) -> bool {
        self.vdc.is_none_or(|vdc| vdc == target.vdc)
            && self.node.is_none_or(|node| Some(node) == target.node)
            && self.port.is_none_or(|port| port == target.port)
            && match target.request {
                Some((path, method)) => {
                    self.path.as_deref().is_none_or(|prefix| path.starts_with(prefix))
                        && self
                            .method
                            .as_deref()
                            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
                }
                None => self.path.is_none() && self.method.is_none(),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(vdc: usize, path: &str) -> Target<'_> {
        Target {
            vdc,
            node: Some(0),
            port: Port::Mgmt,
            request: Some((path, "GET")),
        }
    }

    #[test]
    fn a_rule_strikes_where_and_as_often_as_it_says() {
        let faults = Faults::new(1);
        faults.set(
            FaultRule::everywhere(Fault::Hang)
                .on_vdc(1)
                .on_path("/vdc")
                .skip(1)
                .times(2),
        );
        assert!(faults.of_request(&target(0, "/vdc/nodes")).is_empty());
        assert!(faults.of_request(&target(1, "/login")).is_empty());
        let struck: Vec<_> = (0..5)
            .map(|_| faults.of_request(&target(1, "/vdc/nodes")).len())
            .collect();
        assert_eq!(struck, [0, 1, 1, 0, 0]);
        assert_eq!(faults.list()[0].2, 2);
        faults.clear();
        assert!(faults.list().is_empty());
    }

    #[test]
    fn a_share_is_about_kept() {
        let faults = Faults::new(1);
        let id = faults.set(FaultRule::everywhere(Fault::Hang).probability(0.25));
        let struck: usize = (0..4000).map(|_| faults.of_request(&target(0, "/")).len()).sum();
        assert!((800..1200).contains(&struck), "{struck}");
        assert!(faults.remove(id) && !faults.remove(id));
    }

    #[test]
    fn faults_of_connections_do_not_strike_requests() {
        let faults = Faults::new(1);
        faults.set(FaultRule::everywhere(Fault::CertExpired));
        faults.set(FaultRule::everywhere(Fault::Refused));
        assert!(faults.of_request(&target(0, "/")).is_empty());
        let connecting = Target {
            request: None,
            ..target(0, "/")
        };
        assert_eq!(faults.of_connection(&connecting).len(), 1);
        assert_eq!(faults.of_listener(&connecting), Some(Fault::Refused));
    }
}
