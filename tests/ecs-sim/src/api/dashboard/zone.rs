//! The local zone and its storage pool: counts, space, chunks, erasure coding, recovery, garbage, traffic.

use super::points::{Points, Value};
use super::{hal, replication};
use crate::api::Answer;
use crate::gauges::{self, Garbage, Space};
use crate::journal::Kind;
use crate::json::Obj;
use crate::seed::of_name;

const CHUNKS: [&str; 7] = [
    "Repo",
    "L0Btree",
    "L0Journal",
    "L1Btree",
    "L1Journal",
    "Xor",
    "GeoCopy",
];

pub(super) fn pools(points: &Points<'_>) -> Answer {
    let title = "storagepools List";
    hal(
        points.ask,
        title,
        "/dashboard/zones/localzone/storagepools",
        |l| l.object(|o| write_pool(points, o)),
    )
}

/// The local zone, which is the whole VDC.
pub(super) fn write_zone(points: &Points<'_>, o: &mut Obj<'_>) {
    let vdc = points.ask.vdc;
    o.object("_links", |o| {
        o.object("self", |o| o.text("href", "/dashboard/zones/localzone"));
        for part in [
            "nodes",
            "storagepools",
            "replicationgroups",
            "rglinksFailed",
            "rglinksBootstrap",
        ] {
            o.object(part, |o| {
                o.text("href", &format!("/dashboard/zones/localzone/{part}"));
            });
        }
    });
    o.text("apiChange", "1");
    o.text("id", "localzone");
    o.text("name", &vdc.name);
    write_alerts(points, o);
    write_common(points, o);
    replication::write_traffic(points, o, of_name(&vdc.name), points.ask.topology.vdcs.len() > 1);
    if points.ask.node.profile.has_performance_fields() {
        write_performance(points, o);
        write_node_averages(points, o);
    }
    points.unknown(o);
}

/// The storage pool; a VDC has one.
pub(super) fn write_pool(points: &Points<'_>, o: &mut Obj<'_>) {
    let pool = &points.ask.vdc.storage_pool;
    o.object("_links", |o| {
        o.object("self", |o| {
            o.text("href", &format!("/dashboard/storagepools/{pool}"));
        });
        o.object("nodes", |o| {
            o.text("href", &format!("/dashboard/storagepools/{pool}/nodes"));
        });
    });
    o.text("apiChange", "1");
    o.text("id", pool);
    o.text("name", "sp1");
    points.count(o, "numNodesWithSufficientDiskSpace", points.ask.vdc.nodes.len());
    write_common(points, o);
    if points.ask.node.profile.has_performance_fields() {
        o.text("capacityRebalanceEnabled", "true");
        for family in [
            "capacityRebalanced",
            "capacityPendingRebalancing",
            "capacityRebalanceRate",
        ] {
            let tag = if family.ends_with("Rate") {
                "Rate"
            } else {
                "Capacity"
            };
            points.current(
                o,
                family,
                "",
                tag,
                points.rate(of_name(family), points.at, 1 << 20),
            );
        }
    }
    points.unknown(o);
}

fn write_alerts(points: &Points<'_>, o: &mut Obj<'_>) {
    let ask = points.ask;
    let log = ask.federation.journal(ask.vdc.index, Kind::Alert);
    let open = log.latest(ask.now, 500, |row| !row.is_acknowledged());
    for severity in ["Critical", "Error", "Warning", "Info"] {
        let count = open
            .iter()
            .filter(|row| row.severity().eq_ignore_ascii_case(severity))
            .count();
        points.latest(
            o,
            &format!("alertsNumUnack{severity}"),
            "Count",
            Value::Whole(count as u64),
        );
    }
}

fn write_common(points: &Points<'_>, o: &mut Obj<'_>) {
    let (ask, gauges) = (points.ask, points.gauges);
    let nodes = gauges::nodes(ask.vdc);
    points.count(o, "numNodes", nodes.all);
    points.count(o, "numGoodNodes", nodes.good);
    points.count(o, "numBadNodes", nodes.bad);
    points.count(o, "numMaintenanceNodes", nodes.maintenance);
    write_disk_counts(points, o, gauges.disks_of_vdc(ask.vdc));
    let space = |at| gauges.vdc(ask.vdc, at);
    write_space(points, o, space(points.at), space);
    write_breakdown(points, o, space(points.at));
    write_chunks(points, o, space(points.at));
    write_coding(points, o, space(points.at));
    write_garbage(points, o);
}

