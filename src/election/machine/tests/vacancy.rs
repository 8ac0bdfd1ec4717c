//! When a leadership whose key is gone is free.

use super::*;
use crate::cluster::history_key;

/// A member beside a leader `b` of term 5, of whose lease so much was left at second 100.
fn beside(left: Duration) -> Bench {
    let mut bench = Bench::new(settings("a"));
    bench.granted();
    bench.txn(true, Some(leader("b", 5, 9)));
    bench.left(left);
    bench
}

impl Bench {
    /// The leader key goes; a look finds this in the history.
    fn vanish(&mut self, last: Option<KeyValue>) {
        let last: Vec<KeyValue> = last.into_iter().collect();
        self.tell(Input::Hint(Hint::Deleted(vec![LEADER.to_owned()])));
        self.txn_after(true, None, last);
    }

    /// A look finds nobody leading, this in the history, and this for the newest term.
    fn finds(&mut self, last: Option<KeyValue>, term: KeyValue) {
        let last = last.into_iter().collect();
        let answer = Response::Txn {
            succeeded: true,
            revision: 20,
            results: vec![vec![], vec![member("a", 11)], vec![], vec![], last, vec![term]],
        };
        self.answer(|request| matches!(request, Request::Txn(_)), Ok(answer));
    }

    fn races(&self) -> bool {
        let takes = |step: &Operation| matches!(step, Operation::Put { key, .. } if key == LEADER);
        self.asked
            .iter()
            .any(|(_, request)| matches!(request, Request::Txn(txn) if txn.then.iter().any(takes)))
    }

    /// Lets the time pass, and every request but a race and renewals fail, until it races; gives how long that took.
    fn waits(&mut self) -> Duration {
        let begun = self.now;
        while !self.races() {
            assert!(self.now < begun + 30 * SECOND, "{:?}", self.machine);
            self.now += SECOND / 10;
            for (ticket, request) in std::mem::take(&mut self.asked) {
                let sent = self.now;
                let result = match request {
                    Request::Renew(_) => Ok(Response::Renewed(Some(10 * SECOND))),
                    _ => Err(DcsError::Refused("not now".to_owned())),
                };
                self.tell(Input::Answered { ticket, sent, result });
            }
            let now = self.now;
            self.machine.dirty = false;
            self.machine.look_at = now + SECOND;
            self.tell(Input::Time);
        }
        self.now.saturating_sub(begun)
    }
}

#[test]
fn a_leader_that_has_said_so_is_not_waited_for() {
    let mut bench = beside(9 * SECOND);
    bench.now += SECOND;
    bench.vanish(Some(history("b", 5, Some(Reason::Lost))));
    assert!(bench.races(), "{:?}", bench.asked);
}

#[test]
fn a_leader_whose_key_was_taken_away_is_waited_for_until_its_lease_would_have_run_out() {
    for last in [
        None,
        Some(history("b", 5, None)),
        // The word on an earlier term is none on this one.
        Some(history("b", 4, Some(Reason::Graceful))),
    ] {
        let mut bench = beside(5 * SECOND);
        bench.now += SECOND;
        bench.vanish(last.clone());
        // The whole history is of no concern here.
        bench.machine.history = last
            .iter()
            .flat_map(|key| view::history(std::slice::from_ref(key)))
            .collect();
        bench.machine.asking = None;
        bench.asked.clear();
        bench.now += SECOND;
        bench.tell(Input::Hint(Hint::Changed));
        bench.txn_after(true, None, last.into_iter().collect());
        let told = Note::Vacant {
            term: 5,
            wait: 9 * SECOND,
        };
        assert!(bench.had(&Effect::Note(told)), "{:?}", bench.seen);
        let waited = bench.waits();
        assert!((9 * SECOND..10 * SECOND).contains(&waited), "{waited:?}");
    }
}

#[test]
fn a_lease_that_has_run_out_is_not_waited_for() {
    // Looks three seconds apart, at any time before the end.
    for tenths in 0..30_u32 {
        let mut true_left = 6 * SECOND + SECOND / 10 * tenths;
        let whole = |left: Duration| Duration::from_secs(left.as_secs());
        let mut bench = beside(whole(true_left));
        let end = bench.now + true_left;
        loop {
            let wake = bench.machine.wake_at();
            if wake >= end {
                break;
            }
            bench.now = bench.now.max(wake);
            true_left = end.saturating_sub(bench.now);
            bench.tell(Input::Time);
            while let Some((_, request)) = bench.asked.first().cloned() {
                match request {
                    Request::TimeLeft(_) => bench.left(whole(true_left)),
                    Request::Txn(_) => bench.txn(true, Some(leader("b", 5, 9))),
                    _ => {
                        let granted = Ok(Response::Renewed(Some(10 * SECOND)));
                        bench.answer(|request| matches!(request, Request::Renew(_)), granted);
                    }
                }
            }
        }
        bench.now = end;
        bench.asked.clear();
        bench.machine.asking = None;
        bench.tell(Input::Hint(Hint::Deleted(vec![LEADER.to_owned()])));
        let waited = bench.waits();
        // etcd itself takes up to half a second.
        assert!(
            waited <= 4 * SECOND / 10,
            "{waited:?} after {tenths} tenths: {:?}",
            bench.machine.measured
        );
    }
}

