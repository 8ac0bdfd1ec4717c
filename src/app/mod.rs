//! Puts the parts together, watches over them, and stops them in order.
//!
//! The only module that knows both ends. Every task is in a set that is watched; one that ends unexpectedly stops
//! the process with an error. An orderly stop: no new ticks, running polls end, the queue drains, checkpoints are
//! written, ECS is logged out of, and the endpoints go last.

mod certificates;
mod cluster;
mod data;
mod host;
mod once;
mod service;
mod sight;
mod single;
mod stages;
mod survey;
mod work;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::{FileStore, StoreError};
use crate::clock::Clock;
use crate::config::{Config, OutputConfig};
use crate::dcs::etcd::EtcdError;
use crate::document;
use crate::ecs;
use crate::election::order::Desk;
use crate::election::replica::ReplicaError;
use crate::heartbeat::Heartbeat;
use crate::http::{self, Endpoints, ServerHandle};
use crate::output;
use crate::status::{State, Status};
use crate::telemetry::identity::Identity;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::report;
use crate::telemetry::tree::Source;

pub use data::{DataDirectory, DataError};
pub use once::Once;
use service::{Service, Vitals};
pub use stages::clients;

/// The heartbeat's period; `/liveness` expects one far more often than it asks.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long the main loop may be silent before it counts as dead.
const LIVENESS: Duration = Duration::from_secs(10);
/// How long telling the totals at the end may take.
const TOTALS: Duration = Duration::from_secs(1);
/// What comes after the work may take: writing of checkpoints, logging out, totals, connections of the endpoints.
const FAREWELL: Duration = Duration::from_secs(10);

