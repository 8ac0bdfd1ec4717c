//! While a single member of etcd fails, nobody loses the leadership.
//!
//! One thing is counted and not held against the product. A member that led etcd, and that runs again after a pause, takes
//! for expired what it has not seen being renewed, and revokes it before it learns that it was replaced (seen with etcd
//! 3.5.30): no client can keep its lease then.

use super::{Findings, History, Rule};
use crate::record::{Class, Expect};

/// The fault that makes a member stand still.
const PAUSED: &str = "etcd-pause";

/// Judges the strikes after which the term must stay.
pub(super) fn check(history: &History, findings: &mut Findings) {
    for (at, strike) in history.strikes() {
        if strike.class != Class::Member || strike.expect != Expect::Same {
            continue;
        }
        let until = history.settled(strike.fault).unwrap_or_else(|| history.end());
        let sends = history.sends().flat_map(|(at, send)| {
            let terms = send.items.iter().filter_map(|item| item.term);
            terms.map(move |term| (at, term))
        });
        let probes = history
            .leaders()
            .filter_map(|probe| Some((probe.got, probe.term?)));
        let newer = sends
            .chain(probes)
            .filter(|(when, term)| (at..=until).contains(when) && *term > strike.term)
            .min();
        let resumed = history.resumed(strike.fault).filter(|_| strike.name == PAUSED);
        if let Some((when, term)) = newer {
            if resumed.is_some_and(|resumed| when >= resumed) {
                findings.taken_by_etcd += 1;
                continue;
            }
            let text = format!(
                "fault {} ({}) changed the term from {} to {term} after {} ms",
                strike.fault,
                strike.name,
                strike.term,
                (when - at) / 1000
            );
            findings.violated(Rule::Member, when, text);
        }
    }
}
