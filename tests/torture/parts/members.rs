//! Members of etcd, and what an administrator does to them.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::etcd::{Etcd, find};
use crate::wire;

const SOON: Duration = Duration::from_secs(60);

async fn started(count: usize) -> Option<(tempfile::TempDir, Etcd)> {
    let Some(binary) = find() else {
        println!("skipped: no etcd; tests/tools.sh unpacks one, or set ETCD_BIN");
        return None;
    };
    let directory = tempfile::tempdir().unwrap();
    let etcd = Etcd::start(&binary, directory.path(), count).await.unwrap();
    Some((directory, etcd))
}

async fn post(etcd: &Etcd, path: &str, body: &Value) -> Value {
    let address = etcd.addresses()[0];
    let reply = wire::ask(address, "POST", path, "", &body.to_string(), SOON)
        .await
        .unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()
}

async fn put(etcd: &Etcd, key: &str, lease: &str) {
    let body = json!({"key": STANDARD.encode(key), "value": STANDARD.encode("x"), "lease": lease});
    post(etcd, "/v3/kv/put", &body).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_killed_stopped_and_comes_back() {
    let Some((_directory, mut etcd)) = started(3).await else {
        return;
    };
    let leader = etcd.leader().await.unwrap();
    put(&etcd, "/t/key", "0").await;
    etcd.kill(leader).await.unwrap();
    let start = Instant::now();
    let next = loop {
        if let Some(next) = etcd.leader().await {
            break next;
        }
        assert!(start.elapsed() < SOON, "no new leader");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_ne!(next, leader);
    etcd.start_member(leader).unwrap();
    etcd.ready().await.unwrap();
    let other = (0..3).find(|member| Some(*member) != Some(next)).unwrap();
    etcd.pause(other).unwrap();
    assert_eq!(etcd.delete("/t/key").await.unwrap(), 1, "two of three are enough");
    etcd.resume(other).unwrap();
    etcd.ready().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_takes_a_lease_and_a_key_away() {
    let Some((_directory, etcd)) = started(1).await else {
        return;
    };
    let granted = post(&etcd, "/v3/lease/grant", &json!({"TTL": "60"})).await;
    let lease = granted["ID"].as_str().unwrap().to_owned();
    put(&etcd, "/t/leader", &lease).await;
    assert_eq!(etcd.lease_of("/t/leader").await.unwrap(), Some(lease.clone()));
    etcd.revoke(&lease).await.unwrap();
    assert_eq!(etcd.lease_of("/t/leader").await.unwrap(), None);
    assert_eq!(
        etcd.delete("/t/leader").await.unwrap(),
        0,
        "it went with its lease"
    );
    put(&etcd, "/t/leader", "0").await;
    assert_eq!(etcd.lease_of("/t/leader").await.unwrap(), None, "on no lease");
    assert_eq!(etcd.delete("/t/leader").await.unwrap(), 1);
    let error = etcd.revoke(&lease).await.unwrap_err();
    assert!(format!("{error:#}").contains("lease"), "{error:#}");
}
