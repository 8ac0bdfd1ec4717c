//! The fields that every event has, around those of its record.
//!
//! Owns the event format: the flat names of the 2017 beat, which dashboards rely on, beside those of the Elastic
//! Common Schema (version 8.11). Pure: ids and times come in as arguments. What the events of a poll have in common
//! is encoded once; a record costs a copy of it and no intermediate values.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::event::EventId;
use crate::transform::string;

/// Version of the Elastic Common Schema that the fields follow.
const ECS_VERSION: &str = "8.11.0";

/// What is written for each event anew. The user's fields cannot take these names: an object with one name twice is
/// refused by Elasticsearch.
const PER_EVENT: [&str; 7] = [
    "@timestamp",
    "event",
    "observer",
    "error",
    "ecs-node-ip",
    "ecs-node-name",
    "ecs-version",
];

/// What an event is known by: ids, acknowledgement and the fencing of replicas rest on these fields. They stay as they
/// are, whatever processors do.
pub const PROTECTED: [&str; 6] = [
    "@timestamp",
    "event.id",
    "ecsbeat.cluster",
    "ecsbeat.instance",
    "ecsbeat.term",
    "ecsbeat.tick",
];

/// The protected field that a change of `path` would change: the field itself, or one above or below it.
pub fn protected(path: &str) -> Option<&'static str> {
    let is_above = |above: &str, below: &str| {
        below
            .strip_prefix(above)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    PROTECTED
        .into_iter()
        .find(|field| is_above(path, field) || is_above(field, path))
}

/// Who collects: the same for all events of the process.
#[derive(Debug, Clone)]
pub struct Identity {
    /// `agent.id`: survives restarts (`meta.json`).
    pub agent_id: String,
    /// `agent.ephemeral_id`: new with each start.
    pub ephemeral_id: String,
    /// `name` of the configuration.
    pub name: String,
    /// `ecsbeat.instance`
    pub instance: String,
    /// `ecsbeat.cluster`, with high availability.
    pub cluster: Option<String>,
    /// `tags`
    pub tags: Vec<String>,
    /// `fields`
    pub fields: BTreeMap<String, Value>,
    /// `fields_under_root`
    pub fields_under_root: bool,
}

impl Identity {
    /// The names of the user's fields at the root: they win over fields of a record.
    pub fn at_root(&self) -> BTreeSet<String> {
        self.root_fields().map(|(name, _)| name.clone()).collect()
    }

    fn root_fields(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.fields
            .iter()
            .filter(|(name, _)| self.fields_under_root && !PER_EVENT.contains(&name.as_str()))
    }
}

/// Where a record comes from.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// `customername`
    pub customer: Arc<str>,
    /// `vdcname`
    pub vdc: Arc<str>,
    /// ECS's id of the VDC; empty while the inventory is not known.
    pub vdc_id: String,
    /// ECS's name of the VDC; empty while the inventory is not known.
    pub vdc_name: String,
}

/// What the events of one poll have in common.
#[derive(Debug)]
pub struct Frame {
    /// The common members.
    prefix: Vec<u8>,
    /// The common members of `event`.
    event: Vec<u8>,
    kind: &'static str,
}

/// The node that a record is about; what is not known is empty.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// `ecs-node-name`, `observer.name`
    pub name: &'a str,
    /// `ecs-node-ip`, `observer.ip`
    pub ip: &'a str,
    /// `ecs-version`, `observer.version`
    pub version: &'a str,
}

/// What differs from event to event.
#[derive(Debug)]
pub struct Facts<'a> {
    /// `event.id`
    pub id: EventId,
    /// `@timestamp`
    pub timestamp: Timestamp,
    /// `event.duration`: from the request to the head of its answer.
    pub took: Duration,
    /// The node that the record is about.
    pub node: Option<Place<'a>>,
    /// The error, for the event of a failed target: `error.message` and `error.code`.
    pub error: Option<(&'a str, &'a str)>,
}

