//! The Redis output, which serves Valkey and others that speak the protocol as well.
//!
//! Owns `output.redis`: which host a connection uses, and when a connection is given up. Each event is a command of its
//! own, `RPUSH` to a list or `PUBLISH` on a channel, all of a batch behind each other without waiting in between. An
//! event counts as accepted when its own reply says so, whatever became of the others. What has no reply is sent again:
//! where the server had carried it out and only the reply was lost, the list holds the document twice, with the same
//! `event.id` and `@metadata._id`, and a reader that uses that as the id of its document stores it once. What is
//! published on a channel reaches whoever listens at that moment, and nobody else.

mod connection;
mod publish;
mod refusal;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use super::codec::Encoder;
use super::hosts::{Chosen, look_until};
use super::metadata::Metadata;
use super::selector::Selector;
use super::{BuildError, Outcome, Sink, SinkError};
use crate::config::{RedisHost, RedisOutput, RedisType};
use crate::dial::Dialer;
use crate::election::Permit;
use crate::event::Event;
use crate::steps::Steps;
use connection::Connection;

/// The path of the settings.
const SECTION: &str = "output.redis";

/// One worker's connection.
pub struct Redis {
    shared: Arc<Shared>,
    host: Chosen,
    /// `None` while there is none that could be used: before the first one, and after one that failed or was left in
    /// the middle of a batch.
    connection: Option<Connection>,
    /// The list that was too long for anything to be pushed.
    full: Option<String>,
}

/// Passwords are behind `shared`: it is not shown.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.shared.hosts.get(self.host.now());
        f.debug_struct("Redis")
            .field("host", &host.map(|host| host.at.to_string()))
            .field("connected", &self.connection.is_some())
            .finish_non_exhaustive()
    }
}

/// What the connections of one output have in common.
struct Shared {
    dialer: Dialer,
    hosts: Vec<RedisHost>,
    datatype: RedisType,
    key: Selector,
    encoder: Encoder,
    max_list_len: Option<u64>,
    timeout: Duration,
    written: Counter,
    read: Counter,
}

/// The end of the time a send may take, and the right to it.
struct Deadline {
    at: Instant,
    /// What it was at the beginning, for messages.
    time: Duration,
    permit: Permit,
}

impl Redis {
    /// `workers` connections for each host, or to one of them; `written` and `read` count bytes.
    pub fn new(config: &RedisOutput, written: &Counter, read: &Counter) -> Result<Vec<Self>, BuildError> {
        let shared = Arc::new(Shared::new(config, written, read)?);
        let network = &config.network;
        let connections = Chosen::for_connections(shared.hosts.len(), network.workers, network.loadbalance);
        Ok(connections
            .into_iter()
            .map(|host| Self {
                shared: Arc::clone(&shared),
                host,
                connection: None,
                full: None,
            })
            .collect())
    }

    /// See [`Output::encoded`](super::Output::encoded).
    pub(super) fn encoded(&self, batch: &[Event]) -> Vec<u8> {
        self.shared.encoded(batch)
    }

    /// The connection of before, where it is still good, or a new one. A server may have closed it meanwhile (its
    /// setting `timeout`), which is nobody's failure.
    async fn connected(&mut self, host: usize, deadline: &Deadline) -> Result<Connection, SinkError> {
        if let Some(mut connection) = self.connection.take()
            && connection.is_to(host)
            && connection.is_open()
        {
            return Ok(connection);
        }
        self.shared.connect(host, deadline).await
    }

    /// A new connection to the own host, once that can be reached again.
    async fn home(&mut self, deadline: &Deadline) -> Option<Connection> {
        let home = self.host.look_home()?;
        let deadline = Deadline {
            at: look_until(deadline.at),
            time: deadline.time,
            permit: deadline.permit.clone(),
        };
        match self.shared.connect(home, &deadline).await {
            Ok(connection) => {
                self.host.come_home();
                Some(connection)
            }
            Err(error) => {
                tracing::debug!(output = "redis", %error, "not back yet");
                None
            }
        }
    }
}

