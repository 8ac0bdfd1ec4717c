//! What arrived: documents, resources, requests. Owns the rules of ids; must never grow beyond its bounds.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;

const KEPT_REQUESTS: usize = 10_000;
const KEPT_REFUSED: usize = 10_000;

/// A document as it is held.
#[derive(Debug, Clone, Serialize)]
pub struct Document {
    /// The index or data stream.
    pub index: String,
    /// Its id; made up when it came without one.
    pub id: String,
    /// Whether it came without an id.
    pub id_made_up: bool,
    /// `create` or `index`.
    pub op: String,
    /// When it arrived, epoch milliseconds of the system's clock.
    pub arrived_ms: u64,
    /// Counts up with every arrival.
    pub sequence: u64,
    /// How often the id was written in this index.
    pub version: u32,
    /// The text of the document.
    #[serde(serialize_with = "as_json")]
    pub source: Bytes,
}

/// An id that was sent or is held more than once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repeated {
    /// The id.
    pub id: String,
    /// Where it was sent, each index as often as it was.
    pub indices: Vec<String>,
}

/// A template, pipeline, policy, index or data stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Resource {
    /// The path it was put to.
    pub path: String,
    /// Its body.
    pub body: Value,
}

/// A bulk request.
#[derive(Debug, Clone, Serialize)]
pub struct BulkRequest {
    /// When it arrived, epoch milliseconds of the system's clock.
    pub arrived_ms: u64,
    /// Length of its body as sent.
    pub body_length: usize,
    /// Whether that was compressed.
    pub gzip: bool,
    /// How many items it had; 0 when it was refused whole.
    pub items: usize,
    /// Status answered; 0 when there was no answer.
    pub status: u16,
}

/// What storing a document came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Created { id: String },
    Updated { id: String, version: u32 },
    Conflict,
    Full,
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    keep_all: bool,
    max_documents: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    documents: Vec<Document>,
    places: HashMap<(String, String), usize>,
    /// Every sending of an id: the index.
    sent: HashMap<String, Vec<String>>,
    resources: BTreeMap<String, Value>,
    requests: VecDeque<BulkRequest>,
    sequence: u64,
    conflicts: u64,
    /// What came with an id that was taken.
    refused: VecDeque<Document>,
}

fn as_json<S: serde::Serializer>(source: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serde_json::from_slice::<Value>(source)
        .unwrap_or_default()
        .serialize(serializer)
}

/// Epoch milliseconds of the system's clock.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

// === impl Document ===

impl Document {
    /// The document as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.source).unwrap_or_default()
    }

    /// A member of it as text; dots lead into objects, unless a member has the dotted name itself.
    pub fn member(&self, path: &str) -> Option<String> {
        let json = self.json();
        let found = json
            .get(path)
            .or_else(|| json.pointer(&format!("/{}", path.replace('.', "/"))))?;
        Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned))
    }
}

// === impl Store ===

impl Store {
    pub(crate) fn new(keep_all: bool, max_documents: usize) -> Self {
        Self {
            keep_all,
            max_documents,
            state: Mutex::default(),
        }
    }

    /// Stores a document by the rules of its operation.
    pub(crate) fn put(&self, index: &str, id: Option<&str>, op: &str, source: Bytes) -> Stored {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.documents.len() >= self.max_documents {
            return Stored::Full;
        }
        state.sequence += 1;
        let made_up = id.is_none();
        let id = id.map_or_else(|| format!("made-up-{}", state.sequence), str::to_owned);
        if !made_up {
            state.sent.entry(id.clone()).or_default().push(index.to_owned());
        }
        let key = (index.to_owned(), id.clone());
        let existing = state.places.get(&key).copied();
        let before = existing.map_or(0, |place| state.documents[place].version);
        let document = Document {
            index: index.to_owned(),
            id: id.clone(),
            id_made_up: made_up,
            op: op.to_owned(),
            arrived_ms: now_ms(),
            sequence: state.sequence,
            version: before + 1,
            source,
        };
        if before > 0 && op == "create" {
            state.conflicts += 1;
            if state.refused.len() >= KEPT_REFUSED {
                state.refused.pop_front();
            }
            state.refused.push_back(Document {
                version: before,
                ..document
            });
            return Stored::Conflict;
        }
        match existing {
            Some(place) if !self.keep_all => state.documents[place] = document,
            _ => {
                state.places.insert(key, state.documents.len());
                state.documents.push(document);
            }
        }
        if before > 0 {
            Stored::Updated {
                id,
                version: before + 1,
            }
        } else {
            Stored::Created { id }
        }
    }