impl Frame {
    /// The frame of a poll. `event_kind` is `metric`, `event` or `alert`; `created` the time of polling.
    pub fn new(
        identity: &Identity,
        origin: &Origin,
        command: &str,
        event_kind: &'static str,
        term: u64,
        tick: Timestamp,
        created: Timestamp,
    ) -> Self {
        let mut common = Map::new();
        let mut put = |name: &str, value: Value| {
            common.insert(name.to_owned(), value);
        };
        put("@version", "1.0".into());
        put("type", "ecsbeat".into());
        put("ecs-customer", (*origin.customer).into());
        put("ecs-event-type", command.into());
        put("ecs-vdc-cfgname", (*origin.vdc).into());
        if !origin.vdc_id.is_empty() {
            put("ecs-vdc-id", origin.vdc_id.as_str().into());
        }
        if !origin.vdc_name.is_empty() {
            put("ecs-vdc-name", origin.vdc_name.as_str().into());
        }
        put(
            "agent",
            json!({
                "id": identity.agent_id, "ephemeral_id": identity.ephemeral_id, "name": identity.name,
                "type": "ecsbeat", "version": env!("CARGO_PKG_VERSION"),
            }),
        );
        put("host", json!({"name": identity.name}));
        put("ecs", json!({"version": ECS_VERSION}));
        let mut own = json!({"instance": identity.instance, "term": term, "tick": tick.to_string()});
        if let (Some(cluster), Some(own)) = (&identity.cluster, own.as_object_mut()) {
            own.insert("cluster".to_owned(), cluster.as_str().into());
        }
        put("ecsbeat", own);
        if !identity.tags.is_empty() {
            put("tags", identity.tags.clone().into());
        }
        if identity.fields_under_root {
            common.extend(
                identity
                    .root_fields()
                    .map(|(name, value)| (name.clone(), value.clone())),
            );
        } else if !identity.fields.is_empty() {
            common.insert("fields".to_owned(), json!(identity.fields));
        }
        let event = json!({
            "module": "ecsbeat", "dataset": format!("ecsbeat.{command}"), "created": milliseconds(created),
        });
        Self {
            prefix: inside(&Value::Object(common)),
            event: inside(&event),
            kind: event_kind,
        }
    }