/// Why the process cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// `path.data`
    #[error(transparent)]
    Data(#[from] DataError),
    /// The checkpoint file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `output.*`
    #[error(transparent)]
    Output(#[from] output::BuildError),
    /// TLS or proxy towards ECS.
    #[error(transparent)]
    Ecs(#[from] ecs::HttpError),
    /// `http.host`, `http.port`
    #[error(transparent)]
    Bind(#[from] http::BindError),
    /// The endpoints' server.
    #[error(transparent)]
    Serve(#[from] http::ServeError),
    /// `http.ssl`
    #[error("http.{0}")]
    HttpTls(crate::tls::TlsError),
    /// `ha.etcd`
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    /// The election.
    #[error(transparent)]
    Election(#[from] ReplicaError),
    /// `ecsbeat.trace`, `logging.event_data`
    #[error("cannot start the thread that writes records: {0}")]
    Recorder(std::io::Error),
    /// A part of the process ended that must not.
    #[error("{0} ended unexpectedly; this is a defect, please report it with the log")]
    Died(&'static str),
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Stopped on request, or everything was collected once, and nothing failed.
    Well,
    /// Run once, and a target failed or an event was not acknowledged.
    Incomplete,
}

/// A configured process whose addresses are taken and whose files are open, and that has not begun to work.
pub struct App {
    config: Config,
    clock: Clock,
    metrics: Metrics,
    status: Arc<Status>,
    heartbeat: Heartbeat,
    identity: Arc<Identity>,
    /// `None` = checkpoints are in etcd.
    store: Option<FileStore>,
    http: Option<http::Bound>,
    records: stages::Records,
    _data: DataDirectory,
}

impl App {
    /// Takes everything that can be taken without reaching anybody: what is wrong here is wrong at once.
    pub fn new(config: Config, clock: Clock) -> Result<Self, AppError> {
        let data = DataDirectory::open(&config.path.data)?;
        let store = if config.ha.is_none() {
            let (store, complaint) = FileStore::open(&config.path.data)?;
            if let Some(complaint) = complaint {
                tracing::error!("{complaint}");
            }
            Some(store)
        } else {
            None
        };
        let http = if config.http.enabled {
            Some(stages::bind(&config.http)?)
        } else {
            None
        };
        let address = cluster::advertised(&config, http.as_ref().map(http::Bound::local_addr));
        let instance = config.ha.as_ref().map_or(&config.name, |ha| &ha.instance);
        let cluster = config.ha.as_ref().map(|ha| &*ha.cluster);
        let identity = Identity::new(&config.name, data.id, instance, cluster, &address);
        tracing::info!(
            id = %identity.id, ephemeral_id = %identity.ephemeral_id, name = config.name,
            instance = &*identity.instance, cluster = identity.cluster.as_deref(),
            "Beat ID: {}", identity.id
        );
        let status = Arc::new(Status::new(clock.now()));
        let metrics = Metrics::new();
        metrics.certificates.tell(certificates::expiries(&config));
        let records = stages::records(&config, &clock, &metrics)?;
        Ok(Self {
            config,
            clock,
            metrics,
            status,
            heartbeat: Heartbeat::new(),
            identity: Arc::new(identity),
            store,
            http,
            records,
            _data: data,
        })
    }

    /// Where the endpoints answer, if they do.
    pub fn http_address(&self) -> Option<std::net::SocketAddr> {
        self.http.as_ref().map(http::Bound::local_addr)
    }

    /// How far `--once` is.
    pub fn once(&self) -> Once {
        let units = work::units_in(&self.config);
        Once::new(Arc::clone(&self.status), self.clock.clone(), units)
    }

    /// Works until `stop`, or until everything was collected once.
    pub async fn run(mut self, stop: CancellationToken) -> Result<Outcome, AppError> {
        let source = self.source();
        let (desk, orders) = Desk::new();
        let desk = self.config.ha.is_some().then_some(desk);
        let mut http = self.serve(&source, desk)?;
        let over = CancellationToken::new();
        let (mut companions, told) = self.companions(source, &over);
        if let Some(service) = Service::start(self.vitals(), self.longest_stop()) {
            companions.spawn(service.accompany(stop.clone()));
        }
        let result = match (&self.config.ha, &self.store) {
            (Some(ha), _) => Box::pin(self.run_replica(ha, orders, stop, &mut companions, &mut http)).await,
            (None, Some(store)) => Box::pin(self.run_single(store, stop, &mut companions, &mut http)).await,
            (None, None) => Err(AppError::Died("the checkpoint file")),
        };
        over.cancel();
        let _too_late = tokio::time::timeout(TOTALS, told.cancelled()).await;
        companions.shutdown().await;
        tracing::info!("ecsbeat stopped.");
        self.status.enter(State::Stopped, self.clock.now());
        // Last, so that an orchestrator sees the state change until the end.
        if let Some(http) = http {
            http.stop().await?;
        }
        result
    }

    /// What runs beside the work: the metrics line. The token is cancelled when that has told its totals.
    fn companions(&self, source: Source, over: &CancellationToken) -> (JoinSet<()>, CancellationToken) {
        let mut companions = JoinSet::new();
        let told = CancellationToken::new();
        if self.config.logging.metrics_enabled {
            let report = report::run(source, self.config.logging.metrics_period, over.clone());
            let done = told.clone().drop_guard();
            companions.spawn(async move {
                report.await;
                drop(done);
            });
        } else {
            // A set without tasks would count as ended.
            companions.spawn(std::future::pending());
            told.cancel();
        }
        (companions, told)
    }

    fn serve(&mut self, source: &Source, desk: Option<Desk>) -> Result<Option<ServerHandle>, AppError> {
        let Some(bound) = self.http.take() else {
            return Ok(None);
        };
        // A drain, and the end of the old leader's right to be the first again.
        let patience = self.config.ha.as_ref().map_or(Duration::ZERO, |ha| {
            2 * ha.ttl.max(ha.loop_wait) + ha.drain_timeout
        });
        let endpoints = Endpoints {
            identity: Arc::clone(&self.identity),
            status: Arc::clone(&self.status),
            source: source.clone(),
            heartbeat: self.heartbeat.clone(),
            ttl: self.ttl(),
            clock: self.clock.clone(),
            token: self.config.http.token.clone(),
            desk,
            patience,
            batch_size: self.config.queue.flush_min_events,
            clients: self.config.outputs.len(),
        };
        let address = bound.local_addr();
        let handle = bound.serve(Arc::new(endpoints), CancellationToken::new())?;
        tracing::info!(%address, "HTTP endpoints answer");
        Ok(Some(handle))
    }

    /// How long the main loop may be silent; see [`crate::heartbeat::patience`].
    fn ttl(&self) -> Duration {
        self.config.ha.as_ref().map_or(LIVENESS, |ha| ha.ttl)
    }

    fn vitals(&self) -> Vitals {
        Vitals {
            instance: Arc::clone(&self.identity.instance),
            status: Arc::clone(&self.status),
            heartbeat: self.heartbeat.clone(),
            ttl: self.ttl(),
            clock: self.clock.clone(),
        }
    }

    /// What an orderly stop may take altogether: the work, or the handing over of the lease, and all that comes after.
    fn longest_stop(&self) -> Duration {
        self.config.shutdown_timeout.max(self.ttl()) + FAREWELL
    }

    fn source(&self) -> Source {
        let mut outputs: Vec<_> = self.config.outputs.iter().map(OutputConfig::name).collect();
        outputs.sort_unstable();
        Source {
            identity: Arc::clone(&self.identity),
            metrics: self.metrics.clone(),
            status: Arc::clone(&self.status),
            outputs,
            started: Instant::now().into_std(),
            runtime: tokio::runtime::Handle::try_current().ok(),
        }
    }

    fn author(&self) -> document::Identity {
        document::Identity {
            agent_id: self.identity.id.to_string(),
            ephemeral_id: self.identity.ephemeral_id.to_string(),
            name: self.config.name.clone(),
            instance: self.identity.instance.to_string(),
            cluster: self.identity.cluster.as_deref().map(str::to_owned),
            tags: self.config.tags.clone(),
            fields: self.config.fields.clone(),
            fields_under_root: self.config.fields_under_root,
        }
    }
}

/// Waits for the end of the endpoints' server; for ever where there is none.
async fn http_ended(http: &mut Option<ServerHandle>) {
    match http {
        Some(http) => {
            let _told_by_the_caller = http.ended().await;
        }
        None => std::future::pending().await,
    }
}
