//! Runs a windowed command: spans of time, one after the other, without gap.
//!
//! Owns the order of windows. The next window begins where the last one that was read ended; the checkpoint
//! follows when its events, and those of all windows before it, have ended well. A window that failed is asked
//! for again at the next tick, and records that were emitted by the failed try are not emitted again.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

use super::tick::Ticks;
use super::unsupported::Unsupported;
use super::{Ended, Plan, Progress, save};
use crate::checkpoint::{Checkpoint, Recent};
use crate::collect::{Harvest, Round, Target, Unit, window};
use crate::config::WindowSpec;
use crate::ecs::EcsError;
use crate::election::controls;
use crate::pipeline::ack::PollAcks;
use crate::telemetry::repeat::Lasting;

/// Windows that may wait for their acknowledgement at one time.
const MOST_PENDING: usize = 16;

/// A window that has been read and whose events are on their way.
struct Pending {
    until: Timestamp,
    recent: Vec<Recent>,
    acks: PollAcks,
}

struct Windows {
    unit: Arc<Unit>,
    spec: WindowSpec,
    plan: Plan,
    progress: Progress,
    /// Everything before it has been read.
    until: Timestamp,
    recent: Vec<Recent>,
    pending: VecDeque<Pending>,
    /// What a failed try of the next window has emitted.
    carried: Option<Harvest>,
    well: bool,
    unsupported: Unsupported,
    given_up: GivenUp,
}

/// Spans that are not polled for they are too far back.
#[derive(Default)]
struct GivenUp {
    trouble: Lasting,
    /// Where the span begins that has not been told yet.
    from: Option<Timestamp>,
}

/// Where the checkpoints were lost, nobody knows how far this stream was: it goes back as far as it may. Noted in
/// a checkpoint, so that a restart before the first window does not forget it.
pub(super) async fn begin_far_back(unit: &Unit, plan: &Plan) {
    if let Some(spec) = &unit.command.window
        && plan.store.is_after_damage()
        && plan.store.load(&unit.stream).is_none()
    {
        let earliest = window::before(unit.context.clock.now(), plan.max_catch_up);
        // A border ahead: still within reach when polling begins a little later.
        let until = window::after(window::floor(earliest, spec.step), spec.step);
        let checkpoint = Checkpoint {
            until: Some(until),
            ..Checkpoint::default()
        };
        save(plan, unit, checkpoint).await;
    }
}

pub(super) async fn run(unit: Arc<Unit>, plan: Plan, progress: Progress) -> Ended {
    let Some(spec) = unit.command.window.clone() else {
        return Ended { well: true };
    };
    let mut ticks = Ticks::new(
        unit.context.clock.clone(),
        unit.command.interval,
        plan.jitter,
        &unit.stream,
    );
    let checkpoint = plan.store.load(&unit.stream).unwrap_or_default();
    let now = now(&unit);
    let until = if let Some(until) = checkpoint.until {
        ticks.at_once();
        until
    } else {
        // Kept at once: where nothing can be read before the next start, that goes on from here all the same.
        let until = window::beginning(&spec, unit.command.interval, now);
        let beginning = Checkpoint {
            until: Some(until),
            ..Checkpoint::default()
        };
        save(&plan, &unit, beginning).await;
        until
    };
    let mut windows = Windows {
        unsupported: Unsupported::new(unit.command.interval),
        given_up: GivenUp::default(),
        unit,
        spec,
        plan,
        progress,
        until,
        recent: checkpoint.recent,
        pending: VecDeque::new(),
        carried: None,
        well: true,
    };
    // Where it begins counts as delivered: the lag grows from there also where nothing ever is.
    windows.progress.delivered(until);
    let stop = windows.plan.stop.clone();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            lost = windows.settled() => {
                if lost { return Ended { well: false } }
            }
            due = ticks.next() => {
                windows.catch_up(due.tick).await;
                if windows.plan.once {
                    break;
                }
            }
        }
    }
    while !windows.pending.is_empty() {
        if windows.settled().await {
            return Ended { well: false };
        }
    }
    Ended { well: windows.well }
}

