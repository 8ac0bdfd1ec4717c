//! What may be asked of etcd, and what must have come of it.
//!
//! Owns I5 (every write names what it expects to find, nothing is repeated blindly), I8 as far as the history shows
//! it, and that nothing is given back too early or used afterwards.

use std::time::Duration;

use super::invariants::{Failure, takes_leader};
use super::world::{Event, World};
use crate::cluster::{
    CONFIG, ConfigRecord, HISTORY, HistoryRecord, LEADER, MEMBERS, SWITCHOVER, SwitchoverRecord, TERM,
    history_key, member_key,
};
use crate::dcs::{Compare, DcsError, KeyValue, Operation, Request, Response, Txn};
use crate::status::State;

impl World<'_> {
    /// A process asks for something.
    pub(super) fn asks(&mut self, index: usize, ticket: u64, request: &Request) -> Result<(), Failure> {
        let process = &mut self.processes[index];
        let name = process.incarnation.clone();
        if !matches!(request, Request::Renew(_)) {
            process.question = ticket;
        }
        let working = process.work.is_some();
        match request {
            Request::Renew(lease) if process.given_back.contains(lease) => {
                let text = format!("{name} renews lease {lease}, which it has given back");
                Err(self.failure("I5 what is given back stays so", text))
            }
            Request::Revoke(lease) => {
                process.given_back.insert(*lease);
                let term = process.work.as_ref().map_or(0, |work| work.term);
                if self.ledger.leases.get(&term) == Some(lease) {
                    let text = format!("{name} revokes lease {lease} while its work runs");
                    return Err(self.failure("I6 work ends before anything is given back", text));
                }
                Ok(())
            }
            Request::Txn(txn) => {
                if working && txn.then.contains(&Operation::Delete(LEADER.to_owned())) {
                    let text = format!("{name} gives the leader key back while its work runs");
                    return Err(self.failure("I6 work ends before anything is given back", text));
                }
                if process.blind && txn.then.iter().any(takes_leader) {
                    let text = format!("{name} races again without having looked");
                    return Err(self.failure("I5 nothing is repeated blindly", text));
                }
                let instance = self.hosts[process.host].name.clone();
                fenced(txn, &instance)
                    .map_err(|text| self.failure("I5 writes are fenced", format!("{name}: {text}: {txn:?}")))
            }
            _ => Ok(()),
        }
    }

    /// A request is about to be done.
    pub(super) fn before_applied(&mut self, index: usize, request: &Request) -> Result<(), Failure> {
        self.etcd.tick(self.now);
        self.look_at_etcd();
        let Request::Txn(txn) = request else { return Ok(()) };
        let free = self.etcd.key(LEADER).is_none();
        if !free || !txn.then.iter().any(takes_leader) || !txn.when.iter().all(|compare| self.is_so(compare))
        {
            return Ok(());
        }
        let host = &self.hosts[self.processes[index].host];
        let paused = self
            .record::<ConfigRecord>(CONFIG)
            .is_some_and(|config| config.pause);
        let candidate = self
            .record::<SwitchoverRecord>(SWITCHOVER)
            .and_then(|order| order.candidate);
        if paused && candidate.as_ref() != Some(&host.name) {
            let text = format!("{} takes over in a paused cluster", host.name);
            return Err(self.failure("nobody takes over while paused", text));
        }
        if host.plan.priority == 0 {
            let text = format!("{} takes over with priority 0", host.name);
            return Err(self.failure("priority 0 never leads", text));
        }
        Ok(())
    }

    /// A request was done, or refused.
    pub(super) fn applied(
        &mut self,
        index: usize,
        request: &Request,
        leader: Option<i64>,
        result: &Result<Response, DcsError>,
    ) -> Result<(), Failure> {
        if let (Request::Txn(txn), Ok(Response::Txn { succeeded: true, .. })) = (request, result) {
            for step in &txn.then {
                match step {
                    Operation::Put { key, lease, .. } if key == LEADER => {
                        let term = self.etcd.revision().unsigned_abs();
                        self.ledger.leases.insert(term, *lease);
                    }
                    Operation::Put { key, value, .. } if key.starts_with(HISTORY) => {
                        self.wrote_history(value)?;
                    }
                    _ => {}
                }
            }
            self.wrote_checkpoints(&txn.then)?;
        }
        if let Some(term) = leader
            && self.etcd.key(LEADER).is_none()
        {
            self.left(index, term.unsigned_abs());
        }
        self.look_at_etcd();
        Ok(())
    }

    /// I8: terms enter the history in order, and what is written there is only added to.
    fn wrote_history(&mut self, value: &[u8]) -> Result<(), Failure> {
        let Ok(record) = serde_json::from_slice::<HistoryRecord>(value) else {
            return Err(self.failure("I8 history", "a record that cannot be read".to_owned()));
        };
        let newest = self
            .ledger
            .history
            .keys()
            .next_back()
            .copied()
            .unwrap_or_default();
        match self.ledger.history.get(&record.term) {
            Some(known) => {
                let same = HistoryRecord {
                    ending: record.ending,
                    ..known.clone()
                } == record;
                if !same || (known.ending.is_some() && record.ending != known.ending) {
                    let text = format!("{known:?} became {record:?}");
                    return Err(self.failure("I8 history is only added to", text));
                }
            }
            None if record.term < newest => {
                let text = format!("term {} was written after term {newest}", record.term);
                return Err(self.failure("I8 terms increase", text));
            }
            None => {}
        }
        self.ledger.history.insert(record.term, record);
        Ok(())
    }

    /// The leader key was given back: where nothing is wrong, somebody else is there at once.
    fn left(&mut self, index: usize, term: u64) {
        let ready = self.processes.iter().enumerate().any(|(other, process)| {
            other != index
                && process.alive
                && process.machine.state() == State::Standby
                && process.stopping.is_none()
                && self.hosts[process.host].plan.priority > 0
                && process.machine.leadership().barred.is_none()
                && process.told > 0
        });
        if self.schedule.calm && ready {
            let timers = &self.schedule.timers;
            let replicas = u32::try_from(self.schedule.hosts.len()).unwrap_or(1);
            let races = Duration::from_millis(200) * replicas;
            let most = (races + timers.lock_delay) * 106 / 100 + Duration::from_millis(60);
            self.after(most, Event::HandoverDue { term });
        }
    }

    /// Somebody must lead in a later term than this.
    pub(super) fn handover_due(&self, term: u64) -> Result<(), Failure> {
        if self.ledger.led > term {
            return Ok(());
        }
        let text = format!("nobody has led since term {term} was given back");
        Err(self.failure("a handover is quick", text))
    }

    /// Tells what has happened in etcd since the last time.
    pub(super) fn look_at_etcd(&mut self) {
        let from = self.looked;
        self.looked = self.etcd.happened().len();
        self.hint(from);
    }

    pub(super) fn record<T: serde::de::DeserializeOwned>(&self, key: &str) -> Option<T> {
        serde_json::from_slice(&self.etcd.key(key)?.value).ok()
    }

    fn is_so(&self, compare: &Compare) -> bool {
        let of = |key: &String, what: fn(&KeyValue) -> i64| self.etcd.key(key).map_or(0, what);
        match compare {
            Compare::CreateRevision(key, revision) => of(key, |key| key.create_revision) == *revision,
            Compare::ModRevision(key, revision) => of(key, |key| key.mod_revision) == *revision,
            Compare::Lease(key, lease) => of(key, |key| key.lease) == *lease,
        }
    }
}

