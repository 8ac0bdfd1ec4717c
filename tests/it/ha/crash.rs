//! Processes that die, hosts that are gone.

use std::fs;
use std::time::Instant;

use serde_json::Value;

use super::windows::without_gap;
use crate::support::cluster::{Cluster, Replica, SURELY_ALIVE, SURELY_OVER, successor, until};
use crate::support::process::SOON;
use crate::support::windowed::{complete, exactly_once, rows_of};

/// The lease is on disk. That is written beside the election, which does not wait for it.
async fn remembered(cluster: &Cluster, leader: &Replica) {
    let lease = cluster.key("leader").await.unwrap().lease();
    until("the lease is on disk", SOON, async || {
        let text = fs::read(leader.data.join("lease.json")).ok()?;
        let file: Value = serde_json::from_slice(&text).ok()?;
        (file["lease"] == lease).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_started_again_after_a_crash_frees_its_lease_for_whoever_is_ready() {
    let cluster = Cluster::new().await;
    let (mut a, first) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    let from = cluster.begun().await;
    remembered(&cluster, &a).await;
    let begin = Instant::now();
    a.kill().await;
    let a = cluster.again(&a).await;
    let (leader, second) = successor(&[&a, &b], first).await;
    let took = begin.elapsed();
    println!("somebody leads after {took:?}");
    assert!(took < SURELY_ALIVE, "it waited for the lease: {took:?}");
    let (leader, other) = if leader == 0 { (&a, &b) } else { (&b, &a) };
    other.stood_by().await;
    cluster.delivers(second).await;
    assert_eq!(leader.last_term(second).await["reason"], "expired");
    let to = cluster.sim.now();
    complete(&cluster.sim, from, to, SOON, || rows_of(&cluster.bulk)).await;
    exactly_once(&cluster.sim, &rows_of(&cluster.bulk));
    without_gap(&cluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_host_is_gone_is_replaced_when_its_lease_ends() {
    let cluster = Cluster::new().await;
    let (mut a, first) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    let from = cluster.begun().await;
    let begin = Instant::now();
    a.kill().await;
    // A host of the same name, which knows nothing of the lease, and must not take a name that may be in use.
    let a = cluster.start("a").await;
    let (leader, second) = successor(&[&a, &b], first).await;
    let took = begin.elapsed();
    println!("somebody leads after {took:?}");
    assert!(took > SURELY_ALIVE && took < SURELY_OVER, "{took:?}");
    let (leader, other) = if leader == 0 { (&a, &b) } else { (&b, &a) };
    other.stood_by().await;
    assert_eq!(a.lines("ha.instance is held by another process").len(), 1);
    let last = leader.last_term(second).await;
    assert_eq!((&last["reason"], &last["from"]), (&"expired".into(), &"a".into()));
    cluster.delivers(second).await;
    let to = cluster.sim.now();
    complete(&cluster.sim, from, to, SOON, || rows_of(&cluster.bulk)).await;
    exactly_once(&cluster.sim, &rows_of(&cluster.bulk));
    without_gap(&cluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_alone_leads_at_once_when_it_is_started_again_after_a_crash() {
    let cluster = Cluster::new().await;
    let (mut a, first) = cluster.leader("a").await;
    remembered(&cluster, &a).await;
    let begin = Instant::now();
    a.kill().await;
    let a = cluster.again(&a).await;
    let second = a.led().await;
    let took = begin.elapsed();
    println!("it leads again after {took:?}");
    assert!(took < SURELY_ALIVE, "it waited for the lease: {took:?}");
    assert!(second > first);
    cluster.delivers(second).await;
}

/// A process that is stopped holds its directory, so nobody can take it for dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_leader_keeps_its_directory_and_its_lease() {
    let cluster = Cluster::new().await;
    // Longer than anything here takes.
    let a = cluster
        .start_with("a", &["ha.ttl=30s", "ha.safety_margin=3s"])
        .await;
    let term = a.led().await;
    let held = cluster.key("leader").await.unwrap();
    a.freeze();
    let mut second = cluster.spawn("a", &a.data, &[]);
    let ended = second.ended(SOON).await;
    ended.expect(1);
    assert!(
        ended
            .stderr
            .contains("Exiting: data path already locked by another beat"),
        "{}",
        ended.stderr
    );
    let now = cluster.key("leader").await.expect("the lease was revoked");
    assert_eq!(
        (now.create_revision(), now.lease()),
        (held.create_revision(), held.lease())
    );
    a.thaw();
    until("it goes on in its term", SOON, async || {
        (a.leads().await == Some(term)).then_some(())
    })
    .await;
    assert!(a.lines("lost leadership").is_empty());
    let before = cluster.bulk.len();
    until("it delivers", SOON, async || {
        (cluster.bulk.len() > before).then_some(())
    })
    .await;
}
