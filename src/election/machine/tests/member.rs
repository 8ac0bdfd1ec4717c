//! Leases, membership, races, and what is looked at when.

use super::*;

#[test]
fn a_race_whose_answer_was_lost_is_found_to_be_won() {
    let mut bench = Bench::new(settings("a"));
    bench.granted();
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
    bench.granted();
    let mut other = settings("a");
    other.me.incarnation = "a-2".to_owned();
    let mut key = member("a", 99);
    key.value = serde_json::to_vec(&Machine::new(other).member_record()).unwrap();
    for _ in 0..14 {
        let answer = Response::Txn {
            succeeded: false,
            revision: 20,
            results: vec![vec![], vec![key.clone()], vec![], vec![], vec![], vec![]],
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
    bench.granted();
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
    bench.granted();
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

#[test]
fn a_name_is_not_given_up_for_what_was_answered_before_a_pause() {
    let mut bench = Bench::new(settings("a"));
    bench.granted();
    let mut other = settings("a");
    other.me.incarnation = "a-2".to_owned();
    let mut key = member("a", 99);
    key.value = serde_json::to_vec(&Machine::new(other).member_record()).unwrap();
    let taken = || Response::Txn {
        succeeded: false,
        revision: 20,
        results: vec![vec![], vec![key.clone()], vec![], vec![], vec![], vec![]],
    };
    bench.answer(|request| matches!(request, Request::Txn(_)), Ok(taken()));
    bench.now += SECOND;
    bench.tell(Input::Time);
    let sent = bench.now;
    bench.now += 60 * SECOND;
    let at = bench
        .asked
        .iter()
        .position(|(_, request)| matches!(request, Request::Txn(_)));
    let (ticket, _) = bench.asked.remove(at.unwrap());
    bench.tell(Input::Answered {
        ticket,
        sent,
        result: Ok(taken()),
    });
    let halted = bench.seen.iter().any(|effect| matches!(effect, Effect::Halt(_)));
    assert!(!halted, "{:?}", bench.seen);
}

#[test]
fn whoever_led_last_may_lead_again_whatever_the_one_before_was_configured_with() {
    let mut bench = Bench::new(Settings {
        refuse_mismatch: true,
        ..settings("a")
    });
    let mut other = settings("b");
    other.me.config_hash = "another".to_owned();
    let mut before = leader("b", 5, 9);
    let record = String::from_utf8(before.value).unwrap();
    before.value = record
        .replace("\"config_hash\":\"c\"", "\"config_hash\":\"another\"")
        .into_bytes();
    let mut member_b = member("b", 12);
    member_b.value = serde_json::to_vec(&Machine::new(other).member_record()).unwrap();
    bench.granted();
    bench.txn(true, Some(before));
    assert_eq!(bench.machine.why_barred(), Some("config_mismatch"));
    // The other one is gone, so this one leads; then the other one comes back.
    bench.left(9 * SECOND);
    bench.tell(Input::Hint(Hint::Deleted(vec![LEADER.to_owned()])));
    bench.txn_after(true, None, vec![history("b", 5, Some(Reason::Graceful))]);
    bench.txn(true, Some(leader("a", 20, 11)));
    assert_eq!(bench.machine.state(), State::Leader);
    bench.tell(Input::Stalled);
    bench.machine.view.members = vec![serde_json::from_slice(&member_b.value).unwrap()];
    bench.machine.view.leader = None;
    assert_eq!(bench.machine.why_barred(), None);
}
