//! Tests of [`super`], against a simulated VDC.

use std::time::Duration;

use ecs_sim::{Fault, FaultRule, Port, Sim};

use super::*;
use crate::config::Ssl;

const PATH: &str = "/object/capacity.json";

async fn sim(nodes: usize) -> Sim {
    Sim::start(ecs_sim::Config {
        nodes_per_vdc: nodes,
        vdcs: 1,
        ..ecs_sim::Config::for_tests()
    })
    .await
    .unwrap()
}

fn client(sim: &Sim, max_attempts: u32) -> Client {
    let nodes = sim
        .vdc(0)
        .nodes()
        .iter()
        .map(|node| HostPort {
            host: node.address(),
            port: sim.mgmt_port(),
        })
        .collect();
    let vdc = Vdc {
        name: "VDC1".to_owned(),
        username: "monitor".to_owned(),
        password: Secret::new("CANARY-password-monitor"),
        nodes,
        diagnostics_port: sim.diag_port().unwrap_or(9101),
        s3_port: 9021,
    };
    let customer = Customer {
        name: "EMC".to_owned(),
        token_expiry: Duration::from_secs(3500),
        request_timeout: Duration::from_secs(5),
        block_duration: Duration::from_secs(600),
        refresh_interval: Duration::from_secs(3600),
        ssl: Ssl {
            certificate_authorities: vec![sim.ca_pem().to_owned()],
            ..Ssl::default()
        },
        proxy_url: None,
        vdcs: vec![vdc.clone()],
    };
    let settings = Ecsbeat {
        once: false,
        max_in_flight: 2,
        max_attempts,
        max_response_size: 1 << 20,
        error_events: true,
        max_catch_up: Duration::from_secs(3600),
        start_jitter: Duration::ZERO,
        trace: None,
        customers: Vec::new(),
        commands: Vec::new(),
    };
    let http = Client::http(&settings, &customer).unwrap();
    Client::new(http, &settings, &customer, &vdc, &Metrics::new())
}

fn logins(sim: &Sim) -> usize {
    sim.requests()
        .iter()
        .filter(|request| request.path.starts_with("/login"))
        .count()
}

#[tokio::test]
async fn a_node_that_refuses_good_tokens_is_left_alone_and_costs_no_login() {
    let sim = sim(2).await;
    sim.faults()
        .set(FaultRule::everywhere(Fault::TokenGarbled).on_node(0, 0));
    let client = client(&sim, 1);
    for _ in 0..20 {
        client.fetch_whole(&Query::get(PATH)).await.unwrap();
    }
    assert_eq!(logins(&sim), 1);
    assert_eq!(client.pool.blocked(), 1);
    client.logout().await;
    assert_eq!(sim.live_tokens("monitor", 0), 0);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_revoked_token_is_renewed_once_and_no_node_is_blamed() {
    let sim = sim(3).await;
    let client = client(&sim, 1);
    client.fetch_whole(&Query::get(PATH)).await.unwrap();
    sim.revoke_tokens(None);
    client.fetch_whole(&Query::get(PATH)).await.unwrap();
    assert_eq!((logins(&sim), client.pool.blocked()), (2, 0));
    client.logout().await;
    assert_eq!(sim.live_tokens("monitor", 0), 0);
    sim.shutdown().await;
}

#[tokio::test]
async fn queries_that_find_out_together_that_a_token_was_revoked_blame_nobody() {
    let sim = sim(2).await;
    let client = client(&sim, 1);
    for _ in 0..20 {
        client.fetch_whole(&Query::get(PATH)).await.unwrap();
        sim.revoke_tokens(None);
        let query = Query::get(PATH);
        let all = (0..6).map(|_| client.fetch_whole(&query));
        for answer in futures_util::future::join_all(all).await {
            answer.unwrap();
        }
        assert_eq!(client.pool.blocked(), 0);
        // Tokens that are refused while young are asked for more slowly; these are old ones.
        client.session.forgive();
    }
    client.logout().await;
    sim.shutdown().await;
}

#[tokio::test]
async fn where_every_token_is_refused_none_is_left_behind() {
    let sim = sim(2).await;
    sim.faults()
        .set(FaultRule::everywhere(Fault::TokenGarbled).on_path("/object"));
    let client = client(&sim, 1);
    for _ in 0..20 {
        client.fetch_whole(&Query::get(PATH)).await.unwrap_err();
    }
    assert!(logins(&sim) <= 3, "{} logins", logins(&sim));
    sim.faults().clear();
    client.logout().await;
    assert_eq!(sim.live_tokens("monitor", 0), 0);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_failed_login_blames_the_node_that_refused_it_alone() {
    let sim = sim(3).await;
    sim.faults()
        .set(FaultRule::everywhere(Fault::Refused).on_node(0, 0));
    let client = client(&sim, 1);
    // The login goes to the first node, the query would go to another.
    let _first_slot = client.slots.acquire().await.unwrap();
    client.fetch_whole(&Query::get(PATH)).await.unwrap_err();
    assert_eq!(client.pool.blocked(), 1);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_closed_diagnostics_port_says_nothing_about_the_management_api() {
    let sim = sim(2).await;
    sim.faults()
        .set(FaultRule::everywhere(Fault::Refused).on_port(Port::Diag));
    let client = client(&sim, 3);
    for node in client.nodes() {
        let query = Query {
            endpoint: Endpoint::Diagnostics,
            node: Some(node),
            ..Query::get("/stats/dt/DTInitStat/")
        };
        client.fetch_whole(&query).await.unwrap_err();
    }
    assert_eq!(client.pool.blocked(), 0);
    sim.shutdown().await;
}

#[tokio::test]
async fn an_inventory_without_nodes_is_a_failure_and_the_last_one_stays() {
    let sim = sim(2).await;
    let client = client(&sim, 1);
    client.read_inventory().await.unwrap();
    let answer = Fault::Answer {
        status: 200,
        content_type: None,
        body: r#"{"node":[]}"#.to_owned(),
    };
    sim.faults()
        .set(FaultRule::everywhere(answer).on_path("/vdc/nodes"));
    let error = client.read_inventory().await.unwrap_err();
    assert!(
        error.to_string().contains("/vdc/nodes.json lists none"),
        "{error}"
    );
    assert_eq!(client.inventory().unwrap().nodes.len(), 2);
    client.logout().await;
    sim.shutdown().await;
}

#[test]
fn urls_of_names_and_addresses() {
    let at = |host: &str| {
        let node = HostPort {
            host: host.into(),
            port: 4443,
        };
        url("https", &node, "a?b=c d").unwrap()
    };
    assert_eq!(at("10.0.0.1").as_str(), "https://10.0.0.1:4443/a?b=c%20d");
    assert_eq!(at("fe80::1").as_str(), "https://[fe80::1]:4443/a?b=c%20d");
    let none = HostPort {
        host: "a b".into(),
        port: 1,
    };
    assert!(url("https", &none, "/").is_err());
}
