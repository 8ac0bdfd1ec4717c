//! Runs a gauge command: the present state, once a tick.
//!
//! Owns the polls in progress. A target that is still being polled when the next tick comes misses that tick,
//! and the others do not wait for it. The checkpoint is the last tick whose targets have all been polled and
//! whose events have all ended well; a failed target is told by an event and not asked again for that tick.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::tick::Ticks;
use super::{Ended, Plan, Progress, save};
use crate::checkpoint::{Checkpoint, Recent};
use crate::collect::{Harvest, Round, Target, Unit};
use crate::ecs::EcsError;
use crate::pipeline::ack::{Outcomes, PollAcks};

/// A tick whose targets are being polled.
struct Open {
    started: Instant,
    left: usize,
    acks: Vec<PollAcks>,
    errors: Vec<EcsError>,
    recent: Vec<Recent>,
}

/// One target's poll has ended.
struct Polled {
    tick: Timestamp,
    target: Target,
    harvest: Harvest,
    errors: Vec<EcsError>,
}

pub(super) async fn run(unit: Arc<Unit>, plan: Plan, mut progress: Progress) -> Ended {
    let checkpoint = plan.store.load(&unit.stream).unwrap_or_default();
    let mut ticks = Ticks::new(
        unit.context.clock.clone(),
        unit.command.interval,
        plan.jitter,
        &unit.stream,
    );
    if !plan.once && checkpoint.tick.is_some_and(|tick| tick >= ticks.current()) {
        ticks.skip_current();
    }
    let mut delivered = checkpoint.recent;
    let mut saved = checkpoint.tick;
    let mut polls: JoinSet<Polled> = JoinSet::new();
    let mut busy: HashSet<Target> = HashSet::new();
    let mut open: HashMap<Timestamp, Open> = HashMap::new();
    let mut settling = FuturesUnordered::new();
    let mut ended = Ended { well: true };
    let mut ticking = true;
    loop {
        tokio::select! {
            biased;
            () = plan.stop.cancelled(), if ticking => ticking = false,
            Some(polled) = polls.join_next(), if !polls.is_empty() => {
                // A poll that panicked has been told by the panic hook; its tick stays open.
                let Ok(polled) = polled else { ended.well = false; continue };
                busy.remove(&polled.target);
                let tick = polled.tick;
                if let Some(done) = close(&mut open, polled) {
                    let events = done.acks.iter().map(PollAcks::issued).sum::<u64>();
                    progress.polled(tick, done.started.elapsed(), events, &done.errors);
                    ended.well &= done.errors.is_empty();
                    if unit.command.time_field.is_some() && done.errors.is_empty() {
                        delivered.clone_from(&done.recent);
                    }
                    settling.push(settle(tick, done, delivered.clone()));
                }
            }
            Some((tick, outcomes, recent)) = settling.next(), if !settling.is_empty() => {
                ended.well &= outcomes.complete();
                if outcomes.complete() && saved.is_none_or(|saved| tick > saved) {
                    saved = Some(tick);
                    save(&plan, &unit, Checkpoint { tick: Some(tick), until: None, recent }).await;
                }
            }
            due = ticks.next(), if ticking => {
                progress.missed(due.missed);
                begin(&unit, due.tick, &delivered, &mut polls, &mut busy, &mut open, &mut progress);
                ticking = !plan.once;
            }
            else => break,
        }
        if !ticking && polls.is_empty() && settling.is_empty() {
            break;
        }
    }
    ended
}

/// Starts the polls of a tick for every target that is not still being polled.
fn begin(
    unit: &Arc<Unit>,
    tick: Timestamp,
    delivered: &[Recent],
    polls: &mut JoinSet<Polled>,
    busy: &mut HashSet<Target>,
    open: &mut HashMap<Timestamp, Open>,
    progress: &mut Progress,
) {
    let targets = match unit.targets() {
        Ok(targets) => targets,
        Err(error) => {
            // No target to poll: the whole of the unit fails, which is told like any failure.
            let unit = Arc::clone(unit);
            open.insert(tick, Open::new(1));
            polls.spawn(async move {
                let mut harvest = Harvest::default();
                let round = Round { tick, window: None };
                unit.failed(&Target::Whole, &round, &error, &mut harvest).await;
                Polled {
                    tick,
                    target: Target::Whole,
                    harvest,
                    errors: vec![error],
                }
            });
            return;
        }
    };
    let free: Vec<Target> = targets
        .into_iter()
        .filter(|target| !busy.contains(target))
        .collect();
    if free.is_empty() {
        if !busy.is_empty() {
            progress.missed(1);
        }
        return;
    }
    open.insert(tick, Open::new(free.len()));
    for target in free {
        busy.insert(target.clone());
        let unit = Arc::clone(unit);
        let mut harvest = Harvest::new(delivered, false);
        polls.spawn(async move {
            let round = Round { tick, window: None };
            let errors = unit.poll(&target, &round, &mut harvest).await;
            Polled {
                tick,
                target,
                harvest,
                errors,
            }
        });
    }
}

/// Books a target's poll; gives the tick when that was its last target.
fn close(open: &mut HashMap<Timestamp, Open>, polled: Polled) -> Option<Open> {
    let tick = open.get_mut(&polled.tick)?;
    tick.recent.extend(polled.harvest.fresh());
    tick.acks.push(polled.harvest.acks);
    tick.errors.extend(polled.errors);
    tick.left -= 1;
    if tick.left == 0 {
        open.remove(&polled.tick)
    } else {
        None
    }
}

async fn settle(tick: Timestamp, done: Open, recent: Vec<Recent>) -> (Timestamp, Outcomes, Vec<Recent>) {
    let mut all = Outcomes::default();
    for acks in done.acks {
        let outcomes = acks.wait().await;
        all.acked += outcomes.acked;
        all.dropped += outcomes.dropped;
        all.lost += outcomes.lost;
    }
    (tick, all, recent)
}

impl Open {
    fn new(targets: usize) -> Self {
        Self {
            started: Instant::now(),
            left: targets,
            acks: Vec::new(),
            errors: Vec::new(),
            recent: Vec::new(),
        }
    }
}
