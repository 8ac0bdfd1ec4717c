//! What is asked of etcd, and in which order.
//!
//! Owns the two lanes: renewals, and everything else one after the other. A request that was not answered may have
//! been carried out; nothing is ever repeated blindly, every write names what it expects to find.

use std::time::Duration;

use super::vacancy;
use super::view::reads;
use super::{Effect, Lease, Machine, Now, Phase};
use crate::cluster::{
    CONFIG, HISTORY, HistoryRecord, LEADER, LeaderRecord, Reason, SCHEMA, SWITCHOVER, TERM, TermRecord,
    history_key, member_key,
};
use crate::dcs::{Compare, LeaseId, Operation, Request, Txn};

/// Terms that are kept in the history.
pub(super) const HISTORY_KEPT: usize = 100;
/// Keys deleted at once.
pub(super) const PRUNED_AT_ONCE: usize = 50;

/// What the request in the main lane is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    RevokeOld(LeaseId),
    Grant,
    Register,
    /// Sees all keys, and tells what has changed about this member.
    Look,
    Race,
    /// Whether the term still holds, after the clocks jumped.
    Verify,
    WriteHistory,
    /// What is left of the lease of that term's leader.
    Measure(u64),
    /// Says that a term is over whose key is gone.
    Concede,
    /// All keys, before this instance has one.
    See,
    /// Says that the term of a dead predecessor is over.
    Bury,
    ReadHistory,
    Prune,
    DropSwitchover,
    /// Gives the leader key back and keeps the lease.
    ReleaseKey,
    /// Gives everything back.
    ReleaseAll,
    /// Removes what a lost tenure has left.
    Recover,
    Order(Option<u64>),
}

impl Purpose {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::RevokeOld(_) => "revoke of an old lease",
            Self::Grant => "grant of a lease",
            Self::Register => "registration",
            Self::Look | Self::See => "look at the cluster",
            Self::Measure(_) => "look at the leader's lease",
            Self::Concede | Self::Bury => "end of a term",
            Self::Race => "race for the leadership",
            Self::Verify => "check of the term",
            Self::WriteHistory => "write of the history",
            Self::ReadHistory => "read of the history",
            Self::Prune => "pruning of the history",
            Self::DropSwitchover => "end of a switchover",
            Self::ReleaseKey | Self::ReleaseAll => "release of the leadership",
            Self::Recover => "recovery",
            Self::Order(_) => "order",
        }
    }
}

/// `then` where the leader's term is `term`; otherwise a look at who leads.
fn fenced(term: u64, then: Vec<Operation>) -> Txn {
    let revision = i64::try_from(term).unwrap_or(i64::MAX);
    Txn {
        when: vec![Compare::CreateRevision(LEADER.to_owned(), revision)],
        then,
        or_else: reads(),
    }
}

/// As [`fenced`], and `key` must not have been written since `revision`: an earlier try may have been done, and may
/// even be done later.
fn fenced_at(term: u64, key: &str, revision: i64, then: Vec<Operation>) -> Txn {
    let mut txn = fenced(term, then);
    txn.when.push(Compare::ModRevision(key.to_owned(), revision));
    txn
}

impl Machine {
    /// Renews the lease when it is time.
    pub(super) fn renew(&mut self, now: Now) {
        if self.renewing.is_some() || now.boot < self.renew_at {
            return;
        }
        let Some(lease) = self.renewable() else { return };
        self.renewing = Some(self.ask(Request::Renew(lease.id)));
    }

    /// The lease, unless it is being given back.
    pub(super) fn renewable(&self) -> Option<Lease> {
        let gives_back = matches!(self.phase, Phase::Leaving { .. } | Phase::Gone);
        self.lease.filter(|_| !gives_back)
    }

    /// Asks the next thing in the main lane, if it is free.
    pub(super) fn ask_next(&mut self, now: Now) {
        self.race_at = self.race_at(now);
        if self.asking.is_some() || now.boot < self.rest_until {
            return;
        }
        if let Some((purpose, request)) = self.next(now) {
            let ticket = self.ask(request);
            self.asking = Some((ticket, purpose));
        }
    }

