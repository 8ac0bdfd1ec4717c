//! What is told while everything hangs, to many at once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ecs_sim::bulk::{BulkFault, BulkRule};
use ecs_sim::{Fault, FaultRule};
use tokio::task::JoinSet;

use crate::support::cluster::{Cluster, Replica, successor, until};
use crate::support::process::{SOON, get};

/// Every path that is asked for with GET.
const PATHS: [&str; 14] = [
    "/health",
    "/leader",
    "/primary",
    "/standby",
    "/replica",
    "/liveness",
    "/readiness",
    "/cluster",
    "/history",
    "/commands",
    "/metrics",
    "/",
    "/stats",
    "/state",
];

/// Asks for every path in turn until it is dropped.
async fn hammer(address: SocketAddr) {
    loop {
        for path in PATHS {
            get(address, path).await;
        }
    }
}

/// Every path answers with the code of its rule (`codes`, as [`Replica::codes`]) or with 200.
async fn answers(replica: &Replica, codes: [u16; 5]) {
    let [leader, standby, health, readiness, liveness] = codes;
    let mut slowest = Duration::ZERO;
    for path in PATHS {
        let begin = Instant::now();
        let reply = replica.get(path).await;
        slowest = slowest.max(begin.elapsed());
        let code = match path {
            "/leader" | "/primary" => leader,
            "/standby" | "/replica" => standby,
            "/health" => health,
            "/readiness" => readiness,
            "/liveness" => liveness,
            _ => 200,
        };
        assert_eq!(reply.status, code, "{path} of {}: {}", replica.name, reply.body);
    }
    println!("{}: slowest answer {slowest:?}", replica.name);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_answers_while_etcd_ecs_and_the_output_hang() {
    let mut cluster = Cluster::new().await;
    let (a, term) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    let mut load = JoinSet::new();
    for replica in [&a, &b] {
        load.spawn(hammer(replica.http));
    }
    answers(&a, [200, 503, 200, 200, 200]).await;
    answers(&b, [503, 200, 200, 200, 200]).await;
    // The output first, so that something is on its way.
    cluster.bulk.set(BulkRule::always(BulkFault::Hang).on_all());
    until("a bulk hangs", SOON, async || {
        (cluster.bulk.requests().last()?.status == 0).then_some(())
    })
    .await;
    let hang = cluster.sim.faults().set(FaultRule::everywhere(Fault::Hang));
    until("ECS hangs", SOON, async || {
        (cluster.sim.in_flight(0) > 0 && cluster.sim.in_flight(1) > 0).then_some(())
    })
    .await;
    answers(&a, [200, 503, 200, 200, 200]).await;
    answers(&b, [503, 200, 200, 200, 200]).await;
    cluster.etcd.freeze(0);
    until("the leader gives up", SOON, async || {
        (a.reasons("/leader").await == ["lost", "dcs_unreachable"]).then_some(())
    })
    .await;
    until("the standby misses etcd", SOON, async || {
        (b.get("/standby").await.status == 503).then_some(())
    })
    .await;
    answers(&a, [503, 503, 503, 503, 200]).await;
    answers(&b, [503, 503, 503, 503, 200]).await;
    assert_eq!(b.reasons("/leader").await, ["not_leader", "dcs_unreachable"]);
    assert_eq!(b.reasons("/health").await, ["dcs_unreachable"]);
    let view = b.get("/cluster").await.json();
    assert!(
        view["stale_ms"].as_u64().unwrap() > 1000,
        "its age is told: {view}"
    );
    assert_eq!(
        view["members"].as_array().unwrap().len(),
        2,
        "an old view is better than none"
    );
    cluster.etcd.thaw(0);
    cluster.sim.faults().remove(hang);
    cluster.bulk.clear_faults();
    let (_, term) = successor(&[&a, &b], term).await;
    load.shutdown().await;
    cluster.delivers(term).await;
}
