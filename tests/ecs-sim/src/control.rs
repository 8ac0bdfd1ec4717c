//! The control API: state, log, truth, faults, topology, clock and tokens over plain HTTP and JSON, for people
//! and for tests in other processes. Must offer nothing that the library does not.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::fault::{FaultRule, Port};
use crate::http::{self, Limits, Reply, Request, Service};
use crate::running::Running;
use crate::topology::Change;
use crate::truth;

struct Control {
    running: Arc<Running>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct ClockOrder {
    advance_secs: Option<i64>,
    set: Option<i64>,
    freeze: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RevokeOrder {
    vdc: Option<usize>,
    unlock: bool,
}

/// One or many.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

/// Opens the control port.
pub(crate) async fn start(running: &Arc<Running>, address: SocketAddr) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address} for the control API"))?;
    let bound = listener.local_addr()?;
    let control = Arc::new(Control {
        running: Arc::clone(running),
    });
    let (stop, tracker) = (running.stop.clone(), running.tracker.clone());
    running.tracker.spawn(http::accept_all(
        listener,
        control,
        Limits::default(),
        tracker,
        stop,
    ));
    Ok(bound)
}

// === impl Control ===

impl Service for Control {
    async fn call(&self, request: Request) -> Reply {
        let (status, value) = self.route(&request);
        Reply::new(status, "application/json", format!("{value}\n"))
    }
}

fn parse<T: for<'a> Deserialize<'a>>(request: &Request) -> Result<T, (u16, Value)> {
    let body: &[u8] = if request.body.is_empty() {
        b"{}"
    } else {
        &request.body
    };
    serde_json::from_slice(body).map_err(|error| refusal(&error.to_string()))
}

fn refusal(text: &str) -> (u16, Value) {
    (400, json!({ "error": text }))
}

fn done() -> (u16, Value) {
    (200, json!({ "ok": true }))
}

impl Control {
    fn route(&self, request: &Request) -> (u16, Value) {
        let path = request.path.trim_end_matches('/');
        let answer = match (request.method.as_str(), path) {
            ("GET", "" | "/state") => Ok((200, self.state())),
            ("GET", "/requests") => Ok((200, self.requests(request))),
            ("DELETE", "/requests") => {
                self.running.federation.log.clear();
                Ok(done())
            }
            ("DELETE", "/peaks") => {
                self.running
                    .federation
                    .traffic
                    .iter()
                    .for_each(crate::federation::Traffic::reset_peak);
                Ok(done())
            }
            ("GET", "/canaries") => Ok((200, json!({ "canaries": self.running.federation.canaries() }))),
            ("GET", "/truth") => Ok((200, self.truth(request))),
            ("GET", "/faults") => Ok((200, self.faults())),
            ("POST", "/faults") => parse(request).map(|rules| self.set_faults(rules)),
            ("DELETE", "/faults") => Ok(self.clear_faults(request)),
            ("POST", "/topology") => parse(request).map(|changes| self.change(changes)),
            ("POST", "/clock") => parse(request).map(|order: ClockOrder| self.set_clock(&order)),
            ("POST", "/tokens/revoke") => parse(request).map(|order: RevokeOrder| self.revoke(&order)),
            ("GET", "/ca.pem") => Ok((200, json!({ "pem": self.running.federation.authority.ca_pem() }))),
            _ => Ok((404, json!({ "error": "no such path; see the README" }))),
        };
        answer.unwrap_or_else(|refusal| refusal)
    }

