//! Reads and writes under conditions.

use std::sync::Arc;
use std::time::Duration;

use ecsbeat::dcs::{Compare, Dcs as _, DcsError, KeyValue, Operation, Request, Response, Txn};
use tokio::task::JoinSet;

use super::{BUDGET, absent, always, ask, delete, get, grant, put, read, store, txn, write};
use crate::support::etcd::{Builder, Etcd, every};

fn names(found: &[KeyValue]) -> Vec<&str> {
    found.iter().map(|kv| kv.key.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_twenty_wins_the_leader_key() {
    for binary in every() {
        let etcd = Builder::new(1).binary(&binary).start().await;
        let mut racers = JoinSet::new();
        for number in 0..20 {
            let store = Arc::new(store(&etcd.config()));
            racers.spawn(async move {
                let lease = grant(&store, 10).await;
                let me = format!("instance {number}");
                let race = Request::Txn(Txn {
                    when: vec![absent("leader")],
                    then: vec![put("leader", &me, lease)],
                    or_else: vec![get("leader")],
                });
                let (won, revision, results) = txn(&store, race).await;
                (won, me, revision, results)
            });
        }
        let races = racers.join_all().await;
        let won: Vec<_> = races.iter().filter(|race| race.0).collect();
        let [(_, winner, term, _)] = won[..] else {
            panic!("{won:?}")
        };
        for (_, _, revision, results) in races.iter().filter(|race| !race.0) {
            let [found] = &results[0][..] else {
                panic!("{results:?}")
            };
            assert_eq!(found.value, winner.as_bytes());
            assert_eq!(found.create_revision, *term);
            assert_ne!(found.lease, 0);
            assert!(revision >= term);
        }
    }
}

#[tokio::test]
async fn each_condition_holds_or_does_not() {
    for binary in every() {
        let etcd = Builder::new(1).binary(&binary).start().await;
        let store = store(&etcd.config());
        let lease = grant(&store, 60).await;
        let (_, created, _) = txn(&store, always(vec![put("leader", "a", lease)])).await;
        let (_, written, _) = txn(&store, always(vec![put("leader", "b", lease)])).await;
        assert!(written > created);
        let key = || "leader".to_owned();
        let none = || "switchover".to_owned();
        for (when, holds) in [
            (Compare::CreateRevision(key(), created), true),
            (Compare::CreateRevision(key(), written), false),
            (Compare::CreateRevision(key(), 0), false),
            (Compare::CreateRevision(none(), 0), true),
            (Compare::ModRevision(key(), written), true),
            (Compare::ModRevision(key(), created), false),
            (Compare::ModRevision(none(), 0), true),
            (Compare::Lease(key(), lease), true),
            (Compare::Lease(key(), 0), false),
            (Compare::Lease(none(), 0), true),
            (Compare::Lease(none(), lease), false),
        ] {
            let asked = Txn {
                when: vec![when.clone()],
                then: vec![get("leader")],
                or_else: Vec::new(),
            };
            let (succeeded, _, results) = txn(&store, Request::Txn(asked)).await;
            assert_eq!(
                (succeeded, results.len()),
                (holds, usize::from(holds)),
                "{when:?}"
            );
        }
    }
}

#[tokio::test]
async fn one_branch_is_done_whole_and_each_step_has_its_result() {
    let etcd = Etcd::start(1).await;
    let store = store(&etcd.config());
    write(&store, "leader", "a").await;
    let fenced = |term| {
        Request::Txn(Txn {
            when: vec![Compare::CreateRevision("leader".to_owned(), term)],
            then: vec![put("checkpoint/x", "1", 0), get("leader"), delete("switchover")],
            or_else: vec![
                get("leader"),
                get("checkpoint/x"),
                Operation::List("members/".to_owned()),
            ],
        })
    };
    let (succeeded, _, results) = txn(&store, fenced(1)).await;
    assert!(!succeeded);
    assert_eq!(results.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 0]);
    let leader = results[0][0].clone();
    assert_eq!(
        (leader.key.as_str(), leader.value.as_slice(), leader.lease),
        ("leader", &b"a"[..], 0)
    );
    assert_eq!(read(&store, "checkpoint/x").await, [""; 0]);
    let (succeeded, revision, results) = txn(&store, fenced(leader.create_revision)).await;
    assert!(succeeded);
    assert_eq!(results, [vec![], vec![leader], vec![]]);
    let (_, _, found) = txn(&store, always(vec![get("checkpoint/x")])).await;
    assert_eq!(found[0][0].mod_revision, revision, "that of the write");
}

#[tokio::test]
async fn keys_are_listed_in_order_and_those_of_others_are_not() {
    for binary in every() {
        let etcd = Builder::new(1).binary(&binary).start().await;
        let store = store(&etcd.config());
        for key in ["history/09", "history/10", "history/02", "history0", "members/a"] {
            write(&store, key, "x").await;
        }
        let mut stranger = etcd.administrator(None).await;
        stranger
            .put("/ecsbeat/prod2/history/11", "x", None)
            .await
            .unwrap();
        stranger
            .put("/ecsbeat/other/history/12", "x", None)
            .await
            .unwrap();
        let reads = ["history/", "", "nothing/"].map(|prefix| Operation::List(prefix.to_owned()));
        let (_, _, found) = txn(&store, always(reads.to_vec())).await;
        assert_eq!(names(&found[0]), ["history/02", "history/09", "history/10"]);
        assert_eq!(found[1].len(), 5);
        assert_eq!(found[2], []);
        let reads = ["history/", "nothing/"].map(|prefix| Operation::Last(prefix.to_owned()));
        let (_, _, found) = txn(&store, always(reads.to_vec())).await;
        assert_eq!(names(&found[0]), ["history/10"]);
        assert_eq!(found[1], []);
        let whole = stranger.get("/ecsbeat/prod/history/02", None).await.unwrap();
        assert_eq!(whole.kvs().len(), 1, "keys lie below prefix and cluster");
    }
}

#[tokio::test]
async fn what_etcd_will_not_take_is_refused_at_once() {
    let etcd = Etcd::start(1).await;
    let store = store(&etcd.config());
    // Between etcd's limit and that of its gRPC server, and above both.
    let (large, larger) = ("x".repeat(1_800_000), "x".repeat(3_000_000));
    for (then, words) in [
        (vec![put("checkpoint/x", &large, 0)], "--max-request-bytes"),
        (vec![put("checkpoint/x", &larger, 0)], "--max-request-bytes"),
        (
            vec![put("leader", "a", 0), put("leader", "b", 0)],
            "duplicate key",
        ),
        (vec![get("leader"); 129], "too many operations"),
    ] {
        let answer = store.ask(always(then), Duration::from_secs(30)).await;
        match answer.result {
            Err(DcsError::Refused(said)) => {
                assert!(said.contains(words) && said.starts_with(&etcd.url(0)), "{said}");
            }
            other => panic!("{other:?}"),
        }
    }
    let ttl = Duration::from_secs(u64::MAX);
    let answer = ask(&store, Request::Grant { ttl }).await;
    assert!(matches!(answer, Err(DcsError::Refused(_))), "{answer:?}");
}

#[tokio::test]
async fn a_full_database_is_refused_with_what_to_do() {
    let etcd = Builder::new(1)
        .argument("--quota-backend-bytes=1048576")
        .start()
        .await;
    let store = store(&etcd.config());
    let block = "x".repeat(200_000);
    for number in 0..100 {
        match ask(
            &store,
            always(vec![put(&format!("checkpoint/{number}"), &block, 0)]),
        )
        .await
        {
            Ok(_) => {}
            Err(DcsError::Refused(said)) => {
                assert!(
                    said.contains("database space exceeded") && said.contains("alarm disarm"),
                    "{said}"
                );
                // Reading goes on.
                assert_eq!(read(&store, "leader").await, [""; 0]);
                return;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("twenty megabytes went into one");
}

/// Larger than what gRPC reads unless told to.
#[tokio::test]
async fn long_lists_are_read_whole() {
    let etcd = Etcd::start(1).await;
    let store = store(&etcd.config());
    let block = "x".repeat(1_000_000);
    for number in 0..8 {
        write(&store, &format!("checkpoint/{number}"), &block).await;
    }
    let list = always(vec![Operation::List("checkpoint/".to_owned())]);
    let answer = store.ask(list, BUDGET).await;
    let Ok(Response::Txn { results, .. }) = answer.result else {
        panic!("{answer:?}")
    };
    assert_eq!(
        results[0].iter().map(|kv| kv.value.len()).sum::<usize>(),
        8_000_000
    );
}
