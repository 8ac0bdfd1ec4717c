//! Orders of operators, and changes of leader on purpose.
//!
//! Owns the checks an order must pass, the record that carries it to the leader, and when it counts as done. A
//! switchover is asked for in etcd, by whichever replica took the order; the leader obeys by handing over in order.

use std::time::Duration;

use super::asking::Purpose;
use super::view::{View, reads};
use super::{Effect, Machine, Note, Now, Phase};
use crate::cluster::{CONFIG, ConfigRecord, LEADER, Reason, SCHEMA, SWITCHOVER, SwitchoverRecord};
use crate::dcs::{Compare, DcsError, Operation, Request, Txn};
use crate::election::order::{Done, Order, Refused};

/// An order that nobody can be waiting for any more.
const FORGOTTEN: Duration = Duration::from_secs(300);
/// Time between two leaderships given up for blindness.
const YIELD_PAUSE: Duration = Duration::from_secs(3600);

/// An order and how far it is.
#[derive(Debug, Clone)]
pub(super) struct Slip {
    id: Option<u64>,
    order: Order,
    since: Duration,
    reason: Reason,
    /// What was written for it.
    written: Option<Written>,
}

/// A switchover in etcd.
#[derive(Debug, Clone)]
struct Written {
    /// Who is to be replaced.
    leader: String,
    /// Its term.
    term: u64,
    /// When it was written.
    revision: i64,
}

impl Slip {
    pub(super) fn new(id: u64, order: Order, since: Duration) -> Self {
        Self {
            id: Some(id),
            order,
            since,
            reason: Reason::Switchover,
            written: None,
        }
    }
}

fn impossible<T>(reason: &'static str, message: String) -> Result<T, Refused> {
    Err(Refused::Impossible { reason, message })
}

impl Machine {
    /// The request of the next order that has not been asked yet.
    pub(super) fn next_order(&mut self, now: Now) -> Option<(Purpose, Request)> {
        let old = |slip: &&Slip| now.boot.saturating_sub(slip.since) >= FORGOTTEN;
        if let Some(slip) = self.slips.iter().find(old) {
            let message = format!("no outcome within {FORGOTTEN:?}; look at /cluster");
            self.answer(slip.id, Err(Refused::Unknown(message)));
        }
        loop {
            let slip = self.slips.iter().find(|slip| slip.written.is_none())?;
            let id = slip.id;
            if self.seen.is_none() || !self.reachable {
                self.answer(
                    id,
                    Err(Refused::Unknown(
                        "etcd does not answer; nothing was asked".to_owned(),
                    )),
                );
                continue;
            }
            match self.order_txn(now, slip) {
                Ok(txn) => return Some((Purpose::Order(id), Request::Txn(txn))),
                Err(refused) => self.answer(id, Err(refused)),
            }
        }
    }

    fn order_txn(&self, now: Now, slip: &Slip) -> Result<Txn, Refused> {
        let pause = match &slip.order {
            Order::Pause => true,
            Order::Resume => false,
            Order::StepDown => {
                let me = &self.settings.me.instance;
                let Phase::Leading { .. } = self.phase else {
                    return impossible("not_leader", format!("{me} does not lead"));
                };
                return self.switchover_txn(now, slip, me, None);
            }
            Order::Switchover { leader, candidate } => {
                return self.switchover_txn(now, slip, leader, candidate.as_deref());
            }
        };
        let record = ConfigRecord {
            schema: SCHEMA,
            pause,
        };
        let mut then = vec![Operation::Put {
            key: CONFIG.to_owned(),
            value: serde_json::to_vec(&record).unwrap_or_default(),
            lease: 0,
        }];
        then.extend(reads());
        Ok(Txn {
            when: vec![Compare::ModRevision(CONFIG.to_owned(), self.view.config_revision)],
            then,
            or_else: reads(),
        })
    }

    fn switchover_txn(
        &self,
        now: Now,
        slip: &Slip,
        leader: &str,
        candidate: Option<&str>,
    ) -> Result<Txn, Refused> {
        let held = self.view.leader.as_ref();
        let leads = held
            .and_then(|held| held.record.as_ref())
            .map(|record| &*record.instance);
        let (Some(held), true) = (held, leads == Some(leader)) else {
            let found = leads.map_or("nobody leads".to_owned(), |leads| format!("{leads} leads"));
            return impossible(
                "leader_mismatch",
                format!("{leader} was given as the leader, but {found}"),
            );
        };
        if let Some(order) = &self.view.switchover {
            let message = format!(
                "a switchover away from {} is under way, asked of {}",
                order.leader, order.by
            );
            return Err(Refused::Conflict(message));
        }
        let electable = |name: &str| self.view.member(name).map(|member| member.priority > 0);
        match candidate {
            Some(name) if name == leader => {
                return impossible("candidate_leads", format!("{name} leads already"));
            }
            Some(name) => match electable(name) {
                None => {
                    return impossible(
                        "candidate_unknown",
                        format!("{name} is no member of this cluster"),
                    );
                }
                Some(false) => {
                    return impossible("candidate_never_leads", format!("{name} has ha.priority 0"));
                }
                Some(true) => {}
            },
            None if self.view.paused => {
                let message = "the cluster is paused: name a candidate, or resume first".to_owned();
                return impossible("paused", message);
            }
            None => {
                let any = self
                    .view
                    .members
                    .iter()
                    .any(|member| member.instance != leader && member.priority > 0);
                if !any {
                    return impossible("no_candidate", "no other member could lead".to_owned());
                }
            }
        }
        let record = SwitchoverRecord {
            schema: SCHEMA,
            leader: leader.to_owned(),
            candidate: candidate.map(str::to_owned),
            by: self.settings.me.instance.clone(),
            at: now.wall,
            reason: slip.reason,
        };
        let mut then = vec![Operation::Put {
            key: SWITCHOVER.to_owned(),
            value: serde_json::to_vec(&record).unwrap_or_default(),
            lease: 0,
        }];
        then.extend(reads());
        let term = i64::try_from(held.term).unwrap_or(i64::MAX);
        Ok(Txn {
            when: vec![
                Compare::ModRevision(SWITCHOVER.to_owned(), 0),
                Compare::CreateRevision(LEADER.to_owned(), term),
            ],
            then,
            or_else: reads(),
        })
    }

