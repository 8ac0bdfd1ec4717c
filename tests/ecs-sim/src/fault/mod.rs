//! Faults that can be switched on: what goes wrong, where, and how often. The types here are those of the
//! library and of the control API alike; must never act themselves.

mod kind;
mod oddity;
mod rules;

use serde::{Deserialize, Serialize};

pub use kind::Fault;
pub(crate) use oddity::Oddities;
pub use oddity::Oddity;
pub use rules::Faults;
pub(crate) use rules::{Hit, Target};

/// A fault, where it strikes, and how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// Where it strikes; everywhere when left out.
    #[serde(default, rename = "match")]
    pub scope: Scope,
    /// What happens.
    pub fault: Fault,
    /// After how many strikes it is over; never when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// How many matching requests pass before the first strike.
    #[serde(default)]
    pub skip: u32,
    /// Share of the matching requests that are struck, 0 to 1, chosen by the seed; all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
}

/// Where a fault strikes; what is left out matches everything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    /// Number of the VDC, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vdc: Option<usize>,
    /// Number of the node in its VDC, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<usize>,
    /// What the path begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The method, such as `POST`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
}

/// A port of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Port {
    /// The management API.
    Mgmt,
    /// Diagnostics, 9101.
    Diag,
    /// The S3 ping, 9021.
    Ping,
}

// === impl FaultRule ===

impl FaultRule {
    /// Strikes every request of every node.
    pub fn everywhere(fault: Fault) -> Self {
        Self {
            scope: Scope::default(),
            fault,
            times: None,
            skip: 0,
            probability: None,
        }
    }

    /// Only in this VDC.
    #[must_use]
    pub fn on_vdc(mut self, vdc: usize) -> Self {
        self.scope.vdc = Some(vdc);
        self
    }

    /// Only at this node.
    #[must_use]
    pub fn on_node(mut self, vdc: usize, node: usize) -> Self {
        self.scope.vdc = Some(vdc);
        self.scope.node = Some(node);
        self
    }

    /// Only where the path begins so.
    #[must_use]
    pub fn on_path(mut self, prefix: &str) -> Self {
        self.scope.path = Some(prefix.to_owned());
        self
    }

    /// Only with this method.
    #[must_use]
    pub fn on_method(mut self, method: &str) -> Self {
        self.scope.method = Some(method.to_owned());
        self
    }

    /// Only on this port.
    #[must_use]
    pub fn on_port(mut self, port: Port) -> Self {
        self.scope.port = Some(port);
        self
    }

    /// Over after `times` strikes.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Lets `skip` requests pass first.
    #[must_use]
    pub fn skip(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Strikes this share of the requests.
    #[must_use]
    pub fn probability(mut self, share: f64) -> Self {
        self.probability = Some(share);
        self
    }
}
