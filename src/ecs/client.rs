//! One VDC's management API: pick a node, authorise, send, classify, retry.
//!
//! Owns [`Client`] and the retry of queries. Every attempt builds its request anew, body included, and reads
//! the answer within the attempt, so that an answer that breaks off is asked for again. Redirects are never
//! followed. Holds no state of a poll.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Notify, SetOnce};
use tokio::time::Instant;

use super::answer::{Answer, Budget, Verdict, judge, sent, transport};
use super::error::{EcsError, Retry};
use super::inventory::Inventory;
use super::login::TOKEN_HEADER;
use super::nodes::NodePool;
use super::session::{Session, Token};
use super::slots::Slots;
use super::trace::{Peer, Tracer, Tracing};
use crate::config::{Customer, Ecsbeat, HostPort, Method, Secret, Vdc};
use crate::retry::Backoff;
use crate::telemetry::metrics::{Metrics, VdcLabels};
use crate::telemetry::repeat::{Lasting, OncePer};

/// Pauses between the attempts of one query.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The longest `Retry-After` that is waited for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Time from one warning about a node to the next.
const PAUSE_BETWEEN_WARNINGS: Duration = Duration::from_secs(600);
/// Longest wait for a connection; part of `reqtimeout`.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The client of one VDC of one customer.
pub struct Client {
    pub(super) customer: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) username: String,
    pub(super) password: Secret,
    pub(super) http: reqwest::Client,
    pub(super) pool: NodePool,
    pub(super) session: Session,
    pub(super) max_attempts: u32,
    pub(super) request_timeout: Duration,
    pub(super) metrics: Counters,
    pub(super) inventory: ArcSwapOption<Inventory>,
    pub(super) refresh_inventory: Notify,
    pub(super) first_inventory: SetOnce<()>,
    pub(super) refresh_interval: Duration,
    diagnostics_port: u16,
    max_response_size: u64,
    slots: Slots,
    source_clock: ArcSwapOption<(Timestamp, Instant)>,
    tracer: Option<Arc<Tracer>>,
    refusing: OncePer<HostPort>,
    pub(super) unread: Lasting,
}

/// This VDC's series.
pub(super) struct Counters {
    pub(super) logins: Counter,
    pub(super) login_errors: Counter,
    requests: Counter,
    bytes: Counter,
    blocked: Gauge,
}

/// Which of a node's services to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// The management API: HTTPS with a token.
    Management,
    /// The diagnostics port: plain HTTP, no token.
    Diagnostics,
}

/// A question to one VDC.
#[derive(Debug, Clone)]
pub struct Query {
    /// Which service.
    pub endpoint: Endpoint,
    /// GET or POST.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Sent whole with every attempt.
    pub body: Option<Bytes>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// This node and no other; only one attempt then.
    pub node: Option<HostPort>,
}

impl Query {
    /// GET of a path of the management API.
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            endpoint: Endpoint::Management,
            method: Method::Get,
            path: path.into(),
            body: None,
            headers: Vec::new(),
            node: None,
        }
    }
}

/// Reads the body of a good answer, once for every attempt.
pub trait Read: Send {
    /// What the reading gives.
    type Output: Send;

    /// Reads `answer` from its first byte. After a retryable error it is called again with a new answer.
    fn read(&mut self, answer: &mut Answer) -> impl Future<Output = Result<Self::Output, EcsError>> + Send;
}

/// Reads everything into memory.
pub(crate) struct Whole;

impl Read for Whole {
    type Output = Vec<u8>;

    async fn read(&mut self, answer: &mut Answer) -> Result<Vec<u8>, EcsError> {
        answer.whole().await
    }
}

