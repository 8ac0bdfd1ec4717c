//! Buckets of a namespace and their quotas. Names are a pure function of the namespace.

use super::{Answer, Ask, namespaces};
use crate::json;

/// The names of a namespace's buckets.
pub(super) fn names(ask: &Ask<'_>) -> Vec<String> {
    let mut names: Vec<_> = (0..ask.federation.config.buckets_per_namespace)
        .map(|index| format!("bucket{}", index + 1))
        .collect();
    names.sort();
    names
}

pub(super) fn list(ask: &Ask<'_>) -> Answer {
    let query = &ask.request.query;
    let Some(namespace) = query.get("namespace") else {
        return Answer::error(400, 1004, "namespace is required");
    };
    if !ask.topology.namespaces.contains(namespace) {
        return Answer::not_found();
    }
    let size = query
        .number("limit")
        .unwrap_or(ask.federation.config.page_size)
        .max(1);
    let marker = query.get("marker").unwrap_or_default();
    let all = names(ask);
    let rest: Vec<_> = all.iter().filter(|name| name.as_str() > marker).collect();
    let page = &rest[..rest.len().min(size)];
    let text = json::object(|o| {
        o.array("object_bucket", |l| {
            for name in page {
                l.object(|o| {
                    o.text("name", name);
                    o.text("id", &format!("{namespace}.{name}"));
                    o.text("namespace", namespace);
                    o.text("vpool", &ask.topology.replication_group);
                    o.text("owner", &namespaces::opaque(ask, namespace));
                    o.text("created", "2026-01-05T08:30:00.000Z");
                    o.raw("locked", false);
                    o.raw("block_size", -1);
                    o.raw("notification_size", -1);
                    o.text("softquota", "");
                    o.raw("fs_access_enabled", false);
                    o.text("is_encryption_enabled", "false");
                    o.raw("retention", namespaces::draw(ask, name, 1) % 2 * 86_400);
                });
            }
        });
        o.raw("MaxBuckets", size);
        let last = page.last().map(|name| name.as_str());
        namespaces::write_marker(ask, o, last, rest.len() <= size, "/object/bucket");
    });
    Answer::either("object_buckets", text)
}

pub(super) fn quota(ask: &Ask<'_>, name: &str) -> Answer {
    let Some(namespace) = ask
        .request
        .query
        .get("namespace")
        .filter(|_| names(ask).iter().any(|known| known == name))
    else {
        return Answer::not_found();
    };
    let text = json::object(|o| {
        if ask.node.profile.has_long_billing() {
            o.text("bucketname", name);
            o.text("namespace", namespace);
        }
        o.raw("blockSize", 2);
        o.raw("notificationSize", 1);
        if ask.node.profile.has_long_billing() {
            o.raw("blockSizeInCount", -1);
            o.raw("notificationSizeInCount", -1);
        }
    });
    Answer::either("bucket_quota_details", text)
}
