//! A leader that stands still for longer than its lease, and does not know.

use super::windows::without_gap;
use crate::support::cluster::{Cluster, term_of, until};
use crate::support::process::SOON;
use crate::support::windowed::{complete, exactly_once, rows_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stood_still_sends_nothing_when_it_wakes_and_stands_by_again() {
    let cluster = Cluster::new().await;
    let (mut a, first) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    let from = cluster.begun().await;
    cluster.delivers(first).await;
    a.freeze();
    let second = b.led().await;
    cluster.delivers(second).await;
    a.thaw();
    until("it stands by again", SOON, async || {
        assert_eq!(a.leads().await, None, "its term is over");
        (a.get("/standby").await.status == 200).then_some(())
    })
    .await;
    assert!(a.process.runs());
    assert_eq!(a.lines("ecsbeat version").len(), 1, "it is the same process");
    let lost = a.lines("lost leadership");
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert_eq!(
        (&lost[0]["log.level"], &lost[0]["reason"], &lost[0]["term"]),
        (&"error".into(), &"lease_expired".into(), &first.into())
    );
    assert!(!a.lines("clock jump detected").is_empty());
    // Whatever it could have sent would have arrived by then.
    let to = cluster.sim.now() + 2;
    complete(&cluster.sim, from, to, SOON, || rows_of(&cluster.bulk)).await;
    exactly_once(&cluster.sim, &rows_of(&cluster.bulk));
    without_gap(&cluster);
    let terms: Vec<u64> = cluster.arrivals().iter().map(term_of).collect();
    assert!(
        terms.is_sorted(),
        "the old term sent after the new one: {terms:?}"
    );
    assert_eq!((terms.first(), terms.last()), (Some(&first), Some(&second)));
    assert_eq!(b.leads().await, Some(second), "nobody takes the term back");
}
