//! Who led last, and what follows from it.

use super::*;
use crate::cluster::{Reason, SCHEMA, history_key};

/// Answers a transaction: who leads, whose members there are, and that term 20 was the last.
fn answer(bench: &mut Bench, succeeded: bool, leader: Option<KeyValue>, others: &[&str]) {
    let record = HistoryRecord {
        schema: SCHEMA,
        term: 20,
        from: None,
        to: "a".to_owned(),
        reason: Reason::Startup,
        at: Timestamp::UNIX_EPOCH,
        gap_ms: None,
        ending: None,
    };
    let last = KeyValue {
        key: history_key(20),
        value: serde_json::to_vec(&record).unwrap(),
        create_revision: 21,
        mod_revision: 21,
        lease: 0,
    };
    let mut members = vec![member("a", 11)];
    members.extend(others.iter().map(|other| member(other, 12)));
    let found = Response::Txn {
        succeeded,
        revision: 30,
        results: vec![leader.into_iter().collect(), members, vec![], vec![], vec![last]],
    };
    bench.answer(|request| matches!(request, Request::Txn(_)), Ok(found));
}

/// Its key is deleted behind its back, its lease lives; the work has ended.
fn bereft(others: &[&str]) -> Bench {
    let mut bench = Bench::new(settings("a"));
    bench.lead();
    bench.asked.clear();
    bench.machine.asking = None;
    bench.tell(Input::Hint(Hint::Changed));
    answer(&mut bench, false, None, others);
    assert_eq!(bench.machine.state(), State::Lost);
    bench.tell(Input::Ended { term: 20 });
    answer(&mut bench, false, None, others);
    bench
}

#[test]
fn who_led_last_races_at_once_whatever_its_name() {
    // By its name alone another would be the first.
    let bench = bereft(&["0"]);
    assert_eq!(bench.machine.state(), State::Candidate);
}

#[test]
fn who_leads_again_after_it_was_deposed_has_lost_its_key_and_not_died() {
    let mut bench = bereft(&[]);
    answer(&mut bench, true, Some(leader("a", 30, 11)), &[]);
    assert_eq!(bench.machine.state(), State::Leader);
    let reasons: Vec<Reason> = (bench.seen.iter())
        .filter_map(|effect| match effect {
            Effect::Note(Note::Acquired { reason, .. }) => Some(*reason),
            _ => None,
        })
        .collect();
    assert_eq!(reasons, [Reason::Startup, Reason::Lost]);
}
