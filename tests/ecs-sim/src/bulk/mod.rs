//! A fake Elasticsearch that records what it is sent, so that a test knows what arrived, how often and when.
//!
//! It knows the start-up calls of a shipper (`GET /`, templates, data streams, pipelines) and the bulk API with
//! `create` and `index`, gzip and `filter_path`. It gives back what it holds, index by index, and searches nothing.
//! Faults are set with [`Bulk::set`].

mod fault;
mod items;
mod search;
mod service;
mod store;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::{self, Limits};
use crate::pki::{Authority, Face};
use crate::ports;
pub use fault::{BulkFault, BulkRule};
use service::Shared;
pub use store::{BulkRequest, Document, Repeated, Resource};

/// How the fake is made.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The version number that `GET /` tells.
    pub version: String,
    /// `GET /` says that it is `OpenSearch`.
    pub opensearch: bool,
    /// Speak TLS, with an authority of its own.
    pub tls: bool,
    /// `name:password` that clients must show, as Basic or as the same text in an API key.
    pub account: Option<String>,
    /// Keep a document for every arrival instead of the latest of each id.
    pub keep_all: bool,
    /// More documents than this are refused with 429.
    pub max_documents: usize,
    /// The largest body, before and after decompression; larger ones get 413.
    pub max_body: usize,
}

/// A running fake. Dropping it stops it without waiting; [`Bulk::shutdown`] waits.
pub struct Bulk {
    shared: Arc<Shared>,
    address: SocketAddr,
    ca_pem: Option<String>,
    tls: bool,
    stop: CancellationToken,
    tracker: TaskTracker,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 9200),
            version: "8.17.0".to_owned(),
            opensearch: false,
            tls: false,
            account: None,
            keep_all: false,
            max_documents: 2_000_000,
            max_body: 256 * 1024 * 1024,
        }
    }
}

impl Config {
    /// A free port; otherwise the defaults.
    pub fn for_tests() -> Self {
        Self {
            listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0),
            ..Self::default()
        }
    }
}

// === impl Bulk ===

impl Bulk {
    /// Opens the port and begins to record.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(config.listen)
            .await
            .with_context(|| format!("listen on {}", config.listen))?;
        let address = listener.local_addr()?;
        let (acceptor, ca_pem) = if config.tls {
            let authority = Authority::new(None)?;
            let server = authority.server(&[address.ip()], Face::default())?;
            (
                Some(TlsAcceptor::from(server)),
                Some(authority.ca_pem().to_owned()),
            )
        } else {
            (None, None)
        };
        let limits = Limits {
            max_body: config.max_body,
            ..Limits::default()
        };
        let tls = config.tls;
        let shared = Arc::new(Shared::new(config));
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        let keeping = keep(
            listener,
            address,
            Arc::clone(&shared),
            acceptor,
            limits,
            tracker.clone(),
            stop.clone(),
        );
        tracker.spawn(keeping);
        Ok(Self {
            shared,
            address,
            ca_pem,
            tls,
            stop,
            tracker,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    /// The certificate of its authority, with TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// All documents held, in the order of arrival.
    pub fn documents(&self) -> Vec<Document> {
        self.shared.store.documents()
    }

    /// How many documents are held.
    pub fn len(&self) -> usize {
        self.shared.store.len()
    }

    /// Whether no document is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ids that are held in more than one index (or, with `keep_all`, more than once): what a search would
    /// find twice.
    pub fn duplicates(&self) -> Vec<Repeated> {
        self.shared.store.duplicates()
    }

    /// Ids that were sent more than once, whether held twice or not.
    pub fn repeated(&self) -> Vec<Repeated> {
        self.shared.store.repeated()
    }

    /// How many writes with `create` found their id taken.
    pub fn conflicts(&self) -> u64 {
        self.shared.store.conflicts()
    }

    /// What came with `create` and an id that was taken; the last 10,000. With [`Bulk::documents`], by their
    /// `sequence`, every arrival.
    pub fn refused(&self) -> Vec<Document> {
        self.shared.store.refused()
    }

    /// How many documents there are of each value of `ecs-event-type`, or else `event.dataset`, or else `type`.
    pub fn count_by_type(&self) -> BTreeMap<String, usize> {
        self.shared
            .store
            .count_by(&["ecs-event-type", "event.dataset", "type"])
    }

    /// How many documents there are of each value of a member; dots lead into objects.
    pub fn count_by(&self, member: &str) -> BTreeMap<String, usize> {
        self.shared.store.count_by(&[member])
    }

    /// How many documents each index holds.
    pub fn count_by_index(&self) -> BTreeMap<String, usize> {
        self.shared.store.count_by_index()
    }

    /// Templates, pipelines, policies and data streams that were put.
    pub fn resources(&self) -> Vec<Resource> {
        self.shared.store.resources()
    }

    /// The bulk requests so far, refused ones too; the last 10,000.
    pub fn requests(&self) -> Vec<BulkRequest> {
        self.shared.store.requests()
    }

    /// Forgets documents and requests; templates and the like stay.
    pub fn clear(&self) {
        self.shared.store.clear();
    }

    /// Switches a fault on.
    pub fn set(&self, rule: BulkRule) {
        self.shared.rules.set(rule);
    }

    /// Switches all faults off.
    pub fn clear_faults(&self) {
        self.shared.rules.clear();
    }

    /// Closes the port, ends all connections, and waits until nothing is left.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl Drop for Bulk {
    fn drop(&mut self) {
        self.stop.cancel();
        self.tracker.close();
    }
}

/// Keeps the port: open, or refusing while a fault says so.
async fn keep(
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<TlsAcceptor>,
    limits: Limits,
    tracker: TaskTracker,
    stop: CancellationToken,
) {
    let mut changes = shared.rules.changes();
    let mut standing = Some(listener);
    let mut connections = stop.child_token();
    loop {
        changes.mark_unchanged();
        if shared.rules.is_refusing() {
            connections.cancel();
            connections = stop.child_token();
            drop(standing.take());
            // Bound but not listening: nobody else takes the port, connecting is refused.
            let held = ports::hold(address);
            tokio::select! {
                () = stop.cancelled() => return,
                told = changes.changed() => if told.is_err() { return },
            }
            drop(held);
            continue;
        }
        let Ok(listener) = standing.take().map_or_else(|| ports::listen(address), Ok) else {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            continue;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            told = changes.changed() => if told.is_err() { return },
            () = accept(&listener, &shared, acceptor.as_ref(), &limits, &tracker, &connections) => {}
        }
        standing = Some(listener);
    }
}

async fn accept(
    listener: &TcpListener,
    shared: &Arc<Shared>,
    acceptor: Option<&TlsAcceptor>,
    limits: &Limits,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let (shared, acceptor, limits, stop) = (
            Arc::clone(shared),
            acceptor.cloned(),
            limits.clone(),
            stop.clone(),
        );
        tracker.spawn(async move {
            let serving = async {
                match acceptor {
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            http::serve(stream, &*shared, &limits).await;
                        }
                    }
                    None => http::serve(stream, &*shared, &limits).await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = serving => {}
            }
        });
    }
}
