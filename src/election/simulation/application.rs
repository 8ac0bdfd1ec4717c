//! The work of a term, as far as the election matters to it.
//!
//! Owns a gate that decides as [`crate::election::gate`] does (by the local clock, closed for good by a close), and
//! when the work sends and ends. What it sends are the windows of [`super::checkpoints`].

use std::time::Duration;

use super::checkpoints::Delivery;
use super::dice::{Use, chance, dice, millis};
use super::invariants::Failure;
use super::network::LANE;
use super::world::{Event, World};
use crate::election::machine::Input;

/// How often the end of a drain is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// The work of one term.
#[derive(Debug)]
pub(super) struct Application {
    pub(super) term: u64,
    /// Local time at which the gate closes by itself.
    pub(super) deadline: Duration,
    pub(super) doubted: bool,
    pub(super) closed: bool,
    /// What it delivers, and how far it has got.
    pub(super) delivery: Delivery,
    /// Sends so far, for the dice.
    sends: u64,
    /// Between two sends, local time.
    every: Duration,
    /// When the last send reaches the output.
    last_arrival: Duration,
}

impl Application {
    /// Whether the gate is open at this local time. Doubt does not close it, it makes senders wait.
    pub(super) fn is_open(&self, boot: Duration) -> bool {
        !self.closed && boot < self.deadline
    }
}

impl World<'_> {
    /// A tenure begins.
    pub(super) fn lead(&mut self, index: usize, term: u64, deadline: Duration) -> Result<(), Failure> {
        let seed = self.schedule.seed;
        let process = &mut self.processes[index];
        let mut rng = dice(seed, Use::Work, [process.uid, term, 0]);
        let every = if chance(&mut rng, 10) {
            millis(&mut rng, 1, 8)
        } else {
            millis(&mut rng, 20, 90)
        };
        let running = process.work.replace(Application {
            term,
            deadline,
            doubted: false,
            closed: false,
            delivery: Delivery::new(term),
            sends: 0,
            every,
            last_arrival: Duration::ZERO,
        });
        if let Some(running) = running {
            let text = format!("term {term} begins while work of term {} runs", running.term);
            return Err(self.failure("I6 work ends before the next tenure", text));
        }
        self.led(index, term)?;
        let first = millis(&mut rng, 0, 3);
        self.after(first, Event::Publish { process: index, term });
        self.checkpoints(index, term)
    }

    /// The work is to end in order.
    pub(super) fn drain(&mut self, index: usize) {
        let process = &mut self.processes[index];
        if let Some(work) = &mut process.work {
            work.delivery.finish();
            let term = work.term;
            let mut rng = dice(self.schedule.seed, Use::Work, [process.uid, term, 1]);
            let most = self.schedule.timers.drain_timeout * 3 / 2;
            let length = match rng.u32(0..10) {
                _ if self.schedule.calm => millis(&mut rng, 0, 50),
                0..6 => millis(&mut rng, 0, 100),
                _ => super::dice::between(&mut rng, Duration::ZERO, most),
            };
            self.after(Duration::ZERO, Event::Checkpoints { process: index, term });
            self.after(length, Event::Ended { process: index, term });
        }
    }

    /// The gate closes for good.
    pub(super) fn close(&mut self, index: usize) {
        let ttl = self.schedule.timers.ttl;
        let process = &mut self.processes[index];
        process.doubt = None;
        // What the checkpoints have asked is let go of, and may still be done.
        process.asked.retain(|ticket, _| *ticket < LANE);
        if let Some(work) = &mut process.work {
            work.closed = true;
            let term = work.term;
            let mut rng = dice(self.schedule.seed, Use::Work, [process.uid, term, 2]);
            // The process is aborted when its work has not ended within a ttl.
            let length = match rng.u32(0..10) {
                0 => super::dice::between(&mut rng, Duration::ZERO, ttl * 4 / 5),
                1..3 => millis(&mut rng, 0, 500),
                _ => millis(&mut rng, 0, 20),
            };
            self.after(length, Event::Ended { process: index, term });
        }
    }

    /// Sends something, if the gate is open.
    pub(super) fn publish(&mut self, index: usize, term: u64) -> Result<(), Failure> {
        let seed = self.schedule.seed;
        let process = &mut self.processes[index];
        let boot = self.hosts[process.host].clock.shows(self.now);
        let Some(work) = process
            .work
            .as_mut()
            .filter(|work| work.term == term && !work.closed)
        else {
            return Ok(());
        };
        work.sends += 1;
        let (every, turn) = (work.every, work.sends);
        let may = work.is_open(boot) && !work.doubted;
        let mut rng = dice(seed, Use::Work, [process.uid, term, 16 + work.sends]);
        let window = may.then(|| work.delivery.begin(turn)).flatten();
        self.after(every, Event::Publish { process: index, term });
        let Some(window) = window else {
            return Ok(());
        };
        if self.schedule.gap && chance(&mut rng, 2) {
            let paused = super::dice::between(&mut rng, Duration::ZERO, self.schedule.timers.ttl * 2);
            let late = Event::SendLate {
                process: index,
                term,
                window,
            };
            self.after(paused, late);
            return Ok(());
        }
        self.send(index, term, window)
    }

    /// A window leaves the process.
    pub(super) fn send(&mut self, index: usize, term: u64, window: (usize, u64)) -> Result<(), Failure> {
        let process = &mut self.processes[index];
        let sends = process.work.as_ref().map_or(0, |work| work.sends);
        let mut rng = dice(self.schedule.seed, Use::Work, [process.uid, term, sends << 8]);
        let arrival = self.now + millis(&mut rng, 0, 3);
        if let Some(work) = process.work.as_mut() {
            work.last_arrival = work.last_arrival.max(arrival);
        }
        let delivered = Event::Delivered {
            process: index,
            term,
            window,
        };
        self.at(arrival, delivered);
        self.sent(index, term, arrival)
    }

    /// Every task of a term has ended: what was sent has arrived, or never will.
    pub(super) fn work_ended(&mut self, index: usize, term: u64) -> Result<(), Failure> {
        let process = &mut self.processes[index];
        let Some(work) = process.work.take_if(|work| work.term == term) else {
            return Ok(());
        };
        let mut again = work.last_arrival;
        // Drained is what is acknowledged and written; the machine closes the gate where that takes too long.
        if !work.closed && !work.delivery.is_done() {
            again = again.max(self.now + LOOK);
        }
        if again > self.now {
            process.work = Some(work);
            self.at(again, Event::Ended { process: index, term });
            return Ok(());
        }
        process.doubt = None;
        process.asked.retain(|ticket, _| *ticket < LANE);
        if !work.closed {
            self.ended_clean(term, &work.delivery);
        }
        self.tell(index, Input::Ended { term })
    }
}
