//! Proves from a recording that the promise was kept, or where it was broken.
//!
//! Owns the verdict: [`check`] runs the rules, each in a file of its own. Knows nothing of the product and asks
//! nobody: what is not in the recording does not count.

mod complete;
mod history;
mod members;
mod once;
mod takeover;
mod tenure;
mod terms;
mod ticks;

use std::fmt;

pub(crate) use history::History;
pub(crate) use once::Resends;
pub(crate) use takeover::Takeover;

use crate::record::{Micros, What};

/// The rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Rule {
    /// The cluster did not come back after a fault, or a process ended by itself.
    Alive,
    /// An older term's send was accepted after a newer term's first.
    Fenced,
    /// Two replicas led at the same time.
    OneLeader,
    /// A record was not delivered.
    Complete,
    /// A record was delivered twice, or sent again without need.
    Once,
    /// A tick was missed or doubled.
    Ticks,
    /// A takeover took too long, or did not happen.
    Takeover,
    /// A single member of etcd failed, and the leadership changed.
    Member,
}

/// The promise was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Which part of it.
    pub(crate) rule: Rule,
    /// Where in the recording.
    pub(crate) at: Micros,
    /// How.
    pub(crate) text: String,
}

/// What a recording shows.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// None = the promise was kept.
    pub(crate) violations: Vec<Violation>,
    /// Every change of leader.
    pub(crate) takeovers: Vec<Takeover>,
    /// What was sent again, for each change of leader.
    pub(crate) resends: Vec<Resends>,
    /// Sends of an older term that came too late and were refused as known: harmless.
    pub(crate) stale_refused: usize,
    /// Leases that etcd took from a live leader when a member that had been paused ran again.
    pub(crate) taken_by_etcd: usize,
    /// Records that had to be there.
    pub(crate) records: usize,
    /// Ticks that had to be there.
    pub(crate) ticks: usize,
    /// Requests read.
    pub(crate) sends: usize,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alive => "alive",
            Self::Fenced => "fenced",
            Self::OneLeader => "one leader",
            Self::Complete => "complete",
            Self::Once => "once",
            Self::Ticks => "ticks",
            Self::Takeover => "takeover",
            Self::Member => "etcd member",
        })
    }
}

impl Findings {
    fn violated(&mut self, rule: Rule, at: Micros, text: impl Into<String>) {
        self.violations.push(Violation {
            rule,
            at,
            text: text.into(),
        });
    }
}

/// Judges a recording.
pub(crate) fn check(history: &History) -> Findings {
    let mut findings = Findings {
        sends: history.sends().count(),
        ..Findings::default()
    };
    alive(history, &mut findings);
    terms::check(history, &mut findings);
    tenure::check(history, &mut findings);
    complete::check(history, &mut findings);
    once::check(history, &mut findings);
    ticks::check(history, &mut findings);
    takeover::check(history, &mut findings);
    members::check(history, &mut findings);
    findings.violations.sort_by_key(|violation| violation.at);
    findings
}

fn alive(history: &History, findings: &mut Findings) {
    for line in history.lines() {
        match &line.what {
            What::Fault(fault) if fault.step == "unsettled" => {
                let text = format!(
                    "the cluster did not recover from fault {} ({}): {}",
                    fault.number, fault.name, fault.detail
                );
                findings.violated(Rule::Alive, line.at, text);
            }
            What::Process(process) if process.step == "died" => {
                let text = format!("replica {} ended by itself: {}", process.replica, process.detail);
                findings.violated(Rule::Alive, line.at, text);
            }
            _ => {}
        }
    }
    if history.truth().is_none() {
        let text = "the recording breaks off: what had to be delivered is not in it";
        findings.violated(Rule::Alive, history.end(), text);
    }
}
