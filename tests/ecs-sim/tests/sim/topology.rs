//! Items 10 and 11: nodes and VDCs come and go, releases differ.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ecs_sim::{Change, Config, Profile, Sim};
use tokio::net::TcpStream;

use crate::client::{PASSWORD, Session, http, login, parse};
use crate::tls::eventually;

async fn start(profile: Profile) -> Sim {
    Sim::start(Config {
        profile,
        nodes_per_vdc: 3,
        ..Config::for_tests()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_node_goes_down_and_the_others_tell() {
    let sim = start(Profile::V4_3).await;
    let session = Session::open(&sim).await;
    let down = sim.vdc(0).node(1);
    let host = down.mgmt_host();
    down.down().unwrap();
    eventually(|| async { TcpStream::connect(&host).await.is_err() }).await;
    let nodes = session.json("/dashboard/zones/localzone/nodes").await;
    assert_eq!(
        nodes["_embedded"]["_instances"][1]["healthStatus"],
        "NotAccessible"
    );
    assert_eq!(
        session.json("/dashboard/zones/localzone").await["numGoodNodes"],
        "2"
    );
    assert_eq!(
        session.json("/vdc/nodes").await["node"].as_array().unwrap().len(),
        3
    );
    down.up().unwrap();
    down.maintenance().unwrap();
    eventually(|| async { TcpStream::connect(&host).await.is_ok() }).await;
    assert_eq!(
        session.json("/dashboard/zones/localzone").await["numMaintenanceNodes"],
        "1"
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn a_vdc_goes_down_with_its_open_connections() {
    let sim = start(Profile::V4_3).await;
    let session = Session::open(&sim).await;
    sim.vdc(0).down().unwrap();
    eventually(|| async { session.try_get("/vdc/nodes").await.is_err() }).await;
    let other = sim.vdc(1).node(0).mgmt_host();
    assert_eq!(
        login(&http(&sim), &other, "monitor", PASSWORD).await.status(),
        200
    );
    sim.vdc(0).up().unwrap();
    eventually(|| async { session.try_get("/vdc/nodes").await.is_ok() }).await;
    sim.shutdown().await;
}

#[tokio::test]
async fn a_replaced_node_has_a_new_id_and_address() {
    let sim = start(Profile::V4_3).await;
    let session = Session::open(&sim).await;
    let node = sim.vdc(0).node(2);
    let (id, host) = (node.id(), node.mgmt_host());
    assert_eq!(session.status(&format!("/dashboard/nodes/{id}/disks")).await, 200);
    node.replace().unwrap();
    assert_ne!((node.id(), node.mgmt_host()), (id.clone(), host.clone()));
    assert_eq!(session.status(&format!("/dashboard/nodes/{id}/disks")).await, 404);
    eventually(|| async { TcpStream::connect(&host).await.is_err() }).await;
    let mut moved = session.clone();
    moved.host = node.mgmt_host();
    assert_eq!(moved.status("/vdc/nodes").await, 200);
    let added = sim.vdc(0).add_node().unwrap();
    moved.host = added.mgmt_host();
    assert_eq!(
        moved.json("/vdc/nodes").await["node"].as_array().unwrap().len(),
        4
    );
    added.remove().unwrap();
    assert_eq!(
        session.json("/vdc/nodes").await["node"].as_array().unwrap().len(),
        3
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn a_slow_node_is_slow() {
    let sim = start(Profile::V4_3).await;
    let session = Session::open(&sim).await;
    sim.vdc(0).node(0).slow(Duration::from_millis(120)).unwrap();
    let begun = Instant::now();
    session.get("/vdc/nodes").await;
    assert!(begun.elapsed() >= Duration::from_millis(120));
    sim.shutdown().await;
}

#[tokio::test]
async fn the_load_balancer_leads_to_all_nodes() {
    let sim = start(Profile::V4_3).await;
    let front = sim.vdc(0).front_host().unwrap();
    for _ in 0..6 {
        assert_eq!(
            login(&http(&sim), &front, "monitor", PASSWORD).await.status(),
            200
        );
    }
    let nodes: std::collections::BTreeSet<_> = sim.requests().iter().map(|request| request.node).collect();
    assert_eq!(nodes.len(), 3);
    sim.shutdown().await;
}

#[tokio::test]
async fn networks_can_be_separate() {
    let config = Config {
        separate_networks: true,
        profile: Profile::V3_8_0,
        ..Config::for_tests()
    };
    let sim = Sim::start(config).await.unwrap();
    let session = Session::open(&sim).await;
    let node = session.json("/vdc/nodes").await["node"][0].clone();
    assert_eq!(
        (&node["mgmt_ip"], &node["data_ip"]),
        (&"127.10.0.1".into(), &"127.10.100.1".into())
    );
    let handle = sim.vdc(0).node(0);
    let ping = handle.ping_host().unwrap();
    assert!(ping.starts_with("127.10.100.1:"));
    assert_eq!(
        session
            .http
            .get(format!("https://{ping}/?ping"))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    let diag = handle.diag_host().unwrap();
    eventually(|| async { TcpStream::connect(&diag).await.is_err() }).await;
    handle.upgrade(Profile::V3_6).unwrap();
    eventually(|| async { TcpStream::connect(&diag).await.is_ok() }).await;
    sim.shutdown().await;
}

#[tokio::test]
async fn nodes_live_on_ipv6_too() {
    let sim = Sim::start(Config {
        ipv6: true,
        vdcs: 1,
        ..Config::for_tests()
    })
    .await
    .unwrap();
    let host = sim.vdc(0).node(1).mgmt_host();
    assert!(host.starts_with("[::1]:"));
    assert_ne!(host, sim.vdc(0).node(0).mgmt_host());
    assert_eq!(login(&http(&sim), &host, "monitor", PASSWORD).await.status(), 200);
    sim.shutdown().await;
}

#[tokio::test]
async fn nodes_that_share_an_address_have_ports_in_a_row() {
    // An address that nobody else uses: all ports are free.
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = IpAddr::from([127, 222, high, low.max(1)]);
    let sim = Sim::start(Config {
        vdcs: 2,
        nodes_per_vdc: 2,
        mgmt_port: 14_443,
        diag_port: Some(19_101),
        ping_port: Some(19_021),
        address: Some(address),
        name: Some("ecs.example.net".to_owned()),
        ..Config::for_tests()
    })
    .await
    .unwrap();
    let hosts = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(vdc, node)| sim.vdc(vdc).node(node).mgmt_host());
    assert_eq!(
        hosts,
        [14_443, 14_444, 14_445, 14_446].map(|port: u16| format!("{address}:{port}"))
    );
    assert_eq!(
        sim.vdc(1).front_host().unwrap(),
        format!("{address}:14448"),
        "load balancers come last"
    );
    for host in &hosts {
        assert_eq!(login(&http(&sim), host, "monitor", PASSWORD).await.status(), 200);
    }
    // By the name, too, which the certificate is good for.
    let known = reqwest::Certificate::from_pem(sim.ca_pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([known])
        .resolve("ecs.example.net", (address, 14_445).into())
        .no_proxy()
        .build()
        .unwrap();
    let named = login(&client, "ecs.example.net:14445", "monitor", PASSWORD).await;
    assert_eq!(named.status(), 200);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_rolling_upgrade_mixes_versions() {
    let sim = start(Profile::V3_6).await;
    let session = Session::open(&sim).await;
    sim.vdc(0).node(1).upgrade(Profile::V4_3).unwrap();
    let nodes = session.json("/vdc/nodes").await;
    let versions: Vec<_> = nodes["node"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["version"].clone())
        .collect();
    assert!(
        versions[0].as_str().unwrap().starts_with("3.6") && versions[1].as_str().unwrap().starts_with("4.3")
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn releases_differ() {
    for profile in Profile::ALL {
        let sim = start(profile).await;
        let session = Session::open(&sim).await;
        let id = sim.vdc(0).node(0).id();
        let nodes = session
            .json("/dashboard/zones/localzone/nodes?dataType=current")
            .await;
        let key = if profile == Profile::V2_2 {
            "instances"
        } else {
            "_instances"
        };
        assert_eq!(nodes["_embedded"][key][0]["id"], id.as_str(), "{profile}");
        assert_eq!(id.parse::<std::net::IpAddr>().is_ok(), profile == Profile::V2_2);
        let zone = session.json("/dashboard/zones/localzone?dataType=current").await;
        let old = profile < Profile::V3_6;
        assert_eq!(
            zone["transactionErrorsCurrent"]["all"].is_array(),
            old,
            "{profile}"
        );
        assert_eq!(zone.get("nodeCpuUtilizationAvgCurrent").is_some(), old);
        let answer = session
            .post(
                "/flux/api/external/v2/query",
                r#"{"query":"from(bucket:\"monitoring_op\")"}"#,
            )
            .await;
        let expected = match profile {
            Profile::V2_2 | Profile::V3_1 => 404,
            Profile::V3_8_1Ce => 503,
            _ => 200,
        };
        assert_eq!(answer.status(), expected, "{profile}");
        let diag = sim.vdc(0).node(0).diag_host().unwrap();
        let closed = profile >= Profile::V4_1;
        eventually(|| async { TcpStream::connect(&diag).await.is_err() == closed }).await;
        let info = session.json("/object/billing/namespace/ns1/info").await;
        let size = if profile == Profile::V2_2 {
            "total_size_in_gb"
        } else {
            "total_size"
        };
        assert_eq!(info[size].is_number(), profile < Profile::V3_8_1Ce, "{profile}");
        let answer = session.get("/vdc/nodes.json").await;
        let node = parse(answer).await["node"][0].clone();
        assert_eq!(node.get("mgmt_ip").is_some(), profile >= Profile::V3_1);
        assert_eq!(node.get("serviceTag").is_some(), profile >= Profile::V4_1);
        sim.shutdown().await;
    }
}

#[tokio::test]
async fn impossible_changes_are_refused() {
    let sim = start(Profile::V4_3).await;
    assert!(sim.apply(&Change::NodeDown { vdc: 7, node: 0 }).is_err());
    assert_eq!(sim.vdc(7).node(0).mgmt_host(), "");
    sim.shutdown().await;
}
