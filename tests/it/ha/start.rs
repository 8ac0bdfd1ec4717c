//! Before there is a leader: etcd that is not there yet.

use crate::support::cluster::{Cluster, Replica, until};
use crate::support::process::SOON;

/// Tries of requests to etcd so far.
async fn tries(replica: &Replica) -> f64 {
    let metrics = replica.get("/metrics").await.body;
    let tries = metrics
        .lines()
        .filter(|line| line.starts_with("ecsbeat_dcs_requests_total{op=\"grant\""));
    tries
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

/// It waits, says so, and does nothing else, for so many tries; then etcd comes, and it works.
async fn waits_for_etcd(cluster: &Cluster, replica: &Replica, least: f64) {
    until("it tries again and again", SOON, async || {
        assert_eq!(replica.codes().await, [503, 503, 503, 503, 200]);
        (tries(replica).await >= least).then_some(())
    })
    .await;
    assert_eq!(replica.state().await, "starting");
    assert_eq!(replica.reasons("/health").await, ["starting", "dcs_unreachable"]);
    assert!(
        cluster.sim.requests().is_empty() && cluster.bulk.is_empty(),
        "nothing is polled without a lease"
    );
    let told = replica.lines("etcd request failed, retrying");
    assert_eq!(told.len(), 1, "it is told once: {told:?}");
    let error = told[0]["error.message"].as_str().unwrap();
    assert!(error.contains(&cluster.etcd.url(0)), "which host: {error}");
}

async fn works_at_last(cluster: &Cluster, replica: &Replica) {
    let term = replica.led().await;
    assert_eq!(replica.codes().await, [200, 503, 200, 200, 200]);
    cluster.delivers(term).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_etcd_at_the_start_nobody_leads_and_it_is_told_once() {
    let mut cluster = Cluster::new().await;
    cluster.etcd.kill(0);
    let replica = cluster.start("a").await;
    waits_for_etcd(&cluster, &replica, 30.0).await;
    cluster.etcd.restart(0).await;
    works_at_last(&cluster, &replica).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_an_etcd_that_hangs_at_the_start_nobody_leads_and_it_is_told_once() {
    let mut cluster = Cluster::new().await;
    cluster.etcd.freeze(0);
    let replica = cluster.start("a").await;
    waits_for_etcd(&cluster, &replica, 4.0).await;
    cluster.etcd.thaw(0);
    works_at_last(&cluster, &replica).await;
}
