//! Orderly ends.

use std::time::Instant;

use rustix::process::Signal;

use super::windows::each_once;
use crate::support::cluster::{Cluster, TTL, term_of, until};
use crate::support::process::SOON;
use crate::support::windowed::{complete, exactly_once, rows_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_leader_hands_over_at_once_without_a_gap_or_a_double() {
    let cluster = Cluster::new().await;
    let (mut a, first) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    let from = cluster.begun().await;
    let begin = Instant::now();
    a.process.signal(Signal::TERM);
    let second = b.led().await;
    let took = begin.elapsed();
    println!("handed over in {took:?}");
    assert!(took < TTL / 2, "it waited for the lease: {took:?}");
    a.process.ended(SOON).await.expect(0);
    cluster.delivers(second).await;
    let last = b.last_term(second).await;
    assert_eq!(
        [&last["from"], &last["to"], &last["reason"]],
        ["a", "b", "graceful"],
        "{last}"
    );
    assert!(second > first, "{last}");
    let to = cluster.sim.now();
    complete(&cluster.sim, from, to, SOON, || rows_of(&cluster.bulk)).await;
    exactly_once(&cluster.sim, &rows_of(&cluster.bulk));
    assert_eq!(cluster.bulk.repeated(), [], "nothing was sent twice");
    each_once(&cluster);
    let terms: Vec<u64> = cluster.arrivals().iter().map(term_of).collect();
    assert!(terms.is_sorted() && terms.contains(&first), "{terms:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_standby_is_gone_at_once_and_the_leader_does_not_notice() {
    let cluster = Cluster::new().await;
    let (a, term) = cluster.leader("a").await;
    let mut b = cluster.standby("b").await;
    let told = || a.lines("\"log.logger\":\"election");
    let before = told();
    b.stop().await.expect(0);
    assert!(
        cluster.key("members/b").await.is_none(),
        "its lease was given back"
    );
    until("the leader sees one member", SOON, async || {
        assert_eq!(a.leads().await, Some(term));
        let members = a.get("/cluster").await.json();
        (members["members"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
    assert_eq!(told(), before, "there is nothing to tell");
    assert_eq!(cluster.keys("history/").await.len(), 1);
}
