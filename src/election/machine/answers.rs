//! What the answers of etcd do.
//!
//! Owns what is learned from each answer, and from none. A request that was not answered may have been carried out:
//! what it has done is found by looking, never assumed.

use std::time::Duration;

use super::asking::{HISTORY_KEPT, PRUNED_AT_ONCE, Purpose};
use super::view::{self, View};
use super::{EXPIRY_SLACK, Effect, Fatal, Lease, Loss, Machine, Note, Now, PAUSE, Phase};
use crate::dcs::{DcsError, Response};

/// How often a name that is taken is looked at.
const CLASH_PAUSE: Duration = Duration::from_millis(250);

impl Machine {
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
                Ok(response) => {
                    self.took(now, sent, &purpose, response);
                    if self.hinted_at.is_some_and(|at| at >= sent) {
                        // It was read before what the news is about, perhaps.
                        self.look_at = now.boot;
                    }
                }
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
        // What is in flight for it must not be taken for the next one's.
        self.renewing = None;
        self.asking = None;
        self.effects.push(Effect::Remember {
            lease: None,
            term: self.reigned,
        });
        if self.holds().is_some() {
            return self.lose(now, Loss::LeaseGone);
        }
        match self.phase {
            Phase::Following => self.phase = Phase::Joining,
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
        // A release is tried until it is answered, or the lease is known to be gone: by the clock alone it cannot be
        // told, as etcd starts leases anew when its raft leader changes.
        if matches!(error, DcsError::Refused(_)) {
            self.refused(purpose);
        }
        if let Purpose::Order(slip) = *purpose {
            self.refuse_unknown(slip, error);
        }
    }

    /// etcd will not have it written: full, or without the right. What only was to be said is left unsaid then, and the
    /// others wait for the time of the lease; and what is there is looked at without writing anything.
    fn refused(&mut self, purpose: &Purpose) {
        match purpose {
            Purpose::Concede => self.conceding = None,
            Purpose::Bury => self.view.leader = None,
            Purpose::ReleaseKey | Purpose::Recover => {
                self.unwritten = None;
                self.written = None;
                self.conceding = None;
            }
            _ => self.only_look = self.holds().is_some(),
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
                    term: self.reigned,
                });
            }
            (Purpose::ReleaseAll, Response::Revoked) => {
                self.lease = None;
                self.registered = false;
                self.effects.push(Effect::Remember {
                    lease: None,
                    term: self.reigned,
                });
                self.go();
            }
            (Purpose::Measure(term), Response::TimeLeft(left)) => self.measured(now, sent, *term, left),
            (
                _,
                Response::Txn {
                    succeeded,
                    revision,
                    results,
                },
            ) => self.took_txn((now, sent), purpose, succeeded, revision, &results),
            (_, other) => self.note(Note::Failed {
                what: purpose.name(),
                error: format!("an answer to another question: {other:?}"),
            }),
        }
    }

    fn took_txn(
        &mut self,
        (now, sent): (Now, Duration),
        purpose: &Purpose,
        succeeded: bool,
        revision: i64,
        results: &[Vec<crate::dcs::KeyValue>],
    ) {
        let view = View::read(results, &self.own_key());
        let shown = view
            .as_ref()
            .and_then(|view| view.leader.as_ref())
            .map(|held| held.term);
        let fenced = succeeded && matches!(purpose, Purpose::WriteHistory | Purpose::Prune);
        if self.holds().is_some_and(|term| fenced || shown == Some(term)) {
            self.confirm(sent);
        }
        match purpose {
            Purpose::WriteHistory | Purpose::ReadHistory if succeeded => {
                if let Some(list) = results.last() {
                    self.history = view::history(list);
                    // What is there now is the newest that is known.
                    self.view.last = self.history.last().cloned();
                }
                if *purpose != Purpose::ReadHistory {
                    self.history_revision = revision;
                    self.written = self.unwritten.take().or_else(|| self.written.take());
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
            Purpose::Register => return self.took_registration((now, sent), succeeded, view),
            Purpose::Race if succeeded => {
                // The order that named a candidate is carried out, and gone.
                self.confirmed = sent;
                self.see((now, sent), view, u64::try_from(revision).ok());
                return self.win(now, u64::try_from(revision).unwrap_or_default());
            }
            Purpose::Verify if succeeded && self.doubted.is_some_and(|since| sent >= since) => {
                self.doubted = None;
                self.effects.push(Effect::Trust);
            }
            Purpose::ReleaseKey => {
                if let Phase::Releasing { term, why } = self.phase {
                    if succeeded {
                        self.unwritten = None;
                        self.written = None;
                    }
                    self.released(now, term, why);
                }
            }
            Purpose::Recover => {
                if succeeded {
                    self.conceding = None;
                }
                self.was_lost = false;
                self.phase = Phase::Following;
            }
            // An earlier try was done after all: what it wrote is there.
            Purpose::WriteHistory => {
                if let (Some(term), Some(last)) = (self.holds(), &view.last)
                    && last.term == term
                {
                    self.history_revision = view.last_revision;
                    self.written = Some(last.clone());
                    self.unwritten.take_if(|record| record == last);
                }
            }
            Purpose::Order(slip) => self.ordered(*slip, succeeded, &view, now),
            _ => {}
        }
        self.see((now, sent), view, None);
    }

    fn took_registration(&mut self, (now, sent): (Now, Duration), succeeded: bool, view: View) {
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
                    // An answer that lay about during a pause tells of the time before it.
                    if sent.saturating_sub(*since) > patience {
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
        self.see((now, sent), view, None);
    }

    /// Takes a fresh view. `won`: it was read in the very step that made this instance leader.
    fn see(&mut self, (now, sent): (Now, Duration), view: View, won: Option<u64>) {
        self.registered = self.lease.is_some_and(|lease| view.own.1 == lease.id);
        let own = view.member(&self.settings.me.instance);
        if own.is_some_and(|own| {
            own.incarnation == self.settings.me.incarnation && self.told.as_ref() != Some(own)
        }) {
            // Something was written after all that was given up.
            self.told = None;
        }
        self.view = view;
        self.settle_concession();
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
            self.vacant(now);
            self.tell_of_vacancy(now);
            return self.settle_orders();
        };
        match self.holds() {
            Some(term) if term != held.term => return self.lose(now, Loss::Deposed),
            Some(_) => {}
            None => self.see_other((now, sent), &held),
        }
        self.last_term = self.last_term.max(held.term);
        self.settle_orders();
        self.obey_switchover(now);
        self.consider_yield(now);
    }

    /// Somebody leads, and this instance does not know of being it.
    fn see_other(&mut self, (now, sent): (Now, Duration), held: &view::Held) {
        let mine = held
            .record
            .as_ref()
            .is_some_and(|record| record.incarnation == self.settings.me.incarnation);
        let on_lease = self.lease.is_some_and(|lease| lease.id == held.lease);
        if self.phase == Phase::Following && mine && on_lease && !self.stopping {
            // A race whose answer was lost.
            self.confirmed = sent;
            return self.win(now, held.term);
        }
        if self.phase == Phase::Following && mine && !on_lease && held.lease != 0 {
            self.old_leases.push(held.lease);
            self.old_leases.dedup();
        }
        self.vacant_since = None;
        self.measure_at = (self.settings.me.priority > 0 && held.lease != 0).then_some(now.boot);
        if let Some(record) = &held.record {
            self.former = Some(record.clone());
        }
    }
}
