//! Logins and certificates: a replica that must show who it is leads like any other.

use crate::dcs::{auth, tls};
use crate::support::authority::Authority;
use crate::support::cluster::{Cluster, Setup};
use crate::support::etcd::{Builder, Etcd};

async fn leads(etcd: Etcd, access: String) {
    let cluster = Cluster::of(Setup {
        etcd: Some(etcd),
        access,
        ..Setup::default()
    })
    .await;
    let (mut a, first) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    cluster.delivers(first).await;
    a.stop().await.expect(0);
    let second = b.led().await;
    cluster.delivers(second).await;
    for replica in [&a, &b] {
        let log = replica.process.stderr();
        assert!(!log.contains("CANARY"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_logs_in_leads() {
    let etcd = auth::protected(Builder::new(1)).await;
    let access = format!("    username: ecsbeat\n    password: {}\n", auth::PASSWORD);
    leads(etcd, access).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_shows_a_certificate_leads() {
    let (authority, clients) = (Authority::new("ours"), Authority::new("clients"));
    let etcd = tls::asking(tls::server(&authority, None), &clients).start().await;
    let pair = clients.issue("ecsbeat", &[]);
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let access = format!(
        "    ssl: {{certificate_authorities: ['{}'], certificate: '{}', key: '{}'}}\n",
        file("ca.pem", &authority.pem()),
        file("client.pem", &pair.certificate),
        file("client.key", &pair.key),
    );
    leads(etcd, access).await;
}
