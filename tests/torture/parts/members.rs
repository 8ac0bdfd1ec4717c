//! Members of etcd, and what an administrator does to them.

use std::time::{Duration, Instant};

use crate::etcd::{Etcd, find};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_killed_stopped_and_comes_back() {
    let Some((_directory, mut etcd)) = started(3).await else {
        return;
    };
    let leader = etcd.leader().await.unwrap();
    etcd.put("/t/key", "value", None).await.unwrap();
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
    let lease = etcd.grant(60).await.unwrap();
    etcd.put("/t/leader", "a", Some(&lease)).await.unwrap();
    assert_eq!(etcd.lease_of("/t/leader").await.unwrap(), Some(lease.clone()));
    etcd.revoke(&lease).await.unwrap();
    assert_eq!(etcd.lease_of("/t/leader").await.unwrap(), None);
    assert_eq!(
        etcd.delete("/t/leader").await.unwrap(),
        0,
        "it went with its lease"
    );
    etcd.put("/t/leader", "b", None).await.unwrap();
    assert_eq!(etcd.lease_of("/t/leader").await.unwrap(), None, "on no lease");
    assert_eq!(etcd.delete("/t/leader").await.unwrap(), 1);
    let error = etcd.revoke(&lease).await.unwrap_err();
    assert!(format!("{error:#}").contains("lease"), "{error:#}");
}
