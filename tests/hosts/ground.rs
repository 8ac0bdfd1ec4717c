//! What hosts are made of: two networks, and hosts on them that can be cut off, paused and killed.
//!
//! Owns the words for it; the grounds are [`crate::docker`] and [`crate::namespaces`]. Requests to a ground wait for
//! the machine: they are short, and nothing else runs on the thread that makes them. A ground removes all that it has
//! made when it is dropped.

use std::net::Ipv4Addr;

/// A network. This machine is on the site, and never on etcd's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Net {
    /// Where ECS and the output are, and where the replicas' endpoints answer.
    Site,
    /// Where etcd is.
    Etcd,
}

/// What runs on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// A replica; on both networks.
    Ecsbeat,
    /// A member of etcd.
    Etcd,
}

/// A host that is to be.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    /// Its name, unique.
    pub(crate) name: String,
    /// The last part of its addresses.
    pub(crate) number: u8,
    /// What runs on it.
    pub(crate) program: Program,
    /// With what.
    pub(crate) arguments: Vec<String>,
    /// Variables of its environment.
    pub(crate) environment: Vec<(String, String)>,
}

impl Program {
    /// The networks that its hosts are on; the first is the one it listens on.
    pub(crate) fn nets(self) -> &'static [Net] {
        match self {
            Self::Ecsbeat => &[Net::Site, Net::Etcd],
            Self::Etcd => &[Net::Etcd],
        }
    }
}

impl Net {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Etcd => "etcd",
        }
    }
}

/// A machine that hosts can be put on.
pub(crate) trait Ground {
    /// The first address of a network. On the site it is that of this machine: where ECS and the output are.
    fn here(&self, net: Net) -> Ipv4Addr;

    /// The address of a host.
    fn address(&self, host: &Host, net: Net) -> Ipv4Addr {
        let [a, b, c, _] = self.here(net).octets();
        Ipv4Addr::new(a, b, c, host.number)
    }

    /// What others on its networks call a host: its name where names are resolved, else its address.
    fn called(&self, host: &Host) -> String;

    /// Where the programs find the files of [`Ground::share`].
    fn folder(&self) -> String;

    /// Where the program of a host keeps its data.
    fn data(&self, host: &Host) -> String;

    /// A file that every host created from here on has.
    fn share(&mut self, name: &str, text: &str) -> anyhow::Result<()>;

    /// Makes a host; its program does not run yet.
    fn create(&mut self, host: &Host) -> anyhow::Result<()>;

    /// Starts its program, for the first time or again, with the data it had.
    fn start(&mut self, host: &Host) -> anyhow::Result<()>;

    /// Kills its program.
    fn kill(&mut self, host: &Host) -> anyhow::Result<()>;

    /// Stops its program in order; gives its exit code.
    fn stop(&mut self, host: &Host) -> anyhow::Result<i32>;

    /// Lets it stand still as a whole.
    fn pause(&mut self, host: &Host) -> anyhow::Result<()>;

    /// Lets it go on.
    fn resume(&mut self, host: &Host) -> anyhow::Result<()>;

    /// Takes it off a network, without a word to anybody.
    fn cut(&mut self, host: &Host, net: Net) -> anyhow::Result<()>;

    /// Brings it back.
    fn join(&mut self, host: &Host, net: Net) -> anyhow::Result<()>;

    /// The last that its program has said.
    fn last_words(&self, host: &Host) -> String;
}
