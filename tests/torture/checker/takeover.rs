//! How long it took until somebody else led.
//!
//! Owns [`Takeover`] and the bounds on it. A takeover counts from the strike of its fault to the successor's first
//! 200 on `/leader`, as a load balancer would see it, and to its first bulk request. The latter may wait for a tick.

use super::{Findings, History, Rule};
use crate::record::{Class, Expect, Micros};

/// An answer that took longer does not tell when the successor began to lead.
const PROMPT: Micros = 50_000;
/// What a new leader may take beyond its first tick until that has been polled and sent.
const WORK: Micros = 1_000_000;

/// A change of leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Takeover {
    /// The fault's number; `None` = no fault struck.
    pub(crate) fault: Option<usize>,
    /// The fault's name.
    pub(crate) name: String,
    /// What it was measured by.
    pub(crate) class: Class,
    /// To the first 200 of the successor.
    pub(crate) leads: Option<Micros>,
    /// To the first bulk request of the successor.
    pub(crate) publishes: Option<Micros>,
    /// The harness stood still meanwhile, or answers took long: the times are too long.
    pub(crate) stalled: bool,
}

/// Measures every takeover.
pub(super) fn check(history: &History, findings: &mut Findings) {
    let seen = first_seen(history);
    let slow: Vec<(Micros, Micros)> = (history.leaders())
        .filter(|probe| probe.got - probe.sent > PROMPT)
        .map(|probe| (probe.sent, probe.got))
        .collect();
    let strikes: Vec<_> = history.strikes().collect();
    let mut explained: Vec<(Micros, Micros)> = Vec::new();
    for (number, (at, strike)) in strikes.iter().enumerate() {
        let settled = history
            .settled(strike.fault)
            .unwrap_or_else(|| history.end())
            .max(*at);
        let until = strikes
            .get(number + 1)
            .map_or(settled, |(next, _)| settled.min(*next));
        explained.push((*at, until));
        let newer = |when: &Micros| (at..=&until).contains(&when);
        let mut leads = None;
        let mut publishes = None;
        for (_, led, sent) in seen.iter().filter(|(term, ..)| *term > strike.term) {
            leads = earliest(leads, led.filter(newer));
            publishes = earliest(publishes, sent.filter(newer));
        }
        if leads.is_none() && publishes.is_none() {
            if strike.expect == Expect::Takeover {
                let text = format!(
                    "fault {} ({}) on replica {:?}: nobody took over in {} ms",
                    strike.fault,
                    strike.name,
                    strike.replica,
                    (until - at) / 1000
                );
                findings.violated(Rule::Takeover, *at, text);
            }
            continue;
        }
        let end = leads.max(publishes).unwrap_or(*at);
        let takeover = Takeover {
            fault: Some(strike.fault),
            name: strike.name.clone(),
            class: strike.class,
            leads: leads.map(|when| when - at),
            publishes: publishes.map(|when| when - at),
            stalled: (history.stalls().map(|span| (span.from, span.to)))
                .chain(slow.iter().copied())
                .any(|(from, to)| from <= end && to >= *at),
        };
        bounded(history, *at, &takeover, findings);
        findings.takeovers.push(takeover);
    }
    unprovoked(&seen, &explained, findings);
}

/// For each term, in order: its first 200 and its first request.
fn first_seen(history: &History) -> Vec<(u64, Option<Micros>, Option<Micros>)> {
    let mut seen: std::collections::BTreeMap<u64, (Option<Micros>, Option<Micros>)> =
        std::collections::BTreeMap::new();
    for probe in history.leaders() {
        if let Some(term) = probe.term.filter(|term| *term > 0) {
            let entry = seen.entry(term).or_default();
            entry.0 = earliest(entry.0, Some(probe.got));
        }
    }
    for (at, send) in history.sends() {
        for term in send.items.iter().filter_map(|item| item.term) {
            let entry = seen.entry(term).or_default();
            entry.1 = earliest(entry.1, Some(at));
        }
    }
    seen.into_iter()
        .map(|(term, (led, sent))| (term, led, sent))
        .collect()
}

fn earliest(one: Option<Micros>, other: Option<Micros>) -> Option<Micros> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn bounded(history: &History, at: Micros, takeover: &Takeover, findings: &mut Findings) {
    let setup = history.setup();
    let Some(bound) = setup.bounds.get(&takeover.class).copied() else {
        return;
    };
    if takeover.stalled {
        return;
    }
    let tick = setup.gauges.iter().map(|gauge| gauge.interval).min().unwrap_or(0);
    let tick = Micros::try_from(tick).unwrap_or(0) * 1_000_000;
    let measured = [
        ("led", takeover.leads, bound),
        ("published", takeover.publishes, bound + tick + WORK),
    ];
    for (what, took, bound) in measured {
        if let Some(took) = took.filter(|took| *took > bound) {
            let text = format!(
                "fault {} ({}): the successor {what} after {} ms, allowed are {}",
                takeover.fault.unwrap_or_default(),
                takeover.name,
                took / 1000,
                bound / 1000
            );
            findings.violated(Rule::Takeover, at + took, text);
        }
    }
}

/// Terms that began while no fault was at work: told, but no violation.
fn unprovoked(
    seen: &[(u64, Option<Micros>, Option<Micros>)],
    explained: &[(Micros, Micros)],
    findings: &mut Findings,
) {
    // The first term has no predecessor.
    for (_, led, sent) in seen.iter().skip(1) {
        let Some(began) = earliest(*led, *sent) else {
            continue;
        };
        if explained.iter().any(|(from, to)| (*from..=*to).contains(&began)) {
            continue;
        }
        findings.takeovers.push(Takeover {
            fault: None,
            name: "no fault".to_owned(),
            class: Class::Other,
            leads: None,
            publishes: None,
            stalled: false,
        });
    }
}