    /// The request of an order was carried out, or found something else than it expected.
    pub(super) fn ordered(&mut self, id: Option<u64>, succeeded: bool, view: &View, now: Now) {
        if !succeeded {
            // Judged again, by what there is now.
            return;
        }
        let Some(slip) = self.slips.iter_mut().find(|slip| slip.id == id) else {
            return;
        };
        match slip.order {
            Order::Pause => self.answer(id, Ok(Done::Paused)),
            Order::Resume => self.answer(id, Ok(Done::Resumed)),
            Order::StepDown | Order::Switchover { .. } => {
                let held = view.leader.as_ref();
                let name = held
                    .and_then(|held| held.record.as_ref())
                    .map(|record| record.instance.clone());
                slip.written = Some(Written {
                    leader: name.unwrap_or_default(),
                    term: held.map_or(0, |held| held.term),
                    revision: view.switchover_revision,
                });
                if slip.id.is_none() {
                    self.yielded_at = Some(now.boot);
                }
            }
        }
    }

    pub(super) fn refuse_unknown(&mut self, id: Option<u64>, error: &DcsError) {
        self.answer(id, Err(Refused::Unknown(format!("{error}; look at /cluster"))));
    }

    /// Answers the switchovers that have come to an end.
    pub(super) fn settle_orders(&mut self) {
        let settled: Vec<_> = self
            .slips
            .iter()
            .filter_map(|slip| Some((slip.id, self.outcome(slip)?)))
            .collect();
        for (id, result) in settled {
            self.answer(id, result);
        }
    }

    /// What came of a switchover; `None` = it is under way.
    fn outcome(&self, slip: &Slip) -> Option<Result<Done, Refused>> {
        let written = slip.written.as_ref()?;
        let held = self.view.leader.as_ref()?;
        if held.term == written.term {
            let gone = self.view.switchover_revision != written.revision;
            return gone.then(|| {
                impossible(
                    "candidate_unknown",
                    format!(
                        "the switchover was taken back, as its candidate is gone; {} still leads",
                        written.leader
                    ),
                )
            });
        }
        // The gap is known once the new term's history is written.
        let last = self.view.last.as_ref().filter(|last| last.term == held.term)?;
        let (from, to) = (written.leader.clone(), last.to.clone());
        Some(if from == to {
            Err(Refused::Unknown(format!(
                "nobody took over in time: {to} leads again"
            )))
        } else {
            let gap = last.gap_ms.map(Duration::from_millis);
            Ok(Done::Switched { from, to, gap })
        })
    }

    fn answer(&mut self, id: Option<u64>, result: Result<Done, Refused>) {
        let Some(at) = self.slips.iter().position(|slip| slip.id == id) else {
            return;
        };
        let slip = self.slips.remove(at);
        if let Some(slip) = slip.id {
            self.effects.push(Effect::Answer { slip, result });
        }
    }

    /// Whether the switchover in etcd is one for this leader to obey.
    pub(super) fn switchover_holds(&self) -> bool {
        match &self.view.switchover {
            // It cannot be read: a newer release will know what to do with it.
            None => self.view.switchover_revision != 0 && self.view.too_new,
            Some(order) => {
                let there = |name: &String| self.view.member(name).is_some();
                order.leader == self.settings.me.instance && order.candidate.as_ref().is_none_or(there)
            }
        }
    }

    /// Hands over where that was asked for.
    pub(super) fn obey_switchover(&mut self, now: Now) {
        let Phase::Leading { term } = self.phase else {
            return;
        };
        let Some(order) = self.view.switchover.clone() else {
            return;
        };
        if self.switchover_holds() {
            self.drain(now, term, order.reason);
        } else {
            self.note(Note::SwitchoverDropped {
                candidate: order.candidate,
            });
        }
    }

    /// A blind leader gives way to a standby that sees, at most once an hour.
    pub(super) fn consider_yield(&mut self, now: Now) {
        let (Some(patience), Phase::Leading { .. }) = (self.settings.yield_after, self.phase) else {
            return;
        };
        let blind = self.blind_since.is_some_and(|since| now.boot >= since + patience);
        let rested = self.yielded_at.is_none_or(|at| now.boot >= at + YIELD_PAUSE);
        if !blind
            || !rested
            || self.view.switchover.is_some()
            || self.slips.iter().any(|slip| slip.id.is_none())
        {
            return;
        }
        let me = &self.settings.me;
        let seeing = self.view.members.iter().find(|member| {
            member.incarnation != me.incarnation
                && member.priority > 0
                && member.probe.is_some_and(|probe| probe.output && probe.ecs)
        });
        if let Some(member) = seeing {
            let order = Order::Switchover {
                leader: me.instance.clone(),
                candidate: Some(member.instance.clone()),
            };
            self.slips.push(Slip {
                id: None,
                order,
                since: now.boot,
                reason: Reason::Yield,
                written: None,
            });
        }
    }
}
