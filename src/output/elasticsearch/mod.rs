//! The Elasticsearch output, which serves OpenSearch as well.
//!
//! Owns `output.elasticsearch`: which host a connection uses, and what becomes of each event of a bulk. Events are
//! created under their own id, so that one sent twice is stored once. An event counts as accepted only when the
//! answer says so for its id; whatever is unclear is sent again. Nothing of an event's content goes to the log.

mod answer;
mod bulk;
mod client;
mod install;
mod publish;
mod reach;
mod setup;
mod template;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use super::dead_letter::DeadLetterFile;
use super::format::Format;
use super::hosts::{Chosen, look_until};
use super::selector::Selector;
use super::{BuildError, Outcome, Sink, SinkError};
use crate::config::{ElasticsearchOutput, NonIndexable, Template};
use crate::election::Permit;
use crate::event::Event;
use client::Client;
pub use install::install;
pub(super) use reach::test;
pub use template::index_template;

/// What is asked back of a bulk: enough to tell each event's fate by its id.
const FILTER: &str = "errors,items.*._id,items.*.status,items.*.error.type,items.*.error.reason,\
                      items.*.error.caused_by.type,items.*.error.caused_by.reason";

/// One worker's connection.
pub struct Elasticsearch {
    shared: Arc<Shared>,
    host: Chosen,
}

/// Parameters and headers may hold secrets: they are not shown.
impl fmt::Debug for Elasticsearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elasticsearch")
            .field("host", &self.shared.client.name(self.host.now()))
            .finish_non_exhaustive()
    }
}

/// What the connections of one output have in common.
struct Shared {
    client: Client,
    index: Selector,
    pipeline: Selector,
    parameters: Vec<(String, String)>,
    compression_level: u32,
    timeout: Duration,
    dead_letters: DeadLetters,
    template: Option<setup::Loadable>,
    /// The template of that name is to be replaced, which is done once.
    overwrite: AtomicBool,
    written: Counter,
}

/// Where refused events go.
enum DeadLetters {
    Dropped,
    Index(Format),
    File(DeadLetterFile),
}

/// The end of the time a send may take, and the right to it.
#[derive(Debug, Clone)]
struct Deadline {
    at: Instant,
    permit: Permit,
}

impl Deadline {
    fn remaining(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }
}

impl Elasticsearch {
    /// `workers` connections for each host; `written` and `read` count bytes of bulks and of all answers.
    pub fn new(
        config: &ElasticsearchOutput,
        template: &Template,
        written: &Counter,
        read: &Counter,
    ) -> Result<Vec<Self>, BuildError> {
        let key = |name: &str| format!("output.elasticsearch.{name}");
        let dead_letters = match &config.non_indexable {
            NonIndexable::Drop => DeadLetters::Dropped,
            NonIndexable::DeadLetterIndex(index) => {
                DeadLetters::Index(Format::parse(index).map_err(|error| BuildError::Format {
                    key: key("non_indexable_policy.dead_letter_index.index"),
                    error,
                })?)
            }
            NonIndexable::DeadLetterFile(path) => DeadLetters::File(DeadLetterFile::start(
                &key("non_indexable_policy.dead_letter_file"),
                path.clone(),
            )?),
        };
        let mut parameters = vec![("filter_path".to_owned(), FILTER.to_owned())];
        parameters.extend(config.parameters.iter().cloned());
        let shared = Arc::new(Shared {
            client: Client::new(config, read)?,
            index: Selector::new(
                (&key("indices"), &config.indices),
                (&key("index"), Some(&config.index)),
            )?
            .lower_case(),
            pipeline: Selector::new(
                (&key("pipelines"), &config.pipelines),
                (&key("pipeline"), config.pipeline.as_deref()),
            )?
            .lower_case(),
            parameters,
            compression_level: config.compression_level,
            timeout: config.timeout,
            dead_letters,
            template: template.enabled.then(|| setup::Loadable::of(template)),
            overwrite: AtomicBool::new(template.overwrite),
            written: written.clone(),
        });
        let connections = Chosen::for_connections(shared.client.hosts(), config.workers, config.loadbalance);
        Ok(connections
            .into_iter()
            .map(|host| Self {
                shared: Arc::clone(&shared),
                host,
            })
            .collect())
    }

    /// See [`Output::encoded`](super::Output::encoded).
    pub(super) fn encoded(&self, batch: &[Event]) -> Result<Vec<u8>, SinkError> {
        self.shared.encoded(batch)
    }

    fn deadline(&self, permit: &Permit) -> Deadline {
        Deadline {
            at: Instant::now() + self.shared.timeout.min(permit.budget()),
            permit: permit.clone(),
        }
    }

    /// The host to use: the worker's own again, once that answers.
    async fn host(&mut self, deadline: &Deadline) -> usize {
        if let Some(home) = self.host.look_home() {
            let deadline = Deadline {
                at: look_until(deadline.at),
                permit: deadline.permit.clone(),
            };
            match setup::greet(&self.shared.client, home, &deadline).await {
                Ok(_) => self.host.come_home(),
                Err(error) => tracing::debug!(output = "elasticsearch", %error, "not back yet"),
            }
        }
        self.host.now()
    }
}

impl Sink for Elasticsearch {
    async fn connect(&mut self, permit: &Permit) -> Result<(), SinkError> {
        let deadline = self.deadline(permit);
        let host = self.host(&deadline).await;
        let connected = self.shared.connect(host, &deadline).await;
        if connected.is_err() {
            self.host.leave(host);
        }
        connected
    }

    async fn publish(&mut self, permit: &Permit, batch: &[Event]) -> Result<Vec<Outcome>, SinkError> {
        let deadline = self.deadline(permit);
        let host = self.host(&deadline).await;
        let published = self.shared.publish(host, batch, &deadline).await;
        // A batch that is too large, or a disk that takes no dead letter, is no fault of the host's.
        if let Err(error) = &published
            && !matches!(error, SinkError::TooLarge(_) | SinkError::Io(_))
        {
            self.host.leave(host);
        }
        published
    }

    async fn close(&mut self) -> Result<(), SinkError> {
        // Nothing is held back: what was published is acknowledged or will be sent again.
        Ok(())
    }
}

impl Shared {
    async fn connect(&self, host: usize, deadline: &Deadline) -> Result<(), SinkError> {
        setup::greet(&self.client, host, deadline).await?;
        if let Some(template) = &self.template {
            let overwrite = self.overwrite.load(Ordering::Relaxed);
            setup::load_template(&self.client, host, template, overwrite, deadline).await?;
            self.overwrite.store(false, Ordering::Relaxed);
        }
        if let DeadLetters::File(file) = &self.dead_letters {
            file.open(deadline.remaining()).await?;
        }
        Ok(())
    }
}
