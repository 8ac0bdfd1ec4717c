//! The output against a server that a test plays by hand: it takes windows and answers byte by byte.

mod order;
mod publishing;
mod reaching;
mod replacing;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Lane;
use super::connection::{Connection, Limits};
use super::decoder::{Decoder, Window};
use super::frame::Encoder;
use super::servers::Dial;
use super::slow_start::WindowSize;
use crate::event::Event;
use crate::output::hosts::Chosen;
use crate::output::samples::{event, permit};
use crate::output::{Outcome, RetryReason, SinkError};

const SECOND: Duration = Duration::from_secs(1);
/// The `timeout` of these tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// Hosts that are reached at once, or not at all.
struct Hosts {
    reached: mpsc::UnboundedSender<Peer>,
    /// Errors of the next connections.
    errors: Mutex<VecDeque<SinkError>>,
    /// Bytes that are on the way without being read.
    room: usize,
}

impl Dial for Hosts {
    type Stream = DuplexStream;

    fn name(&self, host: usize) -> String {
        format!("host{host}:5044")
    }

    async fn dial(&self, host: usize, _: Instant) -> Result<DuplexStream, SinkError> {
        if let Some(error) = self.errors.lock().unwrap().pop_front() {
            return Err(error);
        }
        let (client, stream) = duplex(self.room);
        let peer = Peer {
            host,
            stream,
            decoder: Decoder::default(),
        };
        self.reached.send(peer).unwrap();
        Ok(client)
    }
}

/// The server's end of a connection.
struct Peer {
    host: usize,
    stream: DuplexStream,
    decoder: Decoder,
}

impl Peer {
    /// The next window, whole.
    async fn window(&mut self) -> Window {
        loop {
            if let Some(window) = self.decoder.window().unwrap() {
                return window;
            }
            let mut bytes = [0; 4096];
            let count = self.stream.read(&mut bytes).await.unwrap();
            assert_ne!(count, 0, "the connection ended within a window");
            self.decoder.feed(&bytes[..count]);
        }
    }

    /// The next window, which must have so many events.
    async fn window_of(&mut self, count: usize) -> Window {
        let window = self.window().await;
        assert_eq!(window.events.len(), count);
        window
    }

    async fn ack(&mut self, sequence: u32) {
        self.say(&[b"2A", &sequence.to_be_bytes()[..]].concat()).await;
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Waits until the client has closed the connection; gives the number of bytes that came before.
    async fn end(&mut self) -> usize {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await.unwrap()
    }
}

/// What a test wants of the output.
struct Setup {
    pipelining: usize,
    ttl: Option<Duration>,
    window: WindowSize,
    compression_level: u32,
    hosts: usize,
    loadbalance: bool,
    room: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            pipelining: 1,
            ttl: None,
            window: WindowSize::new(false, 0),
            compression_level: 3,
            hosts: 1,
            loadbalance: false,
            room: 1 << 20,
        }
    }
}

/// An output with what its test holds in hand.
struct Rig {
    lanes: Vec<Lane<Hosts>>,
    servers: Arc<Hosts>,
    peers: mpsc::UnboundedReceiver<Peer>,
    written: Counter,
    read: Counter,
}

impl Setup {
    fn rig(self) -> Rig {
        let (reached, peers) = mpsc::unbounded_channel();
        let servers = Arc::new(Hosts {
            reached,
            errors: Mutex::default(),
            room: self.room,
        });
        let (written, read) = (Counter::default(), Counter::default());
        let host = Chosen::for_connections(self.hosts, 1, self.loadbalance).remove(0);
        let limits = Limits {
            timeout: PATIENCE,
            ttl: self.ttl,
        };
        let connection = Connection::new(Arc::clone(&servers), host, limits, self.window, (&written, &read));
        Rig {
            lanes: Lane::of(
                connection,
                &Encoder::new("ecsbeat", self.compression_level),
                self.pipelining,
            ),
            servers,
            peers,
            written,
            read,
        }
    }
}

impl Rig {
    /// Connects, and gives the server's end.
    async fn connect(&mut self) -> Peer {
        self.lanes[0]
            .shared
            .connection
            .connect(&permit(PATIENCE))
            .await
            .unwrap();
        self.peer().await
    }

    /// Publishes over the first lane.
    async fn publish(&self, batch: &[Event]) -> Result<Vec<Outcome>, SinkError> {
        self.lanes[0].send(batch).await
    }

    /// The next connection that the output made.
    async fn peer(&mut self) -> Peer {
        self.peers.recv().await.unwrap()
    }

    /// Whether the output has made no further connection.
    fn no_other_peer(&mut self) -> bool {
        self.peers.try_recv().is_err()
    }
}

impl Lane<Hosts> {
    /// Publishes under a permit of its own.
    async fn send(&self, batch: &[Event]) -> Result<Vec<Outcome>, SinkError> {
        self.publish(&permit(PATIENCE), batch).await
    }
}

/// Events that can be told apart.
fn events(count: usize) -> Vec<Event> {
    (0..count)
        .map(|number| event(&format!(r#"{{"n":{number}}}"#)))
        .collect()
}

/// The ids of events, as a window has them.
fn ids(window: &Window) -> Vec<String> {
    let id = |document: &Vec<u8>| {
        let document: serde_json::Value = serde_json::from_slice(document).unwrap();
        document["@metadata"]["_id"].as_str().unwrap().to_owned()
    };
    window.events.iter().map(id).collect()
}

fn ids_of(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| event.id.to_string()).collect()
}

const AGAIN: Outcome = Outcome::Retry(RetryReason::Failed);

/// The outcomes of a batch of which so many were accepted.
fn head(accepted: usize, of: usize) -> Vec<Outcome> {
    let outcome = |position| {
        if position < accepted {
            Outcome::Acked
        } else {
            AGAIN
        }
    };
    (0..of).map(outcome).collect()
}

/// What a batch came to that broke off, and why.
fn broken_off(result: Result<Vec<Outcome>, SinkError>) -> (Vec<Outcome>, SinkError) {
    match result {
        Err(SinkError::BrokenOff { outcomes, cause }) => (outcomes, *cause),
        other => panic!("did not break off: {other:?}"),
    }
}
