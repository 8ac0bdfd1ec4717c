//! A TCP proxy for tests that fails when told to.
//!
//! [`Chaos`] listens on a free port in front of one upstream. What goes wrong is a [`Rule`], switched while it runs
//! ([`Chaos::set`]). Each fault strikes at a byte, an answer or a connection, never at a time, so that a test that
//! fails fails again. Connections end with a reset where they lost something, as those of a firewall that has
//! forgotten them: nothing that was swallowed arrives later.
//!
//! It knows no protocol: an *answer* is the first that the upstream sends after the client has sent something.

mod identity;
mod port;
mod rule;
mod shared;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use identity::{Identity, IdentityError};
pub use rule::{Fault, Rule};
pub use shared::Counts;
use shared::Shared;

/// A running proxy. Dropping it ends all its connections and frees its port.
#[derive(Debug)]
pub struct Chaos {
    address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl Chaos {
    /// Opens a free port of 127.0.0.1 in front of `upstream`, which need not be there yet.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), upstream).await
    }

    /// Opens `address` in front of `upstream`; port 0 takes a free one.
    pub async fn start_at(address: SocketAddr, upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(upstream));
        let mut tasks = JoinSet::new();
        tasks.spawn(port::keep(listener, address, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            _tasks: tasks,
        })
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What goes wrong from now on, on connections that are there as well. It takes the place of the last rule.
    pub fn set(&self, rule: impl Into<Rule>) {
        self.shared.set(rule.into());
    }

    /// Nothing goes wrong any more.
    pub fn pass(&self) {
        self.set(Fault::Pass);
    }

    /// How often the rule of the moment has struck.
    pub fn struck(&self) -> u32 {
        self.shared.struck()
    }

    /// What connections that are made from now on are shown: a certificate, or no TLS. The upstream never sees TLS.
    pub fn show(&self, identity: Option<Identity>) {
        self.shared.show(identity);
    }

    /// Ends every connection on which no answer is due, in order (FIN), as servers do with clients that were idle for
    /// too long. What a client sends after that is refused with a reset.
    pub fn close_idle(&self) {
        self.shared.close_idle();
    }

    /// Ends every connection with a reset, both ways.
    pub fn reset_all(&self) {
        self.shared.reset_all();
    }

    /// What was seen since the start.
    pub fn counts(&self) -> Counts {
        self.shared.counts()
    }
}
