//! Nodes, their disks and their processes.

use super::points::{Points, Value};
use super::{hal, single, zone};
use crate::api::Answer;
use crate::gauges::Space;
use crate::json::Obj;
use crate::seed::{of_name, uuid};
use crate::topology::Node;

/// CPU, memory and network of a node, which releases before 3.6 show: family, tag, bound.
pub(super) const LOAD: [(&str, &str, u64); 9] = [
    ("nodeCpuUtilization", "Percent", 100),
    ("nodeMemoryUtilization", "Percent", 100),
    ("nodeMemoryUtilizationBytes", "Bytes", 64_000_000_000),
    ("nodeNicBandwidth", "Bandwidth", 2_000),
    ("nodeNicReceivedBandwidth", "Bandwidth", 1_000),
    ("nodeNicTransmittedBandwidth", "Bandwidth", 1_000),
    ("nodeNicUtilization", "Percent", 100),
    ("nodeNicReceivedUtilization", "Percent", 100),
    ("nodeNicTransmittedUtilization", "Percent", 100),
];

const PROCESSES: [&str; 27] = [
    "blobsvc",
    "cm",
    "coordinatorsvc",
    "dataheadsvc",
    "dtquery",
    "dtsm",
    "ecsportalsvc",
    "eventsvc",
    "fluxd",
    "georeceiver",
    "influxd",
    "metering",
    "objcontrolsvc",
    "resourcesvc",
    "throttler",
    "transformsvc",
    "vnest",
    "rm",
    "ssm",
    "sr",
    "stat",
    "storageserver",
    "nginx",
    "objhead",
    "provisionsvc",
    "authsvc",
    "dmsvc",
];

fn find<'a>(points: &Points<'a>, id: &str) -> Option<&'a Node> {
    // Releases from 3.1 on know the uuid; the older ones the address.
    let vdc = points.ask.vdc;
    vdc.by_id(id).or_else(|| {
        vdc.nodes
            .iter()
            .find(|node| node.profile.has_address_ids() && node.uuid == id)
    })
}

pub(super) fn list(points: &Points<'_>, href: &str) -> Answer {
    let leave_out = points.ask.has(crate::fault::Oddity::NodeWithoutId);
    hal(points.ask, "nodes List", href, |l| {
        for (number, node) in points.ask.vdc.nodes.iter().enumerate() {
            l.object(|o| write_node(points, o, node, !(leave_out && number == 0)));
        }
    })
}

pub(super) fn one(points: &Points<'_>, id: &str) -> Answer {
    match find(points, id) {
        Some(node) => single(|o| write_node(points, o, node, true)),
        None => Answer::not_found(),
    }
}

fn write_node(points: &Points<'_>, o: &mut Obj<'_>, node: &Node, with_id: bool) {
    let (ask, gauges) = (points.ask, points.gauges);
    let id = node.dashboard_id();
    o.object("_links", |o| {
        o.object("self", |o| o.text("href", &format!("/dashboard/nodes/{id}")));
        for part in ["disks", "processes"] {
            o.object(part, |o| o.text("href", &format!("/dashboard/nodes/{id}/{part}")));
        }
    });
    o.text("apiChange", "1");
    if with_id {
        o.text("id", &id);
    }
    o.text("displayName", &node.name);
    o.text("healthStatus", node.health(ask.vdc.down));
    zone::write_disk_counts(points, o, gauges.disks_of_node(node));
    o.text("storagePoolId", &ask.vdc.storage_pool);
    o.text("storagePoolName", "sp1");
    zone::write_space(points, o, gauges.node(node, points.at), |at| {
        gauges.node(node, at)
    });
    write_tiers(points, o, gauges.node(node, points.at));
    if ask.node.profile.has_performance_fields() {
        for (family, tag, bound) in LOAD {
            let rate = |at| points.rate(of_name(family) ^ node.serial, at, bound);
            points.family(o, family, "", tag, rate(points.at), rate);
        }
        zone::write_performance(points, o);
    }
    points.unknown(o);
}

/// The same quantities by chunk tier, and the share that is allocated.
fn write_tiers(points: &Points<'_>, o: &mut Obj<'_>, space: Space) {
    let percent = Value::Fraction(space.allocated as f64 * 100.0 / space.total.max(1) as f64);
    points.current(o, "diskSpaceAllocatedPercentage", "", "Percent", percent);
    for (tier, share) in [("L1", 3), ("L2", 13)] {
        points.current(
            o,
            "diskSpaceTotal",
            tier,
            "Space",
            Value::Whole(space.total / share),
        );
        points.current(
            o,
            "diskSpaceFree",
            tier,
            "Space",
            Value::Whole(space.free() / share),
        );
        points.current(
            o,
            "diskSpaceAllocated",
            tier,
            "Space",
            Value::Whole(space.allocated / share),
        );
    }
}

fn disk_id(points: &Points<'_>, node: &Node, slot: usize) -> String {
    uuid(&[
        points.ask.federation.config.seed,
        0xd15c,
        node.serial,
        slot as u64,
    ])
}

