//! Members that die or hang: every request is answered within its budget as long as two of three are well.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ecsbeat::config;
use ecsbeat::dcs::{Dcs as _, DcsError, Request, Response};
use ecsbeat::telemetry::metrics::Metrics;

use super::watch::Watching;
use super::{BUDGET, always, ask, get, grant, put, store, txn, with_metrics, write};
use crate::support::etcd::Etcd;
use crate::support::eventually;
use crate::support::swallower::Swallower;

/// More than the machine takes to notice that a time is over.
const SLACK: Duration = Duration::from_millis(700);

/// Requests of every kind, one after the other, for `time`: none fails, none takes longer than its budget.
pub(super) async fn none_fails(etcd: &config::Etcd, time: Duration, what: &str) {
    let store = store(etcd);
    let lease = grant(&store, 60).await;
    let begin = Instant::now();
    let mut number = 0;
    while begin.elapsed() < time {
        number += 1;
        let request = match number % 3 {
            0 => Request::Renew(lease),
            1 => always(vec![put("members/a", "x", lease), get("leader")]),
            _ => Request::Grant {
                ttl: Duration::from_secs(60),
            },
        };
        let asked = Instant::now();
        let answer = store.ask(request.clone(), BUDGET).await;
        assert!(
            answer.result.is_ok(),
            "{what}, request {number}: {request:?}: {answer:?}"
        );
        assert!(asked.elapsed() <= BUDGET + SLACK, "{what}: {:?}", asked.elapsed());
    }
    assert!(number > 10, "{what}: only {number} requests");
}

#[tokio::test]
async fn no_request_fails_while_one_of_three_is_dead() {
    let mut etcd = Etcd::start(3).await;
    for index in 0..3 {
        etcd.kill(index);
        none_fails(
            &etcd.config(),
            Duration::from_secs(2),
            &format!("member {index} is dead"),
        )
        .await;
        etcd.restart(index).await;
    }
}

#[tokio::test]
async fn no_request_fails_while_one_of_three_is_frozen() {
    let mut etcd = Etcd::start(3).await;
    for index in 0..3 {
        etcd.freeze(index);
        none_fails(
            &etcd.config(),
            Duration::from_secs(3),
            &format!("member {index} is frozen"),
        )
        .await;
        etcd.thaw(index);
    }
}

/// The connection is there and in use when the member goes.
#[tokio::test]
async fn requests_under_way_go_to_another_member() {
    for freeze in [false, true] {
        let mut etcd = Etcd::start(3).await;
        let leader = etcd.leader().await;
        let others: Vec<usize> = (0..3).filter(|&index| index != leader).collect();
        let store = store(&etcd.config_for(&[leader, others[0], others[1]]));
        let lease = grant(&store, 30).await;
        let first = store.ask(Request::Renew(lease), BUDGET).await;
        assert_eq!(*first.endpoint, *etcd.url(leader));
        if freeze {
            etcd.freeze(leader);
        } else {
            etcd.kill(leader);
        }
        let begin = Instant::now();
        let answer = store.ask(Request::Renew(lease), BUDGET).await;
        assert!(
            matches!(answer.result, Ok(Response::Renewed(Some(_)))),
            "{answer:?}"
        );
        assert!(begin.elapsed() <= BUDGET + SLACK, "{:?}", begin.elapsed());
        assert_ne!(*answer.endpoint, *etcd.url(leader));
        // Whoever answered is asked first from now on.
        let begin = Instant::now();
        let next = store.ask(always(vec![get("leader")]), BUDGET).await;
        assert_eq!(next.endpoint, answer.endpoint);
        assert!(
            next.result.is_ok() && begin.elapsed() < Duration::from_millis(900),
            "{next:?}"
        );
    }
}

/// What is granted counts from the try that was answered, not from the first one.
#[tokio::test]
async fn time_counts_from_the_try_that_was_answered() {
    let mut etcd = Etcd::start(3).await;
    etcd.freeze(0);
    etcd.leader().await;
    let store = store(&etcd.config_for(&[0, 1, 2]));
    let before = ecsbeat::clock::since_boot();
    let ttl = Duration::from_secs(10);
    let answer = store.ask(Request::Grant { ttl }, BUDGET).await;
    assert!(answer.result.is_ok(), "{answer:?}");
    assert!(
        answer.sent >= before + Duration::from_secs(1),
        "the first try took a second"
    );
    assert!(answer.sent <= ecsbeat::clock::since_boot());
}

