//! The machine alone, event by event.

mod former;

use super::*;
use crate::cluster::{LEADER, MEMBERS};
use crate::dcs::{Compare, KeyValue, Operation};
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
        let own = member("a", 11);
        let answer = Response::Txn {
            succeeded,
            revision: 20,
            results: vec![leader.into_iter().collect(), vec![own], vec![], vec![], vec![]],
        };
        self.answer(|request| matches!(request, Request::Txn(_)), Ok(answer));
    }

    /// Joins and wins, at second 100.
    fn lead(&mut self) {
        let granted = Response::Granted {
            lease: 11,
            ttl: 10 * SECOND,
        };
        self.answer(|request| matches!(request, Request::Grant { .. }), Ok(granted));
        self.txn(true, None);
        self.txn(true, Some(leader("a", 20, 11)));
        assert_eq!(self.machine.state(), State::Leader);
    }

    fn had(&self, effect: &Effect) -> bool {
        self.seen.contains(effect)
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

#[test]
fn the_deadline_counts_from_before_the_renewal_was_sent() {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    let deadline = 109 * SECOND;
    assert!(bench.had(&Effect::Lead { term: 20, deadline }));
    bench.now = 103 * SECOND;
    bench.tell(Input::Time);
    let at = bench
        .asked
        .iter()
        .position(|(_, request)| *request == Request::Renew(11));
    let (ticket, _) = bench.asked.remove(at.unwrap());
    // Sent at 103, answered at 108.
    bench.now = 108 * SECOND;
    bench.tell(Input::Answered {
        ticket,
        sent: 103 * SECOND,
        result: Ok(Response::Renewed(Some(10 * SECOND))),
    });
    assert!(bench.had(&Effect::Extend {
        deadline: 112 * SECOND
    }));
    bench.now = 112 * SECOND;
    bench.tell(Input::Time);
    assert_eq!(bench.machine.state(), State::Lost);
    assert!(bench.had(&Effect::Close));
}

#[test]
fn an_answer_after_the_deadline_does_not_bring_a_tenure_back() {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    bench.now = 103 * SECOND;
    bench.tell(Input::Time);
    // The process was paused; the answer lay in the socket all the while.
    bench.now = 109 * SECOND;
    bench.answer(
        |request| *request == Request::Renew(11),
        Ok(Response::Renewed(Some(10 * SECOND))),
    );
    assert_eq!(bench.machine.state(), State::Lost);
}

#[test]
fn another_leader_or_none_ends_the_tenure_and_nothing_is_released_before_the_work_has_ended() {
    for found in [None, Some(leader("b", 25, 12))] {
        let mut bench = Bench::new(settings("a"));
        bench.lead();
        bench.asked.clear();
        bench.machine.asking = None;
        bench.tell(Input::Hint(Hint::Changed));
        bench.txn(false, found);
        assert!(bench.had(&Effect::Close));
        assert_eq!(bench.machine.state(), State::Lost);
        assert!(
            bench
                .asked
                .iter()
                .all(|(_, request)| *request == Request::Renew(11))
        );
        bench.tell(Input::Ended { term: 20 });
        assert!(bench.asked.iter().any(|(_, request)| matches!(
            request,
            Request::Txn(txn) if txn.then.contains(&Operation::Delete(LEADER.to_owned()))
        )));
    }
}

#[test]
fn a_stop_drains_closes_the_gate_and_then_revokes() {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    bench.tell(Input::Stop);
    assert!(bench.had(&Effect::Drain) && !bench.had(&Effect::Close));
    assert_eq!(bench.machine.state(), State::Draining);
    assert!(!bench.asked.contains(&(0, Request::Revoke(11))));
    bench.tell(Input::Ended { term: 20 });
    assert!(bench.had(&Effect::Close));
    bench.answer(|request| *request == Request::Revoke(11), Ok(Response::Revoked));
    assert!(bench.had(&Effect::Halt(None)));
}

#[test]
fn work_that_does_not_end_is_cut_off_after_drain_timeout() {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    bench.tell(Input::Stop);
    bench.now = 103 * SECOND;
    bench.tell(Input::Time);
    assert!(bench.had(&Effect::Close));
    assert!(
        !bench
            .asked
            .iter()
            .any(|(_, request)| *request == Request::Revoke(11))
    );
    bench.tell(Input::Ended { term: 20 });
    assert!(
        bench
            .asked
            .iter()
            .any(|(_, request)| *request == Request::Revoke(11))
    );
}

#[test]
fn after_a_jump_of_the_clocks_the_term_is_verified_before_anything_is_sent() {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    bench.asked.clear();
    bench.machine.asking = None;
    bench.tell(Input::Woke);
    assert!(bench.had(&Effect::Doubt) && !bench.had(&Effect::Trust));
    bench.txn(true, Some(leader("a", 20, 11)));
    assert!(bench.had(&Effect::Trust));
}

#[test]
fn a_race_whose_answer_was_lost_is_found_to_be_won() {
    let mut bench = Bench::new(settings("a"));
    let granted = Response::Granted {
        lease: 11,
        ttl: 10 * SECOND,
    };
    bench.answer(|request| matches!(request, Request::Grant { .. }), Ok(granted));
    bench.txn(true, None);
    let lost = DcsError::Unanswered("reset".to_owned());
    bench.answer(|request| matches!(request, Request::Txn(_)), Err(lost));
    assert_eq!(bench.machine.state(), State::Standby);
    bench.now += SECOND;
    bench.tell(Input::Time);
    bench.txn(true, Some(leader("a", 20, 11)));
    assert_eq!(bench.machine.state(), State::Leader);
}

#[test]
fn a_name_that_another_process_keeps_is_fatal() {
    let mut bench = Bench::new(settings("a"));
    let granted = Response::Granted {
        lease: 11,
        ttl: 10 * SECOND,
    };
    bench.answer(|request| matches!(request, Request::Grant { .. }), Ok(granted));
    let mut other = settings("a");
    other.me.incarnation = "a-2".to_owned();
    let mut key = member("a", 99);
    key.value = serde_json::to_vec(&Machine::new(other).member_record()).unwrap();
    for _ in 0..14 {
        let answer = Response::Txn {
            succeeded: false,
            revision: 20,
            results: vec![vec![], vec![key.clone()], vec![], vec![], vec![]],
        };
        bench.answer(|request| matches!(request, Request::Txn(_)), Ok(answer));
        bench.now += SECOND;
        bench.tell(Input::Time);
        bench
            .asked
            .retain(|(_, request)| !matches!(request, Request::Renew(_)));
        if let Some(Effect::Halt(Some(fatal))) = bench.seen.last() {
            assert!(
                fatal.to_string().starts_with("instance name already in use"),
                "{fatal}"
            );
            assert!(bench.now >= 112 * SECOND, "too early");
            return;
        }
    }
    panic!("never fatal: {:?}", bench.seen);
}

#[test]
fn the_history_is_not_written_over_what_an_unanswered_try_wrote() {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    let history = crate::cluster::history_key(20);
    let write = |request: &Request| {
        matches!(request, Request::Txn(txn) if txn.then.iter().any(
            |step| matches!(step, Operation::Put { key, .. } if *key == history)))
    };
    let guard = |revision| Compare::ModRevision(history.clone(), revision);
    let record = bench.machine.unwritten.clone().unwrap();
    let asked = |bench: &Bench, compare: &Compare| {
        bench.asked.iter().any(|(_, request)| {
            write(request) && matches!(request, Request::Txn(txn) if txn.when.contains(compare))
        })
    };
    assert!(asked(&bench, &guard(0)));
    bench.answer(write, Err(DcsError::Unanswered("reset".to_owned())));
    bench.now += SECOND;
    bench.tell(Input::Time);
    assert!(asked(&bench, &guard(0)));
    // The first try was done; the second finds its record.
    let found = KeyValue {
        key: history.clone(),
        value: serde_json::to_vec(&record).unwrap(),
        create_revision: 21,
        mod_revision: 21,
        lease: 0,
    };
    let answer = Response::Txn {
        succeeded: false,
        revision: 21,
        results: vec![
            vec![leader("a", 20, 11)],
            vec![member("a", 11)],
            vec![],
            vec![],
            vec![found],
        ],
    };
    bench.answer(write, Ok(answer));
    assert_eq!(
        (bench.machine.state(), &bench.machine.unwritten),
        (State::Leader, &None)
    );
    // What is written next goes over exactly that.
    bench.asked.clear();
    bench.machine.asking = None;
    bench.tell(Input::Stop);
    assert!(asked(&bench, &guard(21)));
}

#[test]
fn what_a_lost_tenure_left_is_removed_by_its_term() {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    bench.now = 109 * SECOND;
    bench.tell(Input::Time);
    bench.tell(Input::Ended { term: 20 });
    let removal = |request: &Request| {
        matches!(request, Request::Txn(txn)
            if txn.then.contains(&Operation::Delete(LEADER.to_owned()))
                && txn.when == [Compare::CreateRevision(LEADER.to_owned(), 20)])
    };
    assert!(
        bench.asked.iter().any(|(_, request)| removal(request)),
        "{:?}",
        bench.asked
    );
}

#[test]
fn a_lease_that_is_given_back_is_not_waited_for() {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    bench.tell(Input::Ended { term: 20 });
    bench.tell(Input::Stop);
    // The answer to the release is on its way; the time to renew has come and gone.
    bench.now = 104 * SECOND;
    bench.tell(Input::Time);
    assert!(bench.machine.wake_at() > bench.now, "{:?}", bench.machine);
}

#[test]
fn the_last_renewal_of_a_lease_says_nothing_about_the_next_lease() {
    let mut bench = Bench::new(settings("a"));
    let granted = |lease| {
        let ttl = 10 * SECOND;
        Ok(Response::Granted { lease, ttl })
    };
    bench.answer(|request| matches!(request, Request::Grant { .. }), granted(11));
    bench.now = 104 * SECOND;
    bench.tell(Input::Time);
    let renewal = bench
        .asked
        .iter()
        .find(|(_, request)| *request == Request::Renew(11));
    let ticket = renewal.unwrap().0;
    bench.answer(
        |request| matches!(request, Request::Txn(_)),
        Err(DcsError::NoLease),
    );
    bench.now += SECOND;
    bench.tell(Input::Time);
    bench.answer(|request| matches!(request, Request::Grant { .. }), granted(12));
    // The answer about the first lease comes only now, and the registration on the second is done.
    bench.tell(Input::Answered {
        ticket,
        sent: bench.now,
        result: Ok(Response::Renewed(None)),
    });
    assert_eq!(bench.machine.lease.unwrap().id, 12);
}

#[test]
fn a_registration_on_a_lease_that_is_gone_does_not_count() {
    let mut bench = Bench::new(settings("a"));
    let granted = Response::Granted {
        lease: 11,
        ttl: 10 * SECOND,
    };
    bench.answer(|request| matches!(request, Request::Grant { .. }), Ok(granted));
    bench.now = 104 * SECOND;
    bench.tell(Input::Time);
    bench.answer(
        |request| *request == Request::Renew(11),
        Ok(Response::Renewed(None)),
    );
    bench.txn(true, None);
    assert_eq!(bench.machine.state(), State::Starting);
}

#[test]
fn a_member_record_that_was_written_late_is_written_anew() {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    bench.asked.clear();
    bench.machine.asking = None;
    bench.machine.unwritten = None;
    bench.tell(Input::Time);
    // The leader told that it leads; what it finds is what it told before that.
    bench.txn(true, Some(leader("a", 20, 11)));
    let puts = |request: &Request| matches!(request, Request::Txn(txn) if matches!(&txn.then[0], Operation::Put { key, .. } if key == "members/a"));
    assert!(
        bench.asked.iter().any(|(_, request)| puts(request)),
        "{:?}",
        bench.asked
    );
}

#[test]
fn a_stop_gives_up_on_a_revoke_that_is_not_answered() {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    bench.tell(Input::Stop);
    bench.now = 101 * SECOND;
    bench.tell(Input::Ended { term: 20 });
    let lost = || Err(DcsError::Unanswered("timed out".to_owned()));
    bench.now = 104 * SECOND;
    bench.answer(|request| *request == Request::Revoke(11), lost());
    assert!(bench.had(&Effect::Halt(None)), "{:?}", bench.seen);
}

#[test]
fn a_stop_ends_although_the_lease_is_gone() {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    bench.tell(Input::Stop);
    bench.now = 103 * SECOND;
    bench.tell(Input::Time);
    assert!(bench.had(&Effect::Close));
    bench.answer(
        |request| *request == Request::Renew(11),
        Ok(Response::Renewed(None)),
    );
    assert!(!bench.had(&Effect::Halt(None)));
    bench.tell(Input::Ended { term: 20 });
    assert!(bench.had(&Effect::Halt(None)), "{:?}", bench.seen);
}

#[test]
fn what_was_asked_before_the_clocks_jumped_does_not_verify_the_term() {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    bench.asked.clear();
    bench.machine.asking = None;
    bench.tell(Input::Woke);
    let asked_at = bench.now;
    let at = bench
        .asked
        .iter()
        .position(|(_, request)| matches!(request, Request::Txn(_)));
    let (ticket, _) = bench.asked.remove(at.unwrap());
    bench.now += SECOND;
    bench.tell(Input::Woke);
    let found = Response::Txn {
        succeeded: true,
        revision: 20,
        results: vec![
            vec![leader("a", 20, 11)],
            vec![member("a", 11)],
            vec![],
            vec![],
            vec![],
        ],
    };
    bench.tell(Input::Answered {
        ticket,
        sent: asked_at,
        result: Ok(found),
    });
    assert!(!bench.had(&Effect::Trust));
    bench.txn(true, Some(leader("a", 20, 11)));
    assert!(bench.had(&Effect::Trust));
}

#[test]
fn a_tenure_does_not_begin_in_doubt() {
    let mut settings = settings("a");
    settings.lock_delay = SECOND;
    let mut bench = Bench::new(settings);
    let granted = Response::Granted {
        lease: 11,
        ttl: 10 * SECOND,
    };
    bench.answer(|request| matches!(request, Request::Grant { .. }), Ok(granted));
    bench.txn(true, None);
    bench.txn(true, Some(leader("a", 20, 11)));
    bench.tell(Input::Woke);
    bench.now += 2 * SECOND;
    bench.tell(Input::Time);
    assert_eq!(bench.machine.state(), State::Candidate);
    assert!(bench.machine.wake_at() > bench.now);
    // First what was under way, then the check of the term.
    bench.txn(true, Some(leader("a", 20, 11)));
    bench.txn(true, Some(leader("a", 20, 11)));
    assert_eq!(bench.machine.state(), State::Leader);
}

#[test]
fn a_switchover_that_was_taken_back_is_answered() {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    let candidate = Some("b".to_owned());
    let leader_name = "a".to_owned();
    let view = |switchover: Option<i64>, members: Vec<KeyValue>| {
        let record = crate::cluster::SwitchoverRecord {
            schema: 1,
            leader: "a".to_owned(),
            candidate: Some("b".to_owned()),
            by: "a".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            reason: Reason::Switchover,
        };
        let key = switchover.map(|revision| KeyValue {
            key: crate::cluster::SWITCHOVER.to_owned(),
            value: serde_json::to_vec(&record).unwrap(),
            create_revision: revision,
            mod_revision: revision,
            lease: 0,
        });
        let results = vec![
            vec![leader("a", 20, 11)],
            members,
            key.into_iter().collect(),
            vec![],
            vec![],
        ];
        Ok(Response::Txn {
            succeeded: true,
            revision: 30,
            results,
        })
    };
    let txn = |request: &Request| matches!(request, Request::Txn(_));
    let both = || vec![member("a", 11), member("b", 12)];
    bench.machine.unwritten = None;
    bench.answer(txn, view(None, both()));
    bench.answer(txn, view(None, both()));
    let order = Order::Switchover {
        leader: leader_name,
        candidate,
    };
    bench.tell(Input::Order { slip: 0, order });
    // The candidate has gone meanwhile: the leader takes the switchover back.
    bench.answer(txn, view(Some(25), vec![member("a", 11)]));
    assert!(
        !bench
            .seen
            .iter()
            .any(|effect| matches!(effect, Effect::Answer { .. }))
    );
    bench.answer(txn, view(None, vec![member("a", 11)]));
    let answered = |effect: &Effect| {
        matches!(effect, Effect::Answer { slip: 0, result: Err(Refused::Impossible { reason, .. }) }
            if *reason == "candidate_unknown")
    };
    assert!(bench.seen.iter().any(answered), "{:?}", bench.seen);
}

#[test]
fn news_that_came_while_a_look_was_under_way_is_looked_at_again() {
    let mut bench = Bench::new(settings("a"));
    let granted = Response::Granted {
        lease: 11,
        ttl: 10 * SECOND,
    };
    bench.answer(|request| matches!(request, Request::Grant { .. }), Ok(granted));
    bench.txn(true, Some(leader("b", 5, 9)));
    bench.now += SECOND;
    bench.tell(Input::Hint(Hint::Changed));
    let sent = bench.now;
    bench.now += SECOND / 100;
    bench.tell(Input::Hint(Hint::Deleted(vec![LEADER.to_owned()])));
    // The look was answered before the key was deleted.
    let old = Response::Txn {
        succeeded: true,
        revision: 20,
        results: vec![
            vec![leader("b", 5, 9)],
            vec![member("a", 11)],
            vec![],
            vec![],
            vec![],
        ],
    };
    let (ticket, _) = bench.asked.remove(0);
    bench.tell(Input::Answered {
        ticket,
        sent,
        result: Ok(old),
    });
    assert_eq!(bench.asked.len(), 1, "{:?}", bench.asked);
}