impl Windows {
    /// Reads every window that is complete by now.
    async fn catch_up(&mut self, tick: Timestamp) {
        let releases = self.unit.releases();
        if self.unsupported.rests(&Target::Whole, &releases).is_some() {
            return;
        }
        let ours = self.unit.context.clock.now();
        if window::next(&self.spec, self.until, now(&self.unit)).is_none()
            && window::next(&self.spec, self.until, ours).is_some()
        {
            // Only by the clock of ECS nothing is due. It may have been one node's clock, and where nothing is
            // asked nobody would ever tell us better.
            self.unit.ask_time().await;
        }
        let max = self.plan.max_catch_up;
        let (until, given_up) = window::resume(&self.spec, self.until, max, now(&self.unit));
        if let Some(from) = given_up {
            if !self.progress.is_unsupported() {
                self.given_up.tell(&self.unit, from, until);
            }
            self.until = until;
            self.carried = None;
        }
        while let Some(span) = window::next(&self.spec, self.until, now(&self.unit)) {
            let round = Round {
                tick,
                window: Some(span),
            };
            if !self.read(&round).await || self.plan.stop.is_cancelled() {
                break;
            }
            if controls::order_is_off() {
                let checkpoint = Checkpoint {
                    until: Some(self.until),
                    ..Checkpoint::default()
                };
                save(&self.plan, &self.unit, checkpoint).await;
            }
            while self.pending.len() >= MOST_PENDING {
                let stop = self.plan.stop.clone();
                tokio::select! {
                    lost = self.settled() => if lost { return },
                    () = stop.cancelled() => return,
                }
            }
        }
    }

    /// Reads one window; gives whether the next one may follow.
    async fn read(&mut self, round: &Round) -> bool {
        let Some(span) = round.window else { return false };
        let hold = self.spec.complete_field.is_some();
        let mut harvest = self
            .carried
            .take()
            .unwrap_or_else(|| Harvest::new(&self.recent, hold));
        let started = Instant::now();
        let before = harvest.acks.events();
        let mut errors = self.unit.poll(&Target::Whole, round, &mut harvest).await;
        self.unsupported
            .polled(&Target::Whole, &errors, self.unit.releases());
        // By the source's clock: ours may be ahead, and would give the window up at once.
        if errors.is_empty() && harvest.wants_another_try(round, self.spec.lag, now(&self.unit)) {
            tracing::debug!(stream = %self.unit.stream, end = %span.end, "the source is not up to date with the window yet");
            self.progress.polled(round.tick, started.elapsed(), 0, &[]);
            return false;
        }
        if errors.is_empty()
            && let Err(error) = harvest.release(&self.unit.context.queue).await
        {
            errors.push(error);
        }
        let events = harvest.acks.events().saturating_sub(before);
        self.progress
            .polled(round.tick, started.elapsed(), events, &errors);
        if !errors.is_empty() {
            self.well = false;
            // Rows that were held back are asked for anew; the others are on their way already.
            if !hold && !errors.contains(&EcsError::Stopped) {
                self.carried = Some(harvest);
            }
            return false;
        }
        self.until = span.end;
        self.recent = harvest.recent(window::before(span.end, self.spec.overlap));
        self.pending.push_back(Pending {
            until: span.end,
            recent: self.recent.clone(),
            acks: harvest.acks,
        });
        true
    }

    /// Waits until the oldest window has ended and moves the checkpoint past it; for ever when there is none.
    /// True: events were lost, because everything ends; the checkpoint stays. May be dropped midway.
    async fn settled(&mut self) -> bool {
        let Some(oldest) = self.pending.front() else {
            return std::future::pending().await;
        };
        if !oldest.acks.wait().await.complete() {
            return true;
        }
        // Several windows that are done cost one write.
        let mut done = None;
        while let Some(next) = self.pending.front()
            && next.acks.now().ended() >= next.acks.issued()
            && next.acks.now().complete()
        {
            done = self.pending.pop_front();
        }
        if let Some(done) = done {
            let checkpoint = Checkpoint {
                tick: None,
                until: Some(done.until),
                recent: done.recent,
            };
            save(&self.plan, &self.unit, checkpoint).await;
            self.progress.delivered(done.until);
        }
        false
    }
}

impl GivenUp {
    /// A source that is away for long has a piece of it given up at each tick: they are told together.
    fn tell(&mut self, unit: &Unit, from: Timestamp, until: Timestamp) {
        let from = *self.from.get_or_insert(from);
        if self.trouble.happened().is_some() {
            self.from = None;
            tracing::error!(
                stream = %unit.stream, %from, to = %until,
                "the checkpoint is older than ecsbeat.max_catch_up: this span is not polled"
            );
        }
    }
}

/// The time up to which the source can be complete: no later than its own clock says, so that a clock of ours that
/// was set forward does not ask for a future that looks empty.
fn now(unit: &Unit) -> Timestamp {
    let ours = unit.context.clock.now();
    unit.source_time().map_or(ours, |theirs| theirs.min(ours))
}
