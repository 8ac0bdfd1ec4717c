//! The servers of one output.
//!
//! Owns who they are, how a connection to one is made, and what `test output` tells of each. Sends no events.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::time::{Instant, timeout};

use super::acks::Lost;
use crate::config::{HostPort, LogstashOutput};
use crate::dial::{Dialer, Stream};
use crate::output::{BuildError, SinkError};
use crate::steps::Steps;

/// How long a server that is tested may take to show that it wants no connection: in TLS 1.3 the refusal of a client
/// certificate comes after the handshake.
const SECOND_THOUGHTS: Duration = Duration::from_millis(500);

/// Makes connections.
pub(super) trait Dial: Send + Sync {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Send;

    /// How messages call a host.
    fn name(&self, host: usize) -> String;

    /// Connects to a host, its name resolved anew, until `deadline`.
    fn dial(
        &self,
        host: usize,
        deadline: Instant,
    ) -> impl Future<Output = Result<Self::Stream, SinkError>> + Send;
}

/// The hosts of the configuration.
#[derive(Debug)]
pub(super) struct Servers {
    hosts: Vec<HostPort>,
    dialer: Dialer,
    secure: bool,
}

impl Servers {
    /// Reads the TLS files; reaches nobody.
    pub(super) fn new(config: &LogstashOutput) -> Result<Self, BuildError> {
        let network = &config.network;
        let secure = network.ssl.enabled == Some(true);
        if config.hosts.is_empty() {
            return Err(BuildError::Setting {
                key: "output.logstash.hosts".to_owned(),
                problem: "is empty: list at least one".to_owned(),
            });
        }
        Ok(Self {
            hosts: config.hosts.clone(),
            dialer: Dialer::new(&network.ssl, secure, network.proxy.as_ref())
                .map_err(BuildError::tls("output.logstash"))?,
            secure,
        })
    }

    /// Number of hosts, at least 1.
    pub(super) fn count(&self) -> usize {
        self.hosts.len()
    }
}

impl Dial for Servers {
    type Stream = Stream;

    fn name(&self, host: usize) -> String {
        self.hosts[host].to_string()
    }

    async fn dial(&self, host: usize, deadline: Instant) -> Result<Stream, SinkError> {
        let steps = &mut Steps::untold();
        let dialled = self.dialer.dial(&self.hosts[host], self.secure, deadline, steps);
        Ok(dialled.await?)
    }
}

/// Connects to every host, as `test output` does, and tells how it went. Sends nothing: whether a beats input is there
/// shows with the first batch.
pub async fn test(config: &LogstashOutput, steps: &mut Steps) -> Result<(), BuildError> {
    let servers = Servers::new(config)?;
    for host in &servers.hosts {
        steps.enter(&format!("logstash: {host}"));
        let deadline = Instant::now() + config.network.timeout;
        let dialled = servers.dialer.dial(host, servers.secure, deadline, steps).await;
        // A failure to connect has been told already.
        if let Ok(stream) = dialled {
            let stayed = stays(stream).await;
            let _ = steps.result("talk to server", stayed.map_err(|lost| format!("{host}: {lost}")));
        }
        steps.leave();
    }
    Ok(())
}

/// Whether the server keeps a connection.
async fn stays(mut stream: Stream) -> Result<(), Lost> {
    let mut byte = [0];
    match timeout(SECOND_THOUGHTS, stream.read(&mut byte)).await {
        Err(_) => Ok(()),
        Ok(Ok(0)) => Err(Lost::Closed),
        Ok(Ok(_)) => Err(Lost::Foreign(byte.to_vec())),
        Ok(Err(error)) => Err(Lost::Failed(error)),
    }
}
