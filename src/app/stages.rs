//! The making of parts out of the configuration.
//!
//! Owns the construction of clients, publishers and the endpoints' listener. Reaches nobody.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{App, AppError};
use crate::config::{self, Ecsbeat, OutputConfig};
use crate::ecs::{self, Client};
use crate::election::Tenure;
use crate::http;
use crate::output;
use crate::pipeline::batch::Limits;
use crate::pipeline::health::Health;
use crate::pipeline::publish::{Policy, Publisher};
use crate::pipeline::queue::Line;
use crate::telemetry::metrics::Metrics;

/// The clients of each customer's VDCs, in the order of the configuration.
pub fn clients(settings: &Ecsbeat, metrics: &Metrics) -> Result<Vec<Vec<Arc<Client>>>, ecs::HttpError> {
    settings
        .customers
        .iter()
        .map(|customer| {
            let http = Client::http(settings, customer)?;
            let client = |vdc| Arc::new(Client::new(http.clone(), settings, customer, vdc, metrics));
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
            publishers.spawn(publisher.hurried_by(quiet.clone()).run());
        }
        Ok(())
    }
}
