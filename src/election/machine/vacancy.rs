//! When the leadership is free for certain.
//!
//! Owns what is known of a leader whose key is gone. Three things prove that its gate is closed: its word in the
//! history ([`HistoryRecord::ending`]), written when all its work had ended; the word of its successor process, which
//! holds the lock of its lease file; and the time of its lease, which was measured while it had the key. Where an
//! administrator (or a member of etcd that had stood still) took the key away, none may be there yet: then nobody
//! leads until one is. Must never take the absence of the key for a proof: who had it may not have heard.

use std::time::Duration;

use super::asking::Purpose;
use super::view::reads;
use super::{Loss, Machine, Note, Now, Phase};
use crate::cluster::{HistoryRecord, LEADER, Reason, SCHEMA, TERM, history_key};
use crate::dcs::{Compare, LeaseId, Operation, Request, TimeLeft, Txn};

/// The unit in which etcd tells what is left of a lease, rounded down.
const UNIT: Duration = Duration::from_secs(1);
/// A lease in its last seconds is measured so often: its leader does not renew it any more.
const CLOSELY: Duration = Duration::from_millis(200);
/// A vacancy of this length is told, if it is one because nobody knows what became of the leader.
const WORTH_TELLING: Duration = Duration::from_millis(500);

/// What was last read of the leader's lease.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    term: u64,
    granted: Duration,
    left: Duration,
    sent: Duration,
    /// Before that, unless it is renewed. By a clock that goes up to a tenth slow, which `safety_margin` allows for.
    ends_by: Duration,
    /// So little was left of it once that its leader's gate was closed, whatever was renewed since.
    spent: bool,
}

impl Machine {
    /// The highest term that is known, whoever led in it.
    pub(super) fn newest_term(&self) -> u64 {
        let last = self.view.last.as_ref().map_or(0, |last| last.term);
        self.last_term.max(last).max(self.view.term)
    }

    /// Nobody has the leader key.
    pub(super) fn vacant(&mut self, now: Now) {
        let term = self.newest_term();
        if self.vacant_since.is_none() || term > self.vacant_term {
            self.vacant_since = Some(now.boot);
            self.vacant_term = term;
        }
    }

    /// When the leadership, vacant since then, is free: nobody has an open gate any more.
    pub(super) fn free_at(&self, vacant: Duration) -> Duration {
        let term = self.newest_term();
        let last = self.view.last.as_ref().filter(|last| last.term == term);
        let told = last.is_some_and(|last| last.ending.is_some());
        if term == 0 || told || self.reigned == term {
            return vacant;
        }
        match self.measured.filter(|measured| measured.term == term) {
            Some(it) if it.spent || (it.left.is_zero() && vacant <= it.sent + UNIT) => vacant.max(it.ends_by),
            // It may have been renewed just before the key was taken away.
            measured => {
                let granted = measured.map_or(Duration::ZERO, |it| it.granted);
                let own = self.lease.map_or(self.settings.ttl, |lease| lease.ttl);
                vacant + own.max(self.settings.ttl).max(granted).max(self.view.term_ttl)
            }
        }
    }

    /// Tells of a vacancy that lasts because nobody knows what became of the leader.
    pub(super) fn tell_of_vacancy(&mut self, now: Now) {
        let Some(vacant) = self.vacant_since else { return };
        let free = self.free_at(vacant);
        let term = self.vacant_term;
        if self.phase == Phase::Following
            && now.boot >= vacant + WORTH_TELLING
            && free > now.boot
            && self.told_vacant < term
        {
            self.told_vacant = term;
            let wait = free.saturating_sub(now.boot);
            self.note(Note::Vacant { term, wait });
        }
    }

    /// The leader's lease, if it is time to read what is left of it.
    pub(super) fn measure(&mut self, now: Now) -> Option<(Purpose, Request)> {
        let held = self.view.leader.as_ref().filter(|held| held.lease != 0)?;
        if self.holds().is_some() || self.measure_at? > now.boot {
            return None;
        }
        self.measure_at = None;
        Some((Purpose::Measure(held.term), Request::TimeLeft(held.lease)))
    }

    /// What is left of the lease of that term's leader.
    pub(super) fn measured(&mut self, now: Now, sent: Duration, term: u64, left: Option<TimeLeft>) {
        let Some(TimeLeft { left, granted }) = left else {
            // It is over, and the key with it, as soon as etcd has seen to it.
            self.measure_at = Some(now.boot + CLOSELY);
            return;
        };
        let mut ends_by = now.boot + (left + UNIT) * 11 / 10;
        let before = self.measured.filter(|before| before.term == term);
        if let Some(before) = before {
            // Had it been renewed since, more would be left.
            let since = now.boot.saturating_sub(before.sent) * 11 / 10;
            if left + UNIT + since < granted {
                ends_by = ends_by.min(before.ends_by);
            }
        }
        // A half of the margin is for clocks that go at different rates.
        let closed = ends_by.saturating_sub(now.boot) <= self.settings.safety_margin / 2;
        self.measured = Some(Measured {
            term,
            granted,
            left,
            sent,
            ends_by,
            spent: closed || before.is_some_and(|before| before.spent),
        });
        // Again before its last second, however far apart the looks are.
        self.measure_at = Some(now.boot + left.saturating_sub(UNIT).max(CLOSELY));
    }

