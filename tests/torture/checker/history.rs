//! A recording in memory.
//!
//! Owns the order of lines and the few views of them that several rules share. Judges nothing.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::Context as _;

use crate::record::{Line, Micros, Probe, Send, Setup, Span, Strike, Truth, What};

/// Lines shown before and after a place.
const AROUND: usize = 4;
/// Characters of a line that are shown.
const SHOWN: usize = 220;

/// A recording, in the order of time.
#[derive(Debug)]
pub(crate) struct History {
    setup: Setup,
    lines: Vec<Line>,
    /// For each request: when its answer was dealt with, and whether it was given.
    answers: HashMap<u64, (Micros, bool)>,
}

impl History {
    /// Out of a file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        let mut lines = Vec::new();
        for (number, text) in BufReader::new(file).lines().enumerate() {
            let place = || format!("{}:{}", path.display(), number + 1);
            let text = text.with_context(place)?;
            lines.push(serde_json::from_str(&text).with_context(place)?);
        }
        Self::new(lines).with_context(|| path.display().to_string())
    }

    /// Out of lines.
    pub(crate) fn new(mut lines: Vec<Line>) -> anyhow::Result<Self> {
        lines.sort_by_key(|line| line.at);
        let setup = lines.iter().find_map(|line| match &line.what {
            What::Setup(setup) => Some(setup.clone()),
            _ => None,
        });
        let answers = lines.iter().filter_map(|line| match &line.what {
            What::Answer(answer) => Some((answer.number, (line.at, answer.given))),
            _ => None,
        });
        Ok(Self {
            setup: setup.context("no setup in the recording")?,
            answers: answers.collect(),
            lines,
        })
    }

    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }

    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// When the recording ends.
    pub(crate) fn end(&self) -> Micros {
        self.lines.last().map_or(0, |line| line.at)
    }

    /// The requests, in the order in which they had been read whole.
    pub(crate) fn sends(&self) -> impl Iterator<Item = (Micros, &Send)> {
        self.lines.iter().filter_map(|line| match &line.what {
            What::Send(send) => Some((line.at, send)),
            _ => None,
        })
    }

    /// When the answer to a request was given; `None` = it was not.
    pub(crate) fn answered(&self, number: u64) -> Option<Micros> {
        let (at, given) = self.answers.get(&number)?;
        given.then_some(*at)
    }

    /// Answers 200 of `/leader`.
    pub(crate) fn leaders(&self) -> impl Iterator<Item = &Probe> {
        self.lines.iter().filter_map(|line| match &line.what {
            What::Probe(probe) if probe.path == "/leader" && probe.status == 200 => Some(probe),
            _ => None,
        })
    }

    /// The moments at which faults struck.
    pub(crate) fn strikes(&self) -> impl Iterator<Item = (Micros, &Strike)> {
        self.lines.iter().filter_map(|line| match &line.what {
            What::Strike(strike) => Some((line.at, strike)),
            _ => None,
        })
    }

    /// When what fault `number` had made stand still was about to run again.
    pub(crate) fn resumed(&self, number: usize) -> Option<Micros> {
        self.lines.iter().find_map(|line| match &line.what {
            What::Fault(fault) if fault.number == number && fault.step == "resumed" => Some(line.at),
            _ => None,
        })
    }

    /// When fault `number` was over and the cluster well again.
    pub(crate) fn settled(&self, number: usize) -> Option<Micros> {
        self.lines.iter().find_map(|line| match &line.what {
            What::Fault(fault)
                if fault.number == number && matches!(&*fault.step, "settled" | "unsettled") =>
            {
                Some(line.at)
            }
            _ => None,
        })
    }

    /// When nobody could deliver in time.
    pub(crate) fn unable(&self) -> impl Iterator<Item = &Span> {
        self.lines.iter().filter_map(|line| match &line.what {
            What::Unable(span) => Some(span),
            _ => None,
        })
    }

    /// When the harness could not measure.
    pub(crate) fn stalls(&self) -> impl Iterator<Item = &Span> {
        self.lines.iter().filter_map(|line| match &line.what {
            What::Stall(span) => Some(span),
            _ => None,
        })
    }

    /// The spans in which a replica's connection to `target` was interfered with.
    pub(crate) fn broken(&self, replica: &str, target: &str) -> Vec<(Micros, Micros)> {
        let mut spans: Vec<(Micros, Micros)> = Vec::new();
        let mut since = None;
        for line in &self.lines {
            let What::Link(link) = &line.what else { continue };
            if link.replica != replica || link.target != target {
                continue;
            }
            if link.verb == "pass" {
                spans.extend(since.take().map(|since| (since, line.at)));
            } else {
                since.get_or_insert(line.at);
            }
        }
        spans.extend(since.map(|since| (since, Micros::MAX)));
        spans
    }

    pub(crate) fn truth(&self) -> Option<&Truth> {
        self.lines.iter().rev().find_map(|line| match &line.what {
            What::Truth(truth) => Some(truth),
            _ => None,
        })
    }

    /// A moment of the recording as seconds since 1970, with its fraction in microseconds.
    pub(crate) fn wall(&self, at: Micros) -> Micros {
        self.setup.epoch.saturating_add(at)
    }

    /// The lines around a moment, shortened. Answers of standbys are left out.
    pub(crate) fn excerpt(&self, at: Micros) -> Vec<String> {
        let tells = |line: &&Line| match &line.what {
            What::Probe(probe) => probe.path == "/leader" && probe.status == 200,
            _ => true,
        };
        let place = self.lines.partition_point(|line| line.at < at);
        let (before, after) = self.lines.split_at(place);
        let mut shown: Vec<&Line> = before.iter().rev().filter(tells).take(AROUND).collect();
        shown.reverse();
        shown.extend(after.iter().filter(tells).take(AROUND));
        shown
            .into_iter()
            .map(|line| {
                let text = serde_json::to_string(line).unwrap_or_default();
                let mark = if line.at == at { '>' } else { ' ' };
                match text.char_indices().nth(SHOWN) {
                    Some((cut, _)) => format!("{mark} {}…", &text[..cut]),
                    None => format!("{mark} {text}"),
                }
            })
            .collect()
    }
}
