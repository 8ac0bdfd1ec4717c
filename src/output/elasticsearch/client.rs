//! Requests to Elasticsearch or OpenSearch.
//!
//! Owns the HTTP client: credentials, TLS, proxy, time limits, and what an answer to a request as a whole means.
//! The only file of the outputs that knows reqwest. No password, key or document may be in an error's text.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use prometheus_client::metrics::counter::Counter;
use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    RETRY_AFTER,
};
use reqwest::redirect;
use url::Url;

pub(super) use reqwest::Method;

use super::super::{BuildError, SinkError};
use super::{Deadline, answer};
use crate::config::ElasticsearchOutput;
use crate::election::{NoTenure, Permit};
use crate::tls;

/// Bytes of a body between two looks at the permit.
const PIECE: usize = 64 << 10;

/// Longest answer that is read. The answer to a full bulk has a few hundred bytes an event.
const MAX_ANSWER: usize = 64 << 20;

/// Reaches every host of the output.
pub(super) struct Client {
    http: reqwest::Client,
    hosts: Vec<Url>,
    read: Counter,
}

/// What is asked.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    /// Below the host's base path; each is encoded.
    pub(super) path: &'a [&'a str],
    pub(super) query: &'a [(String, String)],
    pub(super) body: Option<Body>,
}

/// What is sent along.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) kind: &'static str,
    pub(super) gzip: bool,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    retry_after: Option<Duration>,
    pub(super) body: Vec<u8>,
}

impl Client {
    /// `read` counts the bytes of answers, unpacked.
    pub(super) fn new(config: &ElasticsearchOutput, read: &Counter) -> Result<Self, BuildError> {
        let setting = |key: &str, problem: String| BuildError::Setting {
            key: format!("output.elasticsearch.{key}"),
            problem,
        };
        if config.hosts.is_empty() {
            return Err(setting("hosts", "is empty: list at least one".to_owned()));
        }
        let secure = |url: &Url| url.scheme() == "https";
        let tls = if config.hosts.iter().chain(&config.proxy_url).any(secure) {
            tls::client_config(&config.ssl)
        } else {
            tls::refuse_all()
        };
        let tls = tls.map_err(|error| BuildError::Tls {
            section: "output.elasticsearch",
            error,
        })?;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .default_headers(headers(config)?)
            .user_agent(concat!("ecsbeat/", env!("CARGO_PKG_VERSION")))
            .pool_idle_timeout(config.idle_connection_timeout);
        if let Some(url) = &config.proxy_url {
            // The error could quote the URL, and that a password.
            let proxy = reqwest::Proxy::all(url.clone()).map_err(|_| {
                setting(
                    "proxy_url",
                    "not a proxy: write http://host:port, https:// or socks5://".to_owned(),
                )
            })?;
            builder = builder.proxy(proxy);
        } else if !uses_environment(config) {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|error| setting("hosts", format!("no client for them: {}", chain(&error))))?;
        let hosts = config.hosts.iter().cloned().map(without_userinfo).collect();
        Ok(Self {
            http,
            hosts,
            read: read.clone(),
        })
    }

    /// Number of hosts.
    pub(super) fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// How messages call a host.
    pub(super) fn name(&self, host: usize) -> &str {
        self.hosts[host].as_str().trim_end_matches('/')
    }

