//! The dashboards: always JSON, lists in a HAL wrapper. Must never show a figure that the gauges do not give.

mod node;
mod points;
mod replication;
mod zone;

use super::{Answer, Ask};
use crate::fault::Oddity;
use crate::json::{self, Arr};
use crate::profile::Profile;
use points::Points;

/// Answers what comes after `/dashboard`.
pub(super) fn answer(ask: &Ask<'_>, path: &[&str]) -> Answer {
    let points = Points::new(ask);
    match path {
        ["zones", "localzone"] => single(|o| zone::write_zone(&points, o)),
        ["zones", "localzone", "nodes"] => node::list(&points, "/dashboard/zones/localzone/nodes"),
        ["zones", "localzone", "storagepools"] => zone::pools(&points),
        ["zones", "localzone", "replicationgroups"] => replication::groups(&points, "localzone"),
        ["zones", "hostedzone", "replicationgroups"] => replication::groups(&points, "hostedzone"),
        [
            "zones",
            "localzone",
            which @ ("rglinksFailed" | "rglinksBootstrap"),
        ] => hal(
            ask,
            &format!("{which}List"),
            &format!("/dashboard/zones/localzone/{which}"),
            |_| {},
        ),
        ["zones", "localzone", "disks"] if ask.node.profile < Profile::V4_3 => node::all_disks(&points),
        ["zones", "hostedzone"] => replication::hosted_zones(&points),
        ["nodes", id] => node::one(&points, id),
        ["nodes", id, "disks"] => node::disks(&points, id),
        ["nodes", id, "processes"] => node::processes(&points, id),
        ["processes", id] => node::process(&points, id),
        ["disks", id] => node::disk(&points, id),
        ["storagepools", id] if *id == ask.vdc.storage_pool => single(|o| zone::write_pool(&points, o)),
        ["storagepools", id, "nodes"] if *id == ask.vdc.storage_pool => {
            node::list(&points, &format!("/dashboard/storagepools/{id}/nodes"))
        }
        ["replicationgroups", id] => replication::group(&points, id),
        ["replicationgroups", id, "rglinks"] => replication::links(&points, id),
        ["rglinks", id] => replication::link(&points, id),
        _ => Answer::not_found(),
    }
}

fn single(fill: impl FnOnce(&mut json::Obj<'_>)) -> Answer {
    Answer::json(json::object(fill))
}

/// A list in its wrapper.
fn hal(ask: &Ask<'_>, title: &str, href: &str, fill: impl FnOnce(&mut Arr<'_>)) -> Answer {
    let old = ask.node.profile == Profile::V2_2 || ask.has(Oddity::InstancesKey);
    let key = if old { "instances" } else { "_instances" };
    single(|o| {
        o.text("title", title);
        o.object("_links", |o| o.object("self", |o| o.text("href", href)));
        o.object("_embedded", |o| o.array(key, fill));
    })
}