pub(super) fn write_disk_counts(points: &Points<'_>, o: &mut Obj<'_>, disks: gauges::Counts) {
    points.count(o, "numDisks", disks.all);
    points.count(o, "numGoodDisks", disks.good);
    points.count(o, "numBadDisks", disks.bad);
    points.count(o, "numMaintenanceDisks", disks.maintenance);
    points.count(o, "numReadyToReplaceDisks", disks.bad);
}

/// Space by its families. The history of the free space does not take the reserve off, `Current` does.
pub(super) fn write_space(points: &Points<'_>, o: &mut Obj<'_>, now: Space, past: impl Fn(i64) -> Space) {
    let whole = Value::Whole;
    points.family(o, "diskSpaceTotal", "", "Space", whole(now.total), |at| {
        whole(past(at).total)
    });
    points.family(o, "diskSpaceAllocated", "", "Space", whole(now.allocated), |at| {
        whole(past(at).allocated)
    });
    points.family(o, "diskSpaceFree", "", "Space", whole(now.free()), |at| {
        let then = past(at);
        whole(then.total - then.allocated)
    });
    points.current(o, "diskSpaceReserved", "", "Space", whole(now.reserved));
    points.current(o, "diskSpaceOfflineTotal", "", "Space", whole(now.offline));
    o.array("allocatedCapacityForecast", |l| {
        l.object(|o| {
            o.text("unit", "day");
            o.text(
                "forecast",
                if now.allocated.is_multiple_of(2) {
                    "53"
                } else {
                    "N/A"
                },
            );
            o.text("history", "30");
            o.text("target", "80");
        });
    });
}

fn write_breakdown(points: &Points<'_>, o: &mut Obj<'_>, now: Space) {
    let user = now.allocated / 3 * 2;
    let metadata = now.allocated / 50;
    let cache = now.allocated / 100;
    let copies = now.allocated / 10;
    let protection = now.allocated - user - metadata - cache - copies;
    let parts = [
        ("UserData", user),
        ("SystemMetadata", metadata),
        ("LocalProtection", protection),
        ("GeoCopy", copies),
        ("GeoCache", cache),
    ];
    for (name, bytes) in parts {
        points.current(
            o,
            &format!("diskSpaceAllocated{name}"),
            "",
            "Capacity",
            Value::Whole(bytes),
        );
    }
}

fn write_chunks(points: &Points<'_>, o: &mut Obj<'_>, now: Space) {
    for kind in CHUNKS {
        let number = now.allocated / 134_217_728 / (1 + of_name(kind) % 7) + 1;
        let size = number * 132_845_649;
        let (total, mean) = if kind == "Repo" {
            ("TotalSealSize", "AvgSealSize")
        } else {
            ("TotalSize", "AvgSize")
        };
        points.scalar(o, &format!("chunks{kind}Number"), Value::Whole(number));
        points.scalar(o, &format!("chunks{kind}{total}"), Value::Whole(size));
        if !matches!(kind, "Xor" | "GeoCopy") {
            let mean_size = size as f64 / number as f64 + 0.03;
            points.scalar(o, &format!("chunks{kind}{mean}"), Value::Fraction(mean_size));
        }
    }
    points.scalar(o, "chunksGeoCacheCount", Value::Whole(12));
    points.scalar(o, "chunksGeoCacheTotalSize", Value::Whole(12 * 134_217_728));
}

