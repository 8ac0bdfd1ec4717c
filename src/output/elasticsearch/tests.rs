//! The output against a server in this process, which answers as told and keeps what it was asked.

mod connecting;
mod publishing;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use prometheus_client::metrics::counter::Counter;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::Elasticsearch;
use crate::config::{BackoffConfig, ElasticsearchOutput, NonIndexable, Ssl, Template};
use crate::event::Event;
use crate::output::samples::{event, permit};
use crate::output::{Outcome, Sink, SinkError};

/// A request as it arrived.
#[derive(Debug, Clone)]
struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Asked {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body as text, unpacked.
    fn text(&self) -> String {
        let mut text = String::new();
        if self.header("content-encoding") == "gzip" {
            flate2::read::GzDecoder::new(&self.body[..])
                .read_to_string(&mut text)
                .unwrap();
        } else {
            text.push_str(std::str::from_utf8(&self.body).unwrap());
        }
        text
    }

    /// Action and document of each event of a bulk.
    fn bulk(&self) -> Vec<(Value, String)> {
        let text = self.text();
        assert!(text.ends_with('\n'));
        let lines: Vec<&str> = text.lines().collect();
        lines
            .chunks(2)
            .map(|pair| {
                let action: Value = serde_json::from_str(pair[0]).unwrap();
                (action["create"].clone(), pair[1].to_owned())
            })
            .collect()
    }

    fn is_bulk(&self) -> bool {
        self.uri.path().ends_with("/_bulk")
    }
}

type Reply = (u16, Vec<(&'static str, String)>, String);

fn reply(status: u16, body: &Value) -> Reply {
    (status, Vec::new(), body.to_string())
}

/// A server that answers until it is dropped.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _task: JoinSet<()>,
}

impl Server {
    async fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let answer = Arc::new(answer);
        let handler = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let request = Asked {
                method,
                uri,
                headers,
                body: body.to_vec(),
            };
            let (status, headers, body) = answer(&request);
            seen.lock().unwrap().push(request);
            async move {
                let mut response: Response = (StatusCode::from_u16(status).unwrap(), body).into_response();
                for (name, value) in headers {
                    response.headers_mut().insert(name, value.parse().unwrap());
                }
                response
            }
        };
        let mut task = JoinSet::new();
        task.spawn(async move {
            let router: Router = Router::new()
                .fallback(handler)
                .layer(axum::extract::DefaultBodyLimit::disable());
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            url,
            asked,
            _task: task,
        }
    }

    /// Answers bulks as told, and greets and takes templates as a server does.
    async fn bulks(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(move |asked| {
            if asked.is_bulk() {
                answer(asked)
            } else {
                healthy(asked)
            }
        })
        .await
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn bulks_asked(&self) -> Vec<Asked> {
        self.asked().into_iter().filter(Asked::is_bulk).collect()
    }
}

fn healthy(asked: &Asked) -> Reply {
    match asked.method {
        Method::GET => reply(200, &json!({"version": {"number": "8.19.1"}})),
        Method::HEAD => (404, Vec::new(), String::new()),
        _ => reply(200, &json!({"acknowledged": true})),
    }
}

/// The answer with this status for each event of the bulk, by its document.
fn items(asked: &Asked, status: impl Fn(&str) -> u16) -> Reply {
    let items: Vec<Value> = asked
        .bulk()
        .iter()
        .map(|(action, document)| {
            let status = status(document);
            let mut item = json!({"_id": action["_id"], "status": status});
            if status >= 400 {
                item["error"] = json!({
                    "type": "mapper_parsing_exception",
                    "reason": "failed to parse field [size] of type [long]. Preview: 'SECRET'",
                });
            }
            json!({ "create": item })
        })
        .collect();
    reply(200, &json!({"errors": true, "items": items}))
}

fn config(urls: &[&str]) -> ElasticsearchOutput {
    ElasticsearchOutput {
        hosts: urls.iter().map(|url| url.parse().unwrap()).collect(),
        workers: 1,
        loadbalance: true,
        username: None,
        password: None,
        api_key: None,
        parameters: Vec::new(),
        headers: Vec::new(),
        proxy_url: None,
        proxy_disable: true,
        compression_level: 1,
        index: "Test-%{+yyyy.MM.dd}".to_owned(),
        indices: Vec::new(),
        pipeline: None,
        pipelines: Vec::new(),
        bulk_max_size: 1600,
        max_retries: None,
        backoff: BackoffConfig {
            init: Duration::from_secs(1),
            max: Duration::from_secs(60),
        },
        timeout: Duration::from_secs(10),
        idle_connection_timeout: Duration::from_secs(3),
        non_indexable: NonIndexable::Drop,
        ssl: Ssl::default(),
    }
}

fn template() -> Template {
    Template {
        enabled: true,
        name: "ecsbeat".to_owned(),
        pattern: "ecsbeat-*".to_owned(),
        data_stream: false,
        priority: 200,
        overwrite: false,
        settings: BTreeMap::new(),
    }
}

fn sinks(config: &ElasticsearchOutput) -> Vec<Elasticsearch> {
    Elasticsearch::new(config, &template(), &Counter::default(), &Counter::default()).unwrap()
}

fn sink(config: &ElasticsearchOutput) -> Elasticsearch {
    sinks(config).remove(0)
}

async fn publish(sink: &mut Elasticsearch, batch: &[Event]) -> Result<Vec<Outcome>, SinkError> {
    sink.publish(&permit(Duration::from_secs(10)), batch).await
}

async fn connect(sink: &mut Elasticsearch) -> Result<(), SinkError> {
    sink.connect(&permit(Duration::from_secs(10))).await
}
