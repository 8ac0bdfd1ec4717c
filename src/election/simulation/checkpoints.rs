//! The checkpoint protocol in the simulated world: a term's work delivers windows and writes how far it has got.
//!
//! Owns a few streams of numbered windows for each term, driven by the product's own [`Ledger`], on a lane to etcd of
//! their own; and what must hold of them, as an output and etcd see it: no window is missed, none comes twice but what
//! a crash or a lost tenure has left open, a checkpoint never runs ahead of the output, never goes back, and is never
//! written by who was deposed.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;

use super::dice::{Use, chance, dice, millis};
use super::invariants::Failure;
use super::network::LANE;
use super::world::{Event, World};
use crate::checkpoint::ledger::{Ledger, Verdict};
use crate::checkpoint::{Checkpoint, Stream};
use crate::cluster::{CHECKPOINTS, LEADER};
use crate::dcs::{DcsError, Operation, Request, Response};
use crate::election::machine::Input;

/// Streams of every term.
pub(super) const STREAMS: usize = 3;
/// How long a lane waits that may not ask yet.
const LOOK: Duration = Duration::from_millis(20);

/// How far the work of one term has got.
#[derive(Debug)]
pub(super) struct Delivery {
    ledger: Ledger,
    /// What earlier terms have left is known.
    taken_over: bool,
    /// The window of each stream that comes next.
    next: [u64; STREAMS],
    /// Those that were sent and not acknowledged.
    under_way: [bool; STREAMS],
    /// Nothing new is begun, and what is known is written at once.
    finishing: bool,
    /// Requests so far.
    asked: u64,
    /// The one that waits for its answer.
    waits: Option<u64>,
    /// Nothing more may be written in this term.
    fenced: bool,
}

/// What came of all streams, over all terms.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// The term that delivered each window last, in order.
    by: [Vec<u64>; STREAMS],
    /// The window after the last that each checkpoint covers, and the term that wrote it.
    written: BTreeMap<usize, (u64, u64)>,
    /// Terms that ended in order, with everything written.
    clean: BTreeSet<u64>,
}

impl Delivery {
    pub(super) fn new(term: u64) -> Self {
        Self {
            ledger: Ledger::new(term),
            taken_over: false,
            next: [0; STREAMS],
            under_way: [false; STREAMS],
            finishing: false,
            asked: 0,
            waits: None,
            fenced: false,
        }
    }

    /// The next window of the stream whose turn it is; `None` = it has to wait.
    pub(super) fn begin(&mut self, turn: u64) -> Option<(usize, u64)> {
        let stream = usize::try_from(turn % STREAMS as u64).unwrap_or(0);
        if !self.taken_over || self.finishing || self.fenced || self.under_way[stream] {
            return None;
        }
        self.under_way[stream] = true;
        Some((stream, self.next[stream]))
    }

    /// Nothing new is begun.
    pub(super) fn finish(&mut self) {
        self.finishing = true;
    }

    /// Whether everything that was begun is written.
    pub(super) fn is_done(&self) -> bool {
        let idle = self.under_way.iter().all(|under_way| !under_way);
        idle && self.waits.is_none() && (self.ledger.is_clean() || !self.taken_over)
    }

    /// Whether the work goes on, and not only the lease.
    pub(super) fn is_at_work(&self) -> bool {
        self.taken_over && !self.fenced
    }
}

fn stream(number: usize) -> Stream {
    Stream {
        customer: "c".into(),
        vdc: "v".into(),
        command: number.to_string().into(),
    }
}

fn key(number: usize) -> String {
    format!("{CHECKPOINTS}c/v/{number}")
}

/// The checkpoint that covers all windows before `window`.
fn up_to(window: u64) -> Checkpoint {
    Checkpoint {
        until: i64::try_from(window)
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok()),
        ..Checkpoint::default()
    }
}

