//! Where Logstash posts what came out of its pipeline.
//!
//! Owns the listener and what was posted, each event as often as it was. Answers well only what it has recorded.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::any;
use axum::{Router, serve};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::support::process::{SOON, eventually};

type Events = Arc<Mutex<Vec<Value>>>;

/// A recorder that listens; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Recorder {
    address: SocketAddr,
    events: Events,
    _listening: JoinSet<()>,
}

impl Recorder {
    /// Listens; port 0 takes a free one.
    pub(crate) async fn start(address: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("listen on {address}"))?;
        let address = listener.local_addr()?;
        let events = Events::default();
        let router = Router::new()
            .fallback(any(record))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&events));
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            // It ends with the set only.
            let _ = serve(listener, router).await;
        });
        Ok(Self {
            address,
            events,
            _listening: listening,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The events of a run, by `fields.run`, when there are so many; ids that came again count once.
    pub(crate) async fn events(&self, run: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{count} events of {run}"), SOON, || {
            let events = self.events.lock().unwrap();
            let mut events: Vec<Value> = (events.iter())
                .filter(|event| event["fields"]["run"] == run)
                .cloned()
                .collect();
            let id = |event: &Value| event["event"]["id"].to_string();
            events.sort_by_key(id);
            events.dedup_by_key(|event| id(event));
            (events.len() >= count).then_some(events)
        })
        .await
    }
}

/// One event, or a list of them.
async fn record(State(events): State<Events>, body: Bytes) -> StatusCode {
    match serde_json::from_slice(&body) {
        Ok(Value::Array(posted)) => events.lock().unwrap().extend(posted),
        Ok(posted) => events.lock().unwrap().push(posted),
        Err(_) => return StatusCode::BAD_REQUEST,
    }
    StatusCode::OK
}