    pub(crate) fn documents(&self) -> Vec<Document> {
        let mut documents = self.state.lock().documents.clone();
        documents.sort_by_key(|document| document.sequence);
        documents
    }

    pub(crate) fn len(&self) -> usize {
        self.state.lock().documents.len()
    }

    /// Writes of `create` that found their id taken.
    pub(crate) fn conflicts(&self) -> u64 {
        self.state.lock().conflicts
    }

    /// What came with an id that was taken; the last of it.
    pub(crate) fn refused(&self) -> Vec<Document> {
        self.state.lock().refused.iter().cloned().collect()
    }

    pub(crate) fn duplicates(&self) -> Vec<Repeated> {
        let state = self.state.lock();
        let mut held: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for document in state.documents.iter().filter(|document| !document.id_made_up) {
            held.entry(&document.id).or_default().push(document.index.clone());
        }
        more_than_once(held.into_iter())
    }

    pub(crate) fn repeated(&self) -> Vec<Repeated> {
        let state = self.state.lock();
        more_than_once(
            state
                .sent
                .iter()
                .map(|(id, indices)| (id.as_str(), indices.clone())),
        )
    }

    pub(crate) fn count_by(&self, members: &[&str]) -> BTreeMap<String, usize> {
        let documents = self.documents();
        let mut counts = BTreeMap::new();
        for document in &documents {
            let value = members.iter().find_map(|member| document.member(member));
            *counts.entry(value.unwrap_or_default()).or_default() += 1;
        }
        counts
    }

    pub(crate) fn count_by_index(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for document in &self.state.lock().documents {
            *counts.entry(document.index.clone()).or_default() += 1;
        }
        counts
    }

    pub(crate) fn put_resource(&self, path: &str, body: Value) {
        self.state.lock().resources.insert(path.to_owned(), body);
    }

    pub(crate) fn remove_resource(&self, path: &str) -> bool {
        self.state.lock().resources.remove(path).is_some()
    }

    /// Removes every resource whose path has the form of the pattern.
    pub(crate) fn remove_resources(&self, pattern: &str) {
        self.state
            .lock()
            .resources
            .retain(|path, _| !matches(pattern, path));
    }

    /// Removes an index with all that is in it.
    pub(crate) fn remove_index(&self, index: &str) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.documents.retain(|document| document.index != index);
        state.places = (state.documents.iter().enumerate())
            .map(|(place, document)| ((document.index.clone(), document.id.clone()), place))
            .collect();
        state.resources.remove(&format!("/{index}"));
    }

    /// The index template that an index of this name is made by: of those that fit, the one of the highest priority.
    pub(crate) fn template(&self, index: &str) -> Option<Value> {
        let state = self.state.lock();
        let templates = (state.resources.iter()).filter(|(path, _)| path.starts_with("/_index_template/"));
        let fitting = templates.filter(|(_, body)| patterns(body).any(|pattern| matches(pattern, index)));
        let best = fitting.max_by_key(|(_, body)| body.get("priority").and_then(Value::as_u64));
        best.map(|(_, body)| body.clone())
    }

    pub(crate) fn resource(&self, path: &str) -> Option<Value> {
        self.state.lock().resources.get(path).cloned()
    }

    pub(crate) fn resources(&self) -> Vec<Resource> {
        let state = self.state.lock();
        state
            .resources
            .iter()
            .map(|(path, body)| Resource {
                path: path.clone(),
                body: body.clone(),
            })
            .collect()
    }

    /// Whether a data stream of this name was made, or a template makes one of it.
    pub(crate) fn is_data_stream(&self, name: &str) -> bool {
        let state = self.state.lock();
        state.resources.contains_key(&format!("/_data_stream/{name}"))
            || state.resources.iter().any(|(path, body)| {
                path.starts_with("/_index_template/")
                    && body.get("data_stream").is_some()
                    && patterns(body).any(|pattern| matches(pattern, name))
            })
    }

    pub(crate) fn log(&self, request: BulkRequest) {
        let mut state = self.state.lock();
        if state.requests.len() >= KEPT_REQUESTS {
            state.requests.pop_front();
        }
        state.requests.push_back(request);
    }

    pub(crate) fn requests(&self) -> Vec<BulkRequest> {
        self.state.lock().requests.iter().cloned().collect()
    }

    pub(crate) fn clear(&self) {
        let mut state = self.state.lock();
        let resources = std::mem::take(&mut state.resources);
        *state = State {
            resources,
            ..State::default()
        };
    }
}

