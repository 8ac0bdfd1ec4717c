//! Every record that the source had within the observed span is there, and none that it had not.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Findings, History, Rule};
use crate::record::Micros;

/// How many single records are named; of more only the number is told.
const NAMED: usize = 5;

/// Judges what was stored by what there was.
pub(super) fn check(history: &History, findings: &mut Findings) {
    let Some(truth) = history.truth() else { return };
    let mut stored: HashMap<(&str, &str), Micros> = HashMap::new();
    for (at, send) in history.sends() {
        let items = send.items.iter().filter(|item| item.stored && !item.failure);
        for item in items {
            stored.entry((&item.kind, &item.key)).or_insert(at);
        }
    }
    let mut known: HashSet<(&str, &str)> = HashSet::new();
    let mut missing: BTreeMap<&str, Vec<(i64, &str)>> = BTreeMap::new();
    for record in &truth.records {
        known.insert((&record.kind, &record.key));
        findings.records += usize::from(record.due);
        if record.due && !stored.contains_key(&(&*record.kind, &*record.key)) {
            missing
                .entry(&record.kind)
                .or_default()
                .push((record.time, &record.key));
        }
    }
    for (kind, mut records) in missing {
        records.sort_unstable();
        for (time, key) in records.iter().take(NAMED) {
            let at = moment(history, *time);
            let text = format!("{kind} {key} of second {time} was never stored");
            findings.violated(Rule::Complete, at, text);
        }
        if records.len() > NAMED {
            let text = format!("{} records of {kind} were never stored", records.len());
            findings.violated(Rule::Complete, moment(history, records[NAMED].0), text);
        }
    }
    let kinds: HashSet<&str> = truth.records.iter().map(|record| &*record.kind).collect();
    for ((kind, key), at) in stored {
        if kinds.contains(kind) && !known.contains(&(kind, key)) {
            findings.violated(
                Rule::Complete,
                at,
                format!("{kind} {key} was stored and never was"),
            );
        }
    }
}

/// Where in the recording a second since 1970 is.
fn moment(history: &History, second: i64) -> Micros {
    let second = Micros::try_from(second).unwrap_or(0);
    second
        .saturating_mul(1_000_000)
        .saturating_sub(history.setup().epoch)
}
