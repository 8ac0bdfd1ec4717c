//! What is asked of etcd, in which order, and what the answers do.
//!
//! Owns the two lanes: renewals, and everything else one after the other. A request that was not answered may have
//! been carried out; nothing is ever repeated blindly, every write names what it expects to find.

use std::time::Duration;

use super::view::{self, View, reads};
use super::{EXPIRY_SLACK, Effect, Fatal, Lease, Loss, Machine, Note, Now, PAUSE, Phase, race};
use crate::cluster::{CONFIG, HISTORY, LEADER, LeaderRecord, SCHEMA, SWITCHOVER, history_key, member_key};
use crate::dcs::{Compare, DcsError, LeaseId, Operation, Request, Response, Txn};

/// How often a name that is taken is looked at.
const CLASH_PAUSE: Duration = Duration::from_millis(250);
/// Terms that are kept in the history.
const HISTORY_KEPT: usize = 100;
/// Keys deleted at once.
const PRUNED_AT_ONCE: usize = 50;

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
    MarkEnding,
    ReadHistory,
    Prune,
    DropSwitchover,
    /// Gives the leader key back and keeps the lease.
    ReleaseKey,
    /// Gives everything back.
    ReleaseAll,
    /// Removes what a lost tenure has left.
    Recover,
    Order(u64),
}

