//! Leases: granted, renewed, run out, revoked, with each release of etcd.

use std::time::{Duration, Instant};

use ecsbeat::clock::since_boot;
use ecsbeat::dcs::{Dcs as _, DcsError, Request, Response, TimeLeft};

use super::{BUDGET, always, ask, grant, put, read, store, txn};
use crate::support::etcd::{Builder, Etcd, every};
use crate::support::process::SOON;

#[tokio::test]
async fn a_lease_is_granted_renewed_and_revoked() {
    for binary in every() {
        let etcd = Builder::new(1).binary(&binary).start().await;
        let store = store(&etcd.config());
        let before = since_boot();
        let ttl = Duration::from_millis(9500);
        let answer = store.ask(Request::Grant { ttl }, BUDGET).await;
        assert!(before <= answer.sent && answer.sent <= since_boot());
        assert_eq!(*answer.endpoint, *etcd.url(0));
        let Ok(Response::Granted { lease, ttl }) = answer.result else {
            panic!("{answer:?}")
        };
        assert_eq!(
            ttl,
            Duration::from_secs(10),
            "whole seconds, never less than asked"
        );
        assert_ne!(lease, 0);
        assert_eq!(
            ask(&store, Request::Renew(lease)).await,
            Ok(Response::Renewed(Some(ttl)))
        );
        // A process that has only read the number of the lease is told the same time.
        let other = super::store(&etcd.config());
        for _ in 0..2 {
            assert_eq!(
                ask(&other, Request::Renew(lease)).await,
                Ok(Response::Renewed(Some(ttl)))
            );
        }
        txn(
            &store,
            always(vec![put("leader", "a", lease), put("members/a", "a", lease)]),
        )
        .await;
        assert_eq!(read(&store, "leader").await, ["a"]);
        for _ in 0..2 {
            assert_eq!(ask(&store, Request::Revoke(lease)).await, Ok(Response::Revoked));
        }
        assert_eq!(read(&store, "leader").await, [""; 0]);
        assert_eq!(read(&store, "members/a").await, [""; 0]);
        for store in [&store, &other] {
            assert_eq!(
                ask(store, Request::Renew(lease)).await,
                Ok(Response::Renewed(None))
            );
        }
        let late = always(vec![put("leader", "a", lease)]);
        assert_eq!(ask(&store, late).await, Err(DcsError::NoLease));
    }
}

/// What is asked for may be less than etcd grants, and what is granted counts.
#[tokio::test]
async fn the_granted_time_is_told_and_lasts_no_less() {
    let etcd = Builder::new(1).argument("--election-timeout=1500").start().await;
    let store = store(&etcd.config());
    let ttl = Duration::from_secs(1);
    let answer = store.ask(Request::Grant { ttl }, BUDGET).await;
    let Ok(Response::Granted { lease, ttl }) = answer.result else {
        panic!("{answer:?}")
    };
    assert_eq!(
        ttl,
        Duration::from_secs(3),
        "three halves of the election timeout"
    );
    txn(&store, always(vec![put("leader", "a", lease)])).await;
    let begin = Instant::now();
    while read(&store, "leader").await == ["a"] {
        assert!(begin.elapsed() < SOON, "the lease does not run out");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(since_boot() >= answer.sent + ttl, "it ran out early");
    assert_eq!(
        ask(&store, Request::Renew(lease)).await,
        Ok(Response::Renewed(None))
    );
}

#[tokio::test]
async fn a_renewed_lease_outlives_its_time() {
    for binary in every() {
        let etcd = Builder::new(1).binary(&binary).start().await;
        let store = store(&etcd.config());
        let lease = grant(&store, 2).await;
        txn(&store, always(vec![put("leader", "a", lease)])).await;
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(4) {
            let renewed = ask(&store, Request::Renew(lease)).await;
            assert_eq!(renewed, Ok(Response::Renewed(Some(Duration::from_secs(2)))));
            assert_eq!(read(&store, "leader").await, ["a"]);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The raft leader keeps the time of leases; whoever follows it starts them anew.
#[tokio::test]
async fn a_lease_survives_the_death_of_the_raft_leader() {
    let mut etcd = Etcd::start(3).await;
    let store = store(&etcd.config());
    let lease = grant(&store, 5).await;
    txn(&store, always(vec![put("leader", "a", lease)])).await;
    etcd.kill(etcd.leader().await);
    assert_eq!(
        ask(&store, Request::Renew(lease)).await,
        Ok(Response::Renewed(Some(Duration::from_secs(5))))
    );
    assert_eq!(read(&store, "leader").await, ["a"]);
}

/// Whoever stands by goes by it, whichever member it asks.
#[tokio::test]
async fn what_is_left_of_a_lease_is_told_by_every_member() {
    for binary in every() {
        let etcd = Builder::new(3).binary(&binary).start().await;
        let holder = store(&etcd.config());
        let lease = grant(&holder, 60).await;
        txn(&holder, always(vec![put("leader", "a", lease)])).await;
        let begin = Instant::now();
        let at_most = Duration::from_secs(60);
        for member in 0..3 {
            let store = store(&etcd.config_for(&[member]));
            let answer = ask(&store, Request::TimeLeft(lease)).await;
            let Ok(Response::TimeLeft(Some(TimeLeft { left, granted }))) = answer else {
                panic!("{answer:?}")
            };
            assert_eq!(granted, at_most);
            // Rounded down, and never more than there is.
            let least = at_most.saturating_sub(begin.elapsed() + Duration::from_secs(2));
            assert!(
                left >= least && left < at_most && left.subsec_nanos() == 0,
                "{left:?}"
            );
        }
        assert_eq!(ask(&holder, Request::Revoke(lease)).await, Ok(Response::Revoked));
        for member in 0..3 {
            let store = store(&etcd.config_for(&[member]));
            for lease in [lease, 1] {
                assert_eq!(
                    ask(&store, Request::TimeLeft(lease)).await,
                    Ok(Response::TimeLeft(None))
                );
            }
        }
    }
}
