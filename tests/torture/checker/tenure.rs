//! Never do two replicas say at the same time that they lead.
//!
//! Owns what a 200 proves: that its replica led at some moment between the question and the answer. Two answers
//! whose spans overlap prove nothing against each other. Two things are proof, and cannot be false alarms: an answer
//! of an older term to a question that was sent when the answer of a newer term had already come, for terms follow
//! each other; and one term in the mouths of two replicas. It does not matter who ended the older term: a successor has
//! to wait for a leader whose key somebody else took away.

use std::collections::BTreeMap;

use super::{Findings, History, Rule};
use crate::record::{Micros, Probe};

/// What the answers of one term come to.
struct Reign<'a> {
    replica: &'a str,
    /// The answer that came first.
    first: &'a Probe,
    /// The answer to the question that was sent last.
    last: &'a Probe,
}

/// Judges the answers of `/leader`.
pub(super) fn check(history: &History, findings: &mut Findings) {
    let mut reigns: BTreeMap<u64, Reign<'_>> = BTreeMap::new();
    for probe in history.leaders() {
        let Some(term) = probe.term.filter(|term| *term > 0) else {
            let text = format!("replica {} says that it leads, without a term", probe.replica);
            findings.violated(Rule::OneLeader, probe.got, text);
            continue;
        };
        let reign = reigns.entry(term).or_insert(Reign {
            replica: &probe.replica,
            first: probe,
            last: probe,
        });
        if reign.replica != probe.replica {
            let text = format!(
                "replicas {} and {} both say that they lead in term {term}",
                reign.replica, probe.replica
            );
            findings.violated(Rule::OneLeader, probe.got, text);
            continue;
        }
        if probe.got < reign.first.got {
            reign.first = probe;
        }
        if probe.sent > reign.last.sent {
            reign.last = probe;
        }
    }
    // From the newest term down: the earliest answer of any newer term.
    let mut earliest: Option<(Micros, u64, &str)> = None;
    for (term, reign) in reigns.iter().rev() {
        if let Some((got, newer, other)) = earliest
            && reign.last.sent > got
        {
            let text = format!(
                "replica {} was asked {} ms after replica {other} had said that it leads in term {newer}, and said \
                 that it leads in term {term}",
                reign.replica,
                (reign.last.sent - got) / 1000
            );
            findings.violated(Rule::OneLeader, reign.last.got, text);
        }
        if earliest.is_none_or(|(got, ..)| reign.first.got < got) {
            earliest = Some((reign.first.got, *term, reign.replica));
        }
    }
}