fn more_than_once<'a>(ids: impl Iterator<Item = (&'a str, Vec<String>)>) -> Vec<Repeated> {
    let several = ids.filter(|(_, indices)| indices.len() > 1);
    let mut repeated: Vec<_> = several
        .map(|(id, indices)| Repeated {
            id: id.to_owned(),
            indices,
        })
        .collect();
    repeated.sort_by(|a, b| a.id.cmp(&b.id));
    repeated
}

fn patterns(template: &Value) -> impl Iterator<Item = &str> {
    let listed = template.get("index_patterns").and_then(Value::as_array);
    listed.into_iter().flatten().filter_map(Value::as_str)
}

/// Whether `name` has the form of a pattern with stars.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    for (number, part) in parts.iter().enumerate() {
        if number + 1 == parts.len() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(store: &Store, index: &str, id: Option<&str>, op: &str) -> Stored {
        store.put(
            index,
            id,
            op,
            Bytes::from_static(br#"{"type":"ecsbeat","event":{"dataset":"ecs.alert"}}"#),
        )
    }

    #[test]
    fn create_refuses_an_id_that_is_taken_and_index_replaces_it() {
        let store = Store::new(false, 10);
        assert_eq!(
            put(&store, "a", Some("1"), "create"),
            Stored::Created { id: "1".to_owned() }
        );
        assert_eq!(put(&store, "a", Some("1"), "create"), Stored::Conflict);
        assert_eq!(
            put(&store, "a", Some("1"), "index"),
            Stored::Updated {
                id: "1".to_owned(),
                version: 2
            }
        );
        assert_eq!(store.len(), 1);
        assert_eq!(store.conflicts(), 1);
        let refused: Vec<_> = store.refused().iter().map(|document| document.sequence).collect();
        assert_eq!(refused, [2], "it counts among the arrivals");
        assert!(store.duplicates().is_empty());
        assert_eq!(store.repeated()[0].indices.len(), 3);
        put(&store, "b", Some("1"), "create");
        assert_eq!(store.duplicates()[0].indices, ["a", "b"]);
        put(&store, "b", None, "index");
        assert_eq!(store.count_by_index()["b"], 2);
        assert_eq!(
            store.count_by(&["ecs-event-type", "event.dataset"])["ecs.alert"],
            3
        );
    }

    #[test]
    fn every_arrival_is_kept_when_asked() {
        let store = Store::new(true, 3);
        for _ in 0..3 {
            put(&store, "a", Some("1"), "index");
        }
        assert_eq!(put(&store, "a", Some("2"), "index"), Stored::Full);
        assert_eq!(
            store
                .documents()
                .iter()
                .map(|document| document.version)
                .collect::<Vec<_>>(),
            [1, 2, 3]
        );
        assert_eq!(store.duplicates().len(), 1);
    }

    #[test]
    fn patterns_have_stars() {
        assert!(matches("ecsbeat-*", "ecsbeat-2026.03.02") && matches("*", "x") && matches("a*b*c", "a1b2c"));
        assert!(!matches("ecsbeat-*", "other") && !matches("a", "ab") && !matches("a*b", "abx"));
    }
}
