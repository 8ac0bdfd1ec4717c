//! What an administrator does in etcd behind the leader's back.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::cluster::{Cluster, LOOP_WAIT, Replica, successor, until};
use crate::support::process::SOON;
use crate::support::windowed::{complete, exactly_once, rows_of};

/// What a busy machine may add to the time in which something is noticed.
const SLACK: Duration = Duration::from_secs(1);

/// The leader has noticed in time; one leads afterwards, in a later term, and nothing is missing.
async fn one_leads(cluster: &Cluster, a: &Replica, b: &Replica, first: u64, from: i64) -> Value {
    let begin = Instant::now();
    let lost = until("the leader notices", SOON, async || {
        a.lines("lost leadership").pop()
    })
    .await;
    let took = begin.elapsed();
    println!("noticed after {took:?}: {}", lost["reason"]);
    assert!(took < LOOP_WAIT + SLACK, "{took:?}");
    assert_eq!(lost["term"], first);
    let (leader, second) = successor(&[a, b], first).await;
    let (leader, other) = if leader == 0 { (a, b) } else { (b, a) };
    other.stood_by().await;
    assert_eq!(leader.leads().await, Some(second));
    assert_eq!(other.leads().await, None);
    cluster.delivers(second).await;
    let last = leader.last_term(second).await;
    let history = leader.get("/history").await.json();
    let terms: Vec<u64> = (history["history"].as_array().unwrap().iter())
        .map(|term| term["term"].as_u64().unwrap())
        .collect();
    assert_eq!(terms, [first, second], "terms grow");
    let to = cluster.sim.now();
    complete(&cluster.sim, from, to, SOON, || rows_of(&cluster.bulk)).await;
    exactly_once(&cluster.sim, &rows_of(&cluster.bulk));
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_lease_is_revoked_notices_and_one_leads() {
    let cluster = Cluster::new().await;
    let (a, term) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    let from = cluster.begun().await;
    let lease = cluster.key("leader").await.unwrap().lease();
    cluster.revoke(lease).await;
    let last = one_leads(&cluster, &a, &b, term, from).await;
    // It has said so: else its successor would have waited for the time of its lease.
    assert_eq!(last["reason"], "lost", "{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_key_is_deleted_notices_and_one_leads() {
    let cluster = Cluster::new().await;
    let (a, term) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    let from = cluster.begun().await;
    cluster.delete("leader").await;
    let last = one_leads(&cluster, &a, &b, term, from).await;
    assert_eq!(last["reason"], "lost", "{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_whose_lease_is_revoked_joins_again_and_the_leader_goes_on() {
    let cluster = Cluster::new().await;
    let (a, term) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    let lease = cluster.key("members/b").await.unwrap().lease();
    cluster.revoke(lease).await;
    let again = until("it is a member again", SOON, async || {
        cluster.key("members/b").await
    })
    .await;
    assert_ne!(again.lease(), lease);
    b.stood_by().await;
    assert_eq!(a.leads().await, Some(term));
    assert!(a.lines("lost leadership").is_empty());
}
