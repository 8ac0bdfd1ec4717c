//! What a test reads back as from any Elasticsearch: documents, mappings, indices, data streams; and what it removes.
//!
//! Must never pretend to search: a query that asks for less than everything is refused.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::service::{Said, error};
use super::store::{Store, matches};
use crate::http::Request;

/// How many hits there are unless the request says so, and at most.
const HITS: (usize, usize) = (10, 10_000);

/// The answer to a request about documents or indices; `None` = it is about something else.
pub(super) fn answer(store: &Store, request: &Request) -> Option<Said> {
    let path = request.path.trim_matches('/');
    let method = request.method.as_str();
    if let Some(pattern) = path.strip_prefix("_data_stream/") {
        return match method {
            "GET" => data_streams(store, pattern),
            "DELETE" => Some(remove_data_streams(store, pattern)),
            _ => None,
        };
    }
    if let Some(pattern) = path.strip_prefix("_index_template/") {
        let all = method == "DELETE" && pattern.contains('*');
        return all.then(|| {
            store.remove_resources(&format!("/{path}"));
            acknowledged()
        });
    }
    if path.is_empty() || path.starts_with('_') {
        return None;
    }
    let (pattern, verb) = path.split_once('/').unwrap_or((path, ""));
    let known = ["", "_mapping", "_refresh", "_search"].contains(&verb);
    if !known || !["GET", "POST", "DELETE"].contains(&method) {
        return None;
    }
    let mut indices: BTreeSet<String> = store.count_by_index().into_keys().collect();
    indices.retain(|index| matches(pattern, index));
    if indices.is_empty() && !pattern.contains('*') {
        // It may have been put without a document.
        return (!verb.is_empty() || method == "DELETE").then(|| {
            let reason = format!("no such index [{pattern}]");
            error(404, "index_not_found_exception", &reason)
        });
    }
    match (method, verb) {
        ("GET", "") => Some((200, members(&indices, |_| json!({})))),
        ("DELETE", "") => Some(remove(store, pattern)),
        ("POST" | "GET", "_refresh") => Some((200, json!({ "_shards": { "failed": 0 } }))),
        ("GET", "_mapping") => Some((200, members(&indices, |index| mapping(store, index)))),
        ("POST" | "GET", "_search") => Some(search(store, &indices, request)),
        _ => None,
    }
}

fn acknowledged() -> Said {
    (200, json!({ "acknowledged": true }))
}

fn members(indices: &BTreeSet<String>, value: impl Fn(&str) -> Value) -> Value {
    let members = indices.iter().map(|index| (index.clone(), value(index)));
    Value::Object(members.collect::<Map<_, _>>())
}

/// What the template of the highest priority says; nothing is derived from documents.
fn mapping(store: &Store, index: &str) -> Value {
    let template = store.template(index).unwrap_or_default();
    let mappings = template.pointer("/template/mappings").cloned();
    json!({ "mappings": mappings.unwrap_or_else(|| json!({})) })
}

fn search(store: &Store, indices: &BTreeSet<String>, request: &Request) -> Said {
    let asked: Value = if request.body.is_empty() {
        json!({})
    } else {
        match serde_json::from_slice(&request.body) {
            Ok(asked) => asked,
            Err(wrong) => return error(400, "parsing_exception", &wrong.to_string()),
        }
    };
    if (asked.get("query")).is_some_and(|query| query != &json!({ "match_all": {} })) {
        return error(400, "parsing_exception", "the fake knows match_all only");
    }
    let size = asked.get("size").and_then(Value::as_u64);
    let size = size.map_or(Some(HITS.0), |size| usize::try_from(size).ok());
    let Some(size) = size.filter(|size| *size <= HITS.1) else {
        return error(400, "illegal_argument_exception", "Result window is too large");
    };
    let mut documents = store.documents();
    documents.retain(|document| indices.contains(&document.index));
    let hits: Vec<Value> = (documents.iter().take(size))
        .map(|document| {
            json!({ "_index": document.index, "_id": document.id, "_version": document.version,
                    "_source": document.json() })
        })
        .collect();
    let total = json!({ "value": documents.len(), "relation": "eq" });
    (
        200,
        json!({ "timed_out": false, "hits": { "total": total, "hits": hits } }),
    )
}

fn remove(store: &Store, pattern: &str) -> Said {
    if pattern.contains('*') {
        let reason = "Wildcard expressions or all indices are not allowed";
        return error(400, "illegal_argument_exception", reason);
    }
    if store.is_data_stream(pattern) {
        let reason = format!("The provided expression [{pattern}] matches data streams");
        return error(400, "illegal_argument_exception", &reason);
    }
    store.remove_index(pattern);
    acknowledged()
}

/// Those that have come to be with their first document; `None` = one that was put may be meant.
fn data_streams(store: &Store, pattern: &str) -> Option<Said> {
    let found = streams(store, pattern);
    let listed: Vec<Value> = (found.iter())
        .map(|(name, documents)| json!({ "name": name, "status": "GREEN", "documents": documents }))
        .collect();
    (!listed.is_empty() || pattern.contains('*')).then(|| (200, json!({ "data_streams": listed })))
}

fn remove_data_streams(store: &Store, pattern: &str) -> Said {
    for name in streams(store, pattern).keys() {
        store.remove_index(name);
    }
    store.remove_resources(&format!("/_data_stream/{pattern}"));
    acknowledged()
}

fn streams(store: &Store, pattern: &str) -> BTreeMap<String, usize> {
    let mut indices = store.count_by_index();
    indices.retain(|index, _| matches(pattern, index) && store.is_data_stream(index));
    indices
}