    /// What is said of a term of this instance when it is over.
    pub(super) fn ending(&mut self, why: Reason) -> Option<HistoryRecord> {
        let record = self.unwritten.take().or_else(|| self.written.take())?;
        Some(HistoryRecord {
            ending: Some(why),
            ..record
        })
    }

    /// As which reason a loss is told.
    pub(super) fn reason_of(loss: Loss) -> Reason {
        match loss {
            Loss::Deadline | Loss::Stalled => Reason::Expired,
            _ => Reason::Lost,
        }
    }

    /// Forgets what is still to be said of a term where it is known, or nobody waits for it.
    pub(super) fn settle_concession(&mut self) {
        let last = self.view.last.as_ref();
        let leader = self.view.leader.as_ref().map(|held| held.term);
        let newest = self.view.term;
        self.conceding.take_if(|record| {
            newest > record.term
                || leader.is_some_and(|term| term != record.term)
                || last.is_some_and(|last| {
                    last.term > record.term || (last.term == record.term && last.ending.is_some())
                })
        });
    }

    /// Says that a term of this instance, whose key is gone, is over.
    pub(super) fn concede(&self) -> Option<(Purpose, Request)> {
        let record = self.conceding.as_ref()?;
        let txn = Txn {
            when: vec![
                Compare::CreateRevision(LEADER.to_owned(), 0),
                // Nobody has led since.
                Compare::ModRevision(TERM.to_owned(), i64::try_from(record.term).unwrap_or(i64::MAX)),
                Compare::ModRevision(history_key(record.term), self.known_revision(record.term)),
            ],
            then: said(record, None),
            or_else: reads(),
        };
        Some((Purpose::Concede, Request::Txn(txn)))
    }

    /// When the history of that term was last written, as far as is known; 0 = never.
    fn known_revision(&self, term: u64) -> i64 {
        let last = self.view.last.as_ref().filter(|last| last.term == term);
        last.map_or(0, |_| self.view.last_revision)
    }

    /// Ends a lease of an earlier life, which nobody uses any more. If the leader key is on it, its term is said to be
    /// over first: the others need not wait then.
    pub(super) fn end_old(&self, old: LeaseId) -> (Purpose, Request) {
        if self.seen.is_none() {
            let look = Txn {
                then: reads(),
                ..Txn::default()
            };
            return (Purpose::See, Request::Txn(look));
        }
        let last = self.view.last.as_ref();
        let held = self.view.leader.as_ref().filter(|held| held.lease == old);
        let Some((held, leader)) = held
            .filter(|held| last.is_none_or(|last| last.term <= held.term))
            .and_then(|held| held.record.as_ref().map(|record| (held, record)))
        else {
            return (Purpose::RevokeOld(old), Request::Revoke(old));
        };
        let known = last.filter(|last| last.term == held.term);
        let record = HistoryRecord {
            ending: Some(Reason::Expired),
            ..known.cloned().unwrap_or_else(|| HistoryRecord {
                schema: SCHEMA,
                term: held.term,
                from: last.map(|last| last.to.clone()),
                to: leader.instance.clone(),
                reason: last.map_or(Reason::Startup, |last| last.ending.unwrap_or(Reason::Expired)),
                at: leader.since,
                gap_ms: None,
                ending: None,
            })
        };
        let term = i64::try_from(held.term).unwrap_or(i64::MAX);
        let txn = Txn {
            when: vec![
                Compare::CreateRevision(LEADER.to_owned(), term),
                Compare::ModRevision(history_key(held.term), self.known_revision(held.term)),
            ],
            then: said(&record, Some(LEADER)),
            or_else: reads(),
        };
        (Purpose::Bury, Request::Txn(txn))
    }
}

/// Writes a record of the history, deletes a key, and reads all.
pub(super) fn said(record: &HistoryRecord, delete: Option<&str>) -> Vec<Operation> {
    let mut then = vec![Operation::Put {
        key: history_key(record.term),
        value: serde_json::to_vec(record).unwrap_or_default(),
        lease: 0,
    }];
    then.extend(delete.map(|key| Operation::Delete(key.to_owned())));
    then.extend(reads());
    then
}
