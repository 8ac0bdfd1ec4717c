//! The fake's HTTP side: start-up calls, bulks, and what tests ask. Must never keep a document itself.

use std::io::Read as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::fault::{BulkFault, BulkRule, Rules};
use super::store::{BulkRequest, Store, now_ms};
use super::{Config, items, search};
use crate::http::{BreakOff, Reply, Request, Service, Silence};

/// All that the connections share.
pub(crate) struct Shared {
    config: Config,
    pub(crate) store: Store,
    pub(crate) rules: Rules,
}

/// A status and a body.
pub(super) type Said = (u16, Value);

pub(super) fn error(status: u16, kind: &str, reason: &str) -> Said {
    (
        status,
        json!({ "error": { "type": kind, "reason": reason, "root_cause": [] }, "status": status }),
    )
}

// === impl Shared ===

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            store: Store::new(config.keep_all, config.max_documents),
            rules: Rules::new(),
            config,
        }
    }

    fn is_known(&self, request: &Request) -> bool {
        let Some(account) = &self.config.account else {
            return true;
        };
        let Some((_, shown)) = request
            .header("authorization")
            .and_then(|header| header.split_once(' '))
        else {
            return false;
        };
        STANDARD
            .decode(shown.trim())
            .is_ok_and(|shown| shown == account.as_bytes())
    }

    fn bulk(&self, request: &Request, faults: &[BulkFault]) -> Said {
        let body = match unpacked(request, self.config.max_body) {
            Ok(body) => body,
            Err(said) => return said,
        };
        let index = request.path.trim_matches('/').strip_suffix("/_bulk");
        let actions = match items::parse(&body, index, &self.config) {
            Ok(actions) => actions,
            Err(reason) => return error(400, "illegal_argument_exception", &reason),
        };
        let mut items = items::carry_out(actions, &self.store, faults);
        let errors = items::has_errors(&items);
        if faults.contains(&BulkFault::ReorderedItems) {
            items.reverse();
        }
        if faults.contains(&BulkFault::MissingItem) {
            items.pop();
        }
        (200, json!({ "took": 1, "errors": errors, "items": items }))
    }

    fn route(&self, request: &Request) -> Said {
        let path = request.path.trim_end_matches('/');
        match (request.method.as_str(), path) {
            ("GET" | "HEAD", "") => (200, self.greeting()),
            ("GET", "/_license") => (200, json!({ "license": { "type": "basic", "status": "active" } })),
            ("GET", "/_cluster/health") => (200, json!({ "status": "green", "cluster_name": "ecs-sim" })),
            ("GET", "/_recorded") => (200, self.recorded(request)),
            ("GET", "/_recorded/counts") => (200, self.counts()),
            ("DELETE", "/_recorded") => {
                self.store.clear();
                (200, json!({ "ok": true }))
            }
            ("GET", "/_faults") => (200, json!(self.rules.list())),
            ("POST", "/_faults") => match serde_json::from_slice::<BulkRule>(&request.body) {
                Ok(rule) => {
                    self.rules.set(rule);
                    (200, json!({ "ok": true }))
                }
                Err(wrong) => error(400, "illegal_argument_exception", &wrong.to_string()),
            },
            ("DELETE", "/_faults") => {
                self.rules.clear();
                (200, json!({ "ok": true }))
            }
            ("POST", "/_security/api_key") => self.api_key(),
            _ => search::answer(&self.store, request).unwrap_or_else(|| self.resource(request, path)),
        }
    }

    /// Every key is the account's own name and password.
    fn api_key(&self) -> Said {
        match self
            .config
            .account
            .as_deref()
            .and_then(|account| account.split_once(':'))
        {
            Some((name, password)) => (200, json!({ "id": name, "api_key": password })),
            None => error(400, "illegal_argument_exception", "security is not enabled"),
        }
    }

    fn greeting(&self) -> Value {
        let mut version = json!({ "number": self.config.version, "build_flavor": "default",
            "build_type": "docker", "lucene_version": "9.12.0" });
        if self.config.opensearch {
            version["distribution"] = json!("opensearch");
        }
        json!({ "name": "ecs-sim", "cluster_name": "ecs-sim", "cluster_uuid": "ecs-sim-fake-cluster-uu",
                "version": version, "tagline": "You Know, for Search" })
    }

    /// Anything with a name that can be put and looked at: templates, pipelines, policies, streams, indices.
    fn resource(&self, request: &Request, path: &str) -> Said {
        let found = self.store.resource(path);
        match request.method.as_str() {
            "PUT" | "POST" => {
                let body = serde_json::from_slice(&request.body).unwrap_or_else(|_| json!({}));
                self.store.put_resource(path, body);
                (200, json!({ "acknowledged": true }))
            }
            "DELETE" if self.store.remove_resource(path) => (200, json!({ "acknowledged": true })),
            "GET" | "HEAD" => match found {
                Some(body) => (200, described(path, &body)),
                None => error(404, "resource_not_found_exception", "not found"),
            },
            _ => error(404, "resource_not_found_exception", "not found"),
        }
    }

    fn recorded(&self, request: &Request) -> Value {
        let query = &request.query;
        let mut documents = self.store.documents();
        if let Some(index) = query.get("index") {
            documents.retain(|document| document.index == index);
        }
        if let Some(limit) = query.number("limit") {
            let from = documents.len().saturating_sub(limit);
            documents.drain(..from);
        }
        json!({ "documents": documents })
    }

    fn counts(&self) -> Value {
        json!({
            "documents": self.store.len(),
            "conflicts": self.store.conflicts(),
            "duplicates": self.store.duplicates().len(),
            "repeated": self.store.repeated().len(),
            "by_index": self.store.count_by_index(),
            "by_type": self.store.count_by(&["ecs-event-type", "event.dataset", "type"]),
            "requests": self.store.requests().len(),
        })
    }
}

