//! Exchanges with ECS as they were, for looking into what goes wrong (`ecsbeat.trace`).
//!
//! Owns what is recorded of an exchange and how it looks in the file. An exchange is recorded when it is over, however it
//! ended; nobody waits for that. Secrets are taken out by [`redact`], on the recorder's thread.

mod redact;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::config::{Secret, Trace};
use crate::telemetry::cut::cut;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::recorder::{Record, Recorder};

use redact::Hidden;

/// Bytes of a body that are looked at beyond what is kept, so that a secret is not cut in two unseen.
const MARGIN: usize = 512;

/// Records exchanges.
#[derive(Debug)]
pub struct Tracer {
    recorder: Recorder<Exchange>,
    clock: Clock,
    max_body: usize,
}

impl Tracer {
    /// Starts recording. Touches no file before the first exchange is over.
    pub fn start(config: &Trace, clock: Clock, metrics: &Metrics) -> io::Result<Self> {
        let dropped = metrics.trace_dropped.clone();
        Ok(Self {
            recorder: Recorder::start(config.files.clone(), clock.clone(), dropped)?,
            clock,
            max_body: config.max_body,
        })
    }
}

/// Whom the exchange is with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer<'a> {
    pub(super) customer: &'a str,
    pub(super) vdc: &'a str,
    /// `host:port`
    pub(super) node: &'a str,
}

/// An exchange that goes on, where exchanges are recorded. Recorded when it is dropped.
pub(super) struct Tracing(Option<Box<Running>>);

// What it holds has secrets in it still.
impl fmt::Debug for Tracing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tracing").field(&self.0.is_some()).finish()
    }
}

struct Running {
    tracer: Arc<Tracer>,
    begun: Instant,
    exchange: Exchange,
}

/// One request and what came of it.
#[derive(Default)]
struct Exchange {
    at: Timestamp,
    customer: String,
    vdc: String,
    node: String,
    method: String,
    url: String,
    request_headers: HeaderMap,
    request: Content,
    status: Option<u16>,
    response_headers: HeaderMap,
    response: Content,
    /// From the request to the head of the answer.
    answered: Option<Duration>,
    took: Duration,
    error: Option<String>,
    hidden: Vec<Secret>,
    max_body: usize,
}

/// A body, as much of it as is kept.
#[derive(Default)]
struct Content {
    kept: Vec<u8>,
    bytes: u64,
}

impl Content {
    fn add(&mut self, bytes: &[u8], most: usize) {
        self.bytes += bytes.len() as u64;
        let room = most.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

impl Tracing {
    /// Of an exchange that nobody records.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Begins with a request that is about to be sent. `hidden`: what must not be found in it, wherever it stands.
    pub(super) fn begin(
        tracer: &Arc<Tracer>,
        peer: Peer<'_>,
        request: &reqwest::Request,
        hidden: Vec<Secret>,
    ) -> Self {
        let mut exchange = Exchange {
            at: tracer.clock.now(),
            customer: peer.customer.to_owned(),
            vdc: peer.vdc.to_owned(),
            node: peer.node.to_owned(),
            method: request.method().to_string(),
            url: request.url().to_string(),
            request_headers: request.headers().clone(),
            hidden,
            max_body: tracer.max_body,
            ..Exchange::default()
        };
        if let Some(body) = request.body().and_then(reqwest::Body::as_bytes) {
            exchange.request.add(body, tracer.max_body + MARGIN);
        }
        Self(Some(Box::new(Running {
            tracer: Arc::clone(tracer),
            begun: Instant::now(),
            exchange,
        })))
    }

    /// The head of the answer is here.
    pub(super) fn answered(&mut self, response: &reqwest::Response) {
        if let Some(running) = &mut self.0 {
            running.exchange.status = Some(response.status().as_u16());
            running.exchange.response_headers = response.headers().clone();
            running.exchange.answered = Some(running.begun.elapsed());
        }
    }

    /// A piece of the answer's body is here.
    pub(super) fn body(&mut self, bytes: &[u8]) {
        if let Some(running) = &mut self.0 {
            let most = running.tracer.max_body + MARGIN;
            running.exchange.response.add(bytes, most);
        }
    }

    /// It failed.
    pub(super) fn failed(&mut self, error: &dyn std::error::Error) {
        if let Some(running) = &mut self.0 {
            running.exchange.error = Some(error.to_string());
        }
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        if let Some(running) = self.0.take() {
            let Running {
                tracer,
                begun,
                mut exchange,
            } = *running;
            exchange.took = begun.elapsed();
            tracer.recorder.record(exchange);
        }
    }
}

impl Record for Exchange {
    const KIND: &'static str = "trace";

    fn size(&self) -> usize {
        // Headers are short and few.
        size_of::<Self>() + 2048 + self.url.len() + self.request.kept.len() + self.response.kept.len()
    }

    fn line(self) -> Vec<u8> {
        let hidden = Hidden::new(&self.hidden);
        let mut request = json!({
            "method": self.method,
            "headers": headers(&self.request_headers, &hidden),
        });
        if self.request.bytes > 0 {
            request["body"] = self.body(&self.request, &hidden);
        }
        let mut line = json!({
            "@timestamp": format!("{:.3}", self.at),
            "customer": self.customer,
            "vdc": self.vdc,
            "node": self.node,
            "url": hidden.text(&self.url),
            "request": request,
            "took_ms": millis(self.took),
        });
        if let Some(status) = self.status {
            line["response"] = json!({
                "status": status,
                "after_ms": self.answered.map(millis),
                "headers": headers(&self.response_headers, &hidden),
                "body": self.body(&self.response, &hidden),
            });
        }
        if let Some(error) = &self.error {
            line["error.message"] = hidden.text(error).into();
        }
        // A tree of JSON can be written as such.
        serde_json::to_vec(&line).unwrap_or_default()
    }
}

impl Exchange {
    fn body(&self, content: &Content, hidden: &Hidden) -> Value {
        let whole = content.kept.len() as u64 == content.bytes;
        let mut text = hidden.body(&content.kept);
        if !whole {
            // Its end may be half a secret.
            text.truncate(cut(&text, text.len().saturating_sub(MARGIN)).len());
        }
        let truncated = !whole || text.len() > self.max_body;
        text.truncate(cut(&text, self.max_body).len());
        json!({"bytes": content.bytes, "truncated": truncated, "content": text})
    }
}

fn headers(headers: &HeaderMap, hidden: &Hidden) -> Value {
    let mut shown = Map::new();
    for name in headers.keys() {
        let values: Vec<String> = headers
            .get_all(name)
            .iter()
            .map(|value| hidden.header(name.as_str(), &String::from_utf8_lossy(value.as_bytes())))
            .collect();
        shown.insert(name.to_string(), values.join(", ").into());
    }
    Value::Object(shown)
}

fn millis(duration: Duration) -> f64 {
    // To the microsecond: more is noise.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
