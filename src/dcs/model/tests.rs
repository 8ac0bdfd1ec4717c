//! The model behaves as etcd does.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn grant(model: &mut Model, now: Duration, seconds: u64) -> LeaseId {
    let ttl = Duration::from_secs(seconds);
    match model.apply(now, &Request::Grant { ttl }) {
        Ok(Response::Granted { lease, .. }) => lease,
        other => panic!("{other:?}"),
    }
}

fn put(key: &str, lease: LeaseId) -> Operation {
    Operation::Put {
        key: key.to_owned(),
        value: b"v".to_vec(),
        lease,
    }
}

fn ask(
    model: &mut Model,
    now: Duration,
    when: Vec<Compare>,
    then: Vec<Operation>,
) -> (bool, i64, Vec<Vec<KeyValue>>) {
    let or_else = Vec::new();
    match model.apply(now, &Request::Txn(Txn { when, then, or_else })) {
        Ok(Response::Txn {
            succeeded,
            revision,
            results,
        }) => (succeeded, revision, results),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_revision_a_writing_transaction_and_none_for_reads() {
    let mut model = Model::new(0);
    let now = SECOND;
    let (_, first, _) = ask(&mut model, now, vec![], vec![put("a", 0), put("b", 0)]);
    let reads = vec![Operation::Get("a".to_owned()), Operation::List(String::new())];
    let (_, same, read) = ask(&mut model, now, vec![], reads);
    assert_eq!((first, same), (2, 2));
    assert_eq!((read[0][0].create_revision, read[0][0].mod_revision), (2, 2));
    assert_eq!(read[1].len(), 2);
    // Reads see what the same transaction wrote before them; what is not there is not deleted.
    let steps = vec![
        Operation::Get("a".to_owned()),
        put("a", 0),
        Operation::Delete("none".to_owned()),
        Operation::Get("a".to_owned()),
    ];
    let (_, third, read) = ask(&mut model, now, vec![], steps);
    assert_eq!(third, 3);
    assert_eq!((read[0][0].mod_revision, read[3][0].mod_revision), (2, 3));
    assert_eq!(read[3][0].create_revision, 2);
    ask(
        &mut model,
        now,
        vec![],
        vec![Operation::Delete("none".to_owned())],
    );
    assert_eq!(model.revision(), 3);
    // A key that comes back is a new one.
    ask(&mut model, now, vec![], vec![Operation::Delete("a".to_owned())]);
    ask(&mut model, now, vec![], vec![put("a", 0)]);
    assert_eq!(model.key("a").unwrap().create_revision, 5);
}

#[test]
fn conditions_on_a_missing_key_compare_with_zero() {
    let mut model = Model::new(0);
    let lease = grant(&mut model, SECOND, 10);
    let key = || "k".to_owned();
    let none = vec![
        Compare::CreateRevision(key(), 0),
        Compare::ModRevision(key(), 0),
        Compare::Lease(key(), 0),
    ];
    assert!(ask(&mut model, SECOND, none.clone(), vec![put("k", lease)]).0);
    for compare in none {
        assert!(!ask(&mut model, SECOND, vec![compare], vec![]).0);
    }
    let found = model.key("k").unwrap().clone();
    let now = vec![
        Compare::CreateRevision(key(), found.create_revision),
        Compare::ModRevision(key(), found.mod_revision),
        Compare::Lease(key(), lease),
    ];
    assert!(ask(&mut model, SECOND, now.clone(), vec![]).0);
    // All must hold.
    let mixed = [now, vec![Compare::Lease(key(), 0)]].concat();
    assert!(!ask(&mut model, SECOND, mixed, vec![]).0);
}

#[test]
fn what_is_refused_does_nothing() {
    let mut model = Model::new(0);
    let then = vec![put("a", 0), put("b", 99)];
    let txn = Txn {
        then,
        ..Txn::default()
    };
    let answer = model.apply(SECOND, &Request::Txn(txn));
    assert_eq!(answer, Err(DcsError::NoLease));
    let then = vec![put("a", 0), Operation::Delete("a".to_owned())];
    let txn = Txn {
        then,
        ..Txn::default()
    };
    let answer = model.apply(SECOND, &Request::Txn(txn));
    assert!(matches!(answer, Err(DcsError::Refused(_))), "{answer:?}");
    let reads = vec![Operation::Get("a".to_owned()); 129];
    let txn = Txn {
        then: reads,
        ..Txn::default()
    };
    let answer = model.apply(SECOND, &Request::Txn(txn));
    assert!(matches!(answer, Err(DcsError::Refused(_))), "{answer:?}");
    assert_eq!(model.revision(), 1);
    assert!(model.key("a").is_none() && model.happened().is_empty());
}

#[test]
fn lists_are_sorted_and_last_is_the_last() {
    let mut model = Model::new(0);
    let keys = ["h/2", "i", "h/10", "h/1", "h"];
    for key in keys {
        ask(&mut model, SECOND, vec![], vec![put(key, 0)]);
    }
    let reads = vec![
        Operation::List("h/".to_owned()),
        Operation::Last("h/".to_owned()),
        Operation::Last("x".to_owned()),
    ];
    let (_, _, read) = ask(&mut model, SECOND, vec![], reads);
    let names: Vec<_> = read[0].iter().map(|found| &*found.key).collect();
    assert_eq!(names, ["h/1", "h/10", "h/2"]);
    assert_eq!((read[1].len(), &*read[1][0].key), (1, "h/2"));
    assert!(read[2].is_empty());
}

#[test]
fn a_lease_lasts_whole_seconds_and_two_at_least() {
    let mut model = Model::new(0);
    for (asked, granted) in [(500, 2000), (2001, 3000), (10_000, 10_000)] {
        let answer = model.apply(SECOND, &Request::Grant { ttl: ms(asked) });
        assert!(
            matches!(answer, Ok(Response::Granted { ttl, .. }) if ttl == ms(granted)),
            "{answer:?}"
        );
    }
}

#[test]
fn a_lease_ends_never_early_and_half_a_second_late_at_most() {
    for start in [1000, 1001, 1250, 1499] {
        let mut model = Model::new(0);
        let lease = grant(&mut model, ms(start), 3);
        ask(
            &mut model,
            ms(start),
            vec![],
            vec![put("a", lease), put("b", lease)],
        );
        assert_eq!(model.expires(lease), Some(ms(start + 3000)));
        let mut gone = None;
        for at in start..start + 3600 {
            model.tick(ms(at));
            if model.key("a").is_none() {
                gone = Some(at);
                break;
            }
        }
        let late = gone.unwrap() - start - 3000;
        assert!(late <= 500, "{late}");
        // Both keys in one revision, and it is still known when the lease ended.
        let last = model.happened().last().unwrap();
        assert_eq!(last.deleted, ["a", "b"]);
        assert_eq!(last.revision, model.revision());
        assert_eq!(model.expires(lease), Some(ms(start + 3000)));
    }
}

#[test]
fn a_renewal_starts_the_time_anew_and_finds_an_expired_lease_gone() {
    let mut model = Model::new(0);
    let lease = grant(&mut model, SECOND, 3);
    ask(&mut model, SECOND, vec![], vec![put("a", lease)]);
    let renewed = model.apply(ms(3999), &Request::Renew(lease));
    assert_eq!(renewed, Ok(Response::Renewed(Some(3 * SECOND))));
    assert_eq!(model.expires(lease), Some(ms(6999)));
    model.tick(ms(6998));
    assert!(model.key("a").is_some());
    // Expired, and not noticed yet: the renewal comes too late all the same.
    let renewed = model.apply(ms(6999), &Request::Renew(lease));
    assert_eq!(renewed, Ok(Response::Renewed(None)));
    assert!(model.key("a").is_none());
    assert_eq!(
        model.apply(SECOND * 7, &Request::Renew(1)),
        Ok(Response::Renewed(None))
    );
}

#[test]
fn a_revoked_lease_takes_its_keys_along_and_only_those() {
    let mut model = Model::new(0);
    let lease = grant(&mut model, SECOND, 3);
    let other = grant(&mut model, SECOND, 3);
    assert_ne!(lease, other);
    let keys = vec![put("a", lease), put("b", lease), put("c", lease), put("d", 0)];
    ask(&mut model, SECOND, vec![], keys);
    // Written anew on another lease: it belongs there now. Written on none: it stays.
    ask(&mut model, SECOND, vec![], vec![put("b", other), put("c", 0)]);
    let before = model.revision();
    assert_eq!(
        model.apply(SECOND, &Request::Revoke(lease)),
        Ok(Response::Revoked)
    );
    assert_eq!(model.revision(), before + 1);
    let left: Vec<_> = model.list("").map(|found| &*found.key).collect();
    assert_eq!(left, ["b", "c", "d"]);
    assert_eq!(
        model.apply(SECOND, &Request::Revoke(lease)),
        Ok(Response::Revoked)
    );
    assert_eq!(model.revision(), before + 1, "nothing was left to delete");
    assert_eq!(model.expires(lease), None);
}

#[test]
fn leases_run_by_the_clock_of_the_raft_leader() {
    for (ppm, expires) in [(100_000, 9_091), (-100_000, 11_112), (0, 10_000)] {
        let mut model = Model::new(ppm);
        let lease = grant(&mut model, Duration::ZERO, 10);
        let at = model.expires(lease).unwrap();
        assert!(at <= ms(expires) && at > ms(expires - 1), "{ppm}: {at:?}");
        ask(&mut model, Duration::ZERO, vec![], vec![put("a", lease)]);
        model.tick(at.checked_sub(Duration::from_nanos(1)).unwrap());
        assert!(model.key("a").is_some());
        while model.key("a").is_some() {
            let next = model.next_tick();
            assert!(next <= at + ms(600));
            model.tick(next);
        }
    }
}

#[test]
fn another_raft_leader_starts_every_lease_anew_and_fails_what_is_asked_meanwhile() {
    let mut model = Model::new(0);
    let lease = grant(&mut model, SECOND, 10);
    ask(&mut model, SECOND, vec![], vec![put("a", lease)]);
    model.change_leader(ms(10_900), ms(12_100), 0);
    let answer = model.apply(ms(12_099), &Request::Renew(lease));
    assert!(matches!(answer, Err(DcsError::Unanswered(_))), "{answer:?}");
    assert_eq!(model.expires(lease), Some(ms(12_100 + 10_000 + 1000)));
    model.tick(ms(23_099));
    assert!(model.key("a").is_some());
    model.tick(ms(23_600));
    assert!(model.key("a").is_none());
}
