//! The machine alone, event by event.
//!
//! Owns the bench on which its questions are answered by hand.

mod member;
mod release;
mod tenure;
mod vacancy;
mod yielding;

use super::*;
use crate::cluster::{LEADER, MEMBERS};
use crate::dcs::{Compare, KeyValue, Operation, TimeLeft};
use crate::status::State;

const SECOND: Duration = Duration::from_secs(1);

fn settings(instance: &str) -> Settings {
    Settings {
        me: Me {
            instance: instance.to_owned(),
            incarnation: format!("{instance}-1"),
            address: format!("http://{instance}:5066"),
            version: "1.0.0".to_owned(),
            config_hash: "c".to_owned(),
            identity_hash: "i".to_owned(),
            priority: 1,
            since: Timestamp::UNIX_EPOCH,
        },
        ttl: 10 * SECOND,
        loop_wait: 3 * SECOND,
        retry_timeout: 3 * SECOND,
        safety_margin: SECOND,
        drain_timeout: 3 * SECOND,
        lock_delay: Duration::ZERO,
        race_delay: Duration::from_millis(200),
        refuse_mismatch: false,
        yield_after: None,
        predecessor: None,
        last_term: 0,
        reigned: 0,
    }
}

/// A machine whose questions are answered by hand.
struct Bench {
    machine: Machine,
    now: Duration,
    asked: Vec<(u64, Request)>,
    seen: Vec<Effect>,
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let mut bench = Self {
            machine: Machine::new(settings),
            now: 100 * SECOND,
            asked: Vec::new(),
            seen: Vec::new(),
        };
        bench.tell(Input::Time);
        bench
    }

    fn tell(&mut self, input: Input) {
        let now = Now {
            boot: self.now,
            wall: Timestamp::UNIX_EPOCH,
        };
        for effect in self.machine.handle(now, input) {
            if let Effect::Ask { ticket, request, .. } = effect {
                self.asked.push((ticket, request));
            } else {
                self.seen.push(effect);
            }
        }
    }

    fn answer(&mut self, which: impl Fn(&Request) -> bool, result: Result<Response, DcsError>) {
        let at = self.asked.iter().position(|(_, request)| which(request));
        let (ticket, _) = self
            .asked
            .remove(at.unwrap_or_else(|| panic!("not asked: {:?}", self.asked)));
        let sent = self.now;
        self.tell(Input::Answered { ticket, sent, result });
    }

    fn txn(&mut self, succeeded: bool, leader: Option<KeyValue>) {
        self.txn_after(succeeded, leader, vec![]);
    }

    /// As [`Bench::txn`], with this for the newest term's history.
    fn txn_after(&mut self, succeeded: bool, leader: Option<KeyValue>, last: Vec<KeyValue>) {
        let own = member("a", 11);
        let answer = Response::Txn {
            succeeded,
            revision: 20,
            results: vec![
                leader.into_iter().collect(),
                vec![own],
                vec![],
                vec![],
                last,
                vec![],
            ],
        };
        self.answer(|request| matches!(request, Request::Txn(_)), Ok(answer));
    }

    /// Its lease is granted.
    fn granted(&mut self) {
        let granted = Response::Granted {
            lease: 11,
            ttl: 10 * SECOND,
        };
        self.answer(|request| matches!(request, Request::Grant { .. }), Ok(granted));
    }

    /// Joins and wins, at second 100.
    fn lead(&mut self) {
        self.granted();
        self.txn(true, None);
        self.txn(true, Some(leader("a", 20, 11)));
        assert_eq!(self.machine.state(), State::Leader);
    }

    /// What is left of the leader's lease.
    fn left(&mut self, left: Duration) {
        let granted = 10 * SECOND;
        self.answer(
            |request| matches!(request, Request::TimeLeft(_)),
            Ok(Response::TimeLeft(Some(TimeLeft { left, granted }))),
        );
    }

    /// Answers the request that gives the leader key back.
    fn given_back(&mut self, succeeded: bool) {
        let results = vec![
            vec![],
            vec![],
            vec![],
            vec![member("a", 11)],
            vec![],
            vec![],
            vec![],
            vec![],
        ];
        let answer = Response::Txn {
            succeeded,
            revision: 21,
            results,
        };
        self.answer(gives_back, Ok(answer));
    }

    fn had(&self, effect: &Effect) -> bool {
        self.seen.contains(effect)
    }
}

/// Deletes the leader key.
fn gives_back(request: &Request) -> bool {
    let delete = Operation::Delete(LEADER.to_owned());
    matches!(request, Request::Txn(txn) if txn.then.contains(&delete))
}

/// The history of a term in which `instance` led.
fn history(instance: &str, term: u64, ending: Option<Reason>) -> KeyValue {
    let record = HistoryRecord {
        schema: crate::cluster::SCHEMA,
        term,
        from: None,
        to: instance.to_owned(),
        reason: Reason::Startup,
        at: Timestamp::UNIX_EPOCH,
        gap_ms: None,
        ending,
    };
    KeyValue {
        key: crate::cluster::history_key(term),
        value: serde_json::to_vec(&record).unwrap(),
        create_revision: 12,
        mod_revision: 13,
        lease: 0,
    }
}

fn member(instance: &str, lease: LeaseId) -> KeyValue {
    let record = Machine::new(settings(instance)).member_record();
    KeyValue {
        key: format!("{MEMBERS}{instance}"),
        value: serde_json::to_vec(&record).unwrap(),
        create_revision: 10,
        mod_revision: 10,
        lease,
    }
}

fn leader(instance: &str, term: i64, lease: LeaseId) -> KeyValue {
    let me = settings(instance).me;
    let record = LeaderRecord {
        schema: 1,
        instance: me.instance,
        incarnation: me.incarnation,
        address: me.address,
        version: me.version,
        config_hash: me.config_hash,
        identity_hash: me.identity_hash,
        since: Timestamp::UNIX_EPOCH,
    };
    KeyValue {
        key: LEADER.to_owned(),
        value: serde_json::to_vec(&record).unwrap(),
        create_revision: term,
        mod_revision: term,
        lease,
    }
}