#[test]
fn within_what_is_left_of_the_lease_it_is_waited_for() {
    let mut bench = beside(SECOND);
    bench.now += SECOND / 5;
    bench.tell(Input::Time);
    bench.left(Duration::ZERO);
    bench.now += SECOND / 10;
    bench.vanish(None);
    let waited = bench.waits();
    assert!(
        (9 * SECOND / 10..12 * SECOND / 10).contains(&waited),
        "{waited:?}"
    );
}

#[test]
fn a_lease_that_may_have_been_renewed_since_is_not_taken_for_one_that_has_run_out() {
    // What was measured lies back: it may have been renewed, and revoked then.
    for (left, later) in [(1, 6), (6, 6), (0, 2)] {
        let mut bench = beside(left * SECOND);
        bench.now += later * SECOND;
        bench.vanish(None);
        let waited = bench.waits();
        assert!(waited >= 10 * SECOND, "{waited:?} after {left}, {later}");
    }
}

#[test]
fn the_longest_time_counts_for_which_anybody_was_granted_a_lease() {
    let mut bench = beside(9 * SECOND);
    bench.now += SECOND;
    bench.tell(Input::Hint(Hint::Deleted(vec![LEADER.to_owned()])));
    let term = KeyValue {
        key: crate::cluster::TERM.to_owned(),
        value: br#"{"schema":1,"ttl_ms":25000}"#.to_vec(),
        create_revision: 5,
        mod_revision: 5,
        lease: 0,
    };
    bench.finds(None, term);
    let waited = bench.waits();
    assert!(waited >= 25 * SECOND, "{waited:?}");
}

#[test]
fn a_lease_that_lives_proves_nothing_where_the_term_is_not_seen_any_more() {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    for _ in 0..8 {
        bench.now += SECOND;
        for (ticket, request) in std::mem::take(&mut bench.asked) {
            let sent = bench.now;
            let result = match request {
                Request::Renew(_) => Ok(Response::Renewed(Some(10 * SECOND))),
                // Whatever it writes is refused, and a look without writing is not answered.
                Request::Txn(txn) if txn.then.iter().any(|step| matches!(step, Operation::Put { .. })) => {
                    Err(DcsError::Refused("no space".to_owned()))
                }
                _ => Err(DcsError::Unanswered("timed out".to_owned())),
            };
            bench.tell(Input::Answered { ticket, sent, result });
        }
        bench.tell(Input::Time);
        assert_eq!(bench.machine.state(), State::Leader, "{:?}", bench.now);
    }
    bench.now = 109 * SECOND;
    bench.tell(Input::Time);
    assert_eq!(bench.machine.state(), State::Lost);
}

#[test]
fn a_look_that_may_not_write_shows_the_term_all_the_same() {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    let refused = || Err(DcsError::Refused("no space".to_owned()));
    bench.answer(|request| matches!(request, Request::Txn(_)), refused());
    bench.now += SECOND;
    bench.tell(Input::Time);
    let only_reads = |request: &Request| {
        matches!(request, Request::Txn(txn)
            if txn.then.iter().all(|step| !matches!(step, Operation::Put { .. })))
    };
    assert!(
        bench.asked.iter().any(|(_, request)| only_reads(request)),
        "{:?}",
        bench.asked
    );
    bench.txn(true, Some(leader("a", 20, 11)));
    let renewed = Ok(Response::Renewed(Some(10 * SECOND)));
    bench.now = 103 * SECOND;
    bench.tell(Input::Time);
    bench.answer(|request| matches!(request, Request::Renew(_)), renewed);
    // It was seen a second after it was won.
    assert_eq!(bench.machine.leadership().deadline, Some(110 * SECOND));
}

#[test]
fn a_predecessor_that_is_dead_is_not_waited_for() {
    let mut bench = Bench::new(Settings {
        reigned: 5,
        ..settings("a")
    });
    bench.granted();
    bench.txn_after(true, None, vec![history("a", 5, None)]);
    assert!(bench.races(), "{:?}", bench.asked);
}

#[test]
fn a_leader_key_on_no_lease_is_waited_for_in_peace() {
    let mut bench = Bench::new(settings("a"));
    bench.granted();
    bench.txn(true, Some(leader("b", 5, 0)));
    assert!(bench.machine.wake_at() > bench.now, "{:?}", bench.machine);
}