    /// Asks once, until `deadline`, the answer's last byte included. The permit is looked at before every piece of the
    /// body: a process that was paused in the middle of it must not send the rest.
    pub(super) async fn send(
        &self,
        host: usize,
        request: Request<'_>,
        deadline: &Deadline,
    ) -> Result<Answer, SinkError> {
        let budget = deadline.remaining();
        let mut url = self.hosts[host].clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(request.path);
        }
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(request.query);
        }
        let mut builder = self.http.request(request.method, url).timeout(budget);
        if let Some(body) = request.body {
            // The length is known: without it the body would be sent in chunks, which some proxies refuse.
            builder = builder
                .header(CONTENT_TYPE, body.kind)
                .header(CONTENT_LENGTH, body.bytes.len())
                .body(pieces(body.bytes, deadline.permit.clone()));
            if body.gzip {
                builder = builder.header(CONTENT_ENCODING, "gzip");
            }
        }
        if deadline.permit.check().is_err() {
            return Err(SinkError::Transport(format!(
                "{}: not sent: {NoTenure}",
                self.name(host)
            )));
        }
        let failed = |error: reqwest::Error| self.transport(host, budget, error);
        let mut response = builder.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(SinkError::Protocol(format!(
                    "{}: the answer is larger than {MAX_ANSWER} bytes",
                    self.name(host)
                )));
            }
            self.read.inc_by(chunk.len() as u64);
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status,
            retry_after,
            body,
        })
    }

    /// What an answer other than 2xx to `doing` means for the connection.
    pub(super) fn refusal(&self, host: usize, doing: &str, answer: &Answer) -> SinkError {
        let reason = answer::reason(&answer.body).map_or_else(String::new, |reason| format!(" ({reason})"));
        let text = |advice: &str| {
            format!(
                "{}: {doing}: answered {}{reason}{advice}",
                self.name(host),
                answer.status
            )
        };
        match answer.status {
            401 => SinkError::Denied(text(
                ": check username and password, or api_key, of output.elasticsearch",
            )),
            403 => SinkError::Denied(text(": its user or API key lacks the privilege")),
            407 => SinkError::Denied(text(": the proxy wants credentials: see proxy_url")),
            413 => SinkError::TooLarge(text("")),
            429 | 500.. => SinkError::Busy {
                message: text(""),
                retry_after: answer.retry_after,
            },
            300..=399 => SinkError::Protocol(text(": it redirects: put the address it points to into hosts")),
            404 => SinkError::Protocol(text(
                ": check host, port and path: Elasticsearch does not know this address",
            )),
            _ => SinkError::Protocol(text("")),
        }
    }

    fn transport(&self, host: usize, budget: Duration, error: reqwest::Error) -> SinkError {
        let name = self.name(host);
        // What fails once there is a connection fails in most cases while the answer is waited for.
        let of_answer = !error.is_connect();
        let text = if error.is_timeout() {
            format!("{name}: no answer within {budget:?}")
        } else {
            let error = error.without_url();
            let advice = tls::advice(&error).map_or_else(String::new, |advice| format!(": {advice}"));
            format!("{name}: {}{advice}", chain(&error))
        };
        if of_answer {
            SinkError::Unanswered(text)
        } else {
            SinkError::Transport(text)
        }
    }
}

/// A body that ends with an error, and its connection with it, once the permit is over.
fn pieces(bytes: Vec<u8>, permit: Permit) -> reqwest::Body {
    let bytes = Bytes::from(bytes);
    let pieces = (0..bytes.len()).step_by(PIECE).map(move |from| {
        permit.check()?;
        Ok::<_, NoTenure>(bytes.slice(from..bytes.len().min(from + PIECE)))
    });
    reqwest::Body::wrap_stream(stream::iter(pieces))
}

/// The error's causes, outermost first. reqwest's own words say only that a request failed.
fn chain(error: &reqwest::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        let text = error.to_string();
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    if texts.is_empty() {
        texts.push(error.to_string());
    }
    texts.join(": ")
}

fn headers(config: &ElasticsearchOutput) -> Result<HeaderMap, BuildError> {
    let setting = |key: String, problem: &str| BuildError::Setting {
        key,
        problem: problem.to_owned(),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &config.headers {
        let key = || format!("output.elasticsearch.headers.{name}");
        let header = HeaderName::try_from(name).map_err(|_| setting(key(), "not a header's name"))?;
        let mut value = HeaderValue::try_from(value).map_err(|_| setting(key(), "not a header's value"))?;
        // It may well be a token.
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    let authorization = if let Some(api_key) = &config.api_key {
        Some(format!("ApiKey {}", STANDARD.encode(api_key.expose())))
    } else {
        config.username.as_ref().map(|username| {
            let password = config.password.as_ref().map_or("", |password| password.expose());
            format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
        })
    };
    if let Some(text) = authorization {
        let mut value = HeaderValue::try_from(text)
            .map_err(|_| setting("output.elasticsearch.api_key".to_owned(), "cannot be sent"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

/// Whether `HTTP_PROXY` and the like count. They are for the outside, as in Beats.
pub(super) fn uses_environment(config: &ElasticsearchOutput) -> bool {
    config.proxy_url.is_none() && !config.proxy_disable && !config.hosts.iter().all(is_loopback)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The configuration takes user info out of URLs already; none may slip through into messages.
fn without_userinfo(mut url: Url) -> Url {
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}
