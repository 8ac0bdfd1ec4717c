//! The making of parts out of the configuration.
//!
//! Owns the construction of clients, publishers, recorders and the endpoints' listener. Reaches nobody.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{App, AppError};
use crate::clock::Clock;
use crate::config::{self, Config, Ecsbeat, OutputConfig};
use crate::ecs::{self, Client, Tracer};
use crate::election::Tenure;
use crate::http;
use crate::output;
use crate::pipeline::batch::Limits;
use crate::pipeline::health::Health;
use crate::pipeline::publish::{Policy, Publisher};
use crate::pipeline::queue::Line;
use crate::telemetry::event_data::EventData;
use crate::telemetry::metrics::Metrics;

/// The clients of each customer's VDCs, in the order of the configuration.
pub fn clients(settings: &Ecsbeat, metrics: &Metrics) -> Result<Vec<Vec<Arc<Client>>>, ecs::HttpError> {
    traced_clients(settings, metrics, None)
}

/// As [`clients`], with their exchanges recorded.
pub(super) fn traced_clients(
    settings: &Ecsbeat,
    metrics: &Metrics,
    tracer: Option<&Arc<Tracer>>,
) -> Result<Vec<Vec<Arc<Client>>>, ecs::HttpError> {
    settings
        .customers
        .iter()
        .map(|customer| {
            let http = Client::http(settings, customer)?;
            let client = |vdc| {
                let client = Client::new(http.clone(), settings, customer, vdc, metrics);
                Arc::new(client.traced_by(tracer.cloned()))
            };
            Ok(customer.vdcs.iter().map(client).collect())
        })
        .collect()
}

/// Takes the endpoints' address, with TLS where it is configured.
pub(super) fn bind(config: &config::Http) -> Result<http::Bound, AppError> {
    let tls = match &config.ssl {
        Some(ssl) if ssl.enabled != Some(false) => Some(Arc::new(
            crate::tls::server_config(ssl).map_err(AppError::HttpTls)?,
        )),
        _ => None,
    };
    Ok(http::bind(config)?.with_tls(tls))
}

/// What is recorded beside the log.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) tracer: Option<Arc<Tracer>>,
    pub(super) event_data: Option<Arc<EventData>>,
}

/// Starts recording what the configuration asks for, and says so: these files hold more than a log may.
pub(super) fn records(config: &Config, clock: &Clock, metrics: &Metrics) -> Result<Records, AppError> {
    let mut records = Records::default();
    if let Some(trace) = &config.ecsbeat.trace {
        tracing::warn!(
            path = %trace.files.path.display(),
            "ecsbeat.trace is on: every exchange with ECS is written to files, with what ECS tells of its users and \
             their data; secrets are left out. Switch it off when it has served its purpose"
        );
        let tracer = Tracer::start(trace, clock.clone(), metrics).map_err(AppError::Recorder)?;
        records.tracer = Some(Arc::new(tracer));
    }
    if let Some(files) = &config.logging.event_data {
        tracing::warn!(
            path = %files.path.display(),
            "logging.event_data is on: the content of events that an output refuses is written to files"
        );
        let dropped = metrics.event_data_dropped.clone();
        let event_data =
            EventData::start(files.clone(), clock.clone(), dropped).map_err(AppError::Recorder)?;
        records.event_data = Some(Arc::new(event_data));
    }
    Ok(records)
}

impl App {
    /// Starts the publishers of one output: one for each worker and host, all fed by one line. After `quiet` they
    /// send what there is at once.
    pub(super) fn publish(
        &self,
        publishers: &mut JoinSet<()>,
        output: &OutputConfig,
        line: Line,
        tenure: &Tenure,
        quiet: &CancellationToken,
    ) -> Result<(), AppError> {
        let line = Arc::new(Mutex::new(line));
        let sinks = output::build(output, &self.config.template, &self.metrics, &self.clock)?;
        let name = sinks.first().map_or("none", |sink| sink.name());
        let health = Health::new(self.status.output(name));
        let mut connection = health.connection();
        for (number, sink) in sinks.into_iter().enumerate() {
            if number > 0 && !sink.shares_connection() {
                connection = health.connection();
            }
            let queue = &self.config.queue;
            let most = queue.flush_min_events.max(1);
            let policy = Policy {
                name: sink.name(),
                limits: Limits {
                    events: if sink.bulk_max_size() == 0 {
                        most
                    } else {
                        most.min(sink.bulk_max_size())
                    },
                    timeout: queue.flush_timeout,
                },
                max_retries: sink.max_retries(),
                backoff: sink.backoff(),
                timeout: sink.request_timeout(),
            };
            let line = Arc::clone(&line);
            let clock = self.clock.clone();
            let tenure = tenure.clone();
            let publisher = Publisher::new(
                sink,
                policy,
                line,
                tenure,
                clock,
                &self.metrics,
                connection.clone(),
            );
            let publisher = publisher
                .hurried_by(quiet.clone())
                .with_event_data(self.records.event_data.clone());
            publishers.spawn(publisher.run());
        }
        Ok(())
    }
}
