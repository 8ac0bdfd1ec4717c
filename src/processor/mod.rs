//! What is done with an event between its making and the queue.
//!
//! Owns the order of processors, what their conditions and failures mean for those that follow, and [`Processors`],
//! which holds what they keep (limits, what is known of the host) for all units of a tenure. Pure but for what it is
//! handed in [`Surroundings`]: it logs and counts nothing, and tells in [`Notice`]s what there is to tell. Nothing of
//! an event's content is in them, only names of fields.

mod add_tags;
mod additions;
mod convert;
mod document;
mod drop_fields;
mod failure;
mod fingerprint;
mod host_metadata;
mod object;
#[cfg(test)]
mod protected_tests;
mod rate_limit;
mod rename;
mod replace;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
mod truncate_fields;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Clock;
use crate::condition::holds;
use crate::config::{self, Command, Condition, ProcessorConfig};
use additions::Additions;
use document::Document;
use failure::Failure;
use host_metadata::HostMetadata;
use rate_limit::RateLimit;

pub use host_metadata::Host;

/// What `include_fields` keeps beside what is protected, as in Beats.
const ALWAYS_INCLUDED: [&str; 1] = ["type"];

/// What processors need of the world.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// For the limits of `rate_limit` and the age of what is known of the host.
    pub clock: Clock,
    /// Reads what `add_host_metadata` adds; takes a moment.
    pub host: fn() -> Host,
}

/// Every processor of the configuration.
#[derive(Debug)]
pub struct Processors {
    of_all: Arc<[Step]>,
    of_command: BTreeMap<String, Arc<[Step]>>,
}

/// The processors that the events of one command go through: its own, then those of all commands.
#[derive(Debug, Clone)]
pub struct Chain {
    own: Arc<[Step]>,
    of_all: Arc<[Step]>,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on, as this document.
    Keep(Bytes),
    /// This processor dropped it.
    Drop(&'static str),
}

/// Something to count, and to tell now and then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Where the processor stands in the configuration: `processors.2.rename`.
    pub place: Arc<str>,
    /// Its name.
    pub processor: &'static str,
    /// What happened.
    pub event: Told,
}

/// What happened in a processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It failed, for this reason.
    Failed(String),
    /// It would have changed this field, which must stay.
    Protected(&'static str),
}

/// A step that can be taken.
#[derive(Debug)]
enum Step {
    One {
        place: Arc<str>,
        when: Option<Condition>,
        action: Action,
    },
    If {
        condition: Condition,
        then: Vec<Step>,
        otherwise: Vec<Step>,
    },
}

/// A processor, with what it keeps.
#[derive(Debug)]
enum Action {
    Add(&'static str, Additions),
    AddHostMetadata(HostMetadata),
    AddTags(add_tags::AddTags),
    Convert(config::Convert),
    CopyFields(config::FromTo),
    DropEvent,
    DropFields(config::DropFields),
    Fingerprint(config::Fingerprint),
    IncludeFields(Vec<String>),
    RateLimit(RateLimit),
    Rename(config::FromTo),
    Replace(config::Replace),
    TruncateFields(config::TruncateFields),
}

/// How a processor ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// The next one follows.
    On,
    /// The event is dropped.
    Drop,
}

/// How a list of steps ended.
enum Ended {
    Through,
    /// A processor failed: what follows it in its block is left out.
    Failed,
    Dropped(&'static str),
}

// === impl Processors ===

impl Processors {
    /// Makes the processors for all commands, and those of each.
    pub fn new(of_all: &[config::Step], commands: &[Command], surroundings: &Surroundings) -> Self {
        let of_command = commands.iter().map(|command| {
            (
                command.kind.clone(),
                steps(&command.processors, surroundings).into(),
            )
        });
        Self {
            of_all: steps(of_all, surroundings).into(),
            of_command: of_command.collect(),
        }
    }

    /// The chain of a command, by its type.
    pub fn chain(&self, command: &str) -> Chain {
        Chain {
            own: self.of_command.get(command).cloned().unwrap_or_default(),
            of_all: Arc::clone(&self.of_all),
        }
    }
}

fn steps(steps: &[config::Step], surroundings: &Surroundings) -> Vec<Step> {
    let step = |step: &config::Step| match step {
        config::Step::One {
            place,
            when,
            processor,
        } => Step::One {
            place: place.as_str().into(),
            when: when.clone(),
            action: Action::new(processor, surroundings),
        },
        config::Step::If {
            condition,
            then,
            otherwise,
        } => Step::If {
            condition: condition.clone(),
            then: self::steps(then, surroundings),
            otherwise: self::steps(otherwise, surroundings),
        },
    };
    steps.iter().map(step).collect()
}

// === impl Chain ===

impl Chain {
    /// Whether no processor is in it.
    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.of_all.is_empty()
    }

