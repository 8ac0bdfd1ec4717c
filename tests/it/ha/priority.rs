//! Who is preferred, and who never leads.

use std::time::Duration;

use crate::support::cluster::{Cluster, throughout, until};
use crate::support::process::SOON;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_highest_priority_takes_over_and_priority_zero_never_does() {
    let cluster = Cluster::new().await;
    let (mut a, first) = cluster.leader("a").await;
    // By its name alone b would be the next.
    let mut b = cluster.standby("b").await;
    let mut c = cluster.start_with("c", &["ha.priority=5"]).await;
    c.stood_by().await;
    let z = cluster.start_with("z", &["ha.priority=0"]).await;
    until("z knows the leader", SOON, async || {
        (z.get("/leader").await.json()["leader"]["name"] == "a").then_some(())
    })
    .await;
    assert_eq!(
        z.codes().await,
        [503, 503, 200, 503, 200],
        "healthy, but no use to a load balancer"
    );
    assert_eq!(z.reasons("/standby").await, ["nofailover"]);
    a.kill().await;
    let second = c.led().await;
    assert!(second > first);
    assert_eq!(c.last_term(second).await["from"], "a", "nobody led in between");
    c.stop().await.expect(0);
    let third = b.led().await;
    assert!(third > second);
    assert_eq!(b.last_term(third).await["from"], "c");
    b.stop().await.expect(0);
    until("z knows that nobody leads", SOON, async || {
        (z.get("/cluster").await.json()["cluster_unlocked"] == true).then_some(())
    })
    .await;
    // Ten times what a takeover takes.
    throughout(Duration::from_secs(2), async || assert_eq!(z.leads().await, None)).await;
    assert!(cluster.key("leader").await.is_none());
    let told = z.lines("this instance may not lead");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["reason"], "nofailover");
}
