//! What a server of an output must be able to do here.
//!
//! Owns [`Receiver`], the only thing that differs between outputs. It records; it must never judge.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::table::Until;

/// How the server is reached.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    /// `host:port`, of the proxy before it; empty without a network.
    pub(crate) at: String,
    /// With TLS, the file of the authority to trust.
    pub(crate) authority: Option<PathBuf>,
}

/// What only this server can do wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Own {
    pub(crate) name: &'static str,
    pub(crate) until: Until,
    /// Whether an event may be stored twice because of it.
    pub(crate) repeats: bool,
}

/// A recording server of an output.
pub(crate) trait Receiver: Sized {
    /// The output's name in the configuration and in metrics.
    const NAME: &'static str;
    /// What only it can do wrong.
    const OWN: &'static [Own] = &[];
    /// Whether it recognizes what it has stored already, by `event.id`.
    const RECOGNIZES: bool = false;
    /// A text that begins every request with events and no other one; empty, where there are no others.
    const CARRIES_EVENTS: &'static str = "";

    /// Starts it. `None`, and says so, where this machine does not allow that.
    async fn start() -> Option<Self>;

    /// Where it listens, without TLS; `None` without a network.
    fn address(&self) -> Option<SocketAddr>;

    /// Learns where the proxy before it is reached; a server that tells clients where to go tells them this.
    fn behind(&self, _host: &str, _port: u16) {}

    /// The section of the configuration, such as `output.redis: {…}`. An answer is waited for at most 2 s, and pauses
    /// are of 100 to 400 ms.
    fn config(&self, reach: &Reach) -> String;

    /// Every document as a reader finds it now, as often as it is there.
    async fn documents(&self) -> Vec<Vec<u8>>;

    /// How many documents arrived so far that it recognized, and did not store again.
    async fn recognized(&self) -> usize {
        0
    }

    /// Which rules of its protocol or form were broken, once the output has stopped.
    async fn violations(&self) -> Vec<String> {
        Vec::new()
    }

    /// Begins to do wrong what is called so in [`Receiver::OWN`].
    async fn strike(&mut self, own: &str) {
        panic!("{own:?} is nothing that {} knows", Self::NAME);
    }

    /// Ends that.
    async fn undo(&mut self, own: &str) {
        panic!("{own:?} is nothing that {} knows", Self::NAME);
    }
}