    /// Sends a document through. What there is to tell is added to `notices`.
    pub fn run(&self, body: Bytes, notices: &mut Vec<Notice>) -> Verdict {
        if self.is_empty() {
            return Verdict::Keep(body);
        }
        // Events are made here, as objects; what is none has nothing that could be processed.
        let Some(mut document) = Document::read(&body) else {
            return Verdict::Keep(body);
        };
        for steps in [&self.own, &self.of_all] {
            for step in steps.iter() {
                // A failure is over with its step, or the block that it was in.
                if let Ended::Dropped(processor) = take(step, &mut document, notices) {
                    return Verdict::Drop(processor);
                }
            }
        }
        match document.finish(body.len()) {
            Some(changed) => Verdict::Keep(changed),
            None => Verdict::Keep(body),
        }
    }
}

fn take<'a>(step: &'a Step, document: &mut Document<'a>, notices: &mut Vec<Notice>) -> Ended {
    match step {
        Step::One { place, when, action } => {
            if when.as_ref().is_some_and(|when| !holds(when, document)) {
                return Ended::Through;
            }
            let mut tell = |event| {
                notices.push(Notice {
                    place: Arc::clone(place),
                    processor: action.name(),
                    event,
                });
            };
            match action.run(document, &mut tell) {
                Ok(Flow::On) => Ended::Through,
                Ok(Flow::Drop) => Ended::Dropped(action.name()),
                Err(failure) => {
                    tell(failure.told());
                    Ended::Failed
                }
            }
        }
        Step::If {
            condition,
            then,
            otherwise,
        } => {
            let block = if holds(condition, document) {
                then
            } else {
                otherwise
            };
            for step in block {
                match take(step, document, notices) {
                    Ended::Through => {}
                    ended => return ended,
                }
            }
            Ended::Through
        }
    }
}

// === impl Action ===

impl Action {
    fn new(config: &ProcessorConfig, surroundings: &Surroundings) -> Self {
        match config {
            ProcessorConfig::AddFields(config) => Self::Add("add_fields", Additions::fields(config)),
            ProcessorConfig::AddLabels(labels) => Self::Add("add_labels", Additions::labels(labels)),
            ProcessorConfig::AddHostMetadata(config) => {
                Self::AddHostMetadata(HostMetadata::new(config, surroundings))
            }
            ProcessorConfig::AddTags(config) => Self::AddTags(add_tags::AddTags::new(config)),
            ProcessorConfig::Convert(config) => Self::Convert(config.clone()),
            ProcessorConfig::CopyFields(config) => Self::CopyFields(config.clone()),
            ProcessorConfig::DropEvent => Self::DropEvent,
            ProcessorConfig::DropFields(config) => Self::DropFields(config.clone()),
            ProcessorConfig::Fingerprint(config) => Self::Fingerprint(config.clone()),
            ProcessorConfig::IncludeFields(fields) => {
                let kept = fields.iter().cloned().chain(ALWAYS_INCLUDED.map(str::to_owned));
                Self::IncludeFields(kept.collect())
            }
            ProcessorConfig::RateLimit(config) => {
                Self::RateLimit(RateLimit::new(config, surroundings.clock.clone()))
            }
            ProcessorConfig::Rename(config) => Self::Rename(config.clone()),
            ProcessorConfig::Replace(config) => Self::Replace(config.clone()),
            ProcessorConfig::TruncateFields(config) => Self::TruncateFields(config.clone()),
        }
    }

    /// The name in the configuration, and the label in metrics.
    fn name(&self) -> &'static str {
        match self {
            Self::Add(name, _) => name,
            Self::AddHostMetadata(_) => "add_host_metadata",
            Self::AddTags(_) => "add_tags",
            Self::Convert(_) => "convert",
            Self::CopyFields(_) => "copy_fields",
            Self::DropEvent => "drop_event",
            Self::DropFields(_) => "drop_fields",
            Self::Fingerprint(_) => "fingerprint",
            Self::IncludeFields(_) => "include_fields",
            Self::RateLimit(_) => "rate_limit",
            Self::Rename(_) => "rename",
            Self::Replace(_) => "replace",
            Self::TruncateFields(_) => "truncate_fields",
        }
    }

    fn run(&self, document: &mut Document<'_>, tell: &mut dyn FnMut(Told)) -> Result<Flow, Failure> {
        match self {
            Self::Add(_, additions) => document.edit(|root| additions.merge_into(root)),
            Self::AddHostMetadata(host) => host.run(document),
            Self::AddTags(tags) => tags.run(document)?,
            Self::Convert(config) => convert::run(config, document, tell)?,
            Self::CopyFields(config) => rename::copy(config, document, tell)?,
            Self::DropEvent => return Ok(Flow::Drop),
            Self::DropFields(config) => drop_fields::run(config, document, tell)?,
            Self::Fingerprint(config) => fingerprint::run(config, document)?,
            Self::IncludeFields(fields) => document.keep(fields),
            Self::RateLimit(limit) => {
                return Ok(if limit.lets_through(document) {
                    Flow::On
                } else {
                    Flow::Drop
                });
            }
            Self::Rename(config) => rename::rename(config, document, tell)?,
            Self::Replace(config) => replace::run(config, document, tell)?,
            Self::TruncateFields(config) => truncate_fields::run(config, document, tell)?,
        }
        Ok(Flow::On)
    }
}
