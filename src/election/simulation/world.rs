//! The simulated world: true time, what is due when, and who is told.
//!
//! Owns the queue of events and the loop over it. Everything that happens, happens at one true time, in an order that
//! the schedule determines; replicas see their own clocks only.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::Duration;

use super::invariants::{Failure, Ledger};
use super::replica::{Host, Process};
use super::schedule::Schedule;
use super::trace::Trace;
use crate::dcs::model::Model;
use crate::dcs::{DcsError, Request, Response};
use crate::election::machine::Input;

/// What is due at some time.
#[derive(Debug)]
pub(super) enum Event {
    /// The host's process starts.
    Start { host: usize },
    /// The time for which the machine asked has come.
    Wake { process: usize, turn: u64 },
    /// Something reaches the machine.
    Tell { process: usize, input: Input },
    /// A request reaches etcd; its answer takes `back`, or is lost.
    Arrive {
        process: usize,
        ticket: u64,
        attempt: u32,
        sent: Duration,
        back: Option<Duration>,
        request: Rc<Request>,
    },
    /// An answer reaches the process.
    Back {
        process: usize,
        ticket: u64,
        attempt: u32,
        sent: Duration,
        /// Of etcd, when it was asked.
        revision: i64,
        result: Result<Response, DcsError>,
    },
    /// An attempt has taken too long.
    GiveUp {
        process: usize,
        ticket: u64,
        attempt: u32,
    },
    /// The work sends something, if it may.
    Publish { process: usize, term: u64 },
    /// A window is sent without asking again: see [`Schedule::gap`].
    SendLate {
        process: usize,
        term: u64,
        window: (usize, u64),
    },
    /// The work of a term ends.
    Ended { process: usize, term: u64 },
    /// The work's checkpoints may have something to ask for.
    Checkpoints { process: usize, term: u64 },
    /// A window, given as its stream and number, reaches the output.
    Delivered {
        process: usize,
        term: u64,
        window: (usize, u64),
    },
    /// The output's acknowledgement reaches the process.
    Acked {
        process: usize,
        term: u64,
        window: (usize, u64),
    },
    /// A pause ends.
    Resume { process: usize },
    /// The process must have ended by now.
    StopDue { process: usize },
    /// Somebody must lead with a higher term by now.
    HandoverDue { term: u64 },
    /// etcd looks for expired leases.
    Scan,
    /// The next fault of the schedule.
    Fault(usize),
    /// What was cut off is reached again.
    Healed { host: usize },
    /// A process with somebody else's name ends.
    TwinEnds { host: usize },
    /// Whether everything is as it should be, now that nothing fails any more.
    Judge,
}