pub(super) fn disks(points: &Points<'_>, id: &str) -> Answer {
    let Some(node) = find(points, id) else {
        return Answer::not_found();
    };
    hal(
        points.ask,
        "disks List",
        &format!("/dashboard/nodes/{id}/disks"),
        |l| {
            for slot in 0..node.disks {
                l.object(|o| write_disk(points, o, node, slot));
            }
        },
    )
}

pub(super) fn all_disks(points: &Points<'_>) -> Answer {
    hal(
        points.ask,
        "disks List",
        "/dashboard/zones/localzone/disks",
        |l| {
            for node in &points.ask.vdc.nodes {
                for slot in 0..node.disks {
                    l.object(|o| write_disk(points, o, node, slot));
                }
            }
        },
    )
}

pub(super) fn disk(points: &Points<'_>, id: &str) -> Answer {
    let nodes = points.ask.vdc.nodes.iter();
    let mut disks = nodes.flat_map(|node| (0..node.disks).map(move |slot| (node, slot)));
    match disks.find(|(node, slot)| disk_id(points, node, *slot) == id) {
        Some((node, slot)) => single(|o| write_disk(points, o, node, slot)),
        None => Answer::not_found(),
    }
}

fn write_disk(points: &Points<'_>, o: &mut Obj<'_>, node: &Node, slot: usize) {
    let (ask, gauges) = (points.ask, points.gauges);
    let id = disk_id(points, node, slot);
    let is_bad = gauges.is_bad_disk(node, slot);
    o.object("_links", |o| {
        o.object("self", |o| o.text("href", &format!("/dashboard/disks/{id}")));
    });
    o.text("apiChange", "1");
    o.text("id", &id);
    o.text("displayName", &id);
    o.text("nodeId", &node.dashboard_id());
    o.text("nodeDisplayName", &node.name);
    o.quoted("slotId", slot + 1);
    o.text("healthStatus", if is_bad { "Bad" } else { "Good" });
    o.text("ssmL1Status", if is_bad { "Bad(PD DOWN)" } else { "Good(PD UP)" });
    o.text("ssmL2Status", if is_bad { "Bad(PD DOWN)" } else { "Good(PD UP)" });
    o.text("storagePoolId", &ask.vdc.storage_pool);
    o.text("storagePoolName", "sp1");
    let space = gauges.disk(node, slot, points.at);
    zone::write_space(points, o, space, |at| gauges.disk(node, slot, at));
    write_tiers(points, o, space);
    points.unknown(o);
}

pub(super) fn processes(points: &Points<'_>, id: &str) -> Answer {
    let Some(node) = find(points, id) else {
        return Answer::not_found();
    };
    let count = points
        .ask
        .federation
        .config
        .processes_per_node
        .min(PROCESSES.len());
    // The later releases have the list but nothing in it.
    let count = if points.ask.node.profile.is_objectscale() {
        0
    } else {
        count
    };
    hal(
        points.ask,
        "processes List",
        &format!("/dashboard/nodes/{id}/processes"),
        |l| {
            for name in &PROCESSES[..count] {
                l.object(|o| write_process(points, o, node, name));
            }
        },
    )
}

pub(super) fn process(points: &Points<'_>, id: &str) -> Answer {
    for node in &points.ask.vdc.nodes {
        let name = id
            .strip_prefix(&node.dashboard_id())
            .and_then(|rest| rest.strip_prefix('-'));
        if let Some(name) = name.filter(|name| PROCESSES.contains(name)) {
            return single(|o| write_process(points, o, node, name));
        }
    }
    Answer::not_found()
}

fn write_process(points: &Points<'_>, o: &mut Obj<'_>, node: &Node, name: &str) {
    let id = format!("{}-{name}", node.dashboard_id());
    let what = of_name(&id);
    o.object("_links", |o| {
        o.object("self", |o| o.text("href", &format!("/dashboard/processes/{id}")));
    });
    o.text("apiChange", "1");
    o.text("id", &id);
    o.text("displayName", name);
    o.text("processName", name);
    let families = [
        ("cpuUtilization", "Percent", 100),
        ("memoryUtilization", "Percent", 30),
        ("javaHeapUtilization", "Percent", 90),
    ];
    for (family, tag, bound) in families {
        let rate = |at| points.rate(what ^ of_name(family), at, bound);
        points.family(o, family, "", tag, rate(points.at), rate);
    }
    let bytes = |at| Value::Whole(1 << 28 | points.gauges.draw(what, at, 1 << 28));
    points.family(o, "memoryUtilizationBytes", "", "Bytes", bytes(points.at), bytes);
    points.current(o, "maxJavaHeapSize", "", "Bytes", Value::Whole(1 << 30));
    points.current(o, "threadCount", "", "Count", Value::Whole(40 + what % 200));
    o.array("restartTime", |l| {
        l.object(|o| {
            let age = (what % (30 * 86_400)).cast_signed();
            o.quoted("t", points.ask.federation.begin() - age);
            o.text("dummy", "1");
        });
    });
}
