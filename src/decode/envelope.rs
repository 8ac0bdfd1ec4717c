//! Where the records of an answer are, and what is around them.
//!
//! Owns the rules of shape. List answers of ECS come as `{"_embedded":{"_instances":[…]}}` (the key is
//! `instances` in old documents), as `{"auditevent":[…],"NextMarker":…}`, sometimes wrapped once more
//! (`{"alerts":{"alert":[…]}}`), sometimes with a single object instead of a list of one; anything else is one
//! record by itself, perhaps in a wrapper of one member (`{"cluster_capacity":{…}}`).

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::DecodeError;

/// Where to look for records.
#[derive(Debug, Clone)]
pub(super) struct Records {
    /// Decoded segments of the configured pointer; `None` = by shape.
    pointer: Option<Vec<String>>,
}

impl Records {
    pub(super) fn new(pointer: Option<&str>) -> Self {
        Self {
            pointer: pointer.map(|pointer| {
                pointer
                    .split('/')
                    .skip(1)
                    .map(|segment| segment.replace("~1", "/").replace("~0", "~"))
                    .collect()
            }),
        }
    }

    /// Whether the value at `path` (member names from the root down) is the list of records. One member more at
    /// the front is a wrapper.
    pub(super) fn at(&self, path: &[&str]) -> bool {
        match &self.pointer {
            Some(pointer) => {
                path.len() <= pointer.len() + 1
                    && path.len() >= pointer.len()
                    && path[path.len() - pointer.len()..].iter().eq(pointer.iter())
            }
            None => matches!(path, [.., "_embedded", "_instances" | "instances"] if path.len() <= 3),
        }
    }

    fn describe(&self) -> String {
        self.pointer.as_ref().map_or_else(
            || "/_embedded/_instances".to_owned(),
            |pointer| format!("/{}", pointer.join("/")),
        )
    }
}

/// What an answer holds besides the records that were handed out on the way.
#[derive(Debug)]
pub struct Envelope {
    members: Map<String, Value>,
    rest: Vec<Vec<u8>>,
}

impl Envelope {
    /// Records that could be told from the envelope only when it was complete: the whole answer, where it is
    /// one record.
    pub fn rest(&self) -> &[Vec<u8>] {
        &self.rest
    }

    /// The text of the member `name`, at the root or in the wrapper; `None` where it is absent, null or empty.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        let here = self.members.get(name);
        let wrapped = || {
            self.members
                .values()
                .find_map(|value| value.as_object()?.get(name))
        };
        match here.or_else(wrapped)? {
            Value::String(text) if !text.is_empty() => Some(Cow::Borrowed(text)),
            Value::Number(number) => Some(Cow::Owned(number.to_string())),
            _ => None,
        }
    }

    /// Sorts out what is left when the list of records, if there was one, has been taken out of the document.
    pub(super) fn new(document: &[u8], records: &Records, found_list: bool) -> Result<Self, DecodeError> {
        let root: Value = serde_json::from_slice(document).map_err(|error| DecodeError::Syntax {
            at: error.column() as u64,
            message: error.to_string(),
        })?;
        let mut members = match root {
            Value::Object(members) => members,
            // A list without an envelope.
            Value::Array(list) => {
                return Ok(Self {
                    members: Map::new(),
                    rest: objects(&list)?,
                });
            }
            other => {
                return Err(DecodeError::Shape(format!(
                    "expected an object or a list, found {}",
                    kind(&other)
                )));
            }
        };
        if found_list {
            return Ok(Self {
                members,
                rest: Vec::new(),
            });
        }
        if records.pointer.is_some() || members.contains_key("_embedded") {
            // An empty answer may leave the list out, or have null for it. A list or object of another name is a
            // surprise that must not pass for "no records".
            let surprise: Vec<&str> = members
                .iter()
                .filter(|(name, value)| {
                    matches!(value, Value::Array(list) if !list.is_empty())
                        || matches!(value, Value::Object(object) if !is_paging(name) && !is_empty_wrapper(object))
                })
                .map(|(name, _)| name.as_str())
                .collect();
            if surprise.is_empty() {
                return Ok(Self {
                    members,
                    rest: Vec::new(),
                });
            }
            return Err(DecodeError::Shape(format!(
                "no records at {}; the answer has {}",
                records.describe(),
                surprise.join(", ")
            )));
        }
        if let Some(list) = list_of(&mut members) {
            return Ok(Self {
                members,
                rest: objects(&list)?,
            });
        }
        let mut record = members;
        while record.len() == 1 {
            match record.into_iter().next() {
                Some((_, Value::Object(inner))) if !inner.is_empty() => record = inner,
                Some((name, value)) => {
                    record = Map::from_iter([(name, value)]);
                    break;
                }
                None => {
                    return Ok(Self {
                        members: Map::new(),
                        rest: Vec::new(),
                    });
                }
            }
        }
        let rest = if record.is_empty() {
            Vec::new()
        } else {
            vec![bytes(&Value::Object(record))]
        };
        Ok(Self {
            members: Map::new(),
            rest,
        })
    }
}

/// Whether the object has nothing but notes about paging, and null where the records would be.
fn is_empty_wrapper(object: &Map<String, Value>) -> bool {
    object
        .iter()
        .all(|(key, value)| value.is_null() || is_paging(key))
}

/// The list, where the object is nothing but one list of objects and notes about paging.
fn list_of(members: &mut Map<String, Value>) -> Option<Vec<Value>> {
    let mut name = None;
    for (key, value) in members.iter() {
        match value {
            Value::Array(list) if name.is_none() && list.iter().all(Value::is_object) => {
                name = Some(key.clone());
            }
            Value::Array(_) => return None,
            _ if is_paging(key) => {}
            _ => return None,
        }
    }
    match members.remove(&name?) {
        Some(Value::Array(list)) => Some(list),
        _ => None,
    }
}

/// `MaxEvents`, `NextMarker`, `NextPageLink`, `Filter`, `title`, `_links`.
fn is_paging(key: &str) -> bool {
    key.starts_with("Max") || key.starts_with("Next") || matches!(key, "Filter" | "title" | "_links" | "link")
}

fn objects(list: &[Value]) -> Result<Vec<Vec<u8>>, DecodeError> {
    list.iter()
        .map(|value| {
            if value.is_object() {
                Ok(bytes(value))
            } else {
                Err(DecodeError::Shape(format!(
                    "expected an object as record, found {}",
                    kind(value)
                )))
            }
        })
        .collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