#[tokio::test]
async fn nobody_answers_when_all_are_dead_or_frozen() {
    for freeze in [false, true] {
        let mut etcd = Etcd::start(3).await;
        let metrics = Metrics::new();
        let store = with_metrics(&etcd.config(), metrics.clone());
        write(&store, "leader", "a").await;
        for index in 0..3 {
            if freeze {
                etcd.freeze(index);
            } else {
                etcd.kill(index);
            }
        }
        for budget in [Duration::from_millis(400), Duration::from_millis(1500)] {
            let begin = Instant::now();
            let answer = store.ask(always(vec![get("leader")]), budget).await;
            let took = begin.elapsed();
            let Err(DcsError::Unanswered(said)) = answer.result else {
                panic!("{answer:?}")
            };
            let least = budget - Duration::from_millis(20);
            assert!(took >= least && took <= budget + SLACK, "{took:?} of {budget:?}");
            assert!(said.contains(&etcd.url(0)), "{said}");
            if !freeze {
                assert!(said.contains("Connection refused"), "{said}");
            }
        }
        let text = metrics.prometheus().unwrap();
        let tries: f64 = text
            .lines()
            .filter(|line| line.starts_with("ecsbeat_dcs_requests_total{") && !line.contains("result=\"ok\""))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum();
        // Rounds that fail at once are spaced.
        assert!((2.0..150.0).contains(&tries), "{tries} tries\n{text}");
        for index in 0..3 {
            if freeze {
                etcd.thaw(index);
            } else {
                etcd.kill(index);
            }
        }
    }
}

/// A member without the others answers no request that counts: a read could be stale.
#[tokio::test]
async fn a_minority_does_not_answer() {
    let mut etcd = Etcd::start(3).await;
    let store = store(&etcd.config());
    write(&store, "leader", "a").await;
    etcd.kill(1);
    etcd.kill(2);
    for request in [always(vec![get("leader")]), always(vec![put("leader", "b", 0)])] {
        let begin = Instant::now();
        let answer = store.ask(request, BUDGET).await;
        assert!(
            matches!(answer.result, Err(DcsError::Unanswered(_))),
            "{answer:?}"
        );
        assert!(begin.elapsed() <= BUDGET + SLACK, "{:?}", begin.elapsed());
    }
    etcd.restart(1).await;
    assert!(ask(&store, always(vec![get("leader")])).await.is_ok());
}

/// The answers of a cluster that comes back are the ordinary ones, over the same store.
#[tokio::test]
async fn a_cluster_that_comes_back_is_found_again() {
    let mut etcd = Etcd::start(1).await;
    let store = store(&etcd.config());
    let lease = grant(&store, 60).await;
    txn(&store, always(vec![put("leader", "a", lease)])).await;
    etcd.kill(0);
    let short = Duration::from_millis(300);
    let answer = store.ask(Request::Renew(lease), short).await;
    assert!(
        matches!(answer.result, Err(DcsError::Unanswered(_))),
        "never a lost lease: {answer:?}"
    );
    etcd.restart(0).await;
    assert_eq!(
        ask(&store, Request::Renew(lease)).await,
        Ok(Response::Renewed(Some(Duration::from_secs(60))))
    );
    etcd.freeze(0);
    let answer = store.ask(Request::Renew(lease), Duration::from_secs(2)).await;
    assert!(
        matches!(answer.result, Err(DcsError::Unanswered(_))),
        "never a lost lease: {answer:?}"
    );
    etcd.thaw(0);
    assert_eq!(
        ask(&store, Request::Renew(lease)).await,
        Ok(Response::Renewed(Some(Duration::from_secs(60))))
    );
}

#[tokio::test]
async fn every_try_is_counted() {
    let mut etcd = Etcd::start(3).await;
    etcd.kill(0);
    etcd.leader().await;
    let metrics = Metrics::new();
    let store = with_metrics(&etcd.config_for(&[0, 1, 2]), metrics.clone());
    let lease = grant(&store, 60).await;
    ask(&store, Request::Renew(lease)).await.unwrap();
    let text = metrics.prometheus().unwrap();
    for (op, result, endpoint) in [
        ("grant", "unreachable", etcd.url(0)),
        ("grant", "ok", etcd.url(1)),
        ("renew", "ok", etcd.url(1)),
    ] {
        let line = format!(
            "ecsbeat_dcs_requests_total{{op=\"{op}\",result=\"{result}\",endpoint=\"{endpoint}\"}} 1"
        );
        assert!(text.contains(&line), "{line}\n{text}");
    }
    assert!(
        text.contains("ecsbeat_dcs_request_duration_seconds_count{op=\"grant\"} 2"),
        "{text}"
    );
}

