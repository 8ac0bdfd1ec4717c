//! Which of its hosts a connection uses.
//!
//! Owns the choice, as `loadbalance` says it, the turn to another host after a failure, and when a connection that
//! has a host of its own looks for that one again: else all connections would end up at the host that failed last.
//! Connects to nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Time between two looks for a host that failed. A host that is down costs no more than one look in this time.
const AWAY: Duration = Duration::from_secs(30);
/// The longest such a look takes.
const LOOK: Duration = Duration::from_secs(3);

/// The host of one connection, as a place in the list of hosts.
#[derive(Debug)]
pub(super) struct Chosen {
    hosts: usize,
    which: Which,
}

#[derive(Debug)]
enum Which {
    /// Each connection its own, the next one after a failure.
    Own {
        home: usize,
        host: usize,
        /// When to look for `home` again, while another one is used.
        look: Instant,
    },
    /// All connections the same, another one at random after a failure.
    Common(Arc<AtomicUsize>),
}

/// Until when to wait for a host that is looked for, where the whole send may take until `deadline`: what is left must
/// be enough for another host.
pub(super) fn look_until(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + LOOK.min(deadline.saturating_duration_since(now) / 4)
}

impl Chosen {
    /// One for each connection: `workers` for each host when all hosts are used at once, else `workers` to one of
    /// them. `hosts` must not be 0.
    pub(super) fn for_connections(hosts: usize, workers: usize, loadbalance: bool) -> Vec<Self> {
        let (hosts, workers) = (hosts.max(1), workers.max(1));
        if loadbalance {
            let own = |position| Self {
                hosts,
                which: Which::Own {
                    home: position % hosts,
                    host: position % hosts,
                    look: Instant::now(),
                },
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
            Which::Own { host, .. } => *host,
            Which::Common(host) => host.load(Ordering::Relaxed),
        }
    }

    /// The connection's own host, where another one is used and it is time to see whether it is back. To be asked
    /// before each use of the other one; whoever reaches it calls [`Self::come_home`].
    pub(super) fn look_home(&mut self) -> Option<usize> {
        match &mut self.which {
            Which::Own { home, host, look } if host != home && Instant::now() >= *look => {
                *look = Instant::now() + AWAY;
                Some(*home)
            }
            Which::Own { .. } | Which::Common(_) => None,
        }
    }

    /// Turns to the connection's own host.
    pub(super) fn come_home(&mut self) {
        if let Which::Own { home, host, .. } = &mut self.which {
            *host = *home;
        }
    }

    /// Turns to another host, unless another connection has done so for all of them already.
    pub(super) fn leave(&mut self, failed: usize) {
        let hosts = self.hosts;
        match &mut self.which {
            Which::Own { home, host, look } if *host == failed => {
                if failed == *home {
                    *look = Instant::now() + AWAY;
                }
                *host = (failed + 1) % hosts;
            }
            Which::Own { .. } => {}
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
    use tokio::time::advance;

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

    #[tokio::test(start_paused = true)]
    async fn a_host_that_was_left_is_looked_for_now_and_then() {
        let mut chosen = Chosen::for_connections(3, 1, true).remove(0);
        advance(AWAY).await;
        assert_eq!(chosen.look_home(), None, "it is there");
        chosen.leave(0);
        assert_eq!(
            (chosen.now(), chosen.look_home()),
            (1, None),
            "it has just failed"
        );
        advance(AWAY / 2).await;
        // A failure elsewhere goes on to those that were not tried.
        chosen.leave(1);
        assert_eq!((chosen.now(), chosen.look_home()), (2, None));
        advance(AWAY / 2).await;
        assert_eq!(chosen.look_home(), Some(0));
        assert_eq!((chosen.now(), chosen.look_home()), (2, None), "once");
        advance(AWAY).await;
        assert_eq!(chosen.look_home(), Some(0));
        chosen.come_home();
        chosen.leave(2);
        assert_eq!(chosen.now(), 0, "another connection's late failure");
        advance(AWAY).await;
        assert_eq!(chosen.look_home(), None);
        assert_eq!(Chosen::for_connections(3, 1, false)[0].look_home(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_leaves_time_for_the_other_host() {
        let within = |seconds| look_until(Instant::now() + Duration::from_secs(seconds)) - Instant::now();
        assert_eq!(
            (within(90), within(8), within(0)),
            (LOOK, Duration::from_secs(2), Duration::ZERO)
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