fn write_coding(points: &Points<'_>, o: &mut Obj<'_>, now: Space) {
    let applicable = now.allocated / 4 * 3;
    let coded = applicable - applicable / 5000;
    let size = |bytes| move |_| Value::Whole(bytes);
    points.family(
        o,
        "chunksEcApplicableTotalSealSize",
        "",
        "Space",
        Value::Whole(applicable),
        size(applicable),
    );
    points.family(
        o,
        "chunksEcCodedTotalSealSize",
        "",
        "Space",
        Value::Whole(coded),
        size(coded),
    );
    points.family(
        o,
        "chunksEcCodedRatio",
        "",
        "Percent",
        Value::Fraction(99.98),
        |_| Value::Fraction(99.98),
    );
    let rate = |what: &'static str| move |at| points.rate(of_name(what), at, 5_000);
    points.family(o, "chunksEcRate", "", "Rate", rate("ec")(points.at), rate("ec"));
    points.scalar(o, "chunksEcCompleteTimeEstimate", Value::Fraction(0.0));
    points.family(
        o,
        "recoveryRate",
        "",
        "Rate",
        rate("recovery")(points.at),
        rate("recovery"),
    );
    points.family(
        o,
        "recoveryBadChunksTotalSize",
        "",
        "Space",
        Value::Whole(now.offline / 9),
        size(now.offline / 9),
    );
    points.scalar(o, "recoveryCompleteTimeEstimate", Value::Fraction(0.0));
}

fn write_garbage(points: &Points<'_>, o: &mut Obj<'_>) {
    let garbage = |what| points.gauges.garbage(points.ask.vdc, what, points.at);
    let (system, user) = (garbage(0x575), garbage(0x05e));
    let kinds: [(&str, Garbage); 3] = [
        ("Combined", system.plus(user)),
        ("System", system),
        ("User", user),
    ];
    for (name, garbage) in kinds {
        let parts = [
            ("Pending", garbage.pending),
            ("Reclaimed", garbage.reclaimed),
            ("TotalDetected", garbage.detected()),
            ("Unreclaimable", garbage.unreclaimable),
        ];
        for (part, bytes) in parts {
            points.current(o, &format!("gc{name}{part}"), "", "Capacity", Value::Whole(bytes));
        }
    }
    o.text("gcUserDataIsEnabled", "true");
    o.text("gcSystemMetadataIsEnabled", "true");
}

/// Transactions and disk bandwidth, which releases before 3.6 show of zones, pools and nodes.
pub(super) fn write_performance(points: &Points<'_>, o: &mut Obj<'_>) {
    for direction in ["Read", "Write"] {
        let families = [
            ("Latency", "Latency", 40),
            ("Bandwidth", "Bandwidth", 800),
            ("TransactionsPerSec", "TPS", 900),
        ];
        for (family, tag, bound) in families {
            let key = format!("transaction{direction}{family}");
            let rate = |at| points.rate(of_name(&key), at, bound);
            points.family(o, &key, "", tag, rate(points.at), rate);
        }
        for kind in ["Total", "Ec", "Cc", "Recovery", "Geo", "User", "Xor"] {
            let key = format!("disk{direction}Bandwidth{kind}");
            points.current(o, &key, "", "diskIO", points.rate(of_name(&key), points.at, 500));
        }
    }
    let point = |l: &mut crate::json::Arr<'_>, rate: &str| {
        l.object(|o| {
            o.quoted("t", points.at);
            o.text("Rate", rate);
        });
    };
    o.object("transactionErrors", |o| {
        o.array("all", |l| point(l, "0.1"));
        o.array("errorSuccessTotals", |l| {
            l.object(|o| {
                o.text("successTotal", "98000");
                o.text("errorTotal", "12");
            });
        });
        o.array("types", |l| {
            l.object(|o| {
                o.text("errorType", "404 (S3)");
                o.text("category", "User");
                o.text("errorCount", "9");
                o.array("errorRate", |l| point(l, "0.02"));
            });
        });
    });
    o.object("transactionErrorsCurrent", |o| {
        o.array("all", |l| point(l, "0.1"));
        o.array("S3", |l| point(l, "0.1"));
    });
}

fn write_node_averages(points: &Points<'_>, o: &mut Obj<'_>) {
    for (family, tag, bound) in super::node::LOAD {
        let key = format!("{family}Avg");
        let rate = |at| points.rate(of_name(family), at, bound);
        points.family(o, &key, "", tag, rate(points.at), rate);
    }
}