impl Client {
    /// A client for `vdc` of `customer`. `http` is the customer's, see [`Client::http`].
    pub fn new(
        http: reqwest::Client,
        settings: &Ecsbeat,
        customer: &Customer,
        vdc: &Vdc,
        metrics: &Metrics,
    ) -> Self {
        let labels = VdcLabels {
            customer: customer.name.clone(),
            vdc: vdc.name.clone(),
        };
        let counter = |family: &prometheus_client::metrics::family::Family<VdcLabels, Counter>| {
            family.get_or_create(&labels).clone()
        };
        Self {
            customer: Arc::from(customer.name.as_str()),
            name: Arc::from(vdc.name.as_str()),
            username: vdc.username.clone(),
            password: vdc.password.clone(),
            http,
            pool: NodePool::new(&vdc.nodes, customer.block_duration),
            session: Session::new(customer.token_expiry),
            max_attempts: settings.max_attempts,
            request_timeout: customer.request_timeout,
            metrics: Counters {
                logins: counter(&metrics.logins),
                login_errors: counter(&metrics.login_errors),
                requests: counter(&metrics.ecs_requests),
                bytes: counter(&metrics.ecs_response_bytes),
                blocked: metrics.nodes_blocked.get_or_create(&labels).clone(),
            },
            inventory: ArcSwapOption::empty(),
            refresh_inventory: Notify::new(),
            first_inventory: SetOnce::new(),
            refresh_interval: customer.refresh_interval,
            diagnostics_port: vdc.diagnostics_port,
            max_response_size: settings.max_response_size,
            slots: Slots::new(settings.max_in_flight),
            source_clock: ArcSwapOption::empty(),
            tracer: None,
            refusing: OncePer::new(PAUSE_BETWEEN_WARNINGS),
            unread: Lasting::default(),
        }
    }

    /// The same client, which has its exchanges recorded.
    #[must_use]
    pub fn traced_by(mut self, tracer: Option<Arc<Tracer>>) -> Self {
        self.tracer = tracer;
        self
    }

    /// Begins the record of an exchange, where there is one.
    pub(super) fn trace(&self, node: &str, request: &reqwest::Request, token: Option<&str>) -> Tracing {
        let Some(tracer) = &self.tracer else {
            return Tracing::none();
        };
        let peer = Peer {
            customer: &self.customer,
            vdc: &self.name,
            node,
        };
        let mut hidden = vec![self.password.clone()];
        hidden.extend(token.map(Secret::new));
        Tracing::begin(tracer, peer, request, hidden)
    }

