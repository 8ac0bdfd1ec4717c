//! Puts the parts together, watches over them, and stops them in order.
//!
//! The only module that knows both ends. Every task is in a set that is watched; one that ends unexpectedly stops
//! the process with an error. An orderly stop: no new ticks, running polls end, the queue drains, checkpoints are
//! written, ECS is logged out of, and the endpoints go last.

mod data;
mod stages;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::checkpoint::{FileStore, Store, StoreError};
use crate::clock::Clock;
use crate::collect::{Context, Unit};
use crate::config::{Config, Level};
use crate::document;
use crate::ecs::{self, Client};
use crate::election::{self, Tenure};
use crate::heartbeat::Heartbeat;
use crate::http::{self, Endpoints, ServerHandle};
use crate::output;
use crate::pipeline::queue::{Queue, queue};
use crate::schedule::{self, Ended, Plan};
use crate::status::{State, Status};
use crate::telemetry::identity::Identity;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::report;
use crate::telemetry::tree::Source;

pub use data::{DataDirectory, DataError};
pub use stages::clients;

/// The heartbeat's period; `/liveness` expects one far more often than it asks.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long the main loop may be silent before it counts as dead.
const LIVENESS: Duration = Duration::from_secs(10);
/// What the last writing, and logging out, may take even where `shutdown_timeout` is used up. A token that stays
/// behind ends by itself.
const LOGOUT: Duration = Duration::from_millis(700);

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
    /// `ha`
    #[error("ha is configured, but this build runs on a single node: set ha.enabled: false or leave ha out")]
    Replicated,
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
    store: FileStore,
    http: Option<http::Bound>,
    _data: DataDirectory,
}

impl App {
    /// Takes everything that can be taken without reaching anybody: what is wrong here is wrong at once.
    pub fn new(config: Config, clock: Clock) -> Result<Self, AppError> {
        if config.ha.is_some() {
            return Err(AppError::Replicated);
        }
        let data = DataDirectory::open(&config.path.data)?;
        let (store, complaint) = FileStore::open(&config.path.data)?;
        if let Some(complaint) = complaint {
            tracing::error!("{complaint}");
        }
        let http = if config.http.enabled {
            Some(stages::bind(&config.http)?)
        } else {
            None
        };
        let address = http
            .as_ref()
            .map(|http| format!("http://{}", http.local_addr()))
            .unwrap_or_default();
        let identity = Identity::new(&config.name, data.id, &config.name, None, &address);
        let status = Arc::new(Status::new(clock.now()));
        Ok(Self {
            config,
            clock,
            metrics: Metrics::new(),
            status,
            heartbeat: Heartbeat::new(),
            identity: Arc::new(identity),
            store,
            http,
            _data: data,
        })
    }

    /// Where the endpoints answer, if they do.
    pub fn http_address(&self) -> Option<std::net::SocketAddr> {
        self.http.as_ref().map(http::Bound::local_addr)
    }

    /// Works until `stop`, or until everything was collected once.
    pub async fn run(mut self, stop: CancellationToken) -> Result<Outcome, AppError> {
        let source = self.source();
        let mut http = self.serve(&source)?;
        let result = self.work(stop, source, &mut http).await;
        self.status.enter(State::Stopped, self.clock.now());
        // Last, so that an orchestrator sees the state change until the end.
        if let Some(http) = http {
            http.stop().await?;
        }
        result
    }

