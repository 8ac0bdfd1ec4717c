//! Item 18, and what the simulator must stand: many requests, many nodes.

use std::time::{Duration, Instant};

use ecs_sim::{Config, Fault, FaultRule, Latency, Sim};
use tokio::task::JoinSet;

use crate::client::Session;

#[tokio::test]
async fn the_governor_refuses_or_delays_what_is_too_much() {
    let config = Config {
        latency: Latency { ms: 60, p99_ms: 0 },
        ..Config::for_tests()
    };
    let sim = Sim::start(config).await.unwrap();
    let session = Session::open(&sim).await;
    sim.faults().set(
        FaultRule::everywhere(Fault::Governor {
            max: 4,
            delay_ms: None,
        })
        .on_vdc(0),
    );
    let mut asking = JoinSet::new();
    for _ in 0..12 {
        let session = session.clone();
        asking.spawn(async move { session.status("/user/whoami").await });
    }
    let statuses = asking.join_all().await;
    assert!(statuses.contains(&503) && statuses.contains(&200), "{statuses:?}");
    assert!(sim.max_in_flight(0) > 4);
    assert_eq!(sim.max_in_flight(1), 0);
    sim.reset_max_in_flight();
    assert_eq!(sim.max_in_flight(0), 0);
    let requests = sim.requests();
    assert!(requests.is_sorted_by_key(|request| request.number));
    assert!(
        requests
            .iter()
            .filter(|request| request.status == 200)
            .all(|request| request.took_ms >= 60)
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn many_nodes_start_at_once() {
    let begun = Instant::now();
    let sim = Sim::start(Config {
        vdcs: 4,
        nodes_per_vdc: 200,
        ..Config::for_tests()
    })
    .await
    .unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let host = sim.vdc(3).node(199).mgmt_host();
    assert!(host.starts_with("127.13.0.200:"));
    let session = Session::at(&sim, &host, "monitor").await;
    assert_eq!(
        session.json("/vdc/nodes").await["node"].as_array().unwrap().len(),
        200
    );
    let begun = Instant::now();
    sim.shutdown().await;
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_requests_are_answered_in_a_second() {
    let config = Config {
        vdcs: 1,
        nodes_per_vdc: 16,
        latency: Latency { ms: 50, p99_ms: 50 },
        ..Config::for_tests()
    };
    let sim = Sim::start(config).await.unwrap();
    let session = Session::open(&sim).await;
    let mut asking = JoinSet::new();
    let begun = Instant::now();
    for node in sim.vdc(0).nodes() {
        let path = format!("/dashboard/nodes/{}/disks?dataType=current", node.id());
        for _ in 0..16 {
            let mut session = session.clone();
            session.host = node.mgmt_host();
            let path = path.clone();
            asking.spawn(async move {
                for _ in 0..8 {
                    assert_eq!(
                        session.get(&path).await.bytes().await.unwrap().first(),
                        Some(&b'{')
                    );
                }
            });
        }
    }
    asking.join_all().await;
    let rate = 2048.0 / begun.elapsed().as_secs_f64();
    println!("{rate:.0} requests a second, client included");
    assert!(rate > 200.0, "{rate}");
    sim.shutdown().await;
}