    fn ask(&mut self, request: Request) -> u64 {
        self.tickets += 1;
        self.effects.push(Effect::Ask {
            ticket: self.tickets,
            request,
            budget: self.settings.retry_timeout,
        });
        self.tickets
    }

    fn next(&mut self, now: Now) -> Option<(Purpose, Request)> {
        let txn = |purpose, txn| Some((purpose, Request::Txn(txn)));
        let lost = matches!(self.phase, Phase::Lost { ended: true, .. }) && self.lease.is_none();
        if (lost || matches!(self.phase, Phase::Joining | Phase::Following))
            && let Some(concession) = self.concede()
        {
            return Some(concession);
        }
        match self.phase {
            Phase::Joining => Some(self.join()),
            Phase::Following | Phase::Leading { .. } | Phase::Settling { .. } | Phase::Draining { .. } => {
                self.work(now)
            }
            Phase::Releasing { term, why } => {
                let record = self.unwritten.as_ref().or(self.written.as_ref());
                let then = Self::last_word(record, why);
                txn(Purpose::ReleaseKey, fenced(term, then))
            }
            Phase::Lost { term, ended: true } => {
                if self.lease.is_none() {
                    self.phase = Phase::Joining;
                    return Some(self.join());
                }
                // By its term, not by its lease: done late, it must not delete the key of a later term.
                let record = self.conceding.as_ref();
                let why = record.and_then(|record| record.ending).unwrap_or(Reason::Lost);
                let then = Self::last_word(record, why);
                txn(Purpose::Recover, fenced(term, then))
            }
            Phase::Leaving { .. } => {
                let lease = self.lease?.id;
                Some((Purpose::ReleaseAll, Request::Revoke(lease)))
            }
            Phase::Closing { .. } | Phase::Lost { ended: false, .. } | Phase::Gone => None,
        }
    }

    fn join(&mut self) -> (Purpose, Request) {
        if let Some(old) = self.old_leases.last() {
            return self.end_old(*old);
        }
        if self.lease.is_none() {
            let ttl = self.settings.ttl;
            return (Purpose::Grant, Request::Grant { ttl });
        }
        (Purpose::Register, self.register())
    }

    /// What a member asks, the most urgent first.
    fn work(&mut self, now: Now) -> Option<(Purpose, Request)> {
        let holds = self.holds();
        let txn = |purpose, txn| Some((purpose, Request::Txn(txn)));
        if std::mem::take(&mut self.only_look) {
            let then = reads();
            let look = Txn {
                then,
                ..Txn::default()
            };
            return txn(Purpose::See, look);
        }
        if let Some(term) = holds
            && self.doubted.is_some()
        {
            return txn(Purpose::Verify, fenced(term, reads()));
        }
        if let Some(old) = self.old_leases.last() {
            return Some(self.end_old(*old));
        }
        if self.race_at.is_some_and(|at| now.boot >= at) {
            return Some((Purpose::Race, self.race_request(now)));
        }
        if !self.registered {
            return Some((Purpose::Register, self.register()));
        }
        if let Some(term) = holds {
            if let Some(record) = &self.unwritten {
                let key = history_key(term);
                let put = Operation::Put {
                    key: key.clone(),
                    value: serde_json::to_vec(record).unwrap_or_default(),
                    lease: 0,
                };
                let then = vec![put, Operation::List(HISTORY.to_owned())];
                return txn(
                    Purpose::WriteHistory,
                    fenced_at(term, &key, self.history_revision, then),
                );
            }
            if self.history.len() > HISTORY_KEPT {
                let surplus = (self.history.len() - HISTORY_KEPT).min(PRUNED_AT_ONCE);
                let old = self.history.iter().take(surplus);
                let then = old
                    .map(|record| Operation::Delete(history_key(record.term)))
                    .collect();
                return txn(Purpose::Prune, fenced(term, then));
            }
            if self.view.switchover_revision != 0 && !self.switchover_holds() {
                let mut then = vec![Operation::Delete(SWITCHOVER.to_owned())];
                then.extend(reads());
                let seen = self.view.switchover_revision;
                return txn(Purpose::DropSwitchover, fenced_at(term, SWITCHOVER, seen, then));
            }
        }
        if let Some(order) = self.next_order(now) {
            return Some(order);
        }
        if let Some(measure) = self.measure(now) {
            return Some(measure);
        }
        let newest = self.view.last.as_ref().map(|record| record.term);
        if holds.is_none() && self.history.last().map(|record| record.term) != newest {
            let then = vec![Operation::List(HISTORY.to_owned())];
            let read = Txn {
                then,
                ..Txn::default()
            };
            return txn(Purpose::ReadHistory, read);
        }
        let changed = self.told.as_ref() != Some(&self.member_record());
        if now.boot >= self.look_at || changed {
            return Some((Purpose::Look, self.look()));
        }
        None
    }

