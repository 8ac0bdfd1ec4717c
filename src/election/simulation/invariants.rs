//! What must hold at every step, whatever happens.
//!
//! Owns the invariants that concern tenures, sends and what replicas are told, judged from true time and from etcd's
//! own state, which no replica sees.

use std::collections::BTreeMap;
use std::time::Duration;

use super::checkpoints::Delivered;
use super::world::{Event, World};
use crate::cluster::{HistoryRecord, LEADER};
use crate::dcs::{Compare, DcsError, LeaseId, Operation, Request, Response};
use crate::election::machine::{Fatal, Input, Note};
use crate::election::order::{Done, Refused};

/// What was broken, and when.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) invariant: &'static str,
    pub(super) detail: String,
    pub(super) at: Duration,
}

/// What is known about the run so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Terms that an administrator ended, and at which revision.
    pub(super) removed: BTreeMap<u64, i64>,
    /// The leases of terms.
    pub(super) leases: BTreeMap<u64, LeaseId>,
    /// First and last arrival of what was sent in a term.
    sends: BTreeMap<u64, (Duration, Duration)>,
    /// The highest term in which somebody led.
    pub(super) led: u64,
    pub(super) history: BTreeMap<u64, HistoryRecord>,
    /// There were two processes of one name.
    pub(super) twins: bool,
    /// What came of the streams.
    pub(super) delivered: Delivered,
}