#[test]
fn who_stops_says_first_that_its_term_is_over() {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    bench.now += SECOND;
    bench.tell(Input::Stop);
    bench.now += 2 * SECOND;
    bench.tell(Input::Time);
    bench.answer(
        |request| *request == Request::Renew(11),
        Ok(Response::Renewed(None)),
    );
    bench.tell(Input::Ended { term: 20 });
    let ends = |step: &Operation| {
        matches!(step, Operation::Put { key, value, .. } if *key == history_key(20)
            && String::from_utf8_lossy(value).contains("\"ending\""))
    };
    let said = |request: &Request| matches!(request, Request::Txn(txn) if txn.then.iter().any(ends));
    assert!(!bench.had(&Effect::Halt(None)), "{:?}", bench.seen);
    let done = Response::Txn {
        succeeded: true,
        revision: 30,
        results: vec![
            vec![],
            vec![],
            vec![],
            vec![],
            vec![],
            vec![history("a", 20, Some(Reason::Lost))],
            vec![],
        ],
    };
    bench.answer(said, Ok(done));
    assert!(bench.had(&Effect::Halt(None)), "{:?}", bench.seen);
}

#[test]
fn a_term_that_was_won_and_lost_unseen_is_waited_for() {
    let mut bench = beside(9 * SECOND);
    bench.now += SECOND;
    bench.tell(Input::Hint(Hint::Deleted(vec![LEADER.to_owned()])));
    let term = KeyValue {
        key: crate::cluster::TERM.to_owned(),
        value: b"{}".to_vec(),
        create_revision: 5,
        mod_revision: 18,
        lease: 0,
    };
    let ended = history("b", 5, Some(Reason::Graceful));
    bench.finds(Some(ended), term);
    assert!(!bench.races());
    let waited = bench.waits();
    assert!(waited >= 10 * SECOND, "{waited:?}");
}

#[test]
fn who_loses_its_key_says_when_its_work_has_ended() {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    let said = |bench: &Bench| {
        let ends = |step: &Operation| {
            matches!(step, Operation::Put { key, value, .. } if *key == history_key(20)
                && String::from_utf8_lossy(value).contains("\"ending\":\"lost\""))
        };
        let mut asked = bench.asked.iter();
        asked.any(|(_, request)| matches!(request, Request::Txn(txn) if txn.then.iter().any(ends)))
    };
    bench.answer(
        |request| matches!(request, Request::Txn(_)),
        Err(DcsError::Unanswered("reset".to_owned())),
    );
    bench.tell(Input::Fenced { term: 20 });
    assert!(bench.had(&Effect::Close));
    bench.now += SECOND;
    bench.tell(Input::Time);
    assert!(!said(&bench), "{:?}", bench.asked);
    bench.tell(Input::Ended { term: 20 });
    assert!(said(&bench), "{:?}", bench.asked);
    // The key is gone already: said all the same.
    bench.given_back(false);
    assert!(said(&bench), "{:?}", bench.asked);
    let done = Response::Txn {
        succeeded: true,
        revision: 30,
        results: vec![
            vec![],
            vec![],
            vec![member("a", 11)],
            vec![],
            vec![],
            vec![history("a", 20, Some(Reason::Lost))],
            vec![],
        ],
    };
    bench.answer(|request| matches!(request, Request::Txn(_)), Ok(done));
    assert!(!said(&bench), "{:?}", bench.asked);
    assert!(bench.races(), "it knows of itself that it has stopped");
}

#[test]
fn of_a_dead_predecessor_it_is_said_before_its_lease_is_revoked() {
    let mut bench = Bench::new(Settings {
        predecessor: Some(9),
        ..settings("b")
    });
    bench.txn(true, Some(leader("b", 5, 9)));
    let (_, request) = bench.asked.first().unwrap().clone();
    let Request::Txn(txn) = &request else {
        panic!("{request:?}")
    };
    assert!(
        txn.when.contains(&Compare::CreateRevision(LEADER.to_owned(), 5)),
        "{txn:?}"
    );
    assert!(gives_back(&request));
    assert!(matches!(&txn.then[0], Operation::Put { key, .. } if *key == history_key(5)));
    bench.given_back(true);
    bench.answer(|request| *request == Request::Revoke(9), Ok(Response::Revoked));
    assert!(
        matches!(bench.asked[0].1, Request::Grant { .. }),
        "{:?}",
        bench.asked
    );
}

#[test]
fn what_may_not_be_said_of_a_dead_predecessor_is_left_unsaid() {
    let mut bench = Bench::new(Settings {
        predecessor: Some(9),
        ..settings("b")
    });
    bench.txn(true, Some(leader("b", 5, 9)));
    bench.answer(gives_back, Err(DcsError::Refused("no space".to_owned())));
    bench.now += SECOND;
    bench.tell(Input::Time);
    assert_eq!(bench.asked[0].1, Request::Revoke(9), "{:?}", bench.asked);
}

#[test]
fn why_an_earlier_term_ended_is_no_reason_for_the_next_but_one() {
    let earlier = || history("b", 4, Some(Reason::Graceful));
    let mut bench = beside(9 * SECOND);
    bench.now += SECOND;
    bench.vanish(Some(earlier()));
    bench.waits();
    bench.txn_after(true, Some(leader("a", 20, 11)), vec![earlier()]);
    let reason = bench.seen.iter().find_map(|effect| match effect {
        Effect::Note(Note::Acquired { reason, .. }) => Some(*reason),
        _ => None,
    });
    assert_eq!(reason, Some(Reason::Expired), "{:?}", bench.seen);
}