    /// The finished document: the frame around the record's `members` (see [`crate::transform`]).
    pub fn document(&self, facts: &Facts<'_>, members: &[u8]) -> Bytes {
        let mut body = Vec::with_capacity(self.prefix.len() + self.event.len() + members.len() + 512);
        // Writing to memory cannot fail.
        let _ = write!(body, r#"{{"@timestamp":"{:.3}","#, facts.timestamp);
        body.extend_from_slice(&self.prefix);
        self.event(&mut body, facts);
        if let Some(node) = facts.node {
            for (name, value) in [
                (r#","ecs-node-ip":"#, node.ip),
                (r#","ecs-node-name":"#, node.name),
                (r#","ecs-version":"#, node.version),
            ] {
                if !value.is_empty() {
                    text(&mut body, name, value);
                }
            }
        }
        observer(&mut body, facts.node);
        if let Some((message, code)) = facts.error {
            text(&mut body, r#","error":{"message":"#, message);
            text(&mut body, r#","code":"#, code);
            body.push(b'}');
        }
        if !members.is_empty() {
            body.push(b',');
            body.extend_from_slice(members);
        }
        body.push(b'}');
        body.into()
    }

    fn event(&self, body: &mut Vec<u8>, facts: &Facts<'_>) {
        let (kind, outcome) = match facts.error {
            Some(_) => ("event", "failure"),
            None => (self.kind, "success"),
        };
        let id = facts.id;
        let _ = write!(
            body,
            r#","event":{{"id":"{id}","kind":"{kind}","outcome":"{outcome}","#
        );
        body.extend_from_slice(&self.event);
        if !facts.took.is_zero() {
            let _ = write!(body, r#","duration":{}"#, facts.took.as_nanos());
        }
        body.push(b'}');
    }
}

fn observer(body: &mut Vec<u8>, node: Option<Place<'_>>) {
    body.extend_from_slice(br#","observer":{"vendor":"Dell EMC","product":"ECS","type":"storage""#);
    if let Some(node) = node {
        text(body, r#","name":"#, node.name);
        text(body, r#","version":"#, node.version);
        // The field is an address in the schema; old inventories may have a name there.
        if node.ip.parse::<std::net::IpAddr>().is_ok() {
            text(body, r#","ip":"#, node.ip);
        }
    }
    body.push(b'}');
}

/// The text of an object without its braces.
fn inside(object: &Value) -> Vec<u8> {
    let text = object.to_string();
    text.as_bytes()[1..text.len() - 1].to_vec()
}

/// Appends the name, which comes with its quotes, comma and colon, and the text as a JSON string.
fn text(body: &mut Vec<u8>, name: &str, value: &str) {
    body.extend_from_slice(name.as_bytes());
    string(body, value);
}

/// `2026-03-02T10:41:00.000Z`
pub fn milliseconds(time: Timestamp) -> String {
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            agent_id: "a".into(),
            ephemeral_id: "e".into(),
            name: "host1".into(),
            instance: "host1".into(),
            cluster: None,
            tags: vec!["prod".into()],
            fields: BTreeMap::from([("env".to_owned(), json!("staging"))]),
            fields_under_root: false,
        }
    }

    fn frame(identity: &Identity) -> Frame {
        let origin = Origin {
            customer: "EMC".into(),
            vdc: "VDC1".into(),
            vdc_id: "urn:v".into(),
            vdc_name: "n".into(),
        };
        let tick = "2026-03-02T10:40:00Z".parse().unwrap();
        let created = "2026-03-02T10:40:01.5Z".parse().unwrap();
        Frame::new(identity, &origin, "disks", "metric", 0, tick, created)
    }

    fn parsed(body: &Bytes) -> Value {
        assert!(!body.contains(&b'\n'));
        serde_json::from_slice(body).unwrap()
    }

    #[test]
    fn legacy_names_and_schema_names_side_by_side() {
        let node = Place {
            name: "n1",
            ip: "10.0.0.1",
            version: "3.8",
        };
        let id = EventId::of([&b"x"[..]]);
        let facts = Facts {
            id,
            timestamp: "2026-03-02T10:40:00Z".parse().unwrap(),
            took: Duration::from_millis(5),
            node: Some(node),
            error: None,
        };
        let event = parsed(&frame(&identity()).document(&facts, br#""id":"5d""#));
        assert_eq!(
            event,
            json!({
                "@timestamp": "2026-03-02T10:40:00.000Z", "@version": "1.0", "type": "ecsbeat",
                "ecs-customer": "EMC", "ecs-event-type": "disks", "ecs-vdc-cfgname": "VDC1", "ecs-vdc-id": "urn:v",
                "ecs-vdc-name": "n", "ecs-node-ip": "10.0.0.1", "ecs-node-name": "n1", "ecs-version": "3.8",
                "agent": {"id": "a", "ephemeral_id": "e", "name": "host1", "type": "ecsbeat", "version": env!("CARGO_PKG_VERSION")},
                "host": {"name": "host1"}, "ecs": {"version": "8.11.0"}, "tags": ["prod"], "fields": {"env": "staging"},
                "ecsbeat": {"instance": "host1", "term": 0, "tick": "2026-03-02T10:40:00Z"},
                "event": {"id": id.to_string(), "module": "ecsbeat", "dataset": "ecsbeat.disks", "kind": "metric",
                    "created": "2026-03-02T10:40:01.500Z", "outcome": "success", "duration": 5_000_000},
                "observer": {"vendor": "Dell EMC", "product": "ECS", "type": "storage", "name": "n1", "ip": "10.0.0.1", "version": "3.8"},
                "id": "5d",
            })
        );
    }

    #[test]
    fn a_failure_is_an_event_too_and_fields_may_go_to_the_root() {
        let identity = Identity {
            fields_under_root: true,
            ..identity()
        };
        let facts = Facts {
            id: EventId::of([&b"x"[..]]),
            timestamp: Timestamp::UNIX_EPOCH,
            took: Duration::ZERO,
            node: None,
            error: Some(("10.0.0.1:4443: refused \"x\"", "transport")),
        };
        let event = parsed(&frame(&identity).document(&facts, b""));
        assert_eq!(event["event"]["outcome"], "failure");
        assert_eq!(event["error"]["message"], "10.0.0.1:4443: refused \"x\"");
        assert_eq!(event["env"], "staging");
        assert!(event.get("fields").is_none());
    }

    #[test]
    fn what_is_protected_is_so_with_all_above_and_below_it() {
        for (path, want) in [
            ("@timestamp", Some("@timestamp")),
            ("event", Some("event.id")),
            ("event.id", Some("event.id")),
            ("event.id.x", Some("event.id")),
            ("ecsbeat", Some("ecsbeat.cluster")),
            ("ecsbeat.tick", Some("ecsbeat.tick")),
            ("ecsbeat.ticks", None),
            ("event.kind", None),
            ("event.identity", None),
            ("events", None),
            ("id", None),
            ("", None),
        ] {
            assert_eq!(protected(path), want, "{path}");
        }
    }

    #[test]
    fn texts_are_escaped_and_addresses_are_addresses() {
        let node = Place {
            name: "n\"1\\\n",
            ip: "node1.example.net",
            version: "",
        };
        let facts = Facts {
            id: EventId::of([&b"x"[..]]),
            timestamp: Timestamp::UNIX_EPOCH,
            took: Duration::from_nanos(1),
            node: Some(node),
            error: None,
        };
        let event = parsed(&frame(&identity()).document(&facts, b""));
        assert_eq!(event["ecs-node-name"], "n\"1\\\n");
        assert_eq!(event["observer"]["name"], "n\"1\\\n");
        assert_eq!(event["ecs-node-ip"], "node1.example.net");
        assert!(event["observer"].get("ip").is_none());
        assert!(event.get("ecs-version").is_none());
        assert_eq!(event["event"]["duration"], 1);
    }

    #[test]
    fn no_name_is_there_twice_whatever_the_user_puts_at_the_root() {
        let fields = PER_EVENT.map(|name| (name.to_owned(), json!("mine")));
        let mut identity = Identity {
            fields_under_root: true,
            ..identity()
        };
        identity.fields.extend(fields);
        let facts = Facts {
            id: EventId::of([&b"x"[..]]),
            timestamp: Timestamp::UNIX_EPOCH,
            took: Duration::ZERO,
            node: None,
            error: None,
        };
        let body = frame(&identity).document(&facts, b"");
        let text = std::str::from_utf8(&body).unwrap();
        for name in ["\"@timestamp\":", "\"event\":", "\"observer\":"] {
            assert_eq!(text.matches(name).count(), 1, "{name} in {text}");
        }
        assert_eq!(parsed(&body)["env"], "staging");
        assert_eq!(Vec::from_iter(identity.at_root()), ["env"]);
    }
}
