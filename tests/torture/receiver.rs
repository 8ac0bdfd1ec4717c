//! What the replicas publish to: answers like Elasticsearch, and writes down every arrival.
//!
//! Owns the ids: an event whose id is known is refused (409), as `create` promises; the recording has it all the
//! same. A request counts from the moment when it has been read whole, and is stored then, however long its answer
//! takes. Owns also what has arrived so far ([`Progress`]), so that the harness can wait for it.

use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::record::{Answer, Item, Send, What};
use crate::recorder::Recorder;

/// Largest body that is read.
const LARGEST: usize = 64 << 20;

/// How the receiver finds in an event which record of the source it is.
pub(crate) type KeyOf = fn(&Value) -> String;

/// A running receiver.
pub(crate) struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    recorder: Recorder,
    key_of: KeyOf,
    requests: AtomicU64,
    state: Mutex<Progress>,
    delay: watch::Sender<Duration>,
}

/// What has arrived so far.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    ids: HashSet<(String, String)>,
    /// Records that were stored, by type and key.
    records: HashSet<(String, String)>,
    /// Of each type: the newest time (of the record or tick) that was sent in each term.
    newest: HashMap<(String, u64), i64>,
}

impl Progress {
    /// Whether an event of this type, of a time not before `since`, has arrived from `term` or a newer one.
    pub(crate) fn reached(&self, kind: &str, term: u64, since: i64) -> bool {
        self.newest
            .iter()
            .any(|((of, by), time)| of == kind && *by >= term && *time >= since)
    }

    /// Whether this record was stored.
    pub(crate) fn has(&self, kind: &str, key: &str) -> bool {
        self.records.contains(&(kind.to_owned(), key.to_owned()))
    }
}

