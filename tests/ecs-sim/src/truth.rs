//! All that a perfect collector delivers, worked out without the API: rows of the logs, billing of windows, the
//! inventory. Must never depend on what was asked.

use serde::Serialize;

use crate::federation::Federation;
use crate::journal::Kind;
use crate::metering;
use crate::topology::NodeState;

/// The truth between two instants.
#[derive(Debug, Clone, Serialize)]
pub struct Truth {
    /// Epoch seconds of the first instant.
    pub from: i64,
    /// Epoch seconds of the last instant, not included.
    pub to: i64,
    /// Every VDC of the federation.
    pub vdcs: Vec<VdcTruth>,
    /// Names of all namespaces there are now.
    pub namespaces: Vec<String>,
}

/// The truth of one VDC.
#[derive(Debug, Clone, Serialize)]
pub struct VdcTruth {
    /// Its name.
    pub name: String,
    /// Its urn.
    pub id: String,
    /// Its nodes as they are now.
    pub nodes: Vec<NodeTruth>,
    /// Audit events of the time.
    pub audit_events: Vec<RowTruth>,
    /// Alerts of the time.
    pub alerts: Vec<RowTruth>,
}

/// A node.
#[derive(Debug, Clone, Serialize)]
pub struct NodeTruth {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its address.
    pub address: String,
    /// The version it reports.
    pub version: String,
    /// Whether it answers.
    pub state: NodeState,
    /// How many disks it has.
    pub disks: usize,
}

/// A row of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowTruth {
    /// Its urn.
    pub id: String,
    /// The timestamp that the API shows.
    pub timestamp: String,
    /// Epoch seconds.
    pub at: i64,
    /// Epoch seconds from which on the API shows it.
    pub visible_at: i64,
}

/// What a namespace did in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BillingTruth {
    /// Objects created.
    pub objects_created: i64,
    /// Objects deleted.
    pub objects_deleted: i64,
    /// Bytes more, or fewer when negative.
    pub bytes_delta: i64,
    /// Bytes in.
    pub ingress: i64,
    /// Bytes out.
    pub egress: i64,
    /// Bytes held at the end.
    pub total_bytes: i64,
    /// Objects held at the end.
    pub total_objects: i64,
}

/// The truth from `from` to `to`, not before the log begins.
pub(crate) fn between(federation: &Federation, from: i64, to: i64) -> Truth {
    let topology = federation.topology.read();
    let rows = |vdc: usize, kind: Kind| {
        let log = federation.journal(vdc, kind);
        let rows = log.all(from, to).map(|row| RowTruth {
            timestamp: row.stamp(kind),
            at: row.at,
            visible_at: row.visible_at,
            id: row.id,
        });
        rows.collect()
    };
    let vdcs = topology.vdcs.iter().map(|vdc| VdcTruth {
        name: vdc.name.clone(),
        id: vdc.id.clone(),
        nodes: vdc
            .nodes
            .iter()
            .map(|node| NodeTruth {
                name: node.name.clone(),
                id: node.dashboard_id(),
                address: node.address.to_string(),
                version: node.profile.version().to_owned(),
                state: if vdc.down { NodeState::Down } else { node.state },
                disks: node.disks,
            })
            .collect(),
        audit_events: rows(vdc.index, Kind::Audit),
        alerts: rows(vdc.index, Kind::Alert),
    });
    Truth {
        from,
        to,
        vdcs: vdcs.collect(),
        namespaces: topology.namespaces.iter().cloned().collect(),
    }
}

/// What a namespace did from `start` to `end`, both on 5-minute marks.
pub(crate) fn billing(federation: &Federation, name: &str, start: i64, end: i64) -> BillingTruth {
    let seed = federation.config.seed;
    let delta = metering::window(seed, name, start, end);
    let held = metering::held(seed, name, end);
    BillingTruth {
        objects_created: delta.objects_created,
        objects_deleted: delta.objects_deleted,
        bytes_delta: delta.bytes,
        ingress: delta.ingress,
        egress: delta.egress,
        total_bytes: held.bytes,
        total_objects: held.objects,
    }
}
