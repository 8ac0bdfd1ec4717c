//! What keeps a tenure, and what ends it.

use super::*;

#[test]
fn the_deadline_counts_from_before_the_renewal_was_sent() {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    let deadline = 109 * SECOND;
    assert!(bench.had(&Effect::Lead { term: 20, deadline }));
    // The term was seen later than that.
    bench.now = 104 * SECOND;
    bench.tell(Input::Time);
    bench.txn(true, Some(leader("a", 20, 11)));
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
            vec![],
        ],
    };
    bench.answer(write, Ok(answer));
    assert_eq!(
        (bench.machine.state(), &bench.machine.unwritten),
        (State::Leader, &None)
    );
    // It is only added to.
    bench.tell(Input::Stop);
    bench.tell(Input::Ended { term: 20 });
    let ended = HistoryRecord {
        ending: Some(Reason::Graceful),
        ..record
    };
    let last = Operation::Put {
        key: history.clone(),
        value: serde_json::to_vec(&ended).unwrap(),
        lease: 0,
    };
    let said = |request: &Request| matches!(request, Request::Txn(txn) if txn.then.contains(&last));
    assert!(
        bench
            .asked
            .iter()
            .any(|(_, request)| said(request) && gives_back(request)),
        "{:?}",
        bench.asked
    );
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
