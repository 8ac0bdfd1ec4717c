//! How a leadership is given back, or what is left of it removed.

use super::*;

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
    bench.given_back(true);
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
    assert!(!bench.asked.iter().any(|(_, request)| gives_back(request)));
    bench.tell(Input::Ended { term: 20 });
    assert!(bench.asked.iter().any(|(_, request)| gives_back(request)));
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
fn a_stop_gives_up_on_a_revoke_that_is_not_answered() {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    bench.tell(Input::Stop);
    bench.now = 101 * SECOND;
    bench.tell(Input::Ended { term: 20 });
    let lost = || Err(DcsError::Unanswered("timed out".to_owned()));
    // The half of its time is for giving the key back, the rest for the lease.
    bench.now = 103 * SECOND;
    bench.tell(Input::Time);
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
    // The key went with the lease.
    bench.given_back(false);
    // That its term is over cannot be said; the others wait.
    bench.now = 105 * SECOND;
    bench.tell(Input::Time);
    assert!(bench.had(&Effect::Halt(None)), "{:?}", bench.seen);
}

#[test]
fn a_release_that_is_not_answered_is_not_over_however_long_it_takes() {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    bench.tell(Input::Ended { term: 20 });
    let release = |request: &Request| matches!(request, Request::Txn(_));
    bench.asked.retain(|(_, request)| !matches!(request, Request::Txn(txn) if !txn.then.contains(&Operation::Delete(LEADER.to_owned()))));
    for _ in 0..10 {
        bench.now += 3 * SECOND;
        let lost = DcsError::Unanswered("timed out".to_owned());
        bench.answer(release, Err(lost));
        bench.now += SECOND;
        bench.tell(Input::Time);
    }
    // etcd was away, and its leases live: the key of the term that has ended is still there.
    assert_eq!(bench.machine.state(), State::Draining);
    bench.txn(true, None);
    assert_eq!(bench.machine.state(), State::Standby);
}

/// Deletes the leader key and writes nothing, which an etcd without space still does.
fn only_gives_back(request: &Request) -> bool {
    gives_back(request)
        && matches!(request, Request::Txn(txn)
            if !txn.then.iter().any(|step| matches!(step, Operation::Put { .. })))
}

/// What gives the key of a term back is refused with its last word, and done without.
fn given_back_without_a_word(bench: &mut Bench) {
    let asked = |bench: &Bench| bench.asked.iter().any(|(_, request)| only_gives_back(request));
    assert!(!asked(bench), "{:?}", bench.asked);
    let refused = Err(DcsError::Refused("no space".to_owned()));
    bench.answer(gives_back, refused);
    bench.now += SECOND;
    bench.tell(Input::Time);
    assert!(asked(bench), "{:?}", bench.asked);
    bench.given_back(true);
    let state = bench.machine.state();
    assert!(matches!(state, State::Standby | State::Candidate), "{state:?}");
}

#[test]
fn a_leader_whose_last_word_is_refused_gives_its_key_back_without() {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    bench.asked.clear();
    bench.machine.asking = None;
    bench.tell(Input::Ended { term: 20 });
    given_back_without_a_word(&mut bench);
}

#[test]
fn what_a_lost_tenure_left_is_removed_although_its_last_word_is_refused() {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    bench.asked.clear();
    bench.machine.asking = None;
    bench.now = 109 * SECOND;
    bench.tell(Input::Time);
    assert_eq!(bench.machine.state(), State::Lost);
    bench.tell(Input::Ended { term: 20 });
    given_back_without_a_word(&mut bench);
}
