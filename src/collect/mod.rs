//! One poll of one command: whom to ask at its level, and what to make of the answers.
//!
//! Owns [`Unit`], the unit of failure above a node: one command of one VDC (at level `system`: of the customer).
//! One file per level. When to poll, and when a checkpoint moves, is decided by [`crate::schedule`]. No field of
//! a record is known by name here but through the command's configuration.

mod batch;
mod dtinfo;
mod emit;
mod harvest;
mod pages;
mod processing;
pub(crate) mod times;
pub mod window;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use prometheus_client::metrics::counter::Counter;

use crate::checkpoint::Stream;
use crate::clock::Clock;
use crate::config::{Command, Level};
use crate::document::{Identity, Origin};
use crate::ecs::{Client, EcsError, Endpoint, Node, Query};
use crate::election::Tenure;
use crate::pipeline::queue::Queue;
use crate::processor::Chain;
use crate::telemetry::metrics::{CommandLabels, Metrics, ReasonLabels};
use crate::transform::Rules;

pub(crate) use dtinfo::INIT_STAT;
use emit::Emitter;
pub use harvest::Harvest;
pub use processing::Processing;
use window::Window;

/// What may not stand in a path segment or a query value as it is.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b'/')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// What all units of the process share.
#[derive(Debug)]
pub struct Context {
    /// Who collects.
    pub identity: Identity,
    /// The wall clock.
    pub clock: Clock,
    /// Where events go.
    pub queue: Queue,
    /// The right to poll.
    pub tenure: Tenure,
    /// What is done with an event before the queue.
    pub processing: Processing,
    /// Whether a failed target gives an event.
    pub error_events: bool,
    /// The process's series.
    pub metrics: Metrics,
}

/// One command of one VDC, or of the customer at level `system`.
#[derive(Debug)]
pub struct Unit {
    /// What all units share.
    pub context: Arc<Context>,
    /// What to poll.
    pub command: Command,
    /// The name of its checkpoint.
    pub stream: Stream,
    /// Whom to ask: at level `system` every VDC of the customer in the configured order, else the one VDC.
    clients: Vec<Arc<Client>>,
    rules: Rules,
    /// The fields that identify a record.
    keys: Vec<String>,
    event_kind: &'static str,
    /// The processors that its events go through.
    chain: Chain,
    series: Series,
}

/// The counters of a unit that are counted often, looked up once.
#[derive(Debug)]
struct Series {
    polls: Counter,
    events: Counter,
    repeated_records: Counter,
}

/// What a poll is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// The tick, a multiple of the interval.
    pub tick: Timestamp,
    /// The span of time to ask for.
    pub window: Option<Window>,
}

/// A part of a unit that is polled, and fails, by itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// All of it.
    Whole,
    /// One node, by id.
    Node(String),
}

impl Unit {
    /// A unit of `clients`, which must not be empty.
    pub fn new(context: Arc<Context>, command: Command, clients: Vec<Arc<Client>>) -> Self {
        let customer = clients
            .first()
            .map(|client| Arc::clone(client.customer()))
            .unwrap_or_default();
        let vdc = match (command.level, clients.first()) {
            (Level::System, _) | (_, None) => Arc::from(""),
            (_, Some(client)) => Arc::clone(client.name()),
        };
        let mut wanted = command.key.clone();
        wanted.extend(command.time_field.clone());
        wanted.extend(
            command
                .window
                .as_ref()
                .and_then(|window| window.complete_field.clone()),
        );
        wanted.extend(["id".to_owned(), "nodeId".to_owned()]);
        wanted.sort();
        wanted.dedup();
        let rules = Rules {
            metrics: command.uri.contains("/dashboard/"),
            wanted,
            shadowed: context.identity.at_root(),
        };
        let has_own_time = command.time_field.is_some();
        let totals = command
            .window
            .as_ref()
            .is_some_and(|window| window.complete_field.is_some());
        let event_kind = match command.kind.as_str() {
            kind if kind.ends_with("alert") => "alert",
            _ if has_own_time && !totals => "event",
            _ => "metric",
        };
        let stream = Stream {
            customer,
            vdc,
            command: Arc::from(command.kind.as_str()),
        };
        let keys = if command.key.is_empty() {
            vec!["id".to_owned()]
        } else {
            command.key.clone()
        };
        let chain = context.processing.processors.chain(&command.kind);
        let labels = labels(&stream);
        let metrics = &context.metrics;
        let series = Series {
            polls: metrics.polls.get_or_create(&labels).clone(),
            events: metrics.events.get_or_create(&labels).clone(),
            repeated_records: metrics.repeated_records.get_or_create(&labels).clone(),
        };
        Self {
            context,
            command,
            stream,
            clients,
            rules,
            keys,
            event_kind,
            chain,
            series,
        }
    }