impl World<'_> {
    /// I1 and I2: there is one open gate at most, even where an administrator took the key away from a leader that has
    /// not heard yet. Nobody else did that: whoever has an open gate has the leader key, on a lease that outlives the
    /// gate.
    pub(super) fn check_gates(&self) -> Result<(), Failure> {
        let mut open: Option<&str> = None;
        for process in &self.processes {
            let Some(work) = &process.work else { continue };
            let clock = self.hosts[process.host].clock;
            if !work.is_open(clock.shows(self.now)) {
                continue;
            }
            let term = work.term;
            let name = &process.incarnation;
            // Whoever took the key away.
            if let Some(other) = open.replace(name) {
                let text = format!("{other} and {name}, the latter in term {term}, may both send");
                return Err(self.failure("I1 one open gate", text));
            }
            if self.is_excused(term, process.told) {
                continue;
            }
            let held = self.etcd.key(LEADER);
            if held.is_none_or(|key| key.create_revision.unsigned_abs() != term) {
                let held = held.map(|key| key.create_revision);
                let text = format!("{name} may send in term {term}, but etcd knows {held:?}");
                return Err(self.failure("I1 one open gate", text));
            }
            let lease = self.ledger.leases.get(&term).copied().unwrap_or_default();
            let closes = clock.when(work.deadline);
            match self.etcd.expires(lease) {
                Some(expires) if closes <= expires => {}
                Some(expires) => {
                    let text = format!("{name}'s gate closes at {closes:?}, its lease ends at {expires:?}");
                    return Err(self.failure("I2 the gate closes before the lease ends", text));
                }
                None => {
                    let text = format!("{name}'s gate is open without a lease");
                    return Err(self.failure("I2 the gate closes before the lease ends", text));
                }
            }
        }
        Ok(())
    }

    /// An administrator ended the term, and whoever leads in it has not been told.
    fn is_excused(&self, term: u64, told: i64) -> bool {
        self.ledger
            .removed
            .get(&term)
            .is_some_and(|revision| told < *revision)
    }

    /// I8: a tenure begins in a higher term than any before.
    pub(super) fn led(&mut self, index: usize, term: u64) -> Result<(), Failure> {
        if term <= self.ledger.led {
            let text = format!(
                "{} leads in term {term} after term {}",
                self.processes[index].incarnation, self.ledger.led
            );
            return Err(self.failure("I8 terms increase", text));
        }
        self.ledger.led = term;
        Ok(())
    }

    /// I3, I4, I6: something was sent, and will arrive.
    pub(super) fn sent(&mut self, index: usize, term: u64, arrival: Duration) -> Result<(), Failure> {
        let process = &self.processes[index];
        let name = process.incarnation.clone();
        let open = process.work.as_ref().is_some_and(|work| {
            work.term == term && work.is_open(self.hosts[process.host].clock.shows(self.now))
        });
        if !open {
            return Err(self.failure(
                "I3 no send without an open gate",
                format!("{name} sent in term {term}"),
            ));
        }
        if let Some(since) = process.doubt {
            let text = format!("{name} sent in term {term}, in doubt since {since:?} of its time");
            return Err(self.failure("I3 no send in doubt", text));
        }
        for (other, (first, last)) in &self.ledger.sends {
            let late = *other > term && *first < arrival;
            let early = *other < term && *last > arrival;
            if late || early {
                let text = format!("{name} sent in term {term} across a send of term {other}");
                return Err(self.failure("I1 sends do not mix", text));
            }
        }
        let range = self.ledger.sends.entry(term).or_insert((arrival, arrival));
        range.1 = range.1.max(arrival);
        Ok(())
    }

    /// The machine is about to be told something.
    pub(super) fn before(&mut self, index: usize, input: &Input) {
        if matches!(input, Input::Stop) && self.processes[index].stopping.is_none() {
            self.processes[index].stopping = Some((self.now, Duration::ZERO));
            self.after(self.stop_limit(), Event::StopDue { process: index });
        }
    }

    /// What the process knows once it has this answer. An answer that the machine no longer waits for tells nothing.
    pub(super) fn learns(
        &mut self,
        index: usize,
        (ticket, request): (u64, &Request),
        sent: Duration,
        revision: Option<i64>,
        result: &Result<Response, DcsError>,
    ) {
        let process = &mut self.processes[index];
        let current = ticket == process.question;
        match (result, request) {
            (Ok(Response::Txn { succeeded, .. }), Request::Txn(txn)) if current => {
                process.told = process.told.max(revision.unwrap_or_default());
                process.blind = false;
                let fenced = |compare: &Compare| matches!(compare, Compare::CreateRevision(key, revision) if key == LEADER && *revision > 0);
                if *succeeded
                    && process.doubt.is_some_and(|since| sent >= since)
                    && txn.when.iter().any(fenced)
                {
                    process.doubt = None;
                }
            }
            (Ok(Response::Renewed(None)), Request::Renew(lease))
                if process
                    .work
                    .as_ref()
                    .is_some_and(|work| self.ledger.leases.get(&work.term) == Some(lease)) =>
            {
                process.told = process.told.max(revision.unwrap_or_default());
            }
            (Err(DcsError::Unanswered(_)), Request::Txn(txn)) if current => {
                process.blind |= txn.then.iter().any(takes_leader);
            }
            _ => {}
        }
    }

    /// Orders are answered once.
    pub(super) fn order_answered(
        &mut self,
        index: usize,
        slip: u64,
        result: &Result<Done, Refused>,
    ) -> Result<(), Failure> {
        let process = &mut self.processes[index];
        let known = process.slips.remove(&slip).is_some();
        let name = &process.incarnation;
        if !known {
            let text = format!("{name} answered order {slip} again, or without having it: {result:?}");
            return Err(self.failure("orders are answered once", text));
        }
        match result {
            Ok(Done::Switched { from, to, .. }) if from == to => {
                let text = format!("{name} calls it a switchover that {to} leads again");
                Err(self.failure("orders are answered truly", text))
            }
            _ => Ok(()),
        }
    }

    /// What the machine tells for the log.
    pub(super) fn noted(&mut self, index: usize, note: &Note) -> Result<(), Failure> {
        match note {
            Note::Lost { .. } => self.processes[index].losses += 1,
            Note::TermRegressed { .. } => {
                return Err(self.failure("I8 terms increase", format!("{note:?}")));
            }
            _ => {}
        }
        Ok(())
    }

    /// How long a stop may take: what is under way drains, its end may be late, and what is held is given back.
    pub(super) fn stop_limit(&self) -> Duration {
        let timers = &self.schedule.timers;
        let late = timers.ttl * 4 / 5;
        let most = timers.drain_timeout + timers.retry_timeout + late + Duration::from_millis(500);
        // By the slowest clock.
        most * 106 / 100
    }

    /// A machine has ended: whether it may.
    pub(super) fn check_halt(&self, index: usize, fatal: Option<&Fatal>) -> Result<(), Failure> {
        use super::schedule::Fault;
        let process = &self.processes[index];
        let name = &process.incarnation;
        if fatal.is_some() {
            // A dead predecessor's lease lives on when the raft leader changes, or a late renewal arrives.
            let explained = self.ledger.twins
                || self.schedule.weather.late > 0
                || self.schedule.faults.iter().any(|(_, fault)| {
                    matches!(
                        fault,
                        Fault::ChangeRaftLeader { .. }
                            | Fault::EtcdDown { .. }
                            | Fault::Partition { held: true, .. }
                    )
                });
            if explained {
                return Ok(());
            }
            let text = format!("{name} gives up its name, which nobody else has");
            return Err(self.failure("I7 only twins are fatal", text));
        }
        if process.stopping.is_none() {
            return Err(self.failure(
                "I7 the loop goes on",
                format!("{name} ends without being told to"),
            ));
        }
        if process.work.is_some() {
            return Err(self.failure(
                "I6 work ends before the process",
                format!("{name} ends with work running"),
            ));
        }
        Ok(())
    }

    /// A stop must be over.
    pub(super) fn stop_due(&mut self, index: usize) -> Result<(), Failure> {
        let process = &self.processes[index];
        let (true, Some((since, paused))) = (process.alive, process.stopping) else {
            return Ok(());
        };
        let limit = since + paused + self.stop_limit();
        if process.paused || self.now < limit {
            let again = limit.max(self.now + Duration::from_millis(100));
            self.at(again, Event::StopDue { process: index });
            return Ok(());
        }
        let text = format!(
            "{} is to stop since {since:?} and is {}",
            process.incarnation,
            process.machine.state().as_str()
        );
        Err(self.failure("a stop ends in time", text))
    }
}

/// Whether a step takes the leader key.
pub(super) fn takes_leader(step: &Operation) -> bool {
    matches!(step, Operation::Put { key, .. } if key == LEADER)
}