impl Event {
    /// The process that must run for it.
    fn process(&self) -> Option<usize> {
        match self {
            Self::Wake { process, .. }
            | Self::Tell { process, .. }
            | Self::Back { process, .. }
            | Self::GiveUp { process, .. }
            | Self::Publish { process, .. }
            | Self::Checkpoints { process, .. }
            | Self::Acked { process, .. }
            | Self::Ended { process, .. } => Some(*process),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct Due {
    at: Duration,
    /// Of two that are due at one time, the one that was put down first.
    number: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// One run.
pub(super) struct World<'a> {
    pub(super) schedule: &'a Schedule,
    /// True time.
    pub(super) now: Duration,
    pub(super) etcd: Model,
    /// etcd answers nobody until then.
    pub(super) etcd_down_until: Duration,
    pub(super) hosts: Vec<Host>,
    /// Every process that ever was.
    pub(super) processes: Vec<Process>,
    pub(super) ledger: Ledger,
    pub(super) trace: Trace,
    /// When everything heals.
    pub(super) quiet_at: Duration,
    /// What happened in etcd up to here was looked at.
    pub(super) looked: usize,
    /// Since when all has been well.
    pub(super) well_since: Option<Duration>,
    queue: BinaryHeap<Reverse<Due>>,
    number: u64,
    over: bool,
}

impl<'a> World<'a> {
    /// The world at the beginning: every replica starts within two seconds.
    pub(super) fn new(schedule: &'a Schedule, trace: Trace) -> Self {
        let mut world = Self {
            schedule,
            now: Duration::ZERO,
            etcd: Model::new(schedule.etcd_ppm),
            etcd_down_until: Duration::ZERO,
            hosts: Vec::new(),
            processes: Vec::new(),
            ledger: Ledger::default(),
            trace,
            quiet_at: schedule.quiet_at(),
            looked: 0,
            well_since: None,
            queue: BinaryHeap::new(),
            number: 0,
            over: false,
        };
        for (index, plan) in schedule.hosts.iter().enumerate() {
            world.hosts.push(Host::new(index, plan));
            let spread = Duration::from_millis(137) * u32::try_from(index).unwrap_or(0);
            world.at(spread, Event::Start { host: index });
        }
        for (index, (at, _)) in schedule.faults.iter().enumerate() {
            world.at(*at, Event::Fault(index));
        }
        world.at(world.etcd.next_tick(), Event::Scan);
        world.at(world.quiet_at, Event::Judge);
        world
    }

    /// Puts something down for later.
    pub(super) fn at(&mut self, at: Duration, event: Event) {
        self.number += 1;
        self.queue.push(Reverse(Due {
            at: at.max(self.now),
            number: self.number,
            event,
        }));
    }

    /// Puts something down for in a while.
    pub(super) fn after(&mut self, wait: Duration, event: Event) {
        self.at(self.now + wait, event);
    }

    /// Lets the world go on until all is well and stays so, or something is wrong.
    pub(super) fn run(&mut self) -> Result<(), Failure> {
        while let Some(Reverse(due)) = self.queue.pop() {
            self.now = due.at;
            self.happen(due.event)?;
            self.check_gates()?;
            if self.over {
                return Ok(());
            }
        }
        Err(self.failure("world", "nothing is left to happen".to_owned()))
    }

    /// The end, in good order.
    pub(super) fn finish(&mut self) {
        self.over = true;
    }

    /// Does what is due, or keeps it for a process that is paused.
    pub(super) fn happen(&mut self, event: Event) -> Result<(), Failure> {
        if let Some(index) = event.process() {
            let process = &mut self.processes[index];
            if !process.alive {
                return Ok(());
            }
            if process.paused {
                process.missed.push(event);
                return Ok(());
            }
        }
        match event {
            Event::Start { host } => self.start(host),
            Event::Wake { process, turn } => self.wake(process, turn),
            Event::Tell { process, input } => self.tell(process, input),
            Event::Arrive {
                process,
                ticket,
                attempt,
                sent,
                back,
                request,
            } => self.arrive(process, (ticket, attempt, sent), back, &request),
            Event::Back {
                process,
                ticket,
                attempt,
                sent,
                revision,
                result,
            } => self.back(process, (ticket, attempt, sent), revision, result),
            Event::GiveUp {
                process,
                ticket,
                attempt,
            } => self.give_up(process, ticket, attempt),
            Event::Publish { process, term } => self.publish(process, term),
            Event::SendLate {
                process,
                term,
                window,
            } => self.send(process, term, window),
            Event::Ended { process, term } => self.work_ended(process, term),
            Event::Checkpoints { process, term } => self.checkpoints(process, term),
            Event::Delivered {
                process,
                term,
                window,
            } => self.delivered(process, term, window),
            Event::Acked {
                process,
                term,
                window,
            } => self.acked(process, term, window),
            Event::Resume { process } => self.resume(process),
            Event::StopDue { process } => self.stop_due(process),
            Event::HandoverDue { term } => self.handover_due(term),
            Event::Scan => {
                self.etcd.tick(self.now);
                self.at(self.etcd.next_tick(), Event::Scan);
                self.look_at_etcd();
                Ok(())
            }
            Event::Fault(index) => self.fault(index),
            Event::Healed { host } => {
                self.healed(host);
                Ok(())
            }
            Event::TwinEnds { host } => self.crash(host),
            Event::Judge => self.judge(),
        }
    }

    /// Whether nothing fails any more.
    pub(super) fn is_quiet(&self) -> bool {
        self.now >= self.quiet_at
    }

    /// Puts a line into the trace.
    pub(super) fn note(&mut self, process: usize, text: impl FnOnce() -> String) {
        if self.trace.is_on() {
            let process = &self.processes[process];
            let who = format!("{} {}", process.incarnation, process.machine.state().as_str());
            self.trace.line(self.now, &who, &text());
        }
    }

    /// Puts a line about nobody into the trace.
    pub(super) fn remark(&mut self, who: &str, text: impl FnOnce() -> String) {
        if self.trace.is_on() {
            self.trace.line(self.now, who, &text());
        }
    }

    /// Something is wrong.
    pub(super) fn failure(&self, invariant: &'static str, detail: String) -> Failure {
        Failure {
            invariant,
            detail,
            at: self.now,
        }
    }
}
