//! The bulk body: its lines, what each comes to, and the answer's items. Must never answer by itself.

use bytes::Bytes;
use serde_json::{Value, json};

use super::store::{Store, Stored};
use super::{BulkFault, Config};

/// One action of a bulk request.
#[derive(Debug)]
pub(crate) struct Action {
    op: String,
    index: String,
    id: Option<String>,
    source: Bytes,
}

/// Splits a body into its actions, or says what is wrong with it.
pub(crate) fn parse(
    body: &Bytes,
    default_index: Option<&str>,
    config: &Config,
) -> Result<Vec<Action>, String> {
    if body.is_empty() {
        return Err("request body is required".to_owned());
    }
    if !body.ends_with(b"\n") {
        return Err("The bulk request must be terminated by a newline [\\n]".to_owned());
    }
    let mut actions = Vec::new();
    let mut lines = lines(body);
    let mut number = 0;
    while let Some(line) = lines.next() {
        number += 1;
        if line.is_empty() {
            continue;
        }
        let (op, meta) = action(&line).ok_or_else(|| format!("Malformed action/metadata line [{number}]"))?;
        if meta.get("_type").is_some() && refuses_types(config) {
            return Err(format!(
                "Action/metadata line [{number}] contains an unknown parameter [_type]"
            ));
        }
        let text = |key: &str| meta.get(key).and_then(Value::as_str).map(str::to_owned);
        let index = text("_index").or_else(|| default_index.map(str::to_owned));
        let index = index.ok_or_else(|| format!("Validation Failed: {number}: index is missing"))?;
        let source = if op == "delete" {
            Bytes::new()
        } else {
            lines.next().unwrap_or_default()
        };
        number += usize::from(op != "delete");
        actions.push(Action {
            op,
            index,
            id: text("_id"),
            source,
        });
    }
    Ok(actions)
}

fn refuses_types(config: &Config) -> bool {
    let major = config
        .version
        .split('.')
        .next()
        .and_then(|text| text.parse::<u32>().ok())
        .unwrap_or(8);
    !config.opensearch && major >= 8
}

fn lines(body: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    body.split(|byte| *byte == b'\n').map(|line| body.slice_ref(line))
}

fn action(line: &[u8]) -> Option<(String, Value)> {
    let Ok(Value::Object(members)) = serde_json::from_slice(line) else {
        return None;
    };
    let (op, meta) = members.into_iter().next()?;
    matches!(op.as_str(), "create" | "index" | "update" | "delete").then_some((op, meta))
}

/// Carries the actions out and gives the answer's items.
pub(crate) fn carry_out(actions: Vec<Action>, store: &Store, faults: &[BulkFault]) -> Vec<Value> {
    let numbered = actions.into_iter().enumerate();
    numbered
        .map(|(number, action)| item(number, action, store, faults))
        .collect()
}

fn item(number: usize, action: Action, store: &Store, faults: &[BulkFault]) -> Value {
    let Action {
        op,
        index,
        id,
        source,
    } = action;
    let failed = |status: u16, kind: &str, reason: &str| {
        json!({ op.as_str(): { "_index": index, "_id": id, "status": status,
                "error": { "type": kind, "reason": reason, "index": index } } })
    };
    for fault in faults {
        match fault {
            BulkFault::RejectItems { every, status } if (number + 1).is_multiple_of((*every).max(1)) => {
                return failed(
                    *status,
                    "es_rejected_execution_exception",
                    "rejected execution: queue is full",
                );
            }
            BulkFault::MappingError { marker } if contains(&source, marker.as_bytes()) => {
                return failed(
                    400,
                    "mapper_parsing_exception",
                    "failed to parse field [value] of type [long]",
                );
            }
            _ => {}
        }
    }
    if !matches!(op.as_str(), "create" | "index") {
        return failed(
            400,
            "illegal_argument_exception",
            "the fake knows create and index only",
        );
    }
    if op == "index" && store.is_data_stream(&index) {
        let reason = "only write ops with an op_type of create are allowed in data streams";
        return failed(400, "illegal_argument_exception", reason);
    }
    if !matches!(serde_json::from_slice(&source), Ok(Value::Object(_))) {
        return failed(400, "mapper_parsing_exception", "failed to parse");
    }
    match store.put(&index, id.as_deref(), &op, source) {
        Stored::Created { id } => written(&op, &index, &id, "created", 1, 201),
        Stored::Updated { id, version } => written(&op, &index, &id, "updated", version, 200),
        Stored::Full => failed(429, "es_rejected_execution_exception", "the fake is full"),
        Stored::Conflict => {
            let id = id.as_deref().unwrap_or_default();
            let reason = format!("[{id}]: version conflict, document already exists (current version [1])");
            failed(409, "version_conflict_engine_exception", &reason)
        }
    }
}