    fn state(&self) -> Value {
        let federation = &self.running.federation;
        let now_ms = federation.clock.now_ms();
        let topology = federation.topology.read();
        let vdcs: Vec<Value> = topology
            .vdcs
            .iter()
            .map(|vdc| {
                let place = |serial, port| {
                    self.running
                        .address(vdc.index, serial, port)
                        .map(|at| at.to_string())
                };
                let nodes: Vec<Value> = vdc
                    .nodes
                    .iter()
                    .map(|node| {
                        json!({
                            "name": node.name, "id": node.dashboard_id(), "state": node.state,
                            "profile": node.profile, "slow_ms": node.slow_ms,
                            "mgmt": place(Some(node.serial), Port::Mgmt),
                            "diag": place(Some(node.serial), Port::Diag),
                            "ping": place(Some(node.serial), Port::Ping),
                        })
                    })
                    .collect();
                let tokens = federation.tokens[vdc.index].counts(now_ms);
                let traffic = &federation.traffic[vdc.index];
                json!({
                    "name": vdc.name, "id": vdc.id, "down": vdc.down, "front": place(None, Port::Mgmt),
                    "nodes": nodes,
                    "tokens": { "issued": tokens.issued, "live": tokens.live, "peak": tokens.peak,
                                "bad_logins": tokens.bad_logins },
                    "in_flight": traffic.in_flight(), "max_in_flight": traffic.peak(),
                    "handshakes": traffic.handshakes.load(std::sync::atomic::Ordering::Relaxed),
                    "resumed_handshakes": traffic.resumed.load(std::sync::atomic::Ordering::Relaxed),
                })
            })
            .collect();
        json!({
            "now": now_ms / 1000, "clock_offset_ms": federation.clock.offset_ms(), "vdcs": vdcs,
            "namespaces": topology.namespaces.len(),
            "requests": federation.requests.load(std::sync::atomic::Ordering::Relaxed),
        })
    }

    fn requests(&self, request: &Request) -> Value {
        let prefix = request.query.get("path").unwrap_or_default();
        let mut entries = self.running.federation.log.entries();
        entries.retain(|entry| entry.path.starts_with(prefix));
        json!({ "requests": entries })
    }

    fn truth(&self, request: &Request) -> Value {
        let federation = &self.running.federation;
        let time = |key, default| {
            let text = request.query.get(key);
            text.and_then(|text| text.parse().ok().or_else(|| crate::clock::parse(text)))
                .unwrap_or(default)
        };
        json!(truth::between(
            federation,
            time("from", federation.begin()),
            time("to", federation.clock.now() + 1)
        ))
    }

    fn faults(&self) -> Value {
        let rules = self.running.federation.faults.list();
        let rules: Vec<Value> = rules
            .into_iter()
            .map(|(id, rule, struck)| json!({ "id": id, "rule": rule, "struck": struck }))
            .collect();
        json!({ "faults": rules })
    }

    fn set_faults(&self, rules: OneOrMany<FaultRule>) -> (u16, Value) {
        let rules = match rules {
            OneOrMany::Many(rules) => rules,
            OneOrMany::One(rule) => vec![rule],
        };
        let ids: Vec<u64> = rules
            .into_iter()
            .map(|rule| self.running.federation.faults.set(rule))
            .collect();
        (200, json!({ "ids": ids }))
    }

    fn clear_faults(&self, request: &Request) -> (u16, Value) {
        match request.query.number("id") {
            Some(id) if self.running.federation.faults.remove(id as u64) => done(),
            Some(_) => (404, json!({ "error": "no such fault" })),
            None => {
                self.running.federation.faults.clear();
                done()
            }
        }
    }

    fn change(&self, changes: OneOrMany<Change>) -> (u16, Value) {
        let changes = match changes {
            OneOrMany::Many(changes) => changes,
            OneOrMany::One(change) => vec![change],
        };
        for change in &changes {
            if let Err(error) = self.running.apply(change) {
                return refusal(&format!("{error:#}"));
            }
        }
        done()
    }

    fn set_clock(&self, order: &ClockOrder) -> (u16, Value) {
        let clock = &self.running.federation.clock;
        if let Some(seconds) = order.set {
            clock.set(seconds);
        }
        if let Some(seconds) = order.advance_secs {
            clock.advance_ms(seconds.saturating_mul(1000));
        }
        match order.freeze {
            Some(true) => clock.freeze(),
            Some(false) => clock.unfreeze(),
            None => {}
        }
        (200, json!({ "now": clock.now() }))
    }

    fn revoke(&self, order: &RevokeOrder) -> (u16, Value) {
        for (index, tokens) in self.running.federation.tokens.iter().enumerate() {
            if order.vdc.is_none_or(|vdc| vdc == index) {
                tokens.revoke_all();
                if order.unlock {
                    tokens.unlock();
                }
            }
        }
        done()
    }
}
