//! What is told to people: a line for each fault, a table at the end, and where a promise was broken the place in
//! the recording.
//!
//! Owns the words and columns. Judges nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::checker::{Findings, History, Rule, Takeover};
use crate::record::Micros;

/// How many violations of each rule are shown with their place in the recording.
const SHOWN: usize = 2;

/// Says something on standard output.
#[expect(clippy::print_stdout, reason = "this is the tool's output")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

/// The line of a fault.
pub(crate) fn fault(
    cluster: usize,
    number: usize,
    kind: &str,
    takeover: Option<Duration>,
    recovery: Result<Duration, &str>,
) -> String {
    let led = takeover.map_or_else(
        || "-".to_owned(),
        |takeover| format!("{:.3} s", takeover.as_secs_f64()),
    );
    let recovery = match recovery {
        Ok(time) => format!("well again after {:.1} s", time.as_secs_f64()),
        Err(why) => format!("NOT WELL: {why}"),
    };
    format!("cluster {cluster}  fault {number:>3}  {kind:<14} next leader {led:>8}  {recovery}")
}

/// What a cluster's recording came to.
pub(crate) struct Verdict {
    pub(crate) path: String,
    pub(crate) history: History,
    pub(crate) findings: Findings,
}

/// The table of takeovers, by kind of fault.
pub(crate) fn table(verdicts: &[Verdict]) -> String {
    let mut kinds: BTreeMap<&str, Vec<&Takeover>> = BTreeMap::new();
    for takeover in verdicts.iter().flat_map(|verdict| &verdict.findings.takeovers) {
        kinds.entry(&takeover.name).or_default().push(takeover);
    }
    let mut text = format!(
        "{:<15} {:>5}  {:>26}  {:>26}\n{:<15} {:>5}  {:>8} {:>8} {:>8}  {:>8} {:>8} {:>8}\n",
        "",
        "",
        "leads (ms)",
        "publishes (ms)",
        "fault",
        "count",
        "median",
        "p99",
        "max",
        "median",
        "p99",
        "max"
    );
    for (name, takeovers) in kinds {
        let leads = takeovers.iter().filter_map(|takeover| takeover.leads);
        let publishes = takeovers.iter().filter_map(|takeover| takeover.publishes);
        let _ = writeln!(
            text,
            "{name:<15} {:>5}  {}  {}",
            takeovers.len(),
            quantiles(leads.collect()),
            quantiles(publishes.collect())
        );
    }
    text
}

/// Median, 99th percentile (nearest rank) and maximum, in milliseconds.
fn quantiles(mut times: Vec<Micros>) -> String {
    times.sort_unstable();
    let rank = |percent: usize| {
        let rank = (times.len() * percent).div_ceil(100).max(1);
        match times.get(rank - 1) {
            Some(time) => (time / 1000).to_string(),
            None => "-".to_owned(),
        }
    };
    format!("{:>8} {:>8} {:>8}", rank(50), rank(99), rank(100))
}

/// What was counted, over all clusters.
pub(crate) fn counts(verdicts: &[Verdict]) -> String {
    let sum = |count: fn(&Findings) -> usize| -> usize {
        verdicts.iter().map(|verdict| count(&verdict.findings)).sum()
    };
    let resends: Vec<usize> = (verdicts.iter())
        .flat_map(|verdict| verdict.findings.resends.iter().map(|resends| resends.events))
        .collect();
    let stalls: usize = verdicts
        .iter()
        .map(|verdict| verdict.history.stalls().count())
        .sum();
    let mut text = format!(
        "{} records due, {} ticks due, {} requests read\n",
        sum(|findings| findings.records),
        sum(|findings| findings.ticks),
        sum(|findings| findings.sends)
    );
    let _ = writeln!(
        text,
        "sent again after a takeover: {} events over {} takeovers, at most {} at one",
        resends.iter().sum::<usize>(),
        resends.len(),
        resends.iter().max().unwrap_or(&0)
    );
    let stale = sum(|findings| findings.stale_refused);
    if stale > 0 {
        let _ = writeln!(text, "late sends of an older term, all refused as known: {stale}");
    }
    let taken = sum(|findings| findings.taken_by_etcd);
    if taken > 0 {
        let _ = writeln!(
            text,
            "etcd revoked the lease of a live leader {taken} times, when a member that had been paused ran again"
        );
    }
    if stalls > 0 {
        let _ = writeln!(
            text,
            "the harness itself stood still {stalls} times: too many clusters for this machine? Takeovers of those \
             moments are not held against their bounds"
        );
    }
    text
}

/// The violations, by rule, the first ones with their place in the recording.
pub(crate) fn violations(verdicts: &[Verdict]) -> String {
    let mut rules: BTreeMap<Rule, usize> = BTreeMap::new();
    let mut text = String::new();
    for verdict in verdicts {
        for violation in &verdict.findings.violations {
            let count = rules.entry(violation.rule).or_default();
            *count += 1;
            if *count > SHOWN {
                continue;
            }
            let _ = writeln!(
                text,
                "VIOLATION [{}] at {:.3} s: {}\n  {}",
                violation.rule,
                violation.at as f64 / 1e6,
                violation.text,
                verdict.path
            );
            for line in verdict.history.excerpt(violation.at) {
                let _ = writeln!(text, "    {line}");
            }
        }
    }
    for (rule, count) in rules {
        let _ = writeln!(text, "violations of [{rule}]: {count}");
    }
    text
}