fn written(op: &str, index: &str, id: &str, result: &str, version: u32, status: u16) -> Value {
    json!({ op: { "_index": index, "_id": id, "_version": version, "result": result, "status": status,
                  "_shards": { "total": 1, "successful": 1, "failed": 0 } } })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}

/// Whether any item failed.
pub(crate) fn has_errors(items: &[Value]) -> bool {
    items
        .iter()
        .filter_map(Value::as_object)
        .flat_map(|item| item.values())
        .any(|item| item.get("error").is_some())
}

/// What `filter_path` leaves of an answer.
pub(crate) fn filter(value: Value, filter_path: &str) -> Value {
    let patterns: Vec<Vec<&str>> = filter_path
        .split(',')
        .map(|path| path.trim().split('.').collect())
        .collect();
    keep(value, &patterns).unwrap_or_else(|| json!({}))
}

fn keep(value: Value, patterns: &[Vec<&str>]) -> Option<Value> {
    match value {
        Value::Array(items) => {
            let kept: Vec<Value> = items
                .into_iter()
                .filter_map(|item| keep(item, patterns))
                .collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        Value::Object(members) => {
            let kept = members.into_iter().filter_map(|(key, member)| {
                let below = below(&key, patterns);
                let whole = below.iter().any(Vec::is_empty);
                let member = if whole { Some(member) } else { keep(member, &below) };
                member.map(|member| (key, member))
            });
            let kept: serde_json::Map<_, _> = kept.collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        _ => None,
    }
}

/// What is left of the patterns below a key.
fn below<'a>(key: &str, patterns: &[Vec<&'a str>]) -> Vec<Vec<&'a str>> {
    let mut left = Vec::new();
    for pattern in patterns {
        match pattern.split_first() {
            Some((&"**", rest)) => {
                left.push(pattern.clone());
                if rest.first().is_some_and(|first| *first == key) {
                    left.push(rest[1..].to_vec());
                }
            }
            Some((first, rest)) if *first == "*" || *first == key => left.push(rest.to_vec()),
            _ => {}
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(body: &'static str, faults: &[BulkFault]) -> Vec<Value> {
        let actions = parse(
            &Bytes::from_static(body.as_bytes()),
            Some("logs"),
            &Config::default(),
        )
        .unwrap();
        carry_out(actions, &Store::new(false, 100), faults)
    }

    const BODY: &str = "{\"create\":{\"_id\":\"1\"}}\n{\"a\":1}\n{\"create\":{\"_id\":\"1\",\"_index\":\"logs\"}}\n\
                        {\"a\":2}\n{\"index\":{}}\n{\"a\":\"poison\"}\n";

    #[test]
    fn items_answer_in_order() {
        let items = run(BODY, &[]);
        assert_eq!(items[0]["create"]["status"], 201);
        assert_eq!(
            items[1]["create"]["error"]["type"],
            "version_conflict_engine_exception"
        );
        assert_eq!(items[2]["index"]["status"], 201);
        assert!(has_errors(&items));
    }

    #[test]
    fn faults_strike_single_items() {
        let faults = [
            BulkFault::RejectItems {
                every: 2,
                status: 429,
            },
            BulkFault::MappingError {
                marker: "poison".to_owned(),
            },
        ];
        let items = run(BODY, &faults);
        assert_eq!(items[0]["create"]["status"], 201);
        assert_eq!(items[1]["create"]["status"], 429);
        assert_eq!(items[2]["index"]["error"]["type"], "mapper_parsing_exception");
    }

    #[test]
    fn a_wrong_body_is_refused_whole() {
        let config = Config::default();
        let parse = |text: &'static str| parse(&Bytes::from_static(text.as_bytes()), None, &config);
        assert!(parse("").is_err());
        assert!(
            parse("{\"index\":{\"_index\":\"a\"}}\n{}")
                .unwrap_err()
                .contains("newline")
        );
        assert!(
            parse("{\"index\":{\"_index\":\"a\",\"_type\":\"x\"}}\n{}\n")
                .unwrap_err()
                .contains("_type")
        );
        assert!(
            parse("{\"index\":{}}\n{}\n")
                .unwrap_err()
                .contains("index is missing")
        );
        assert!(parse("nonsense\n").is_err());
    }

    #[test]
    fn filter_path_keeps_what_it_names() {
        let answer = json!({"took": 1, "errors": true, "items": [
            {"create": {"status": 201, "_id": "1"}},
            {"create": {"status": 429, "_id": "2", "error": {"type": "x", "reason": "y"}}}]});
        let filtered = filter(answer.clone(), "errors,items.*.error.type,items.*.status");
        assert_eq!(
            filtered,
            json!({"errors": true, "items": [
            {"create": {"status": 201}}, {"create": {"status": 429, "error": {"type": "x"}}}]})
        );
        assert_eq!(filter(answer.clone(), "items.*.nothing"), json!({}));
        assert_eq!(
            filter(answer, "**.reason"),
            json!({"items": [{"create": {"error": {"reason": "y"}}}]})
        );
    }
}
