//! The work of one tenure: every unit, every output, every VDC's client.
//!
//! Owns their tasks from the beginning of a tenure to its end, in order or at once. It does not know how a tenure
//! comes about, nor what becomes of the process after it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::stages::traced_clients;
use super::{App, AppError, host};
use crate::checkpoint::Store;
use crate::collect::{Context, Processing, Unit};
use crate::config::{Config, Customer, Level};
use crate::ecs::Client;
use crate::election::Tenure;
use crate::pipeline::queue::{Queue, queue};
use crate::processor::{Processors, Surroundings};
use crate::schedule::{self, Ended, Plan};

/// What logging out, and the last writing, may take even where the time of a stop is used up. A token that stays
/// behind ends by itself.
pub(super) const LOGOUT: Duration = Duration::from_millis(700);

/// The tasks of a tenure.
pub(super) struct Work {
    /// No more ticks, and nothing is waited for that need not be.
    quiet: CancellationToken,
    units: JoinSet<Ended>,
    publishers: JoinSet<()>,
    inventories: JoinSet<()>,
    clients: Clients,
    once: bool,
    well: bool,
}

/// The clients of all VDCs, when the work has ended.
pub(super) struct Clients(Vec<Vec<Arc<Client>>>);

impl Work {
    /// Starts everything.
    pub(super) fn begin(app: &App, tenure: &Tenure, store: &Store) -> Result<Self, AppError> {
        let config = &app.config;
        let (queue, lines) = queue(&config.queue, config.outputs.len(), &app.metrics);
        let quiet = CancellationToken::new();
        let mut publishers = JoinSet::new();
        for (output, line) in config.outputs.iter().zip(lines) {
            app.publish(&mut publishers, output, line, tenure, &quiet)?;
        }
        let clients = traced_clients(&config.ecsbeat, &app.metrics, app.records.tracer.as_ref())?;
        let mut inventories = JoinSet::new();
        for client in clients.iter().flatten() {
            let client = Arc::clone(client);
            inventories.spawn(async move { client.keep_inventory().await });
        }
        let units = start_units(app, &clients, queue, tenure, store, &quiet);
        tracing::info!(
            instance = tenure.instance(),
            term = tenure.term(),
            units = units.len(),
            "ecsbeat start running."
        );
        Ok(Self {
            quiet,
            units,
            publishers,
            inventories,
            clients: Clients(clients),
            once: config.ecsbeat.once,
            well: true,
        })
    }

    /// Waits until a part ends, and tells which; `None`: everything was collected once, as it should be.
    pub(super) async fn ended(&mut self) -> Option<&'static str> {
        loop {
            tokio::select! {
                // Units first: when the last one has ended the outputs end too, as they should.
                biased;
                ended = self.units.join_next() => match ended {
                    Some(Ok(ended)) if self.once => self.well &= ended.well,
                    // Run once, all units have ended.
                    None => return None,
                    Some(_) => return Some(cause_of_end(&mut self.publishers)),
                },
                Some(ended) = self.publishers.join_next() => match ended {
                    // Run once, the last unit lets go of the queue shortly before it counts as ended: the outputs may
                    // be quicker.
                    Ok(()) if self.once => {}
                    _ => return Some("an output"),
                },
                Some(_) = self.inventories.join_next() => return Some("an inventory"),
            }
        }
    }

    /// Begins the end: no more ticks.
    pub(super) fn hush(&self) {
        self.quiet.cancel();
    }

    /// Waits until everything that was polled has been delivered.
    pub(super) async fn delivered(&mut self) {
        drain(&mut self.publishers).await;
    }

    /// Ends in order: running polls end, the queue drains. Gives whether that was done by `deadline`.
    pub(super) async fn finish(&mut self, deadline: Instant) -> bool {
        self.hush();
        let finished = timeout_at(deadline, async {
            while let Some(ended) = self.units.join_next().await {
                self.well &= ended.is_ok_and(|ended| ended.well || !self.once);
            }
            drain(&mut self.publishers).await;
        })
        .await
        .is_ok();
        self.well &= finished;
        finished
    }

    /// Cuts off what still runs, and comes back when every task has ended. A login that is under way is waited for a
    /// little, so that its token is not left behind.
    pub(super) async fn cut(mut self) -> (Clients, bool) {
        join_all(self.clients.each().map(|client| client.close())).await;
        self.abort().await;
        (self.clients, self.well)
    }

    /// Cuts off what still runs at once: the tenure is lost.
    pub(super) async fn drop_everything(mut self) -> Clients {
        self.abort().await;
        self.clients
    }

    async fn abort(&mut self) {
        // All at the same time: none waits for another.
        self.units.abort_all();
        self.publishers.abort_all();
        self.inventories.abort_all();
        self.publishers.shutdown().await;
        self.units.shutdown().await;
        self.inventories.shutdown().await;
    }
}

impl Clients {
    fn each(&self) -> impl Iterator<Item = &Arc<Client>> {
        self.0.iter().flatten()
    }

    /// Logs out of every VDC, until `deadline` but for [`LOGOUT`] at least.
    pub(super) async fn log_out(&self, deadline: Instant) {
        let logouts = join_all(self.each().map(|client| async {
            client.close().await;
            client.logout().await;
        }));
        if timeout_at(deadline.max(Instant::now() + LOGOUT), logouts)
            .await
            .is_err()
        {
            tracing::warn!("not every VDC answered to the logout; its token ends when ECS finds it idle");
        }
    }
}

/// Starts every unit. They alone hold the queue: when the last one has ended, the outputs drain it and close.
fn start_units(
    app: &App,
    clients: &[Vec<Arc<Client>>],
    queue: Queue,
    tenure: &Tenure,
    store: &Store,
    quiet: &CancellationToken,
) -> JoinSet<Ended> {
    let config = &app.config;
    let context = Arc::new(Context {
        identity: app.author(),
        clock: app.clock.clone(),
        queue,
        tenure: tenure.clone(),
        processing: Processing::new(Processors::new(
            &config.processors,
            &config.ecsbeat.commands,
            &Surroundings {
                clock: app.clock.clone(),
                host: host::read,
            },
        )),
        error_events: config.ecsbeat.error_events,
        metrics: app.metrics.clone(),
    });
    let plan = Plan {
        store: store.clone(),
        status: Arc::clone(&app.status),
        once: config.ecsbeat.once,
        jitter: if config.ecsbeat.once {
            Duration::ZERO
        } else {
            config.ecsbeat.start_jitter
        },
        max_catch_up: config.ecsbeat.max_catch_up,
        stop: quiet.clone(),
        unwritten: Arc::default(),
    };
    let mut units = JoinSet::new();
    for unit in units_of(config, clients, &context) {
        units.spawn(schedule::run(unit, plan.clone()));
    }
    units
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

/// How many units that makes.
pub(super) fn units_in(config: &Config) -> usize {
    let of_customer = |customer: &Customer| {
        let commands = config.ecsbeat.commands.iter();
        let units = commands.map(|command| match command.level {
            Level::System => 1,
            Level::Vdc | Level::Node | Level::Dtinfo => customer.vdcs.len(),
        });
        units.sum::<usize>()
    };
    config.ecsbeat.customers.iter().map(of_customer).sum()
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
