//! A leader that sees too little gives way to a standby that sees more.

use super::*;
use crate::cluster::{Probe, SWITCHOVER, SwitchoverRecord};

const PATIENCE: Duration = Duration::from_secs(60);

fn sight(output: bool, ecs: bool) -> Probe {
    Probe {
        output,
        ecs,
        at: Timestamp::UNIX_EPOCH,
    }
}

/// The switchover that a step writes.
fn order(step: &Operation) -> Option<SwitchoverRecord> {
    match step {
        Operation::Put { key, value, .. } if key == SWITCHOVER => serde_json::from_slice(value).ok(),
        _ => None,
    }
}

fn leading(yield_after: Option<Duration>) -> Bench {
    let mut bench = Bench::new(Settings {
        yield_after,
        ..settings("a")
    });
    bench.lead();
    bench
}

/// Leads for so long beside a standby that tells this; gives the switchover that is written meanwhile.
fn beside(bench: &mut Bench, told: Option<Probe>, time: Duration) -> Option<SwitchoverRecord> {
    let until = bench.now + time;
    let mut standby = member("b", 12);
    let mut record = Machine::new(settings("b")).member_record();
    record.probe = told;
    standby.value = serde_json::to_vec(&record).unwrap();
    while bench.now < until {
        for (ticket, request) in std::mem::take(&mut bench.asked) {
            let sent = bench.now;
            let response = match request {
                Request::Renew(_) => Response::Renewed(Some(10 * SECOND)),
                Request::Txn(txn) => {
                    if let Some(order) = txn.then.iter().find_map(order) {
                        return Some(order);
                    }
                    let members = vec![member("a", 11), standby.clone()];
                    Response::Txn {
                        succeeded: true,
                        revision: 30,
                        results: vec![vec![leader("a", 20, 11)], members, vec![], vec![], vec![], vec![]],
                    }
                }
                other => panic!("{other:?}"),
            };
            let result = Ok(response);
            bench.tell(Input::Answered { ticket, sent, result });
        }
        bench.now += SECOND;
        bench.tell(Input::Time);
    }
    assert_eq!(bench.machine.state(), State::Leader);
    None
}

#[test]
fn a_blind_leader_gives_way_to_a_standby_that_sees() {
    for blind in [sight(false, true), sight(true, false)] {
        let mut bench = leading(Some(PATIENCE));
        bench.tell(Input::Probed(blind));
        let early = beside(&mut bench, Some(sight(true, true)), 58 * SECOND);
        assert_eq!(early, None, "it is patient");
        let order = beside(&mut bench, Some(sight(true, true)), 10 * SECOND).unwrap();
        assert_eq!(
            (&*order.leader, order.candidate.as_deref(), order.reason),
            ("a", Some("b"), Reason::Yield)
        );
    }
}

#[test]
fn nobody_gives_way_to_one_that_sees_no_more_or_says_nothing() {
    for told in [None, Some(sight(false, true)), Some(sight(true, false))] {
        let mut bench = leading(Some(PATIENCE));
        bench.tell(Input::Probed(sight(false, true)));
        assert_eq!(beside(&mut bench, told, 3 * PATIENCE), None, "{told:?}");
    }
}

#[test]
fn who_sees_again_stays_and_so_does_who_was_not_told_to_yield() {
    let seeing = Some(sight(true, true));
    let mut bench = leading(Some(PATIENCE));
    bench.tell(Input::Probed(sight(false, true)));
    assert_eq!(beside(&mut bench, seeing, PATIENCE / 2), None);
    bench.tell(Input::Probed(sight(true, true)));
    assert_eq!(beside(&mut bench, seeing, PATIENCE), None);
    // Its patience begins anew.
    bench.tell(Input::Probed(sight(false, true)));
    assert_eq!(beside(&mut bench, seeing, PATIENCE / 2), None);
    let mut bench = leading(None);
    bench.tell(Input::Probed(sight(false, false)));
    assert_eq!(beside(&mut bench, seeing, 3 * PATIENCE), None);
}