    /// The parts to poll now.
    pub fn targets(&self) -> Result<Vec<Target>, EcsError> {
        match (self.command.level, self.clients.as_slice()) {
            (Level::Node, [client, ..]) => match client.inventory() {
                Some(inventory) => Ok(inventory
                    .nodes
                    .iter()
                    .map(|node| Target::Node(node.id.clone()))
                    .collect()),
                None => Err(EcsError::NoInventory(
                    "its inventory could not be read since start".to_owned(),
                )),
            },
            _ => Ok(vec![Target::Whole]),
        }
    }

    /// The releases that the nodes run, as far as they are known.
    pub fn releases(&self) -> BTreeSet<String> {
        let inventories = self.clients.iter().filter_map(|client| client.inventory());
        inventories
            .flat_map(|inventory| {
                let releases = inventory.nodes.iter().map(|node| node.version.clone());
                releases.collect::<Vec<_>>()
            })
            .collect()
    }

    /// Waits until the inventory of the first VDC has been read, or could not be: the first poll then knows the
    /// nodes, where they can be known.
    pub async fn prepared(&self) {
        if let Some(client) = self.clients.first() {
            client.first_inventory().await;
        }
    }

    /// The time at the source, where that is known; it rules how far windows may reach.
    pub fn source_time(&self) -> Option<Timestamp> {
        self.clients.iter().find_map(|client| client.source_time())
    }

    /// Asks the source anew what time it is there, see [`Unit::source_time`].
    pub async fn ask_time(&self) {
        if let Some(client) = self.clients.iter().find(|client| client.source_time().is_some()) {
            client.ask_time().await;
        }
    }

    /// Polls one target. Records go into the queue while the answer is still coming in; what fails is given
    /// back, and what was emitted before stays emitted. May be dropped midway.
    pub async fn poll(&self, target: &Target, round: &Round, harvest: &mut Harvest) -> Vec<EcsError> {
        if !self.context.tenure.is_live() {
            return vec![EcsError::Stopped];
        }
        self.series.polls.inc();
        let errors = self.poll_level(target, round, harvest).await;
        for error in &errors {
            if *error == EcsError::Stopped {
                continue;
            }
            self.failed(target, round, error, harvest).await;
        }
        self.series.repeated_records.inc_by(harvest.take_repeated());
        errors
    }

    async fn poll_level(&self, target: &Target, round: &Round, harvest: &mut Harvest) -> Vec<EcsError> {
        match self.command.level {
            Level::System => {
                let mut errors = Vec::new();
                for client in &self.clients {
                    errors = self.ask(client, None, round, harvest).await;
                    // A node's failure that another VDC's would repeat is still tried there: it may differ.
                    if errors.is_empty() || errors.contains(&EcsError::Stopped) {
                        break;
                    }
                    tracing::debug!(stream = %self.stream, vdc = %client.name(), error = %errors[0], "trying the next VDC");
                }
                errors
            }
            Level::Vdc | Level::Node => match self.clients.first() {
                Some(client) => {
                    let node = match target {
                        Target::Whole => None,
                        Target::Node(id) => client
                            .inventory()
                            .and_then(|inventory| inventory.node(id).cloned()),
                    };
                    self.ask(client, node, round, harvest).await
                }
                None => Vec::new(),
            },
            Level::Dtinfo => match self.clients.first() {
                Some(client) => self
                    .directory_tables(client, round, harvest)
                    .await
                    .err()
                    .into_iter()
                    .collect(),
                None => Vec::new(),
            },
        }
    }