    async fn work(
        &self,
        stop: CancellationToken,
        source: Source,
        http: &mut Option<ServerHandle>,
    ) -> Result<Outcome, AppError> {
        let config = &self.config;
        let over = CancellationToken::new();
        let tenure = election::solo(&self.identity.instance, over.clone());
        let mut companions = JoinSet::new();
        self.companions(&mut companions, source, &over);

        let (queue, lines) = queue(&config.queue, config.outputs.len(), &self.metrics);
        // No more ticks, and nothing is waited for that need not be.
        let quiet = CancellationToken::new();
        let mut publishers = JoinSet::new();
        for (output, line) in config.outputs.iter().zip(lines) {
            self.publish(&mut publishers, output, line, &tenure, &quiet)?;
        }
        let clients = clients(&config.ecsbeat, &self.metrics)?;
        for client in clients.iter().flatten() {
            let client = Arc::clone(client);
            companions.spawn(async move { client.keep_inventory().await });
        }
        let quiet = CancellationToken::new();
        let mut units = self.units(&clients, queue, tenure, &quiet);
        self.status.enter(State::Single, self.clock.now());
        self.metrics.leader.set(1);
        tracing::info!(instance = %self.identity.instance, units = units.len(), "ecsbeat start running.");

        let mut well = true;
        let died = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break None,
                ended = units.join_next() => match ended {
                    Some(Ok(ended)) if config.ecsbeat.once => well &= ended.well,
                    // Run once, all units have ended.
                    None => break None,
                    Some(_) => break Some(cause_of_end(&mut publishers)),
                },
                _ = publishers.join_next() => break Some("an output"),
                _ = companions.join_next() => break Some("a background task"),
                () = http_ended(http) => break Some("the HTTP server"),
            }
        };
        self.status.enter(State::Draining, self.clock.now());
        let deadline = Instant::now() + config.shutdown_timeout;
        quiet.cancel();
        if config.ecsbeat.once && !stop.is_cancelled() && died.is_none() {
            // Run once ends when all is delivered, however long that takes, or when it is stopped.
            tokio::select! {
                () = stop.cancelled() => {}
                () = drain(&mut publishers) => {}
            }
        }
        let drained = timeout_at(deadline, async {
            while let Some(ended) = units.join_next().await {
                well &= ended.is_ok_and(|ended| ended.well || !config.ecsbeat.once);
            }
            drain(&mut publishers).await;
        })
        .await;
        if drained.is_err() {
            well = false;
            tracing::warn!(
                timeout_s = config.shutdown_timeout.as_secs(),
                queued = self.metrics.queue_events.get(),
                "shutdown_timeout is over; what is queued is polled again after the next start"
            );
        }
        over.cancel();
        let each = || clients.iter().flatten();
        join_all(each().map(|client| client.close())).await;
        units.shutdown().await;
        publishers.shutdown().await;
        companions.shutdown().await;
        self.metrics.leader.set(0);
        self.write_checkpoints(deadline).await;
        log_out(&clients, deadline).await;
        tracing::info!("ecsbeat stopped.");
        match died {
            Some(part) => Err(AppError::Died(part)),
            None if config.ecsbeat.once && !well => Ok(Outcome::Incomplete),
            None => Ok(Outcome::Well),
        }
    }

    /// Starts every unit. They alone hold the queue: when the last one has ended, the outputs drain it and close.
    fn units(
        &self,
        clients: &[Vec<Arc<Client>>],
        queue: Queue,
        tenure: Tenure,
        quiet: &CancellationToken,
    ) -> JoinSet<Ended> {
        let config = &self.config;
        let context = Arc::new(Context {
            identity: self.author(),
            clock: self.clock.clone(),
            queue,
            tenure,
            error_events: config.ecsbeat.error_events,
            metrics: self.metrics.clone(),
        });
        let plan = Plan {
            store: Store::File(self.store.clone()),
            status: Arc::clone(&self.status),
            once: config.ecsbeat.once,
            jitter: if config.ecsbeat.once {
                Duration::ZERO
            } else {
                config.ecsbeat.start_jitter
            },
            max_catch_up: config.ecsbeat.max_catch_up,
            stop: quiet.clone(),
        };
        let mut units: JoinSet<Ended> = JoinSet::new();
        for unit in units_of(config, clients, &context) {
            units.spawn(schedule::run(unit, plan.clone()));
        }
        units
    }

    /// A write may still be under way; it must not be cut off by the end of the process.
    async fn write_checkpoints(&self, deadline: Instant) {
        match timeout_at(deadline.max(Instant::now() + LOGOUT), self.store.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the checkpoints were not written"),
            Err(_) => tracing::error!("the checkpoints were not written: the disk does not answer"),
        }
    }

    /// What runs beside the work: the heartbeat and the metrics line.
    fn companions(&self, companions: &mut JoinSet<()>, source: Source, over: &CancellationToken) {
        let heartbeat = self.heartbeat.clone();
        companions.spawn(async move {
            loop {
                heartbeat.beat();
                tokio::time::sleep(HEARTBEAT).await;
            }
        });
        if self.config.logging.metrics_enabled {
            companions.spawn(report::run(
                source,
                self.config.logging.metrics_period,
                over.clone(),
            ));
        }
    }

    fn serve(&mut self, source: &Source) -> Result<Option<ServerHandle>, AppError> {
        let Some(bound) = self.http.take() else {
            return Ok(None);
        };
        let endpoints = Endpoints {
            identity: Arc::clone(&self.identity),
            status: Arc::clone(&self.status),
            source: source.clone(),
            heartbeat: self.heartbeat.clone(),
            ttl: LIVENESS,
            clock: self.clock.clone(),
            token: self.config.http.token.clone(),
            desk: None,
            patience: Duration::ZERO,
            batch_size: self.config.queue.flush_min_events,
            clients: self.config.outputs.len(),
        };
        let address = bound.local_addr();
        let handle = bound.serve(Arc::new(endpoints), CancellationToken::new())?;
        tracing::info!(%address, "HTTP endpoints answer");
        Ok(Some(handle))
    }

    fn source(&self) -> Source {
        Source {
            identity: Arc::clone(&self.identity),
            metrics: self.metrics.clone(),
            status: Arc::clone(&self.status),
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
            cluster: None,
            tags: self.config.tags.clone(),
            fields: self.config.fields.clone(),
            fields_under_root: self.config.fields_under_root,
        }
    }
}

/// Every unit of the configuration. `clients` are those of each customer, in the same order.
fn units_of(config: &Config, clients: &[Vec<Arc<Client>>], context: &Arc<Context>) -> Vec<Unit> {
    let mut units = Vec::new();
    for of_customer in clients {
        for command in &config.ecsbeat.commands {
            match command.level {
                Level::System => {
                    units.push(Unit::new(
                        Arc::clone(context),
                        command.clone(),
                        of_customer.clone(),
                    ));
                }
                Level::Vdc | Level::Node | Level::Dtinfo => {
                    units.extend(of_customer.iter().map(|client| {
                        Unit::new(Arc::clone(context), command.clone(), vec![Arc::clone(client)])
                    }));
                }
            }
        }
    }
    units
}

/// Which part ended first, when a unit has ended: units end when an output loses their events.
fn cause_of_end(publishers: &mut JoinSet<()>) -> &'static str {
    if publishers.try_join_next().is_some() {
        "an output"
    } else {
        "a worker"
    }
}

async fn drain(publishers: &mut JoinSet<()>) {
    while publishers.join_next().await.is_some() {}
}

/// Logs out of every VDC, until `deadline` but for [`LOGOUT`] at least.
async fn log_out(clients: &[Vec<Arc<Client>>], deadline: Instant) {
    let logouts = futures_util::future::join_all(clients.iter().flatten().map(|client| client.logout()));
    if timeout_at(deadline.max(Instant::now() + LOGOUT), logouts)
        .await
        .is_err()
    {
        tracing::warn!("not every VDC answered to the logout; its token ends when ECS finds it idle");
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
