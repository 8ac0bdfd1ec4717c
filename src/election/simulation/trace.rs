//! What happened in a run, for people.
//!
//! Owns the lines, which are kept only where somebody will read them.

use std::fmt::Write;
use std::time::Duration;

use crate::dcs::{Compare, Operation, Request, Response};
use crate::election::machine::{Effect, Input};

/// The lines of a run.
#[derive(Debug, Default)]
pub(super) struct Trace(Option<String>);

impl Trace {
    /// One that keeps its lines.
    pub(super) fn kept() -> Self {
        Self(Some(String::new()))
    }

    /// Whether lines are kept.
    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Adds a line.
    pub(super) fn line(&mut self, at: Duration, who: &str, what: &str) {
        if let Some(lines) = &mut self.0 {
            // Writing to a string cannot fail.
            let _ = writeln!(lines, "{:>10.4}  {who:<16}  {what}", at.as_secs_f64());
        }
    }

    /// The lines.
    pub(super) fn text(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

/// What a machine is told.
pub(super) fn input(input: &Input) -> String {
    match input {
        Input::Answered { ticket, sent, result } => {
            let result = match result {
                Ok(Response::Txn {
                    succeeded, revision, ..
                }) => format!(
                    "{} at revision {revision}",
                    if *succeeded { "done" } else { "not done" }
                ),
                Ok(other) => format!("{other:?}"),
                Err(error) => error.to_string(),
            };
            format!("answer {ticket}, sent {:.4}: {result}", sent.as_secs_f64())
        }
        other => format!("{other:?}"),
    }
}

/// What a machine wants done.
pub(super) fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Ask { ticket, request, .. } => format!("ask {ticket}: {}", self::request(request)),
        Effect::Lead { term, deadline } => format!("lead {term} until {:.4}", deadline.as_secs_f64()),
        Effect::Extend { deadline } => format!("extend until {:.4}", deadline.as_secs_f64()),
        other => format!("{other:?}"),
    }
}

/// What etcd is asked for.
pub(super) fn request(request: &Request) -> String {
    let Request::Txn(txn) = request else {
        return format!("{request:?}");
    };
    let when: Vec<String> = txn.when.iter().map(condition).collect();
    let then: Vec<String> = txn.then.iter().filter_map(step).collect();
    let when = if when.is_empty() {
        String::new()
    } else {
        format!("if {} ", when.join(", "))
    };
    if then.is_empty() {
        format!("{when}read")
    } else {
        format!("{when}{}", then.join(", "))
    }
}

fn condition(compare: &Compare) -> String {
    match compare {
        Compare::CreateRevision(key, revision) => format!("{key} created {revision}"),
        Compare::ModRevision(key, revision) => format!("{key} written {revision}"),
        Compare::Lease(key, lease) => format!("{key} on lease {lease}"),
    }
}

fn step(step: &Operation) -> Option<String> {
    match step {
        Operation::Put { key, lease, .. } => Some(format!("put {key} on lease {lease}")),
        Operation::Delete(key) => Some(format!("delete {key}")),
        _ => None,
    }
}
