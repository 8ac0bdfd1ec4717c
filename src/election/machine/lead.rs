//! A tenure from winning it to its end.
//!
//! Owns the transitions between winning, leading, draining, releasing and losing. The gate is closed before anything
//! is given back, and nothing is given back while work of the term still runs.

use std::time::Duration;

use super::{Effect, Loss, Machine, Note, Now, Phase};
use crate::cluster::{HistoryRecord, Reason, SCHEMA};

impl Machine {
    /// The leader key is this instance's, since revision `term`.
    pub(super) fn win(&mut self, now: Now, term: u64) {
        let lease = self.lease.map_or(0, |lease| lease.id);
        let gap = self
            .vacant_since
            .take()
            .map(|since| now.boot.saturating_sub(since));
        let reason = self.reason();
        // Whoever led last is the reference for all, this instance included.
        self.former = self.view.leader.as_ref().and_then(|held| held.record.clone());
        let from = self.view.last.as_ref().map(|record| record.to.clone());
        self.was_lost = false;
        if term < self.last_term {
            self.note(Note::TermRegressed {
                term,
                known: self.last_term,
            });
            self.regressed = true;
            self.phase = Phase::Releasing { term, why: reason };
            return;
        }
        self.last_term = term;
        self.reigned = term;
        self.effects.push(Effect::Remember {
            lease: Some(lease),
            term,
        });
        self.written = None;
        self.history_revision = 0;
        self.unwritten = Some(HistoryRecord {
            schema: SCHEMA,
            term,
            from: from.clone(),
            to: self.settings.me.instance.clone(),
            reason,
            at: now.wall,
            gap_ms: gap.map(millis),
            ending: None,
        });
        self.note(Note::Acquired {
            term,
            lease,
            from,
            reason,
            gap,
        });
        if now.boot >= self.deadline() {
            // The answer came too late: the lease may be gone already.
            self.phase = Phase::Settling {
                term,
                until: now.boot,
            };
            return self.lose(now, Loss::Deadline);
        }
        let until = now.boot + self.settings.lock_delay;
        self.phase = Phase::Settling { term, until };
        if until <= now.boot {
            self.open(term);
        }
    }

    /// Why the leadership is free.
    fn reason(&self) -> Reason {
        let Some(last) = &self.view.last else {
            return Reason::Startup;
        };
        // The word on an earlier term says nothing of the last one.
        if let Some(ending) = last.ending.filter(|_| last.term >= self.vacant_term) {
            return ending;
        }
        let lives = self.former.as_ref().is_some_and(|former| {
            if former.incarnation == self.settings.me.incarnation {
                return !matches!(self.last_loss, Some(Loss::Deadline | Loss::Stalled));
            }
            let members = &self.view.members;
            members
                .iter()
                .any(|member| member.incarnation == former.incarnation)
        });
        if lives { Reason::Lost } else { Reason::Expired }
    }

    /// The gate opens.
    pub(super) fn open(&mut self, term: u64) {
        self.phase = Phase::Leading { term };
        let deadline = self.deadline();
        self.effects.push(Effect::Lead { term, deadline });
    }

    /// The work is to end in order.
    pub(super) fn drain(&mut self, now: Now, term: u64, why: Reason) {
        let until = now.boot + self.settings.drain_timeout;
        self.phase = Phase::Draining { term, why, until };
        self.effects.push(Effect::Drain);
    }

    /// Every task of a term has ended.
    pub(super) fn ended(&mut self, term: u64) {
        match self.phase {
            Phase::Draining { term: open, why, .. } if open == term => {
                self.effects.push(Effect::Close);
                self.phase = Phase::Releasing { term, why };
            }
            Phase::Leading { term: open } if open == term => {
                self.effects.push(Effect::Close);
                let why = Reason::Graceful;
                self.phase = Phase::Releasing { term, why };
            }
            Phase::Closing { term: open, why } if open == term => {
                self.phase = Phase::Releasing { term, why };
            }
            Phase::Lost { term: open, .. } if open == term => {
                self.phase = Phase::Lost { term, ended: true };
            }
            _ => return,
        }
        // What was in flight for the tenure is of no use any more, and must not hold up its release.
        self.asking = None;
        self.rest_until = Duration::ZERO;
    }

    /// The tenure is lost: nothing may be sent from this moment on.
    pub(super) fn lose(&mut self, now: Now, why: Loss) {
        let Some(term) = self.holds() else { return };
        let worked = !matches!(self.phase, Phase::Settling { .. });
        self.effects.push(Effect::Close);
        let since_ack = self
            .lease
            .map_or(Duration::ZERO, |lease| now.boot.saturating_sub(lease.sent));
        self.note(Note::Lost { term, why, since_ack });
        self.losses.add(now.boot);
        self.last_loss = Some(why);
        self.phase = Phase::Lost { term, ended: !worked };
        self.was_lost = true;
        self.doubted = None;
        self.conceding = self.ending(Self::reason_of(why));
        self.asking = None;
        self.dirty = true;
        self.look_at = now.boot;
    }

    /// The leadership is given back.
    pub(super) fn released(&mut self, now: Now, term: u64, reason: Reason) {
        self.note(Note::Released { term, reason });
        self.doubted = None;
        // Where the key went before it could be given back.
        self.conceding = self.ending(reason);
        self.settle_concession();
        self.vacant_since = Some(now.boot);
        self.vacant_term = term;
        self.look_at = now.boot;
        self.dirty = true;
        if self.stopping && !self.owes(now) {
            self.leave(now);
        } else if self.lease.is_some() {
            self.phase = Phase::Following;
        } else {
            self.phase = Phase::Joining;
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