    /// Gives the leader key back, and says why the term is over.
    fn last_word(record: Option<&HistoryRecord>, why: Reason) -> Vec<Operation> {
        if let Some(record) = record {
            let record = HistoryRecord {
                ending: Some(why),
                ..record.clone()
            };
            return vacancy::said(&record, Some(LEADER));
        }
        let mut then = vec![Operation::Delete(LEADER.to_owned())];
        then.extend(reads());
        then
    }

    pub(super) fn own_key(&self) -> String {
        member_key(&self.settings.me.instance)
    }

    fn put_member(&mut self) -> Operation {
        let record = self.member_record();
        let value = serde_json::to_vec(&record).unwrap_or_default();
        self.told = Some(record);
        Operation::Put {
            key: self.own_key(),
            value,
            lease: self.lease.map_or(0, |lease| lease.id),
        }
    }

    /// Puts the member key where there is none, or over one of this very process.
    fn register(&mut self) -> Request {
        let (revision, _) = self.view.own;
        let mine = self
            .view
            .member(&self.settings.me.instance)
            .is_some_and(|member| member.incarnation == self.settings.me.incarnation);
        let expected = if mine { revision } else { 0 };
        let mut then = vec![self.put_member()];
        then.extend(reads());
        Request::Txn(Txn {
            when: vec![Compare::ModRevision(self.own_key(), expected)],
            then,
            or_else: reads(),
        })
    }

    fn look(&mut self) -> Request {
        let lease = self.lease.map_or(0, |lease| lease.id);
        let mut then = Vec::new();
        if self.told.as_ref() != Some(&self.member_record()) {
            then.push(self.put_member());
        }
        then.extend(reads());
        Request::Txn(Txn {
            when: vec![Compare::Lease(self.own_key(), lease)],
            then,
            or_else: reads(),
        })
    }

    /// The leader key is taken where nobody has it, and where nothing has changed that the decision rests on.
    fn race_request(&mut self, now: Now) -> Request {
        let me = &self.settings.me;
        let record = LeaderRecord {
            schema: SCHEMA,
            instance: me.instance.clone(),
            incarnation: me.incarnation.clone(),
            address: me.address.clone(),
            version: me.version.clone(),
            config_hash: me.config_hash.clone(),
            identity_hash: me.identity_hash.clone(),
            since: now.wall,
        };
        let lease = self.lease.map_or(0, |lease| lease.id);
        let mut then = vec![Operation::Put {
            key: LEADER.to_owned(),
            value: serde_json::to_vec(&record).unwrap_or_default(),
            lease,
        }];
        let granted = self.lease.map_or(Duration::ZERO, |lease| lease.ttl);
        let term = TermRecord {
            schema: SCHEMA,
            ttl_ms: u64::try_from(granted.as_millis()).unwrap_or(u64::MAX),
        };
        then.push(Operation::Put {
            key: TERM.to_owned(),
            value: serde_json::to_vec(&term).unwrap_or_default(),
            lease: 0,
        });
        if self.view.switchover_revision != 0 {
            then.push(Operation::Delete(SWITCHOVER.to_owned()));
        }
        then.extend(reads());
        Request::Txn(Txn {
            when: vec![
                Compare::CreateRevision(LEADER.to_owned(), 0),
                Compare::ModRevision(CONFIG.to_owned(), self.view.config_revision),
                Compare::ModRevision(SWITCHOVER.to_owned(), self.view.switchover_revision),
                Compare::ModRevision(TERM.to_owned(), i64::try_from(self.view.term).unwrap_or(i64::MAX)),
                Compare::Lease(self.own_key(), lease),
            ],
            then,
            or_else: reads(),
        })
    }
}