impl Purpose {
    fn name(&self) -> &'static str {
        match self {
            Self::RevokeOld(_) => "revoke of an old lease",
            Self::Grant => "grant of a lease",
            Self::Register => "registration",
            Self::Look => "look at the cluster",
            Self::Race => "race for the leadership",
            Self::Verify => "check of the term",
            Self::WriteHistory | Self::MarkEnding => "write of the history",
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

impl Machine {
    /// Renews the lease when it is time.
    pub(super) fn renew(&mut self, now: Now) {
        let Some(lease) = self.lease else { return };
        let gives_back = matches!(self.phase, Phase::Leaving { .. } | Phase::Gone)
            || matches!(self.phase, Phase::Releasing { .. } if self.stopping);
        if self.renewing.is_some() || now.boot < self.renew_at || gives_back {
            return;
        }
        self.renewing = Some(self.ask(Request::Renew(lease.id)));
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
        match self.phase {
            Phase::Joining => Some(self.join()),
            Phase::Following | Phase::Leading { .. } | Phase::Settling { .. } | Phase::Draining { .. } => {
                self.work(now)
            }
            Phase::Releasing { .. } if self.stopping => {
                let lease = self.lease?.id;
                Some((Purpose::ReleaseAll, Request::Revoke(lease)))
            }
            Phase::Releasing { term, .. } => {
                let mut then = vec![Operation::Delete(LEADER.to_owned())];
                then.extend(reads());
                txn(Purpose::ReleaseKey, fenced(term, then))
            }
            Phase::Lost { ended: true, .. } => {
                let Some(lease) = self.lease else {
                    self.phase = Phase::Joining;
                    return Some(self.join());
                };
                let mut then = vec![Operation::Delete(LEADER.to_owned())];
                then.extend(reads());
                let recovery = Txn {
                    when: vec![Compare::Lease(LEADER.to_owned(), lease.id)],
                    then,
                    or_else: reads(),
                };
                txn(Purpose::Recover, recovery)
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
            return (Purpose::RevokeOld(*old), Request::Revoke(*old));
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
        if let Some(term) = holds
            && self.doubted
        {
            return txn(Purpose::Verify, fenced(term, reads()));
        }
        if let Some(old) = self.old_leases.last() {
            return Some((Purpose::RevokeOld(*old), Request::Revoke(*old)));
        }
        if self.race_at.is_some_and(|at| now.boot >= at) {
            return Some((Purpose::Race, self.race_request(now)));
        }
        if !self.registered {
            return Some((Purpose::Register, self.register()));
        }
        if let Some(term) = holds {
            if let Some(record) = &self.unwritten {
                let put = Operation::Put {
                    key: history_key(term),
                    value: serde_json::to_vec(record).unwrap_or_default(),
                    lease: 0,
                };
                let then = vec![put, Operation::List(HISTORY.to_owned())];
                let purpose = if record.ending.is_some() {
                    Purpose::MarkEnding
                } else {
                    Purpose::WriteHistory
                };
                return txn(purpose, fenced(term, then));
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
                return txn(Purpose::DropSwitchover, fenced(term, then));
            }
        }
        if let Some(order) = self.next_order(now) {
            return Some(order);
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

    fn own_key(&self) -> String {
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
        if self.view.switchover_revision != 0 {
            then.push(Operation::Delete(SWITCHOVER.to_owned()));
        }
        then.extend(reads());
        Request::Txn(Txn {
            when: vec![
                Compare::CreateRevision(LEADER.to_owned(), 0),
                Compare::ModRevision(CONFIG.to_owned(), self.view.config_revision),
                Compare::ModRevision(SWITCHOVER.to_owned(), self.view.switchover_revision),
                Compare::Lease(self.own_key(), lease),
            ],
            then,
            or_else: reads(),
        })
    }

    /// An answer has come.
    pub(super) fn answered(
        &mut self,
        now: Now,
        ticket: u64,
        sent: Duration,
        result: Result<Response, DcsError>,
    ) {
        if !matches!(result, Err(DcsError::Unanswered(_))) {
            self.reachable = true;
            self.last_seen = Some(now.wall);
        }
        if self.renewing == Some(ticket) {
            self.renewing = None;
            self.renewed(now, sent, result);
        } else if self.asking.as_ref().is_some_and(|(asked, _)| *asked == ticket)
            && let Some((_, purpose)) = self.asking.take()
        {
            match result {
                Ok(response) => self.took(now, sent, &purpose, response),
                Err(error) => self.failed(now, &purpose, &error),
            }
        }
        // Anything else was given up, and what it did is found by looking.
    }

    fn renewed(&mut self, now: Now, sent: Duration, result: Result<Response, DcsError>) {
        let error = match result {
            Ok(Response::Renewed(Some(ttl))) => {
                if let Some(lease) = &mut self.lease
                    && sent > lease.sent
                {
                    lease.sent = sent;
                    lease.ttl = ttl;
                }
                self.renew_at = sent + self.settings.loop_wait;
                if self.holds().is_some() {
                    let deadline = self.deadline();
                    self.effects.push(Effect::Extend { deadline });
                }
                let took = now.boot.saturating_sub(sent);
                return self.note(Note::Renewed { took });
            }
            Ok(Response::Renewed(None)) => return self.lease_gone(now),
            Ok(other) => format!("an answer to another question: {other:?}"),
            Err(error) => {
                self.reachable &= !matches!(error, DcsError::Unanswered(_));
                error.to_string()
            }
        };
        self.renew_at = now.boot + PAUSE;
        let left = self.deadline().saturating_sub(now.boot);
        self.note(Note::RenewalFailed { error, left });
    }

    /// The lease is gone, and every key on it.
    fn lease_gone(&mut self, now: Now) {
        self.lease = None;
        self.registered = false;
        self.effects.push(Effect::Remember {
            lease: None,
            term: self.last_term,
        });
        if self.holds().is_some() {
            return self.lose(now, Loss::LeaseGone);
        }
        match self.phase {
            Phase::Following => {
                self.asking = None;
                self.phase = Phase::Joining;
            }
            Phase::Releasing { term, why } => self.released(now, term, why),
            _ => {}
        }
    }

    fn failed(&mut self, now: Now, purpose: &Purpose, error: &DcsError) {
        self.reachable &= !matches!(error, DcsError::Unanswered(_));
        self.rest_until = now.boot + PAUSE;
        // What a race or a registration has done is unknown now.
        self.dirty = true;
        self.look_at = now.boot;
        self.told = None;
        if *error == DcsError::NoLease {
            return self.lease_gone(now);
        }
        self.note(Note::Failed {
            what: purpose.name(),
            error: error.to_string(),
        });
        match *purpose {
            Purpose::Order(slip) => self.refuse_unknown(slip, error),
            Purpose::ReleaseKey | Purpose::ReleaseAll => {
                // Once the lease must have run out there is nothing left to release.
                let over = self
                    .lease
                    .is_none_or(|lease| now.boot > lease.sent + lease.ttl + EXPIRY_SLACK);
                if over && let Phase::Releasing { term, why } = self.phase {
                    self.released(now, term, why);
                }
            }
            // No answer within the time that a stop may take: the lease ends by itself.
            _ => {}
        }
    }

    fn took(&mut self, now: Now, sent: Duration, purpose: &Purpose, response: Response) {
        match (purpose, response) {
            (Purpose::RevokeOld(old), Response::Revoked) => self.old_leases.retain(|lease| lease != old),
            (Purpose::Grant, Response::Granted { lease, ttl }) => {
                let id = lease;
                self.lease = Some(Lease { id, ttl, sent });
                self.renew_at = sent + self.settings.loop_wait;
                self.effects.push(Effect::Remember {
                    lease: Some(id),
                    term: self.last_term,
                });
            }
            (Purpose::ReleaseAll, Response::Revoked) => {
                self.lease = None;
                self.registered = false;
                self.effects.push(Effect::Remember {
                    lease: None,
                    term: self.last_term,
                });
                match self.phase {
                    Phase::Releasing { term, why } => self.released(now, term, why),
                    _ => self.go(),
                }
            }
            (
                _,
                Response::Txn {
                    succeeded,
                    revision,
                    results,
                },
            ) => self.took_txn(now, purpose, succeeded, revision, &results),
            (_, other) => self.note(Note::Failed {
                what: purpose.name(),
                error: format!("an answer to another question: {other:?}"),
            }),
        }
    }

    fn took_txn(
        &mut self,
        now: Now,
        purpose: &Purpose,
        succeeded: bool,
        revision: i64,
        results: &[Vec<crate::dcs::KeyValue>],
    ) {
        let view = View::read(results, &self.own_key());
        match purpose {
            Purpose::WriteHistory | Purpose::MarkEnding | Purpose::ReadHistory if succeeded => {
                if let Some(list) = results.last() {
                    self.history = view::history(list);
                    // What is there now is the newest that is known.
                    self.view.last = self.history.last().cloned();
                }
                if *purpose != Purpose::ReadHistory {
                    self.written = self
                        .unwritten
                        .take_if(|record| record.ending.is_some() == (*purpose == Purpose::MarkEnding))
                        .or_else(|| self.written.take());
                }
                return;
            }
            Purpose::Prune if succeeded => {
                let surplus = self
                    .history
                    .len()
                    .saturating_sub(HISTORY_KEPT)
                    .min(PRUNED_AT_ONCE);
                self.history.drain(..surplus);
                return;
            }
            _ => {}
        }
        let Some(view) = view else {
            return self.note(Note::Failed {
                what: purpose.name(),
                error: "an answer without the keys".to_owned(),
            });
        };
        match purpose {
            Purpose::Register => return self.took_registration(now, succeeded, view),
            Purpose::Race if succeeded => {
                // The order that named a candidate is carried out, and gone.
                self.see(now, view, u64::try_from(revision).ok());
                return self.win(now, u64::try_from(revision).unwrap_or_default());
            }
            Purpose::Verify if succeeded => {
                self.doubted = false;
                self.effects.push(Effect::Trust);
            }
            Purpose::ReleaseKey => {
                if let Phase::Releasing { term, why } = self.phase {
                    self.released(now, term, why);
                }
            }
            Purpose::Recover => {
                self.was_lost = false;
                self.phase = Phase::Following;
            }
            Purpose::Order(slip) => self.ordered(*slip, succeeded, &view, now),
            _ => {}
        }
        self.see(now, view, None);
    }

    fn took_registration(&mut self, now: Now, succeeded: bool, view: View) {
        let me = &self.settings.me;
        let other = view
            .member(&me.instance)
            .filter(|member| member.incarnation != me.incarnation)
            .cloned();
        if succeeded {
            self.clash = None;
            if self.phase == Phase::Joining {
                self.phase = Phase::Following;
                self.was_lost = false;
                self.joined_before = true;
                self.note(Note::Joined(self.lease.map_or(0, |lease| lease.id)));
            }
        } else if let Some(other) = other {
            let patience = Duration::from_millis(other.ttl_ms) + EXPIRY_SLACK;
            self.rest_until = now.boot + CLASH_PAUSE;
            match &self.clash {
                Some((incarnation, since)) if *incarnation == other.incarnation => {
                    if now.boot.saturating_sub(*since) > patience {
                        self.phase = Phase::Gone;
                        self.effects.push(Effect::Halt(Some(Fatal::NameInUse {
                            instance: other.instance,
                            incarnation: other.incarnation,
                            address: other.address,
                        })));
                        return;
                    }
                }
                _ => {
                    self.clash = Some((other.incarnation.clone(), now.boot));
                    self.note(Note::NameHeld {
                        incarnation: other.incarnation,
                        patience,
                    });
                }
            }
        }
        self.see(now, view, None);
    }

    /// Takes a fresh view. `won`: it was read in the very step that made this instance leader.
    fn see(&mut self, now: Now, view: View, won: Option<u64>) {
        self.registered = self.lease.is_some_and(|lease| view.own.1 == lease.id);
        self.view = view;
        self.seen = Some(now.boot);
        self.dirty = false;
        self.look_at = now.boot + self.settings.loop_wait;
        if won.is_some() {
            self.view.switchover = None;
            self.view.switchover_revision = 0;
            return;
        }
        let Some(held) = self.view.leader.clone() else {
            if self.holds().is_some() {
                return self.lose(now, Loss::Deposed);
            }
            self.vacant_since.get_or_insert(now.boot);
            return self.settle_orders();
        };
        match self.holds() {
            Some(term) if term != held.term => return self.lose(now, Loss::Deposed),
            Some(_) => {}
            None => self.see_other(now, &held),
        }
        self.last_term = self.last_term.max(held.term);
        self.settle_orders();
        self.obey_switchover(now);
        self.consider_yield(now);
    }

    /// Somebody leads, and this instance does not know of being it.
    fn see_other(&mut self, now: Now, held: &view::Held) {
        let mine = held
            .record
            .as_ref()
            .is_some_and(|record| record.incarnation == self.settings.me.incarnation);
        let on_lease = self.lease.is_some_and(|lease| lease.id == held.lease);
        if self.phase == Phase::Following && mine && on_lease && !self.stopping {
            // A race whose answer was lost.
            return self.win(now, held.term);
        }
        if self.phase == Phase::Following && mine && !on_lease && held.lease != 0 {
            self.old_leases.push(held.lease);
            self.old_leases.dedup();
        }
        self.vacant_since = None;
        if let Some(record) = &held.record {
            self.former = Some(record.clone());
        }
    }

    /// When this instance may race; `None` = not as things stand.
    fn race_at(&mut self, now: Now) -> Option<Duration> {
        let free = self.phase == Phase::Following
            && self.registered
            && !self.dirty
            && !self.stopping
            && self.view.leader.is_none()
            && now.boot < self.deadline();
        if !free || self.why_barred().is_some() {
            return None;
        }
        let vacant = self.vacant_since?;
        let me = &self.settings.me;
        let rank = race::rank(me, &self.view, self.former.as_ref());
        let turn = vacant + self.settings.race_delay * rank.min(100);
        let at = match &self.view.switchover {
            Some(order) if order.candidate.as_ref() == Some(&me.instance) => return Some(vacant),
            _ if self.view.paused => return None,
            Some(order) if order.leader == me.instance || order.candidate.is_some() => {
                turn + self.settings.loop_wait
            }
            _ => turn,
        };
        if race::others_could(me, &self.view) {
            return Some(at.max(self.losses.held_back_until(now.boot)));
        }
        Some(at)
    }
}
