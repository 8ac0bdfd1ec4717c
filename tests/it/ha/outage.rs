//! etcd that is away for a while: nobody works without it, and everything comes later.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::windows::without_gap;
use crate::support::cluster::{Cluster, Replica, TTL, successor, throughout, until};
use crate::support::process::SOON;
use crate::support::windowed::{complete, exactly_once, rows_of};

/// The leader stops by itself, before its lease can have ended.
async fn leader_stops(cluster: &Cluster, leader: &Replica) {
    let (begin, at) = (Instant::now(), Timestamp::now());
    until("the leader's tenure is over", SOON, async || {
        leader.leads().await.is_none().then_some(())
    })
    .await;
    let took = begin.elapsed();
    println!("it stopped after {took:?}");
    assert!(took < TTL, "{took:?}");
    until("it says so", SOON, async || {
        (leader.state().await == "lost").then_some(())
    })
    .await;
    assert_eq!(leader.codes().await, [503, 503, 503, 503, 200]);
    let asked = async || {
        let hanging = cluster.sim.in_flight(0) + cluster.sim.in_flight(1);
        (hanging == 0).then(|| cluster.sim.requests().len())
    };
    // What it had asked before may still be answered.
    let asked = until("no request is under way", SOON, asked).await;
    let arrivals = cluster.arrivals();
    let last = arrivals.last().unwrap().arrived_ms;
    let limit = (at + TTL).as_millisecond().cast_unsigned();
    assert!(last < limit, "it published {} ms too late", last - limit);
    let arrived = arrivals.len();
    throughout(Duration::from_secs(2), async || {
        assert_eq!(leader.leads().await, None);
        assert_eq!(cluster.arrivals().len(), arrived, "it publishes without a lease");
        assert_eq!(cluster.sim.requests().len(), asked, "it polls without a lease");
    })
    .await;
    let lost = leader.lines("lost leadership");
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert_eq!(lost[0]["reason"], "lease_expired");
    assert!(lost[0]["since_last_ack_ms"].as_u64().unwrap() >= 4000, "{lost:?}");
    let failing = leader.lines("lease renewal failed, retrying");
    assert!((1..=5).contains(&failing.len()), "once a second: {failing:?}");
    assert!(failing[0]["remaining_ms"].as_u64().unwrap() < 5000, "{failing:?}");
}

async fn works_again(cluster: &Cluster, replicas: &[&Replica], term: u64, from: i64) {
    let (leader, term) = successor(replicas, term).await;
    println!("{} leads again", replicas[leader].name);
    cluster.delivers(term).await;
    for (number, replica) in replicas.iter().enumerate() {
        if number != leader {
            replica.stood_by().await;
        }
    }
    let to = cluster.sim.now();
    complete(&cluster.sim, from, to, SOON, || rows_of(&cluster.bulk)).await;
    exactly_once(&cluster.sim, &rows_of(&cluster.bulk));
    without_gap(cluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_etcd_hangs_nobody_works_and_afterwards_one_leads_without_help() {
    let mut cluster = Cluster::new().await;
    let (a, term) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    let from = cluster.begun().await;
    cluster.etcd.freeze(0);
    leader_stops(&cluster, &a).await;
    assert_eq!(b.leads().await, None);
    cluster.etcd.thaw(0);
    works_again(&cluster, &[&a, &b], term, from).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_etcd_is_gone_nobody_works_and_afterwards_one_leads_without_help() {
    let mut cluster = Cluster::new().await;
    let (a, term) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    let from = cluster.begun().await;
    cluster.etcd.kill(0);
    leader_stops(&cluster, &a).await;
    assert_eq!(b.codes().await, [503, 503, 503, 503, 200]);
    cluster.etcd.restart(0).await;
    works_again(&cluster, &[&a, &b], term, from).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_etcd_that_is_shorter_than_the_lease_changes_nothing() {
    let mut cluster = Cluster::new().await;
    let (a, term) = cluster.leader("a").await;
    let _b = cluster.standby("b").await;
    cluster.etcd.kill(0);
    a_renewal_fails(&a).await;
    cluster.etcd.restart(0).await;
    until("renewals work again", SOON, async || {
        assert_eq!(a.leads().await, Some(term));
        (a.lines("lease renewal works again").len() == 1).then_some(())
    })
    .await;
    cluster.begun().await;
    assert_eq!(a.leads().await, Some(term));
    assert!(a.lines("lost leadership").is_empty());
}

async fn a_renewal_fails(leader: &Replica) {
    until("a renewal fails", SOON, async || {
        (!leader.lines("lease renewal failed, retrying").is_empty()).then_some(())
    })
    .await;
}
