//! The fields that every event has, around those of its record.
//!
//! Owns the event format: the flat names of the 2017 beat, which dashboards rely on, beside those of the Elastic
//! Common Schema (version 8.11). Pure: ids and times come in as arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::ecs::Node;
use crate::event::EventId;

/// Version of the Elastic Common Schema that the fields follow.
const ECS_VERSION: &str = "8.11.0";

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
    /// The user's fields at the root: they win over fields of a record.
    pub fn at_root(&self) -> BTreeSet<String> {
        if self.fields_under_root {
            self.fields.keys().cloned().collect()
        } else {
            BTreeSet::new()
        }
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
    prefix: Vec<u8>,
    kind: &'static str,
    dataset: String,
    created: Timestamp,
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
    pub node: Option<&'a Node>,
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
            common.extend(identity.fields.clone());
        } else if !identity.fields.is_empty() {
            common.insert("fields".to_owned(), json!(identity.fields));
        }
        let text = Value::Object(common).to_string();
        // Without its braces.
        let prefix = text.as_bytes()[1..text.len() - 1].to_vec();
        Self {
            prefix,
            kind: event_kind,
            dataset: format!("ecsbeat.{command}"),
            created,
        }
    }

    /// The finished document: the frame around the record's `members` (see [`crate::transform`]).
    pub fn document(&self, facts: &Facts<'_>, members: &[u8]) -> Bytes {
        let mut body = Vec::with_capacity(self.prefix.len() + members.len() + 640);
        body.extend_from_slice(b"{\"@timestamp\":\"");
        body.extend_from_slice(milliseconds(facts.timestamp).as_bytes());
        body.extend_from_slice(b"\",");
        body.extend_from_slice(&self.prefix);
        let outcome = if facts.error.is_some() {
            "failure"
        } else {
            "success"
        };
        let kind = if facts.error.is_some() { "event" } else { self.kind };
        let mut event = json!({
            "id": facts.id.to_string(), "module": "ecsbeat", "dataset": self.dataset, "kind": kind,
            "created": milliseconds(self.created), "outcome": outcome,
        });
        if let Some(event) = event.as_object_mut()
            && !facts.took.is_zero()
        {
            event.insert(
                "duration".to_owned(),
                u64::try_from(facts.took.as_nanos()).unwrap_or(u64::MAX).into(),
            );
        }
        member(&mut body, "event", &event);
        let mut observer = json!({"vendor": "Dell EMC", "product": "ECS", "type": "storage"});
        if let Some(node) = facts.node {
            for (name, value) in [
                ("ecs-node-ip", &node.ip),
                ("ecs-node-name", &node.name),
                ("ecs-version", &node.version),
            ] {
                if !value.is_empty() {
                    member(&mut body, name, &Value::from(value.as_str()));
                }
            }
            if let Some(observer) = observer.as_object_mut() {
                observer.insert("name".to_owned(), node.name.as_str().into());
                observer.insert("version".to_owned(), node.version.as_str().into());
                // The field is an address in the schema; old inventories may have a name there.
                if node.ip.parse::<std::net::IpAddr>().is_ok() {
                    observer.insert("ip".to_owned(), node.ip.as_str().into());
                }
            }
        }
        member(&mut body, "observer", &observer);
        if let Some((message, code)) = facts.error {
            member(&mut body, "error", &json!({"message": message, "code": code}));
        }
        if !members.is_empty() {
            body.push(b',');
            body.extend_from_slice(members);
        }
        body.push(b'}');
        body.into()
    }
}

fn member(body: &mut Vec<u8>, name: &str, value: &Value) {
    body.extend_from_slice(b",\"");
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(b"\":");
    body.extend_from_slice(value.to_string().as_bytes());
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
        let node = Node {
            id: "7c".into(),
            name: "n1".into(),
            ip: "10.0.0.1".into(),
            version: "3.8".into(),
        };
        let id = EventId::of([&b"x"[..]]);
        let facts = Facts {
            id,
            timestamp: "2026-03-02T10:40:00Z".parse().unwrap(),
            took: Duration::from_millis(5),
            node: Some(&node),
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
}