impl Sink for Redis {
    async fn connect(&mut self, permit: &Permit) -> Result<(), SinkError> {
        let deadline = self.shared.deadline(permit);
        self.connection = None;
        let home = self.home(&deadline).await;
        let host = self.host.now();
        let connected = async {
            let mut connection = match home {
                Some(connection) => connection,
                None => self.shared.connect(host, &deadline).await?,
            };
            // Waiting for a reader is not to use up max_retries, as each refused batch would.
            if let Some(list) = &self.full {
                self.shared.has_room(&mut connection, list, &deadline).await?;
            }
            Ok(connection)
        };
        match connected.await {
            Ok(connection) => {
                self.connection = Some(connection);
                self.full = None;
                Ok(())
            }
            Err(error) => {
                self.host.leave(host);
                Err(error)
            }
        }
    }

    async fn publish(&mut self, permit: &Permit, batch: &[Event]) -> Result<Vec<Outcome>, SinkError> {
        let deadline = self.shared.deadline(permit);
        if let Some(connection) = self.home(&deadline).await {
            self.connection = Some(connection);
        }
        let host = self.host.now();
        let mut connection = match self.connected(host, &deadline).await {
            Ok(connection) => connection,
            Err(error) => {
                self.host.leave(host);
                return Err(error);
            }
        };
        let published = self.shared.publish(&mut connection, batch, &deadline).await;
        self.full = published.full;
        match &published.outcomes {
            Ok(_) if connection.is_in_order() => self.connection = Some(connection),
            Ok(_) => {}
            Err(_) => self.host.leave(host),
        }
        published.outcomes
    }

    async fn close(&mut self) -> Result<(), SinkError> {
        // Nothing is held back: what was published is acknowledged or will be sent again.
        if let Some(connection) = self.connection.take() {
            connection.close(self.shared.timeout).await;
        }
        Ok(())
    }
}

impl Shared {
    fn new(config: &RedisOutput, written: &Counter, read: &Counter) -> Result<Self, BuildError> {
        let key = |name: &str| format!("{SECTION}.{name}");
        if config.hosts.is_empty() {
            return Err(BuildError::Setting {
                key: key("hosts"),
                problem: "is empty: list at least one".to_owned(),
            });
        }
        let network = &config.network;
        let tls = config.hosts.iter().any(|host| host.tls);
        Ok(Self {
            dialer: Dialer::new(&network.ssl, tls, network.proxy.as_ref())
                .map_err(BuildError::tls(SECTION))?,
            hosts: config.hosts.clone(),
            datatype: config.datatype,
            key: Selector::new((&key("keys"), &config.keys), (&key("key"), Some(&config.key)))?,
            encoder: Encoder::messages(SECTION, &config.codec, Some(Metadata::new(&config.index)))?,
            max_list_len: config.max_list_len,
            timeout: network.timeout,
            written: written.clone(),
            read: read.clone(),
        })
    }

    fn deadline(&self, permit: &Permit) -> Deadline {
        let time = self.timeout.min(permit.budget());
        Deadline {
            at: Instant::now() + time,
            time,
            permit: permit.clone(),
        }
    }

    /// A connection that is logged in and has its database.
    async fn connect(&self, number: usize, deadline: &Deadline) -> Result<Connection, SinkError> {
        let host = &self.hosts[number];
        let mut steps = Steps::untold();
        let mut connection = self.dial(number, deadline, &mut steps).await?;
        connection.greet(host, deadline).await?;
        Ok(connection)
    }

    async fn dial(
        &self,
        number: usize,
        deadline: &Deadline,
        steps: &mut Steps,
    ) -> Result<Connection, SinkError> {
        let host = &self.hosts[number];
        let stream = self.dialer.dial(&host.at, host.tls, deadline.at, steps).await?;
        Ok(Connection::new(
            stream,
            number,
            &host.at,
            (&self.written, &self.read),
        ))
    }
}

/// Tries every host once, as `test output` does, and tells how it went. Nothing is pushed.
pub(in crate::output) async fn test(
    config: &RedisOutput,
    permit: &Permit,
    steps: &mut Steps,
) -> Result<(), BuildError> {
    let shared = Shared::new(config, &Counter::default(), &Counter::default())?;
    for (number, host) in shared.hosts.iter().enumerate() {
        let deadline = shared.deadline(permit);
        steps.enter(&format!("redis: {}", host.at));
        if let Ok(mut connection) = shared.dial(number, &deadline, steps).await {
            let greeted = connection.greet(host, &deadline).await;
            if steps.result("talk to server", greeted).is_ok() {
                match connection.version(&deadline).await {
                    Ok(version) => steps.fact("version", &version),
                    Err(error) => steps.warn("version", &error.to_string()),
                }
            }
            connection.close(shared.timeout).await;
        }
        steps.leave();
    }
    Ok(())
}
