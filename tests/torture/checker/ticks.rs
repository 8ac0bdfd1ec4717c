//! Every tick that some replica could deliver is there, once.
//!
//! Owns what "could" means: for at least half of the time until the next tick nobody was excused. Excuses are in the
//! recording: the spans of faults with the takeovers they are allowed, and those in which the harness itself stood
//! still, with as much time again. How long the product really took is not an excuse.

use std::collections::{HashMap, HashSet};

use super::{Findings, History, Rule};
use crate::record::{Gauge, Item, Micros};

/// How many single ticks of a series are named.
const NAMED: usize = 5;

/// Judges the ticks of every series.
pub(super) fn check(history: &History, findings: &mut Findings) {
    let Some(truth) = history.truth() else { return };
    let excused = excuses(history);
    for gauge in &history.setup().gauges {
        let there = delivered(history, gauge, findings);
        let interval = gauge.interval.max(1);
        let first = (truth.from + interval - 1).div_euclid(interval);
        let last = truth.to.div_euclid(interval) - 1;
        let mut missing = Vec::new();
        for tick in (first..last).map(|number| number * interval) {
            if !was_possible(tick, interval, &excused) {
                continue;
            }
            findings.ticks += 1;
            if !there.contains(&tick) {
                missing.push(tick);
            }
        }
        for tick in missing.iter().take(NAMED) {
            let at = on_watch(history, *tick);
            let text = format!("{} has no record of tick {tick}", name(gauge));
            findings.violated(Rule::Ticks, at, text);
        }
        if missing.len() > NAMED {
            let text = format!("{} lacks {} ticks", name(gauge), missing.len());
            findings.violated(Rule::Ticks, on_watch(history, missing[NAMED]), text);
        }
    }
}

fn name(gauge: &Gauge) -> String {
    match &gauge.vdc {
        Some(vdc) => format!("{} of {vdc}", gauge.kind),
        None => gauge.kind.clone(),
    }
}

fn is_of(gauge: &Gauge, item: &Item) -> bool {
    item.kind == gauge.kind && gauge.vdc.as_ref().is_none_or(|vdc| *vdc == item.vdc)
}

/// The ticks that were stored; a record that was stored twice for one tick is told.
fn delivered(history: &History, gauge: &Gauge, findings: &mut Findings) -> HashSet<i64> {
    let mut ticks = HashSet::new();
    let mut records: HashMap<(i64, &str), &str> = HashMap::new();
    for (at, send) in history.sends() {
        for item in send.items.iter().filter(|item| is_of(gauge, item)) {
            let Some(tick) = item.tick.filter(|_| item.stored && !item.failure) else {
                continue;
            };
            ticks.insert(tick);
            if let Some(first) = records.insert((tick, &item.key), &item.id) {
                let text = format!(
                    "{} has tick {tick} twice: events {first} and {}",
                    name(gauge),
                    item.id
                );
                findings.violated(Rule::Ticks, at, text);
            }
        }
    }
    ticks
}

/// The spans that are excused, since 1970, in order and without overlaps.
fn excuses(history: &History) -> Vec<(Micros, Micros)> {
    let unable = history.unable().map(|span| (span.from, span.to));
    // What stood still has to catch up: a poll that was held up makes its target miss the next tick.
    let stalls = history
        .stalls()
        .map(|span| (span.from, span.to + (span.to - span.from)));
    let mut spans: Vec<(Micros, Micros)> = (unable.chain(stalls))
        .map(|(from, to)| (history.wall(from), history.wall(to)))
        .collect();
    spans.sort_unstable();
    let mut merged: Vec<(Micros, Micros)> = Vec::new();
    for (from, to) in spans {
        match merged.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => merged.push((from, to)),
        }
    }
    merged
}

fn was_possible(tick: i64, interval: i64, excused: &[(Micros, Micros)]) -> bool {
    let length = Micros::try_from(interval).unwrap_or(1) * 1_000_000;
    let begin = Micros::try_from(tick).unwrap_or(0) * 1_000_000;
    let end = begin + length;
    let lost: Micros = excused
        .iter()
        .map(|(from, to)| (*to).min(end).saturating_sub((*from).max(begin)))
        .sum();
    length.saturating_sub(lost) >= length / 2
}

fn on_watch(history: &History, second: i64) -> Micros {
    let micros = Micros::try_from(second).unwrap_or(0) * 1_000_000;
    micros.saturating_sub(history.setup().epoch)
}
