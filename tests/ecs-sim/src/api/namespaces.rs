//! Namespaces, their quotas, and the capacity of a VDC. Must never sort pages differently from one call to the
//! next.

use super::{Answer, Ask};
use crate::fault::Oddity;
use crate::json::{self, Obj};
use crate::seed::{hex, mix, of_name};

const GB: u64 = 1_000_000_000;

pub(super) fn list(ask: &Ask<'_>) -> Answer {
    let query = &ask.request.query;
    let limit = query.number("limit").filter(|limit| *limit > 0);
    let size = limit.unwrap_or(ask.federation.config.page_size);
    let marker = query.get("marker").filter(|marker| !marker.is_empty());
    let prefix = query
        .get("name")
        .map(|name| name.trim_end_matches('*'))
        .unwrap_or_default();
    let mut names: Vec<&str> = ask.topology.namespaces.iter().map(String::as_str).collect();
    if marker.is_some() && ask.has(Oddity::NamespacesChange) {
        names.pop();
        names.push("zz-made-between-pages");
    }
    let rest = names
        .iter()
        .filter(|name| name.starts_with(prefix) && marker.is_none_or(|marker| **name > marker));
    let page: Vec<&str> = rest.clone().take(size).copied().collect();
    let is_last = rest.count() <= size;
    let text = json::object(|o| {
        o.array("namespace", |l| {
            for name in &page {
                l.object(|o| write_entry(name, o));
            }
        });
        if let Some(limit) = limit {
            o.raw("MaxNamespaces", limit);
        }
        write_marker(ask, o, page.last().copied(), is_last, "/object/namespaces");
    });
    Answer::either("namespaces", text)
}

fn write_entry(name: &str, o: &mut Obj<'_>) {
    o.text("name", name);
    o.text("id", name);
    o.object("link", |o| {
        o.text("rel", "self");
        o.text("href", &format!("/object/namespaces/namespace/{name}"));
    });
    o.text("root_user_password", root_password());
}

/// A secret that some releases put into the list.
pub(crate) fn root_password() -> &'static str {
    "CANARY-root_user_password"
}

/// The end of a page: `NextMarker`, or one of the ways to say that there is none.
pub(super) fn write_marker(ask: &Ask<'_>, o: &mut Obj<'_>, last: Option<&str>, is_last: bool, path: &str) {
    if ask.has(Oddity::MarkerLoop) {
        o.text(
            "NextMarker",
            ask.topology.namespaces.first().map_or("loop", String::as_str),
        );
    } else if !is_last {
        let marker = last.unwrap_or_default();
        o.text("NextMarker", marker);
        o.text("NextPageLink", &format!("{path}?marker={marker}"));
    } else if ask.has(Oddity::MarkerNull) {
        o.null("NextMarker");
    } else if !ask.has(Oddity::MarkerAbsent) {
        o.text("NextMarker", "");
    }
}

fn known<'a>(ask: &'a Ask<'_>, name: &str) -> Option<&'a str> {
    ask.topology.namespaces.get(name).map(String::as_str)
}

pub(super) fn details(ask: &Ask<'_>, name: &str) -> Answer {
    let Some(name) = known(ask, name) else {
        return Answer::not_found();
    };
    let text = json::object(|o| {
        write_entry(name, o);
        o.text("default_data_services_vpool", &ask.topology.replication_group);
        o.array("allowed_vpools_list", |_| {});
        o.array("disallowed_vpools_list", |_| {});
        o.text("namespace_admins", "root");
        o.text("is_encryption_enabled", "false");
        o.raw("is_stale_allowed", true);
        o.raw("is_compliance_enabled", false);
        o.raw("default_bucket_block_size", -1);
        o.object("retention_classes", |o| o.array("retention_class", |_| {}));
    });
    Answer::either("namespace", text)
}

pub(super) fn quota(ask: &Ask<'_>, name: &str) -> Answer {
    let Some(name) = known(ask, name) else {
        return Answer::not_found();
    };
    let is_set = of_name(name).is_multiple_of(3);
    let text = json::object(|o| {
        o.text("namespace", name);
        o.raw("blockSize", if is_set { 200 } else { -1 });
        o.raw("notificationSize", if is_set { 150 } else { -1 });
        if ask.node.profile.is_at_least_3_6() {
            o.raw("blockSizeInCount", -1);
            o.raw("notificationSizeInCount", -1);
        }
    });
    Answer::either("namespace_quota_details", text)
}

pub(super) fn capacity(ask: &Ask<'_>) -> Answer {
    let space = ask
        .federation
        .gauges(ask.has(Oddity::HugeValues))
        .vdc(ask.vdc, ask.now);
    // Usable space behind erasure coding 12+4.
    let provisioned = (space.total - space.reserved) / 4 * 3 / GB;
    let free = space.free() / 4 * 3 / GB;
    let text = json::object(|o| {
        if ask.has(Oddity::WrappedCapacity) {
            o.object("cluster_capacity", |o| {
                o.quoted("totalProvisioned_gb", provisioned);
                o.quoted("totalFree_gb", free);
            });
        } else {
            o.raw("totalProvisioned_gb", provisioned);
            o.raw("totalFree_gb", free);
        }
    });
    Answer::either("cluster_capacity", text)
}

/// A number that belongs to a namespace, for what has no other source.
pub(super) fn draw(ask: &Ask<'_>, name: &str, salt: u64) -> u64 {
    mix(&[ask.federation.config.seed, of_name(name), salt])
}

/// An opaque text that belongs to a namespace.
pub(super) fn opaque(ask: &Ask<'_>, name: &str) -> String {
    hex(&[ask.federation.config.seed, of_name(name)], 12)
}