impl Receiver {
    /// Opens a free port and begins to record.
    pub(crate) async fn start(recorder: Recorder, key_of: KeyOf) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("a free port for the receiver")?;
        let address = listener.local_addr().context("address of the receiver")?;
        let shared = Arc::new(Shared {
            recorder,
            key_of,
            requests: AtomicU64::new(0),
            state: Mutex::default(),
            delay: watch::Sender::new(Duration::ZERO),
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // Ends with the task only.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            shared,
            _tasks: tasks,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every answer to a bulk request takes so much longer from now on.
    pub(crate) fn slow(&self, by: Duration) {
        self.shared.delay.send_replace(by);
    }

    /// Looks at what has arrived.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Progress) -> T) -> T {
        look(&self.shared.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().trim_end_matches('/').to_owned();
    let Ok(body) = to_bytes(body, LARGEST).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    if !path.ends_with("/_bulk") {
        return greeting(&parts.method, &path);
    }
    let gzip = parts.headers.get(header::CONTENT_ENCODING);
    let body = if gzip.is_some_and(|value| value == "gzip") {
        let mut plain = Vec::new();
        let read = MultiGzDecoder::new(&body[..])
            .take(LARGEST as u64)
            .read_to_end(&mut plain);
        if read.is_err() {
            return StatusCode::BAD_REQUEST.into_response();
        }
        plain
    } else {
        body.to_vec()
    };
    let Some((number, results)) = shared.take(&body, path.trim_end_matches("/_bulk").trim_matches('/'))
    else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    // Dropped with this future where the sender hangs up.
    let mut giving = Giving {
        recorder: &shared.recorder,
        number,
        given: false,
    };
    let mut delay = shared.delay.subscribe();
    let begin = tokio::time::Instant::now();
    loop {
        let due = begin + *delay.borrow_and_update();
        tokio::select! {
            () = tokio::time::sleep_until(due) => break,
            changed = delay.changed() => if changed.is_err() { break },
        }
    }
    giving.given = true;
    let errors = results.iter().any(|item| item["create"]["status"] != 201);
    json_answer(&json!({"took": 1, "errors": errors, "items": results}))
}

fn json_answer(value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    let headers = response.headers_mut();
    for (name, text) in [
        ("content-type", "application/json"),
        ("x-elastic-product", "Elasticsearch"),
    ] {
        headers.insert(name, header::HeaderValue::from_static(text));
    }
    response
}

/// What a client asks before the first event.
fn greeting(method: &Method, path: &str) -> Response {
    if path.is_empty() {
        return json_answer(&json!({
            "name": "torture", "cluster_name": "torture", "tagline": "You Know, for Search",
            "version": {"number": "8.17.0", "build_flavor": "default"},
        }));
    }
    match *method {
        Method::GET | Method::HEAD => StatusCode::NOT_FOUND.into_response(),
        _ => json_answer(&json!({"acknowledged": true})),
    }
}

struct Giving<'a> {
    recorder: &'a Recorder,
    number: u64,
    given: bool,
}

impl Drop for Giving<'_> {
    fn drop(&mut self) {
        let (number, given) = (self.number, self.given);
        self.recorder.note(What::Answer(Answer { number, given }));
    }
}

impl Shared {
    /// Stores a body and writes it down; gives its number and the answer's items. `None` = it is no bulk body.
    fn take(&self, body: &[u8], default_index: &str) -> Option<(u64, Vec<Value>)> {
        let mut lines = body.split(|byte| *byte == b'\n');
        let mut events = Vec::new();
        while let Some(line) = lines.next() {
            if line.is_empty() {
                continue;
            }
            let action: Value = serde_json::from_slice(line).ok()?;
            let document: Value = serde_json::from_slice(lines.next()?).ok()?;
            let (operation, target) = action.as_object()?.iter().next()?;
            let text = |name: &str| target[name].as_str().map(str::to_owned);
            let index = text("_index").unwrap_or_else(|| default_index.to_owned());
            events.push((operation.clone(), index, text("_id")?, document));
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut items = Vec::with_capacity(events.len());
        let mut results = Vec::with_capacity(events.len());
        for (operation, index, id, document) in events {
            let new = state.ids.insert((index.clone(), id.clone()));
            // Anything but `create` overwrites: that counts as stored again.
            let stored = new || operation != "create";
            let item = item(id, index, &document, (self.key_of)(&document), stored);
            state.booked(&item);
            results.push(result(&operation, &item));
            items.push(item);
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        // Under the lock: the order of lines is the order of storing.
        self.recorder.note(What::Send(Send { number, items }));
        Some((number, results))
    }
}

impl Progress {
    fn booked(&mut self, item: &Item) {
        if item.failure {
            return;
        }
        if item.stored {
            self.records.insert((item.kind.clone(), item.key.clone()));
        }
        if let (Some(term), Some(time)) = (item.term, item.time) {
            let newest = self.newest.entry((item.kind.clone(), term)).or_insert(time);
            *newest = time.max(*newest);
        }
    }
}

fn item(id: String, index: String, document: &Value, key: String, stored: bool) -> Item {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let second = |value: &Value| {
        let time: jiff::Timestamp = value.as_str()?.parse().ok()?;
        Some(time.as_second())
    };
    let own = &document["ecsbeat"];
    Item {
        id,
        index,
        term: own["term"].as_u64(),
        replica: text(&own["instance"]),
        kind: text(&document["ecs-event-type"]),
        vdc: text(&document["ecs-vdc-cfgname"]),
        tick: second(&own["tick"]),
        key,
        time: second(&document["@timestamp"]),
        failure: document["event"]["outcome"] == "failure",
        stored,
    }
}

fn result(operation: &str, item: &Item) -> Value {
    let mut result =
        json!({"_index": item.index, "_id": item.id, "status": if item.stored { 201 } else { 409 }});
    if !item.stored {
        result["error"] = json!({
            "type": "version_conflict_engine_exception",
            "reason": format!("[{}]: version conflict, document already exists", item.id),
        });
    }
    json!({ operation: result })
}