    /// Asks one VDC, about one node where there is one.
    async fn ask(
        &self,
        client: &Client,
        node: Option<Arc<Node>>,
        round: &Round,
        harvest: &mut Harvest,
    ) -> Vec<EcsError> {
        let mut emitter = Emitter::new(self, client, node.clone(), round, harvest);
        if let Some(batch) = &self.command.batch {
            return self.batches(client, batch, round, &mut emitter).await;
        }
        let Some(node) = node else {
            return self
                .pages(client, self.query(None, round), &mut emitter)
                .await
                .err()
                .into_iter()
                .collect();
        };
        match self
            .pages(client, self.query(Some(&node.id), round), &mut emitter)
            .await
        {
            // Before ECS 3.1 a node's id in a path was its address.
            Err(EcsError::Unsupported { status: 404, .. }) if node.id != node.ip && !node.ip.is_empty() => {
                client.doubt_inventory();
                self.pages(client, self.query(Some(&node.ip), round), &mut emitter)
                    .await
            }
            result => result,
        }
        .err()
        .into_iter()
        .collect()
    }

    /// The command's query, with the node's id and the window in it.
    fn query(&self, node: Option<&str>, round: &Round) -> Query {
        let uri = match node {
            Some(id) => self.command.uri.replace("%s", &escape(id)),
            None => self.command.uri.clone(),
        };
        Query {
            endpoint: Endpoint::Management,
            method: self.command.method,
            path: self.in_window(uri, round),
            body: self.command.body.clone().map(Bytes::from),
            headers: self.command.headers.clone(),
            node: None,
        }
    }

    /// `uri` with the borders of the window.
    fn in_window(&self, uri: String, round: &Round) -> String {
        match (&self.command.window, &round.window) {
            (Some(spec), Some(window)) => {
                let start = times::write(window::before(window.start, spec.overlap), spec.format);
                let end = times::write(window.end, spec.format);
                let uri = with_parameter(&uri, &spec.start_param, &start);
                with_parameter(&uri, &spec.end_param, &end)
            }
            _ => uri,
        }
    }

    fn origin(client: &Client) -> Origin {
        let inventory = client.inventory();
        Origin {
            customer: Arc::clone(client.customer()),
            vdc: Arc::clone(client.name()),
            vdc_id: inventory
                .as_ref()
                .map(|inventory| inventory.vdc_id.clone())
                .unwrap_or_default(),
            vdc_name: inventory
                .map(|inventory| inventory.vdc_name.clone())
                .unwrap_or_default(),
        }
    }

    /// Counts a failure and tells it by an event.
    pub async fn failed(&self, target: &Target, round: &Round, error: &EcsError, harvest: &mut Harvest) {
        let labels = self.labels();
        let reason = ReasonLabels {
            customer: labels.customer,
            vdc: labels.vdc,
            command: labels.command,
            reason: error.reason(),
        };
        self.context.metrics.poll_errors.get_or_create(&reason).inc();
        if !self.context.error_events {
            return;
        }
        if let Some(client) = self.clients.first() {
            let node = match target {
                Target::Whole => None,
                Target::Node(id) => client
                    .inventory()
                    .and_then(|inventory| inventory.node(id).cloned()),
            };
            // The queue is closed only when everything ends.
            let _ = Emitter::new(self, client, node, round, harvest)
                .failure(error)
                .await;
        }
    }

    /// Labels of this unit's series.
    pub fn labels(&self) -> CommandLabels {
        labels(&self.stream)
    }
}

fn labels(stream: &Stream) -> CommandLabels {
    CommandLabels {
        customer: stream.customer.to_string(),
        vdc: stream.vdc.to_string(),
        command: stream.command.to_string(),
    }
}

/// Percent-encodes text for a path segment or a query value.
fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// `uri` with one more query parameter.
fn with_parameter(uri: &str, name: &str, value: &str) -> String {
    let mark = if uri.contains('?') { '&' } else { '?' };
    // A colon is allowed in a query, and times are easier to read with it.
    format!("{uri}{mark}{name}={}", escape(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded() {
        let uri = with_parameter("/vdc/events.json", "start_time", "2026-03-02T10:41");
        let uri = with_parameter(&uri, "marker", "a b&c=ü/");
        assert_eq!(
            uri,
            "/vdc/events.json?start_time=2026-03-02T10:41&marker=a%20b%26c%3D%C3%BC%2F"
        );
    }
}
