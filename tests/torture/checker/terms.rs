//! Once a newer term has sent, nothing of an older one is accepted any more.

use super::{Findings, History, Rule};

/// Judges the order of terms in what arrived.
pub(super) fn check(history: &History, findings: &mut Findings) {
    let mut newest = 0;
    let mut since = 0;
    for (at, send) in history.sends() {
        for item in &send.items {
            let Some(term) = item.term else {
                let text = format!(
                    "request {}: event {} of replica {:?} does not tell its term",
                    send.number, item.id, item.replica
                );
                findings.violated(Rule::Fenced, at, text);
                continue;
            };
            if term > newest {
                (newest, since) = (term, at);
            }
            if term == newest {
                continue;
            }
            if !item.stored {
                findings.stale_refused += 1;
                continue;
            }
            let text = format!(
                "request {}: replica {} stored event {} ({}) in term {term}, {} ms after term {newest} had begun to \
                 send",
                send.number,
                item.replica,
                item.id,
                item.kind,
                (at - since) / 1000
            );
            findings.violated(Rule::Fenced, at, text);
        }
    }
}
