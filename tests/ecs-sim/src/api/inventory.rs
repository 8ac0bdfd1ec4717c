//! VDCs, nodes, storage pools, replication groups and the licence. The secret keys are in the answers, as in the
//! real ones: they are canaries.

use super::{Answer, Ask};
use crate::json::{self, Obj};
use crate::topology::Vdc;

const CREATED: i64 = 1_514_793_600_000;

pub(super) fn vdc(ask: &Ask<'_>, which: &str) -> Answer {
    let found = if which == "local" {
        Some(ask.vdc)
    } else {
        ask.topology
            .vdcs
            .iter()
            .find(|vdc| vdc.id == which || vdc.name == which)
    };
    match found {
        Some(vdc) => Answer::either("vdc", json::object(|o| write_vdc(ask, vdc, o))),
        None => Answer::not_found(),
    }
}

pub(super) fn vdcs(ask: &Ask<'_>) -> Answer {
    let text = json::object(|o| {
        o.array("vdc", |l| {
            for vdc in &ask.topology.vdcs {
                l.object(|o| write_vdc(ask, vdc, o));
            }
        });
    });
    Answer::either("vdcs", text)
}

fn write_vdc(ask: &Ask<'_>, vdc: &Vdc, o: &mut Obj<'_>) {
    let addresses = vdc.addresses();
    o.text("name", &vdc.name);
    o.text("id", &vdc.id);
    o.object("link", |o| {
        o.text("rel", "self");
        o.text("href", &format!("/object/vdcs/vdcid/{}", vdc.id));
    });
    o.raw("creation_time", CREATED);
    o.raw("inactive", false);
    o.null("global");
    o.null("remote");
    o.null("vdc");
    o.raw("internal", false);
    o.array("tags", |_| {});
    o.text("vdcId", &vdc.id);
    o.text("vdcName", &vdc.name);
    o.text("interVdcEndPoints", &addresses);
    if ask.node.profile.has_networks() {
        o.text("interVdcCmdEndPoints", &addresses);
        o.text("managementEndPoints", &addresses);
        o.raw("local", vdc.index == ask.vdc.index);
        o.raw("hosted", false);
        o.raw("is_encryption_enabled", false);
    }
    o.text("secretKeys", &vdc.secret);
    o.raw("permanentlyFailed", false);
}

pub(super) fn nodes(ask: &Ask<'_>) -> Answer {
    let everywhere = ask.request.query.get("scope") == Some("geo");
    let vdcs = ask
        .topology
        .vdcs
        .iter()
        .filter(|vdc| everywhere || vdc.index == ask.vdc.index);
    let text = json::object(|o| {
        o.array("node", |l| {
            for vdc in vdcs {
                for (number, node) in vdc.nodes.iter().enumerate() {
                    l.object(|o| write_node(ask, node, number, o));
                }
            }
        });
    });
    Answer::either("nodes", text)
}

fn write_node(ask: &Ask<'_>, node: &crate::topology::Node, number: usize, o: &mut Obj<'_>) {
    let address = node.address.to_string();
    o.text("nodename", &node.name);
    o.text("ip", &address);
    o.text("nodeid", &node.dashboard_id());
    o.text("rackId", "red");
    o.text("version", node.profile.version());
    o.raw("isLocal", node.serial == ask.node.serial);
    if ask.request.query.has("lockdown") {
        o.text("status", "UNLOCKED");
    }
    if ask.node.profile.has_networks() {
        o.text("mgmt_ip", &address);
        o.text("geo_ip", &address);
        o.text("data_ip", &node.data_address.to_string());
        o.text("private_ip", &format!("169.254.1.{}", number % 250 + 1));
    }
    if ask.node.profile.is_at_least_3_6() {
        o.text("data2_ip", &node.data_address.to_string());
        o.text("psnt", "");
        o.text("label", "DRIVE_TECH_HDD");
    }
    if ask.node.profile.is_objectscale() {
        o.text("security_status", "NonSED");
        o.text("serviceTag", &format!("SIM{:04}", node.serial));
    }
}

pub(super) fn storage_pools(ask: &Ask<'_>) -> Answer {
    let wanted = ask.request.query.get("vdc-id");
    let vdcs = ask.topology.vdcs.iter();
    let vdcs = vdcs.filter(|vdc| wanted.map_or(vdc.index == ask.vdc.index, |id| id == vdc.id));
    let text = json::object(|o| {
        o.array("varray", |l| {
            for vdc in vdcs {
                l.object(|o| {
                    o.text("id", &format!("urn:storageos:VirtualArray:{}", vdc.storage_pool));
                    o.text("name", "sp1");
                    o.raw("isProtected", true);
                    o.text("isColdStorageEnabled", "false");
                    o.raw("numberOfDataBlocks", 12);
                    o.raw("numberOfCodeBlocks", 4);
                    o.raw("warningAlertAt", 70);
                    o.raw("errorAlertAt", 80);
                    o.raw("criticalAlertAt", -1);
                    o.raw("status", 0);
                    o.text("label", "");
                    o.text("driveTechnology", "HDD");
                    o.text("description", "");
                });
            }
        });
    });
    Answer::either("varrays", text)
}

pub(super) fn replication_groups(ask: &Ask<'_>) -> Answer {
    let text = json::object(|o| {
        o.array("data_service_vpool", |l| {
            l.object(|o| {
                o.text("name", "rg1");
                o.text("id", &ask.topology.replication_group);
                o.text("description", "");
                o.raw("creation_time", CREATED);
                o.raw("isAllowAllNamespaces", true);
                o.raw("isFullRep", false);
                o.raw("enable_rebalancing", true);
                o.raw("use_replication_target", false);
                o.array("varrayMappings", |l| {
                    for vdc in &ask.topology.vdcs {
                        l.object(|o| {
                            o.text("name", &vdc.id);
                            o.text(
                                "value",
                                &format!("urn:storageos:VirtualArray:{}", vdc.storage_pool),
                            );
                            o.raw("is_replication_target", false);
                        });
                    }
                });
            });
        });
    });
    Answer::either("data_service_vpools", text)
}

pub(super) fn license(ask: &Ask<'_>) -> Answer {
    let text = json::object(|o| {
        o.array("license_feature", |l| {
            l.object(|o| {
                o.text("serial", &format!("SIM{:08}", ask.vdc.index + 1));
                o.text("version", "3.0");
                o.text("issued_date", "01/02/2026");
                o.text("expiration_date", "01/02/2036");
                o.text("model", "ViPR_Unstructured");
                o.text("product", "ECS");
                o.text("site_id", "UNKNOWN");
                o.text("issuer", "EMC");
                o.text("notice", "ACTIVATED TO ecs-sim");
                o.raw("licensed_ind", true);
                o.raw("expired_ind", false);
                o.raw("trial_license_ind", false);
                o.text("license_id_indicator", "U");
                o.text("storage_capacity", "109951162777600");
                o.text("storage_capacity_unit", "TB");
            });
        });
        o.text("license_text", &"# licence\n".repeat(200));
    });
    Answer::either("license", text)
}