/// The answer of a look at a resource, in the form of its kind.
fn described(path: &str, body: &Value) -> Value {
    let mut parts = path.trim_start_matches('/').rsplitn(2, '/');
    let name = parts.next().unwrap_or_default();
    match parts.next().unwrap_or_default() {
        "_index_template" => json!({ "index_templates": [{ "name": name, "index_template": body }] }),
        "_component_template" => {
            json!({ "component_templates": [{ "name": name, "component_template": body }] })
        }
        "_data_stream" => json!({ "data_streams": [{ "name": name, "status": "GREEN" }] }),
        _ => json!({ name: body }),
    }
}

fn unpacked(request: &Request, max: usize) -> Result<Bytes, Said> {
    if !request
        .header("content-encoding")
        .is_some_and(|value| value.eq_ignore_ascii_case("gzip"))
    {
        return Ok(request.body.clone());
    }
    let mut body = Vec::new();
    let limit = max as u64 + 1;
    let read = MultiGzDecoder::new(&request.body[..])
        .take(limit)
        .read_to_end(&mut body);
    match read {
        Ok(length) if length <= max => Ok(Bytes::from(body)),
        Ok(_) => Err(error(413, "content_too_long_exception", "too large")),
        Err(_) => Err(error(400, "illegal_argument_exception", "body is no gzip")),
    }
}

/// The fault that answers a whole request, if any.
fn refused_whole(faults: &[BulkFault], request: &Request) -> Option<(Said, Option<u64>)> {
    faults.iter().find_map(|fault| match fault {
        BulkFault::Status { status, retry_after } => {
            let kind = match status {
                401 => "security_exception",
                429 => "es_rejected_execution_exception",
                _ => "unavailable_exception",
            };
            Some((error(*status, kind, "switched on in the fake"), *retry_after))
        }
        BulkFault::TooLarge { bytes } if request.body.len() > *bytes => {
            Some((error(413, "content_too_long_exception", "too large"), None))
        }
        _ => None,
    })
}

impl Service for Shared {
    async fn call(&self, request: Request) -> Reply {
        let is_bulk = request.path.trim_end_matches('/').ends_with("/_bulk");
        let is_own = ["/_recorded", "/_faults"]
            .iter()
            .any(|own| request.path.starts_with(own));
        let faults = if is_own {
            Vec::new()
        } else {
            self.rules.strike(is_bulk)
        };
        let mut log = BulkRequest {
            arrived_ms: now_ms(),
            body_length: request.body.len(),
            gzip: request.header("content-encoding").is_some(),
            items: 0,
            status: 0,
        };
        for fault in &faults {
            if let BulkFault::Slow { ms } = fault {
                sleep(Duration::from_millis(*ms)).await;
            }
        }
        let hangs = faults.contains(&BulkFault::Hang);
        let mut retry_after = None;
        let (status, mut value) = if !is_own && !self.is_known(&request) {
            error(401, "security_exception", "missing or wrong credentials")
        } else if let Some((said, after)) = refused_whole(&faults, &request) {
            retry_after = after;
            said
        } else if is_bulk && !hangs {
            self.bulk(&request, &faults)
        } else {
            self.route(&request)
        };
        log.items = value.get("items").and_then(Value::as_array).map_or(0, Vec::len);
        if let Some(path) = request.query.get("filter_path") {
            value = items::filter(value, path);
        }
        let wrong = faults.contains(&BulkFault::WrongJson);
        let text = if wrong {
            "{\"took\":1,\"errors\":fals".to_owned()
        } else {
            value.to_string()
        };
        let mut reply = Reply::new(status, "application/json", text);
        if !self.config.opensearch {
            reply.set_header("X-Elastic-Product", Some("Elasticsearch".to_owned()));
        }
        reply.set_header("Retry-After", retry_after.map(|seconds| seconds.to_string()));
        if faults.contains(&BulkFault::ResetMidAnswer) {
            reply.manner.break_off = Some(BreakOff {
                percent: 50,
                reset: true,
            });
        }
        if hangs {
            reply.manner.silence = Some(Silence::Hang);
        }
        if faults.contains(&BulkFault::LostAnswer) {
            reply.manner.silence = Some(Silence::Reset);
        }
        if is_bulk {
            log.status = if reply.manner.silence.is_some() { 0 } else { status };
            self.store.log(log);
        }
        reply
    }
}
