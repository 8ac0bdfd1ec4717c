//! Port 9101: the ownership of directory tables as text, their state as XML. No token, no JSON.

use std::fmt::Write as _;

use super::{Answer, Ask};
use crate::fault::Oddity;
use crate::seed::{mix, uuid};
use crate::topology::{Node, NodeState};

const TYPES: [&str; 5] = ["OB", "CT", "SS", "PR", "MA"];

/// A directory table.
struct Table {
    urn: String,
    number: usize,
    kind: &'static str,
}

pub(super) fn answer(ask: &Ask<'_>) -> Answer {
    let path: Vec<&str> = ask.segments.iter().map(String::as_str).collect();
    match path[..] {
        ["diagnostic", "DumpOwnershipInfo"] => Answer::raw(200, "text/plain", &ownership(ask)),
        ["stats", "dt", "DTInitStat"] => Answer::raw(200, "application/xml", &states(ask)),
        _ => Answer::empty(404),
    }
}

fn tables(ask: &Ask<'_>) -> Vec<Table> {
    let group = ask
        .topology
        .replication_group
        .split(':')
        .nth(3)
        .unwrap_or_default();
    let count = ask.federation.config.directory_tables;
    let mut tables = Vec::with_capacity(count);
    // The number is that of all tables together; types and partitions share it out.
    let per_type = count.div_ceil(TYPES.len()).max(1);
    for number in 0..count {
        let kind = TYPES[number / per_type % TYPES.len()];
        let group = if matches!(kind, "SS" | "PR" | "MA") {
            ""
        } else {
            group
        };
        let partition = number % per_type;
        let urn = format!(
            "urn:storageos:OwnershipInfo:{}_{group}_{kind}_{partition}_{per_type}_{}:",
            ask.vdc.storage_pool,
            number % 3
        );
        tables.push(Table { urn, number, kind });
    }
    tables
}

fn owner<'a>(ask: &'a Ask<'_>, table: &Table) -> Option<&'a Node> {
    if ask.has(Oddity::DtUnowned) && table.number.is_multiple_of(7) {
        return None;
    }
    let up: Vec<_> = ask
        .vdc
        .nodes
        .iter()
        .filter(|node| node.state != NodeState::Down)
        .collect();
    up.get(table.number % up.len().max(1)).copied()
}

fn ownership(ask: &Ask<'_>) -> String {
    let mut text = String::new();
    let junk = ask.has(Oddity::DtJunkLines);
    if junk {
        text.push_str("Directory table ownership, as of now\n\n");
    }
    for table in tables(ask) {
        if junk && table.number.is_multiple_of(10) {
            text.push_str("OwnershipInfo: []\n  [owner: nobody]\n");
        }
        let owner = owner(ask, &table)
            .map(|node| format!("{}:9069", node.address))
            .unwrap_or_default();
        let epoch = uuid(&[ask.federation.config.seed, table.number as u64]);
        let _ = writeln!(
            text,
            "OwnershipInfo: [id: {}], [owner: {owner}], [cos: urn:storageos:VirtualArray:{}:], [version: 6], \
             [epoch: 1], [zkEpoch: {epoch}], [creationCompleted: true], [updateSequence: 2], \
             [lastChangeCause: RECLAIM]",
            table.urn, ask.vdc.storage_pool
        );
    }
    if ask.has(Oddity::DtNoFinalNewline) {
        text.truncate(text.trim_end().len());
    }
    text
}

/// What is wrong with a table, if anything: the name of the error, and whether its state is unknown.
fn error(ask: &Ask<'_>, table: &Table) -> Option<(&'static str, bool)> {
    let draw = mix(&[
        ask.federation.config.seed,
        0xd7,
        ask.vdc.index as u64,
        table.number as u64,
    ]);
    if ask.has(Oddity::DtErrors) {
        match draw % 9 {
            0 => Some(("ERROR_RPC_CLIENT_NO_RESPONSE", true)),
            1 | 2 => Some(("ERROR_INIT", false)),
            3 => Some(("ERROR_JOURNAL_REPLAY", false)),
            _ => None,
        }
    } else {
        // One table in the VDC is always out of order.
        (table.number == 5).then_some(("ERROR_INIT", false))
    }
}

fn states(ask: &Ask<'_>) -> String {
    let tables = tables(ask);
    let mut text = String::from("<dtInitStat>");
    write_entry(ask, &mut text, &tables.iter().collect::<Vec<_>>(), None);
    for kind in TYPES {
        for level in 0..3 {
            let of_kind: Vec<_> = tables
                .iter()
                .filter(|table| table.kind == kind && table.number % 3 == level)
                .collect();
            if !of_kind.is_empty() {
                write_entry(ask, &mut text, &of_kind, Some((kind, level)));
            }
        }
    }
    text.push_str("</dtInitStat>");
    text
}

fn write_entry(ask: &Ask<'_>, text: &mut String, tables: &[&Table], of: Option<(&str, usize)>) {
    let failed: Vec<_> = tables
        .iter()
        .filter_map(|table| error(ask, table).map(|(name, unknown)| (*table, name, unknown)))
        .collect();
    let unknown = failed.iter().filter(|(_, _, unknown)| *unknown).count();
    text.push_str("<entry>");
    if let Some((kind, level)) = of {
        let _ = write!(text, "<type>{kind}</type><level>{level}</level>");
    }
    let _ = write!(
        text,
        "<total_dt_num>{}</total_dt_num><unready_dt_num>{}</unready_dt_num><unknown_dt_num>{unknown}</unknown_dt_num>",
        tables.len(),
        failed.len() - unknown
    );
    if of.is_some() {
        for name in [
            "ERROR_RPC_CLIENT_NO_RESPONSE",
            "ERROR_INIT",
            "ERROR_JOURNAL_REPLAY",
        ] {
            let urns: Vec<_> = failed
                .iter()
                .filter(|(_, other, _)| *other == name)
                .map(|(table, ..)| table.urn.as_str())
                .collect();
            if !urns.is_empty() {
                let comma = if ask.has(Oddity::DtErrors) { " , " } else { ", " };
                let _ = write!(text, "<{name}>[{}]</{name}>", urns.join(comma));
            }
        }
    }
    text.push_str("</entry>\n");
}
