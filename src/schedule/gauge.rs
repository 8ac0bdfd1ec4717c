//! Runs a gauge command: the present state, once a tick.
//!
//! Owns the polls in progress. A target that is still being polled when the next tick comes misses that tick,
//! and the others do not wait for it. The checkpoint is the last tick whose targets have all been polled and
//! whose events have all ended well; a failed target is told by an event and not asked again for that tick. A
//! poll that panics is a failed one: its target is polled again at the next tick. A target whose ECS lacks the API is
//! left out of most ticks; it counts as failed in them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::tick::{Due, Ticks};
use super::unsupported::Unsupported;
use super::{Ended, Plan, Progress, save};
use crate::checkpoint::{Checkpoint, Recent};
use crate::collect::{Harvest, Round, Target, Unit};
use crate::ecs::EcsError;
use crate::pipeline::ack::{Outcomes, PollAcks};
use crate::telemetry::panics;

/// A tick whose targets are being polled.
struct Open {
    tick: Timestamp,
    started: Instant,
    left: usize,
    acks: Vec<PollAcks>,
    errors: Vec<EcsError>,
    recent: Vec<Recent>,
}

/// One target's poll has ended.
struct Polled {
    harvest: Harvest,
    errors: Vec<EcsError>,
}

/// The polls in progress, and the ticks they belong to.
struct Polls {
    unit: Arc<Unit>,
    tasks: JoinSet<Polled>,
    /// What each task is for: the tick's number, and the target.
    running: HashMap<Id, (u64, Target)>,
    /// By number, which only grows: a clock that is set back may give the same tick twice.
    open: HashMap<u64, Open>,
    number: u64,
    unsupported: Unsupported,
}

pub(super) async fn run(unit: Arc<Unit>, plan: Plan, mut progress: Progress) -> Ended {
    let checkpoint = plan.store.load(&unit.stream).unwrap_or_default();
    let mut ticks = Ticks::new(
        unit.context.clock.clone(),
        unit.command.interval,
        plan.jitter,
        &unit.stream,
    );
    if !plan.once
        && let Some(done) = checkpoint.tick
    {
        progress.unpolled(ticks.resume(done));
    }
    let mut delivered = checkpoint.recent;
    let mut saved = 0;
    let mut polls = Polls::new(Arc::clone(&unit));
    let mut settling = FuturesUnordered::new();
    let mut ended = Ended { well: true };
    let mut ticking = true;
    loop {
        tokio::select! {
            biased;
            () = plan.stop.cancelled(), if ticking => ticking = false,
            Some(polled) = polls.tasks.join_next_with_id(), if !polls.tasks.is_empty() => {
                if let Some((number, done)) = polls.book(polled) {
                    let events = done.acks.iter().map(PollAcks::events).sum::<u64>();
                    progress.polled(done.tick, done.started.elapsed(), events, &done.errors);
                    ended.well &= done.errors.is_empty();
                    if unit.command.time_field.is_some() && done.errors.is_empty() {
                        delivered.clone_from(&done.recent);
                    }
                    settling.push(settle(number, done, delivered.clone()));
                }
            }
            Some((number, tick, outcomes, recent)) = settling.next(), if !settling.is_empty() => {
                ended.well &= outcomes.complete();
                if outcomes.complete() && number > saved {
                    saved = number;
                    save(&plan, &unit, Checkpoint { tick: Some(tick), until: None, recent }).await;
                }
            }
            due = ticks.next(), if ticking => {
                progress.missed(polls.begin(due, &delivered));
                ticking = !plan.once;
            }
            else => break,
        }
        if !ticking && polls.tasks.is_empty() && settling.is_empty() {
            break;
        }
    }
    ended
}

impl Polls {
    fn new(unit: Arc<Unit>) -> Self {
        Self {
            unsupported: Unsupported::new(unit.command.interval),
            unit,
            tasks: JoinSet::new(),
            running: HashMap::new(),
            open: HashMap::new(),
            number: 0,
        }
    }