/// The window after the last that it covers.
fn covered(checkpoint: &Checkpoint) -> u64 {
    let until = checkpoint.until.map_or(0, Timestamp::as_second);
    u64::try_from(until).unwrap_or(0)
}

impl World<'_> {
    /// Asks for what the ledger wants next, if the term's gate lets it.
    pub(super) fn checkpoints(&mut self, index: usize, term: u64) -> Result<(), Failure> {
        let process = &mut self.processes[index];
        let clock = self.hosts[process.host].clock;
        let boot = clock.shows(self.now);
        let Some(work) = process.work.as_mut().filter(|work| work.term == term) else {
            return Ok(());
        };
        if !work.is_open(boot) || work.delivery.waits.is_some() || work.delivery.fenced {
            return Ok(());
        }
        if work.doubted {
            self.after(LOOK, Event::Checkpoints { process: index, term });
            return Ok(());
        }
        let (deadline, delivery) = (work.deadline, &mut work.delivery);
        let txn = if delivery.taken_over {
            delivery.ledger.next(boot, delivery.finishing)
        } else {
            Some(delivery.ledger.inventory())
        };
        let Some(txn) = txn else {
            if let Some(at) = delivery.ledger.wake_at() {
                let due = clock.when(at).max(self.now) + Duration::from_micros(10);
                self.at(due, Event::Checkpoints { process: index, term });
            }
            return Ok(());
        };
        delivery.asked += 1;
        let ticket = LANE | term << 20 | delivery.asked;
        delivery.waits = Some(ticket);
        let until = deadline.min(boot + self.schedule.timers.retry_timeout);
        self.note(index, || {
            format!(
                "checkpoints: {}",
                super::trace::request(&Request::Txn(txn.clone()))
            )
        });
        self.ask(index, ticket, Rc::new(Request::Txn(txn)), until)
    }

    /// An answer on the lane of the checkpoints.
    pub(super) fn committed(
        &mut self,
        index: usize,
        ticket: u64,
        result: Result<Response, DcsError>,
    ) -> Result<(), Failure> {
        let process = &mut self.processes[index];
        let boot = self.hosts[process.host].clock.shows(self.now);
        let Some(work) = process
            .work
            .as_mut()
            .filter(|work| work.delivery.waits == Some(ticket))
        else {
            return Ok(());
        };
        let (term, delivery) = (work.term, &mut work.delivery);
        delivery.waits = None;
        let fenced = if delivery.taken_over {
            match delivery.ledger.answered(boot, result) {
                Verdict::Foreign(key) => {
                    let text = format!("{key} was written by somebody else in term {term}");
                    return Err(self.failure("checkpoints: one writer in a term", text));
                }
                verdict => verdict == Verdict::Fenced,
            }
        } else if let Ok(response) = result {
            match delivery.ledger.take_over(response) {
                None => true,
                Some(complaints) if complaints.is_empty() => {
                    delivery.taken_over = true;
                    for number in 0..STREAMS {
                        let found = delivery.ledger.get(&stream(number));
                        delivery.next[number] = found.as_ref().map_or(0, covered);
                    }
                    false
                }
                Some(complaints) => {
                    return Err(self.failure("checkpoints: they can be read", format!("{complaints:?}")));
                }
            }
        } else {
            false
        };
        if fenced {
            delivery.fenced = true;
            let holds = self
                .etcd
                .key(LEADER)
                .map(|key| key.create_revision.unsigned_abs());
            if holds == Some(term) {
                let text = format!("term {term} was refused, and is the leader's");
                return Err(self.failure("checkpoints: only a deposed leader is refused", text));
            }
            return self.tell(index, Input::Fenced { term });
        }
        self.after(
            Duration::from_millis(1),
            Event::Checkpoints { process: index, term },
        );
        Ok(())
    }

    /// A window reaches the output, whatever has become of its sender.
    pub(super) fn delivered(
        &mut self,
        index: usize,
        term: u64,
        (number, window): (usize, u64),
    ) -> Result<(), Failure> {
        let by = &mut self.ledger.delivered.by[number];
        let at = usize::try_from(window).unwrap_or(usize::MAX);
        match by.get(at).copied() {
            None if at == by.len() => by.push(term),
            None => {
                let text = format!(
                    "term {term} delivered window {window} of stream {number}, {} comes next",
                    by.len()
                );
                return Err(self.failure("checkpoints: no window is missed", text));
            }
            // Sent before its sender knew that an administrator had ended its term.
            Some(before) if before > term => {}
            Some(before) => {
                by[at] = term;
                let text = format!("window {window} of stream {number} by term {term}, after term {before}");
                if before == term {
                    return Err(self.failure("checkpoints: nothing twice in one term", text));
                }
                if self.ledger.delivered.clean.contains(&before) {
                    return Err(self.failure("checkpoints: an orderly end leaves nothing open", text));
                }
            }
        }
        let uid = self.processes[index].uid;
        let mut rng = dice(
            self.schedule.seed,
            Use::Output,
            [uid, term, window << 8 | number as u64],
        );
        let wait = if !self.schedule.calm && chance(&mut rng, 5) {
            millis(&mut rng, 10, 3000)
        } else {
            millis(&mut rng, 0, 3)
        };
        let acked = Event::Acked {
            process: index,
            term,
            window: (number, window),
        };
        self.after(wait, acked);
        Ok(())
    }

    /// The output's acknowledgement of a window.
    pub(super) fn acked(
        &mut self,
        index: usize,
        term: u64,
        (number, window): (usize, u64),
    ) -> Result<(), Failure> {
        let work = self.processes[index].work.as_mut();
        let Some(work) = work.filter(|work| work.term == term && !work.closed) else {
            return Ok(());
        };
        let delivery = &mut work.delivery;
        delivery.under_way[number] = false;
        delivery.next[number] = window + 1;
        delivery.ledger.put(&stream(number), up_to(window + 1));
        self.checkpoints(index, term)
    }

    /// The work of a term ends in order: whether with nothing left open.
    pub(super) fn ended_clean(&mut self, term: u64, delivery: &Delivery) {
        if delivery.is_at_work() && delivery.is_done() {
            self.ledger.delivered.clean.insert(term);
        }
    }

    /// Something was written to etcd: whether it may be there.
    pub(super) fn wrote_checkpoints(&mut self, steps: &[Operation]) -> Result<(), Failure> {
        for number in 0..STREAMS {
            let key = key(number);
            let put =
                |step: &Operation| matches!(step, Operation::Put { key: written, .. } if *written == key);
            if !steps.iter().any(put) {
                continue;
            }
            let found = self
                .etcd
                .key(&key)
                .map(|key| key.value.clone())
                .unwrap_or_default();
            let (Some((term, _)), Ok(checkpoint)) = crate::checkpoint::ledger::read(&found) else {
                return Err(self.failure("checkpoints: they can be read", key));
            };
            let holds = self
                .etcd
                .key(LEADER)
                .map(|key| key.create_revision.unsigned_abs());
            if holds != Some(term) {
                let text = format!("{key} was written by term {term}, the leader is that of {holds:?}");
                return Err(self.failure("checkpoints: a deposed leader writes none", text));
            }
            let until = covered(&checkpoint);
            let known = self.ledger.delivered.by[number].len() as u64;
            if until > known {
                let text = format!("{key} covers {until} windows, {known} were delivered");
                return Err(self.failure("checkpoints: never ahead of the output", text));
            }
            let before = self.ledger.delivered.written.insert(number, (until, term));
            if before.is_some_and(|(before, by)| before > until || by > term) {
                let text = format!("{key} went from {before:?} to {until} in term {term}");
                return Err(self.failure("checkpoints: never back", text));
            }
        }
        Ok(())
    }
}
