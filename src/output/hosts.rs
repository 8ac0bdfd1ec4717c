//! Which of its hosts a connection uses.
//!
//! Owns the choice, as `loadbalance` says it, and the turn to another host after a failure. Connects to nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The host of one connection, as a place in the list of hosts.
#[derive(Debug)]
pub(super) struct Chosen {
    hosts: usize,
    which: Which,
}

#[derive(Debug)]
enum Which {
    /// Each connection its own, the next one after a failure.
    Own(usize),
    /// All connections the same, another one at random after a failure.
    Common(Arc<AtomicUsize>),
}

impl Chosen {
    /// One for each connection: `workers` for each host when all hosts are used at once, else `workers` to one of
    /// them. `hosts` must not be 0.
    pub(super) fn for_connections(hosts: usize, workers: usize, loadbalance: bool) -> Vec<Self> {
        let (hosts, workers) = (hosts.max(1), workers.max(1));
        if loadbalance {
            let own = |position| Self {
                hosts,
                which: Which::Own(position % hosts),
            };
            return (0..hosts * workers).map(own).collect();
        }
        let common = Arc::new(AtomicUsize::new(fastrand::usize(..hosts)));
        let same = |_| Self {
            hosts,
            which: Which::Common(Arc::clone(&common)),
        };
        (0..workers).map(same).collect()
    }

    /// The host to use now.
    pub(super) fn now(&self) -> usize {
        match &self.which {
            Which::Own(host) => *host,
            Which::Common(host) => host.load(Ordering::Relaxed),
        }
    }

    /// Turns to another host, unless another connection has done so for all of them already.
    pub(super) fn leave(&mut self, failed: usize) {
        let hosts = self.hosts;
        match &mut self.which {
            Which::Own(host) => *host = (failed + 1) % hosts,
            Which::Common(_) if hosts == 1 => {}
            Which::Common(host) => {
                let other = (failed + 1 + fastrand::usize(..hosts - 1)) % hosts;
                let _ = host.compare_exchange(failed, other, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_hosts_at_once_or_one_for_all_connections() {
        let spread = Chosen::for_connections(3, 2, true);
        let hosts: Vec<_> = spread.iter().map(Chosen::now).collect();
        assert_eq!(hosts, [0, 1, 2, 0, 1, 2]);

        let mut common = Chosen::for_connections(3, 2, false);
        assert_eq!(common.len(), 2);
        let first = common[0].now();
        assert_eq!(common[1].now(), first);
        common[0].leave(first);
        let second = common[1].now();
        assert_ne!(second, first);
        common[1].leave(first);
        assert_eq!(
            common[0].now(),
            second,
            "the other connection has left it already"
        );
    }

    #[test]
    fn one_host_is_never_left() {
        for loadbalance in [true, false] {
            let mut chosen = Chosen::for_connections(1, 1, loadbalance);
            chosen[0].leave(0);
            assert_eq!(chosen[0].now(), 0);
        }
    }
}
