//! A replica whose etcd refuses its password.

use rustix::process::Signal;

use super::canary::Canaries;
use crate::dcs::auth;
use crate::support::etcd::Builder;
use crate::support::process::{Home, SOON, eventually, get};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_etcd_does_not_let_in() {
    let etcd = auth::protected(Builder::new(1)).await;
    let canaries = Canaries::new(&["etcd", "customer", "operator"]);
    let home = Home::new();
    home.configure(&format!(
        "ecsbeat.customers: [{{customername: c, username: u, password: '{customer}', vdcs: [{{vdcname: v, \
         nodes: [{{host: 127.0.0.1}}]}}]}}]
output.console: {{}}
http: {{enabled: true, port: 0, auth.token: '{operator}'}}
ha: {{instance: a, ttl: 5s, loop_wait: 1s, retry_timeout: 1s, safety_margin: 1s, drain_timeout: 2s, \
         etcd: {{hosts: ['{url}'], username: ecsbeat, password: '{password}'}}}}
",
        customer = canaries.of("customer"),
        operator = canaries.of("operator"),
        password = canaries.of("etcd"),
        url = etcd.url(0),
    ));
    let mut process = home.start(&["-d", "*"]);
    let address = process.http().await;
    process.logged("etcd request failed").await;
    let retried = |log: String| log.matches("ha.etcd.username").count();
    eventually("it is refused", SOON, || {
        (retried(process.stderr()) >= 1).then_some(())
    })
    .await;
    for path in ["/", "/cluster", "/health", "/metrics", "/state", "/stats"] {
        let answer = get_any(address, path).await;
        canaries.absent(path, &answer);
    }
    process.signal(Signal::TERM);
    let ended = process.ended(SOON).await;
    canaries.absent("the log", &ended.stderr);
}

async fn get_any(address: std::net::SocketAddr, path: &str) -> String {
    let answer = get(address, path).await;
    format!("{}\n{}", answer.head, answer.body)
}