/// The try before may have been done, so a later no does not mean that nothing was.
#[tokio::test]
async fn a_no_after_an_unanswered_try_leaves_a_write_in_doubt() {
    let mut etcd = Etcd::start(3).await;
    etcd.freeze(0);
    etcd.leader().await;
    let config = etcd.config_for(&[0, 1, 2]);
    let large = || always(vec![put("checkpoint/x", &"x".repeat(1_800_000), 0)]);
    let store = store(&config);
    match ask(&store, large()).await {
        Err(DcsError::Unanswered(said)) => {
            assert!(
                said.contains("too large") && said.contains("an earlier try"),
                "{said}"
            );
        }
        other => panic!("{other:?}"),
    }
    // The member that answered is asked first now.
    let answer = ask(&store, large()).await;
    assert!(matches!(answer, Err(DcsError::Refused(_))), "{answer:?}");
    let reads = always(vec![get("leader"); 129]);
    let answer = ask(&super::store(&config), reads).await;
    assert!(
        matches!(answer, Err(DcsError::Refused(_))),
        "reads leave no doubt: {answer:?}"
    );
}

/// A firewall that forgot a connection: what goes over it is swallowed, a new one works.
#[tokio::test]
async fn a_dead_connection_is_replaced() {
    let etcd = Etcd::start(1).await;
    let proxy = Swallower::start(etcd.config().hosts[0].socket_addrs(|| None).unwrap()[0]).await;
    let mut config = etcd.config();
    config.hosts = vec![format!("http://{}", proxy.address).parse().unwrap()];
    let store = store(&config);
    let lease = grant(&store, 60).await;
    let mut watching = Watching::start(super::store(&config));
    watching.changed().await;
    proxy.swallow();
    let begin = Instant::now();
    let answer = store.ask(Request::Renew(lease), BUDGET).await;
    assert!(
        matches!(answer.result, Ok(Response::Renewed(Some(_)))),
        "{answer:?}"
    );
    assert!(
        begin.elapsed() >= Duration::from_secs(1),
        "it went over the dead connection"
    );
    watching.changed().await;
}

/// Tries that were not answered in time.
fn late(metrics: &Metrics, op: &str) -> u64 {
    let of = format!("ecsbeat_dcs_requests_total{{op=\"{op}\",result=\"timeout\"");
    let text = metrics.prometheus().unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with(&of));
    let count = |line: &str| line.rsplit_once(' ').unwrap().1.parse().unwrap();
    lines.next().map_or(0, count)
}

/// An etcd behind a proxy, and a request that is never answered: the last of its tries is cut short.
async fn out_of_reach(etcd: &Etcd) -> (Swallower, config::Etcd, Duration) {
    let proxy = Swallower::start(etcd.config().hosts[0].socket_addrs(|| None).unwrap()[0]).await;
    let mut config = etcd.config();
    config.hosts = vec![format!("http://{}", proxy.address).parse().unwrap()];
    (proxy, config, Duration::from_millis(2500))
}

#[tokio::test]
async fn after_an_outage_dead_connections_are_not_found_out_by_requests() {
    let etcd = Etcd::start(1).await;
    let (proxy, config, budget) = out_of_reach(&etcd).await;
    let metrics = Metrics::new();
    let store = with_metrics(&config, metrics.clone());
    ask(&store, always(vec![get("leader")])).await.unwrap();
    proxy.swallow_all();
    let answer = store.ask(always(vec![get("leader")]), budget).await;
    assert!(
        matches!(answer.result, Err(DcsError::Unanswered(_))),
        "{answer:?}"
    );
    let before = late(&metrics, "txn");
    assert!(before >= 3, "{before}");
    // What was connected meanwhile stays dead.
    proxy.swallow();
    ask(&store, always(vec![get("leader")])).await.unwrap();
    assert_eq!(late(&metrics, "txn"), before);
}

#[tokio::test]
async fn after_an_outage_the_watch_is_back_with_the_first_answer() {
    let etcd = Etcd::start(1).await;
    let (proxy, config, budget) = out_of_reach(&etcd).await;
    let metrics = Metrics::new();
    let store = Arc::new(with_metrics(&config, metrics.clone()));
    let mut watching = Watching::of(Arc::clone(&store));
    watching.changed().await;
    proxy.swallow_all();
    while late(&metrics, "watch") < 3 {
        let answer = store.ask(always(vec![get("leader")]), budget).await;
        assert!(
            matches!(answer.result, Err(DcsError::Unanswered(_))),
            "{answer:?}"
        );
    }
    // It has just begun a pause.
    let before = late(&metrics, "watch");
    eventually("the watch tries again", || late(&metrics, "watch") > before).await;
    proxy.swallow();
    ask(&store, always(vec![get("leader")])).await.unwrap();
    let tries = late(&metrics, "watch");
    for answered in 0.. {
        if watching.has_changed() {
            break;
        }
        assert!(answered < 8, "the watch waits for its next try");
        ask(&store, always(vec![get("leader")])).await.unwrap();
    }
    assert_eq!(late(&metrics, "watch"), tries);
}
