//! The Logstash output: the Lumberjack protocol, version 2.
//!
//! Owns `output.logstash`: batches to windows, and what became of each event. An event counts as accepted only when the
//! server has acknowledged it; Logstash does so when its queue has it. Several batches are in flight on one connection:
//! there is a sink for each of them, and the sinks share the connection. An event that is sent twice has the same id
//! both times, in `@metadata._id`, for the pipeline to recognise it by.

mod acks;
mod connection;
#[cfg(test)]
mod decoder;
pub mod frame;
mod link;
mod servers;
mod slow_start;
#[cfg(test)]
mod tests;
mod turn;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus_client::metrics::counter::Counter;

use super::hosts::Chosen;
use super::{BuildError, DropReason, Outcome, RetryReason, Sink, SinkError};
use crate::config::LogstashOutput;
use crate::election::Permit;
use crate::event::Event;
use connection::{Connection, Limits};
use frame::{EncodeError, Encoder};
use servers::{Dial, Servers};
use slow_start::WindowSize;
use turn::Unacknowledged;

pub use servers::test;

/// One of the batches in flight on a connection.
pub struct Logstash(Lane<Servers>);

/// The same for servers of any kind.
struct Lane<D: Dial> {
    shared: Arc<Shared<D>>,
    /// Whether it is not the first of its connection.
    follows: bool,
}

/// What the lanes of a connection have in common.
struct Shared<D: Dial> {
    connection: Connection<D>,
    encoder: Encoder,
    /// Lanes that have not been closed.
    open: AtomicUsize,
}

/// Nothing of a proxy's password is shown.
impl fmt::Debug for Logstash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logstash")
            .field("follows", &self.0.follows)
            .finish_non_exhaustive()
    }
}

impl Logstash {
    /// The lanes of all connections, those of a connection one after the other: `pipelining` for each connection,
    /// `workers` connections for each host that is used at once. `written` and `read` count bytes.
    pub fn new(config: &LogstashOutput, written: &Counter, read: &Counter) -> Result<Vec<Self>, BuildError> {
        let servers = Arc::new(Servers::new(config)?);
        let network = &config.network;
        let limits = Limits {
            timeout: network.timeout,
            ttl: config.ttl,
        };
        let window = WindowSize::new(config.slow_start, network.bulk_max_size);
        let encoder = Encoder::new(&config.index, config.compression_level);
        let hosts = Chosen::for_connections(servers.count(), network.workers, network.loadbalance);
        let lanes = hosts.into_iter().flat_map(|host| {
            let servers = Arc::clone(&servers);
            let connection = Connection::new(servers, host, limits, window.clone(), (written, read));
            Lane::of(connection, &encoder, config.pipelining)
        });
        Ok(lanes.map(Self).collect())
    }

    /// See [`Output::encoded`](super::Output::encoded).
    pub(super) fn encoded(&self, batch: &[Event]) -> Result<Vec<u8>, SinkError> {
        self.0.shared.window(batch.iter())
    }

    /// Whether it uses the connection of the one before it.
    pub fn shares_connection(&self) -> bool {
        self.0.follows
    }
}

impl Sink for Logstash {
    async fn connect(&mut self, permit: &Permit) -> Result<(), SinkError> {
        self.0.shared.connection.connect(permit).await
    }

    async fn publish(&mut self, permit: &Permit, batch: &[Event]) -> Result<Vec<Outcome>, SinkError> {
        self.0.publish(permit, batch).await
    }

    async fn close(&mut self) -> Result<(), SinkError> {
        self.0.close().await;
        Ok(())
    }
}

impl<D: Dial> Lane<D> {
    /// As many as batches may be in flight.
    fn of(connection: Connection<D>, encoder: &Encoder, pipelining: usize) -> Vec<Self> {
        let lanes = pipelining.max(1);
        let shared = Arc::new(Shared {
            connection,
            encoder: encoder.clone(),
            open: AtomicUsize::new(lanes),
        });
        let lane = |number| Self {
            shared: Arc::clone(&shared),
            follows: number > 0,
        };
        (0..lanes).map(lane).collect()
    }

    async fn publish(&self, permit: &Permit, batch: &[Event]) -> Result<Vec<Outcome>, SinkError> {
        let mut outcomes: Vec<Outcome> = batch.iter().map(before_sending).collect();
        let is_open = |outcome: &Outcome| matches!(outcome, Outcome::Retry(_));
        let sent: Vec<usize> = (0..batch.len())
            .filter(|&position| is_open(&outcomes[position]))
            .collect();
        let mut failed = None;
        let mut rest = &sent[..];
        while !rest.is_empty() && failed.is_none() {
            let size = self.shared.connection.window_size().clamp(1, rest.len());
            let (window, behind) = rest.split_at(size);
            let accepted = match self.shared.send(permit, batch, window).await {
                Ok(()) => window,
                Err(Unacknowledged { accepted, error }) => {
                    failed = Some(error);
                    &window[..window.len().min(accepted as usize)]
                }
            };
            for &position in accepted {
                outcomes[position] = Outcome::Acked;
            }
            rest = behind;
        }
        match failed {
            None => Ok(outcomes),
            Some(error) if outcomes.iter().all(is_open) => Err(error),
            Some(error) => Err(SinkError::BrokenOff {
                outcomes,
                cause: Box::new(error),
            }),
        }
    }

    /// The last one closes the connection: the others may have something to send again.
    async fn close(&self) {
        if self.shared.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.connection.close().await;
        }
    }
}

impl<D: Dial> Shared<D> {
    /// Sends the events at these positions as one window.
    async fn send(&self, permit: &Permit, batch: &[Event], window: &[usize]) -> Result<(), Unacknowledged> {
        let unsent = |error| Unacknowledged { accepted: 0, error };
        let events = window.iter().map(|&position| &batch[position]);
        let bytes = self.window(events).map_err(unsent)?;
        // At most as many as a window may have.
        let count = u32::try_from(window.len()).unwrap_or(u32::MAX);
        self.connection.send(permit, bytes, count).await
    }

    fn window<'e>(&self, events: impl ExactSizeIterator<Item = &'e Event>) -> Result<Vec<u8>, SinkError> {
        self.encoder.window(events).map_err(|error| match error {
            EncodeError::TooLarge(_) => SinkError::TooLarge(error.to_string()),
            EncodeError::Compression(_) => SinkError::Io(error.to_string()),
        })
    }
}

/// What becomes of an event if nothing is heard of it.
fn before_sending(event: &Event) -> Outcome {
    if event.body.starts_with(b"{") {
        Outcome::Retry(RetryReason::Failed)
    } else {
        Outcome::Rejected {
            reason: DropReason::Refused,
            message: "not a JSON object".to_owned(),
        }
    }
}