/// Whether every write of a transaction names what it expects to find; otherwise what is missing.
fn fenced(txn: &Txn, instance: &str) -> Result<(), String> {
    let term = txn.when.iter().find_map(|compare| match compare {
        Compare::CreateRevision(key, revision) if key == LEADER && *revision > 0 => Some(*revision),
        _ => None,
    });
    let written = |name: &str| {
        txn.when.iter().find_map(|compare| match compare {
            Compare::ModRevision(key, revision) if key == name => Some(*revision),
            _ => None,
        })
    };
    let free = txn.when.contains(&Compare::CreateRevision(LEADER.to_owned(), 0));
    let own = member_key(instance);
    let on_own = txn
        .when
        .iter()
        .any(|compare| matches!(compare, Compare::Lease(key, lease) if *key == own && *lease != 0));
    for step in &txn.then {
        let ends = |value: &[u8]| {
            let record = serde_json::from_slice::<HistoryRecord>(value);
            record.is_ok_and(|record| record.ending.is_some())
        };
        let (key, lease) = match step {
            // The last word on a term: by its leader, which gives it back, or where nobody has the key any more.
            Operation::Put { key, value, lease: 0 } if key.starts_with(HISTORY) && ends(value) => {
                let mine = term.is_some_and(|term| *key == history_key(term.unsigned_abs()));
                let last = txn.then.contains(&Operation::Delete(LEADER.to_owned()));
                if (mine && last) || (free && written(key).is_some()) {
                    continue;
                }
                return Err(format!("{key} is ended without its leader key"));
            }
            Operation::Put { key, lease, .. } => (key.as_str(), Some(*lease)),
            Operation::Delete(key) => (key.as_str(), None),
            _ => continue,
        };
        let good = match (key, lease) {
            (LEADER, Some(lease)) => free && on_own && lease != 0,
            (LEADER, None) => term.is_some(),
            (SWITCHOVER, Some(0)) => term.is_some() && written(SWITCHOVER) == Some(0),
            (SWITCHOVER, None) => {
                (term.is_some() || free) && written(SWITCHOVER).is_some_and(|revision| revision > 0)
            }
            (TERM, Some(0)) => free && written(TERM).is_some() && txn.then.iter().any(takes_leader),
            (CONFIG, Some(0)) => written(CONFIG).is_some(),
            (key, Some(lease)) if key.starts_with(MEMBERS) => {
                key == own && lease != 0 && (on_own || written(&own).is_some())
            }
            (key, Some(0)) if key.starts_with(HISTORY) => {
                term.is_some_and(|term| key == history_key(term.unsigned_abs())) && written(key).is_some()
            }
            (key, None) if key.starts_with(HISTORY) => term.is_some(),
            _ => false,
        };
        if !good {
            return Err(format!("{key} is written without knowing what is there"));
        }
    }
    let reads = |step: &Operation| !matches!(step, Operation::Put { .. } | Operation::Delete(_));
    if txn.or_else.iter().all(reads) {
        Ok(())
    } else {
        Err("something is written where the conditions do not hold".to_owned())
    }
}
