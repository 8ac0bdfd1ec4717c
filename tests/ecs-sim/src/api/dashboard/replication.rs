//! Replication groups, their links, and the other VDCs as seen from here.

use super::points::{Points, Value};
use super::{hal, single};
use crate::api::Answer;
use crate::json::Obj;
use crate::seed::{of_name, uuid};
use crate::topology::Vdc;

fn group_id(points: &Points<'_>) -> String {
    format!("Replication_Group:{}", points.ask.topology.replication_group)
}

pub(super) fn groups(points: &Points<'_>, zone: &str) -> Answer {
    let href = format!("/dashboard/zones/{zone}/replicationgroups");
    hal(points.ask, "replicationgroups List", &href, |l| {
        l.object(|o| write_group(points, o));
    })
}

pub(super) fn group(points: &Points<'_>, id: &str) -> Answer {
    if id == group_id(points) {
        single(|o| write_group(points, o))
    } else {
        Answer::not_found()
    }
}

fn write_group(points: &Points<'_>, o: &mut Obj<'_>) {
    let id = group_id(points);
    let zones = points.ask.topology.vdcs.len();
    o.object("_links", |o| {
        o.object("self", |o| {
            o.text("href", &format!("/dashboard/replicationgroups/{id}"));
        });
        for part in ["datatables", "rglinks"] {
            o.object(part, |o| {
                o.text("href", &format!("/dashboard/replicationgroups/{id}/{part}"));
            });
        }
    });
    o.text("apiChange", "1");
    o.text("id", &id);
    o.text("name", "rg1");
    points.count(o, "numZones", zones);
    write_traffic(points, o, of_name(&id) ^ points.ask.vdc.index as u64, zones > 1);
    points.unknown(o);
}

/// Pending sizes, traffic and the recovery point; nothing of it moves when the VDC is alone.
pub(super) fn write_traffic(points: &Points<'_>, o: &mut Obj<'_>, what: u64, is_federated: bool) {
    let pending = |salt: u64| {
        if is_federated {
            points.gauges.draw(what ^ salt, points.at, 1 << 26)
        } else {
            0
        }
    };
    points.scalar(
        o,
        "chunksRepoPendingReplicationTotalSize",
        Value::Whole(pending(1)),
    );
    points.scalar(
        o,
        "chunksJournalPendingReplicationTotalSize",
        Value::Whole(pending(2)),
    );
    points.scalar(o, "chunksPendingXorTotalSize", Value::Whole(0));
    for (family, salt) in [("replicationIngressTraffic", 3), ("replicationEgressTraffic", 4)] {
        if is_federated {
            points.current(
                o,
                family,
                "",
                "Bandwidth",
                points.rate(what ^ salt, points.at, 200),
            );
        } else {
            points.none(o, family);
        }
    }
    if is_federated {
        let lag = points.gauges.draw(what ^ 5, points.at, 900).cast_signed();
        o.quoted("replicationRpoTimestamp", points.at - lag);
    }
}

fn others<'a>(points: &Points<'a>) -> impl Iterator<Item = &'a Vdc> {
    let here = points.ask.vdc.index;
    points
        .ask
        .topology
        .vdcs
        .iter()
        .filter(move |vdc| vdc.index != here)
}

fn link_id(points: &Points<'_>, other: &Vdc) -> String {
    uuid(&[
        points.ask.federation.config.seed,
        0x11,
        points.ask.vdc.index as u64,
        other.index as u64,
    ])
}

pub(super) fn links(points: &Points<'_>, id: &str) -> Answer {
    if id != group_id(points) {
        return Answer::not_found();
    }
    hal(
        points.ask,
        "rglinks List",
        &format!("/dashboard/replicationgroups/{id}/rglinks"),
        |l| {
            for other in others(points) {
                l.object(|o| write_link(points, o, other));
            }
        },
    )
}

pub(super) fn link(points: &Points<'_>, id: &str) -> Answer {
    match others(points).find(|other| link_id(points, other) == id) {
        Some(other) => single(|o| write_link(points, o, other)),
        None => Answer::not_found(),
    }
}

fn write_link(points: &Points<'_>, o: &mut Obj<'_>, other: &Vdc) {
    let id = link_id(points, other);
    o.object("_links", |o| {
        o.object("self", |o| o.text("href", &format!("/dashboard/rglinks/{id}")));
    });
    o.text("apiChange", "1");
    o.text("id", &id);
    o.text("rgName", "rg1");
    o.text("zone1Name", &points.ask.vdc.name);
    o.text("zone2Name", &other.name);
    o.text("rglinkStatus", if other.down { "Failed" } else { "Good" });
    write_traffic(points, o, of_name(&id), true);
}

pub(super) fn hosted_zones(points: &Points<'_>) -> Answer {
    hal(
        points.ask,
        "hostedzone List",
        "/dashboard/zones/hostedzone",
        |l| {
            for other in others(points) {
                l.object(|o| {
                    o.object("_links", |o| {
                        o.object("self", |o| {
                            o.text("href", &format!("/dashboard/zones/{}", other.id));
                        });
                    });
                    o.text("apiChange", "1");
                    o.text("id", &other.id);
                    o.text("name", &other.name);
                    points.count(o, "numNodes", other.nodes.len());
                    let rate = |at| points.rate(of_name(&other.id), at, 200);
                    // Seen from another zone, `Current` has two points.
                    for family in ["replicationIngressTraffic", "replicationEgressTraffic"] {
                        o.array(&format!("{family}Current"), |l| {
                            for at in [points.at - 300, points.at] {
                                l.object(|o| {
                                    o.quoted("t", at);
                                    o.quoted("Bandwidth", rate(at).as_f64());
                                });
                            }
                        });
                    }
                });
            }
        },
    )
}