    /// The HTTP client of a customer, with its TLS rules and proxy. One for all its VDCs.
    pub fn http(settings: &Ecsbeat, customer: &Customer) -> Result<reqwest::Client, HttpError> {
        let tls = crate::tls::client_config(&customer.ssl)
            .map_err(|error| HttpError(customer.name.clone(), error.to_string()))?;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("ecsbeat/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(customer.request_timeout.min(CONNECT_TIMEOUT))
            .pool_max_idle_per_host(settings.max_in_flight)
            .tcp_keepalive(Duration::from_secs(30));
        builder = match &customer.proxy_url {
            Some(proxy) => {
                let proxy = reqwest::Proxy::all(proxy.clone())
                    .map_err(|error| HttpError(customer.name.clone(), error.without_url().to_string()))?;
                builder.proxy(proxy)
            }
            // Storage is not reached through the proxy that the environment names for the internet.
            None => builder.no_proxy(),
        };
        builder
            .build()
            .map_err(|error| HttpError(customer.name.clone(), error.without_url().to_string()))
    }

    /// `customername`
    pub fn customer(&self) -> &Arc<str> {
        &self.customer
    }

    /// `vdcname`
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The configured nodes, those that failed lately last.
    pub fn nodes(&self) -> Vec<HostPort> {
        self.pool.in_order()
    }

    /// The time at the VDC, from the last answer's `Date` and the time that has passed since; a jump of our own
    /// clock does not change it. `None` before the first answer.
    pub fn source_time(&self) -> Option<Timestamp> {
        let seen = self.source_clock.load_full()?;
        let since = SignedDuration::try_from(seen.1.elapsed()).ok()?;
        seen.0.checked_add(since).ok()
    }

    fn note_date(&self, headers: &reqwest::header::HeaderMap) {
        let date = headers
            .get(reqwest::header::DATE)
            .and_then(|value| value.to_str().ok());
        if let Some(date) = date.and_then(|text| jiff::fmt::rfc2822::parse(text).ok()) {
            self.source_clock
                .store(Some(Arc::new((date.timestamp(), Instant::now()))));
        }
    }

    /// Sends `query` and reads its answer, on as many nodes and as often as may help.
    /// May be dropped midway: it leaves nothing behind but tokens that are logged out later.
    pub async fn fetch<R: Read>(&self, query: &Query, reader: &mut R) -> Result<R::Output, EcsError> {
        let mut tried = Vec::new();
        let mut pause = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut doubt = Doubt::default();
        let mut attempt = 1;
        loop {
            let slot = self.slots.acquire().await.ok_or(EcsError::Stopped)?;
            let node = match &query.node {
                Some(node) => node.clone(),
                None => self.pool.choose(slot.number, &tried).ok_or(EcsError::Stopped)?,
            };
            let result = self.attempt(query, &node, reader).await;
            drop(slot);
            let error = match result {
                Ok(output) => {
                    self.answered(query, &node, doubt);
                    return Ok(output);
                }
                Err(Failure::Token(token, said)) => {
                    if !tried.contains(&node) {
                        tried.push(node.clone());
                    }
                    // One node's word is not enough to give up a token that all share; but where two refuse a
                    // new one, another would fare no better.
                    let refused_before = doubt.refused(&token, &node);
                    if !refused_before && query.node.is_none() && self.pool.has_other(&tried) {
                        continue;
                    }
                    self.session.invalidate(&token, &said);
                    if !doubt.renewed {
                        // A new token is not another attempt.
                        doubt = Doubt::of_a_new_token();
                        tried.clear();
                        continue;
                    }
                    return Err(EcsError::Unauthorized {
                        node: node.to_string(),
                        said,
                    });
                }
                // Which node refused the login is known there.
                Err(Failure::Login(error)) => error,
                Err(Failure::Other(error)) => {
                    if error.blames_node() {
                        self.failed(query, &node);
                    }
                    error
                }
            };
            match error.retry() {
                Retry::After(least) if attempt < self.max_attempts && query.node.is_none() => {
                    tracing::debug!(customer = %self.customer, vdc = %self.name, attempt, %error, "trying again");
                    tokio::time::sleep(least.min(LONGEST_RETRY_AFTER).max(pause.pause())).await;
                    tried.push(node);
                    attempt += 1;
                }
                _ => return Err(error),
            }
        }
    }

    /// A node has answered. One that refused the same token a moment ago is at fault itself.
    fn answered(&self, query: &Query, node: &HostPort, doubt: Doubt) {
        let refused = doubt
            .by
            .filter(|(token, refusing)| refusing != node && self.session.holds(token));
        if let Some((_, refusing)) = refused {
            if let Some(suppressed) = self.refusing.pass(&refusing) {
                tracing::warn!(
                    customer = %self.customer, vdc = %self.name, node = %refusing, suppressed,
                    "the node refuses a token that another node accepts; is its clock right, and is it up?"
                );
            }
            self.failed(query, &refusing);
        }
        // The diagnostics port says nothing about the management API of the same node.
        if query.endpoint == Endpoint::Management {
            self.pool.succeeded(node);
            self.count_blocked();
        }
    }

    fn failed(&self, query: &Query, node: &HostPort) {
        if query.endpoint == Endpoint::Management {
            self.pool.failed(node);
            self.count_blocked();
        }
    }

    fn count_blocked(&self) {
        let blocked = self.pool.blocked().try_into().unwrap_or(i64::MAX);
        self.metrics.blocked.set(blocked);
    }

    async fn attempt<R: Read>(
        &self,
        query: &Query,
        node: &HostPort,
        reader: &mut R,
    ) -> Result<R::Output, Failure> {
        let name = node.to_string();
        let mut token = None;
        let url = match query.endpoint {
            Endpoint::Management => {
                let current = self.session.token(|| self.login()).await;
                token = Some(current.map_err(Failure::Login)?);
                self.logout_unused().await;
                url("https", node, &query.path)?
            }
            Endpoint::Diagnostics => {
                let node = HostPort {
                    host: node.host.clone(),
                    port: self.diagnostics_port,
                };
                url("http", &node, &query.path)?
            }
        };
        let mut request = match query.method {
            Method::Get => self.http.get(url),
            Method::Post => self.http.post(url),
        };
        request = request.header("Accept", "application/json");
        if let Some(body) = &query.body {
            request = request
                .header("Content-Type", "application/json")
                .body(body.clone());
        }
        for (header, value) in &query.headers {
            request = request.header(header, value);
        }
        if let Some(token) = &token {
            request = request.header(TOKEN_HEADER, token.text());
        }
        let request = request.build().map_err(|error| transport(&name, &error))?;
        let mut trace = self.trace(&name, &request, token.as_ref().map(|token| token.text()));
        let mut budget = Budget::new(self.request_timeout);
        self.metrics.requests.inc();
        let response = sent(&self.http, request, &name, &mut budget, &mut trace).await?;
        if query.endpoint == Endpoint::Management {
            self.note_date(response.headers());
        }
        match judge(response, &name, &query.path, &mut budget, &mut trace).await {
            Verdict::Good(response) => {
                let limit = self.max_response_size;
                let mut answer = Answer::new(response, &name, &query.path, budget, limit, trace);
                let result = reader.read(&mut answer).await;
                self.metrics.bytes.inc_by(answer.received());
                Ok(result?)
            }
            Verdict::TokenRefused(said) => match token {
                Some(token) => Err(Failure::Token(token, said)),
                None => Err(EcsError::Unauthorized { node: name, said }.into()),
            },
            Verdict::Failed(error) => Err(error.into()),
        }
    }

    /// Sends `query` and gives the whole body.
    pub async fn fetch_whole(&self, query: &Query) -> Result<Vec<u8>, EcsError> {
        self.fetch(query, &mut Whole).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({}/{})", self.customer, self.name)
    }
}

/// A customer's HTTP client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("customer {0}: {1}")]
pub struct HttpError(String, String);

enum Failure {
    /// The node refused the token, with these words.
    Token(Arc<Token>, String),
    /// There is no token.
    Login(EcsError),
    Other(EcsError),
}

/// What one query has found out about its token.
#[derive(Default)]
struct Doubt {
    /// The node that refused it, if one did.
    by: Option<(Arc<Token>, HostPort)>,
    /// It was obtained because the one before was refused.
    renewed: bool,
}

impl Doubt {
    fn of_a_new_token() -> Self {
        Self {
            by: None,
            renewed: true,
        }
    }

    /// Notes that `node` refused `token`; gives whether another node had done so before.
    fn refused(&mut self, token: &Arc<Token>, node: &HostPort) -> bool {
        let before = self
            .by
            .as_ref()
            .is_some_and(|(known, by)| Arc::ptr_eq(known, token) && by != node);
        self.by = Some((Arc::clone(token), node.clone()));
        before
    }
}

impl From<EcsError> for Failure {
    fn from(error: EcsError) -> Self {
        Self::Other(error)
    }
}

/// The URL of a path at a node.
pub(super) fn url(scheme: &str, node: &HostPort, path: &str) -> Result<url::Url, EcsError> {
    let slash = if path.starts_with('/') { "" } else { "/" };
    url::Url::parse(&format!("{scheme}://{node}{slash}{path}")).map_err(|error| EcsError::BadRequest {
        node: node.to_string(),
        status: 0,
        path: path.to_owned(),
        said: error.to_string(),
    })
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