    /// Starts the polls of a tick for every target that is not still being polled; gives how many ticks were
    /// missed, this one included if it is not polled as a whole.
    fn begin(&mut self, due: Due, delivered: &[Recent]) -> u64 {
        let round = Round {
            tick: due.tick,
            window: None,
        };
        let (targets, error) = match self.unit.targets() {
            Ok(targets) => (targets, None),
            // No target to poll: the whole of the unit fails, which is told like any failure.
            Err(error) => (vec![Target::Whole], Some(error)),
        };
        if error.is_none() {
            self.unsupported.keep(&targets);
        }
        let busy: HashSet<&Target> = self.running.values().map(|(_, target)| target).collect();
        let all = targets.len();
        let free: Vec<Target> = targets
            .into_iter()
            .filter(|target| !busy.contains(target))
            .collect();
        let missed = due.missed + u64::from(free.len() < all);
        let (free, resting) = self.awake(free);
        if free.is_empty() {
            return missed;
        }
        self.number += 1;
        let mut open = Open::new(due.tick, free.len());
        open.errors = resting;
        self.open.insert(self.number, open);
        for target in free {
            match &error {
                Some(error) => self.tell(self.number, round, target, error.clone()),
                None => self.poll(self.number, round, target, delivered),
            }
        }
        missed
    }

    /// Those of `targets` that are asked now, and what the others answered when they were asked last.
    fn awake(&self, targets: Vec<Target>) -> (Vec<Target>, Vec<EcsError>) {
        let releases = self.unit.releases();
        let mut errors = Vec::new();
        let mut awake = targets;
        awake.retain(|target| match self.unsupported.rests(target, &releases) {
            None => true,
            Some(error) => {
                errors.push(error.clone());
                false
            }
        });
        (awake, errors)
    }

    fn poll(&mut self, number: u64, round: Round, target: Target, delivered: &[Recent]) {
        let unit = Arc::clone(&self.unit);
        let mut harvest = Harvest::new(delivered, false);
        let asked = target.clone();
        let task = self.tasks.spawn(async move {
            let errors = unit.poll(&asked, &round, &mut harvest).await;
            Polled { harvest, errors }
        });
        self.running.insert(task.id(), (number, target));
    }

    /// Tells a failure by an event, in place of a poll.
    fn tell(&mut self, number: u64, round: Round, target: Target, error: EcsError) {
        let unit = Arc::clone(&self.unit);
        let failed = target.clone();
        let task = self.tasks.spawn(async move {
            let mut harvest = Harvest::default();
            unit.failed(&failed, &round, &error, &mut harvest).await;
            Polled {
                harvest,
                errors: vec![error],
            }
        });
        self.running.insert(task.id(), (number, target));
    }

    /// Books a target's poll; gives the tick, with its number, when that was its last target.
    fn book(&mut self, ended: Result<(Id, Polled), JoinError>) -> Option<(u64, Open)> {
        let (number, target, polled) = match ended {
            Ok((id, polled)) => {
                let (number, target) = self.running.remove(&id)?;
                (number, target, polled)
            }
            Err(error) => return self.panicked(error),
        };
        let releases = self.unit.releases();
        self.unsupported.polled(&target, &polled.errors, releases);
        let open = self.open.get_mut(&number)?;
        open.recent.extend(polled.harvest.fresh());
        open.acks.push(polled.harvest.acks);
        open.errors.extend(polled.errors);
        open.left = open.left.saturating_sub(1);
        if open.left > 0 {
            return None;
        }
        Some((number, self.open.remove(&number)?))
    }

    /// A poll has panicked: it is told, and its target is free again.
    fn panicked(&mut self, error: JoinError) -> Option<(u64, Open)> {
        let (number, target) = self.running.remove(&error.id())?;
        let round = Round {
            tick: self.open.get(&number)?.tick,
            window: None,
        };
        let error = EcsError::Panicked(words(error));
        tracing::error!(stream = %self.unit.stream, ?target, %error, "a poll broke off");
        self.tell(number, round, target, error);
        None
    }
}

/// What a task said when it panicked.
fn words(error: JoinError) -> String {
    let text = error.to_string();
    match error.try_into_panic() {
        Ok(payload) => panics::words(&*payload),
        Err(_) => text,
    }
}

async fn settle(number: u64, done: Open, recent: Vec<Recent>) -> (u64, Timestamp, Outcomes, Vec<Recent>) {
    let mut all = Outcomes::default();
    for acks in done.acks {
        let outcomes = acks.wait().await;
        all.acked += outcomes.acked;
        all.dropped += outcomes.dropped;
        all.lost += outcomes.lost;
    }
    (number, done.tick, all, recent)
}

impl Open {
    fn new(tick: Timestamp, targets: usize) -> Self {
        Self {
            tick,
            started: Instant::now(),
            left: targets,
            acks: Vec::new(),
            errors: Vec::new(),
            recent: Vec::new(),
        }
    }
}

#[cfg(test)]
#[path = "gauge_tests.rs"]
pub(super) mod tests;
