//! Nothing is stored twice, and what is sent again has a reason.
//!
//! Owns the reasons. An event may be sent again where its sender could not know that it had arrived: the answer was
//! not given, came late, or the connection to the output was interfered with. And a new leader may send again what
//! its predecessor had in flight: what was sent shortly before the predecessor fell silent. Everything else means
//! that a checkpoint did not follow its acknowledgements.

use std::collections::{BTreeMap, HashMap};

use super::{Findings, History, Rule};
use crate::record::{Item, Micros};

/// An answer that takes so long may have been given up by then.
const LATE: Micros = 1_000_000;
/// How long before its end a leader may have sent what its successor sends again, beyond the time of a lease in which
/// it could not write checkpoints.
const IN_FLIGHT: Micros = 2_000_000;

/// What one leader sent again of what another had sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resends {
    /// The term in which it was sent before.
    pub(crate) from: u64,
    /// The term in which it was sent again.
    pub(crate) to: u64,
    /// How many events.
    pub(crate) events: usize,
}

/// One arrival of an id.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    at: Micros,
    request: u64,
    item: &'a Item,
}

/// Judges what was stored, and what was sent more than once.
pub(super) fn check(history: &History, findings: &mut Findings) {
    let mut arrivals: HashMap<&str, Vec<Arrival<'_>>> = HashMap::new();
    let mut order: Vec<&str> = Vec::new();
    let mut last: HashMap<u64, Micros> = HashMap::new();
    for (at, send) in history.sends() {
        for item in &send.items {
            let arrival = Arrival {
                at,
                request: send.number,
                item,
            };
            let of_id = arrivals.entry(&item.id).or_default();
            if of_id.is_empty() {
                order.push(&item.id);
            }
            of_id.push(arrival);
            if let Some(term) = item.term {
                last.insert(term, at);
            }
        }
    }
    let mut broken: HashMap<&str, Vec<(Micros, Micros)>> = HashMap::new();
    let mut between: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    for id in order {
        let of_id = &arrivals[id];
        stored_once(of_id, findings);
        for pair in of_id.windows(2) {
            let (before, again) = (pair[0], pair[1]);
            let (Some(from), Some(to)) = (before.item.term, again.item.term) else {
                continue;
            };
            let spans = broken
                .entry(&before.item.replica)
                .or_insert_with(|| history.broken(&before.item.replica, "output"));
            let free = |from, to| !spans.iter().any(|(begin, end)| *begin <= to && *end >= from);
            if from == to {
                let answered = history.answered(before.request);
                let in_time = answered.is_some_and(|at| at - before.at < LATE && at <= again.at);
                if before.request == again.request || (in_time && free(before.at, again.at)) {
                    let text = format!(
                        "replica {} sent event {id} ({}) again in term {to}, in requests {} and {}, though the first \
                         had been answered",
                        again.item.replica, again.item.kind, before.request, again.request
                    );
                    findings.violated(Rule::Once, again.at, text);
                }
                continue;
            }
            *between.entry((from, to)).or_default() += 1;
            let silent = last.get(&from).copied().unwrap_or(before.at);
            let allowed = history.setup().ttl + IN_FLIGHT;
            if silent > before.at + allowed && free(before.at, silent) {
                let text = format!(
                    "term {to} sent event {id} ({}) again, which term {from} had sent {} ms before its end: its \
                     checkpoint did not follow",
                    again.item.kind,
                    (silent - before.at) / 1000
                );
                findings.violated(Rule::Once, again.at, text);
            }
        }
    }
    same_record(history, findings);
    findings.resends = between
        .into_iter()
        .map(|((from, to), events)| Resends { from, to, events })
        .collect();
}

/// An id is stored at most once, in whatever index.
fn stored_once(arrivals: &[Arrival<'_>], findings: &mut Findings) {
    let mut stored = arrivals.iter().filter(|arrival| arrival.item.stored);
    if let (Some(first), Some(second)) = (stored.next(), stored.next()) {
        let text = format!(
            "event {} ({}) was stored twice: in {} and in {}",
            first.item.id, first.item.kind, first.item.index, second.item.index
        );
        findings.violated(Rule::Once, second.at, text);
    }
}

/// A record of the source is stored under one id only.
fn same_record(history: &History, findings: &mut Findings) {
    let Some(truth) = history.truth() else { return };
    let mut ids: HashMap<(&str, &str), Option<&str>> = HashMap::new();
    for record in &truth.records {
        ids.insert((&record.kind, &record.key), None);
    }
    for (at, send) in history.sends() {
        for item in send.items.iter().filter(|item| item.stored && !item.failure) {
            let Some(known) = ids.get_mut(&(&*item.kind, &*item.key)) else {
                continue;
            };
            match known {
                Some(id) if **id != *item.id => {
                    let text = format!(
                        "{} {} was stored under two ids: {id} and {}",
                        item.kind, item.key, item.id
                    );
                    findings.violated(Rule::Once, at, text);
                }
                _ => *known = Some(&item.id),
            }
        }
    }
}
