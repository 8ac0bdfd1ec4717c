//! Replicas that were configured differently.

use serde_json::{Value, json};

use crate::support::cluster::{Cluster, Replica, Setup, until};
use crate::support::process::SOON;

/// The row of an instance in what a replica tells of the cluster.
async fn row(replica: &Replica, instance: &str) -> Option<Value> {
    let body = replica.get("/cluster").await.json();
    let mut rows = body["members"].as_array().unwrap().iter();
    rows.find(|row| row["instance"] == instance).cloned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_configuration_is_told_once_and_bars_nobody_unless_asked_to() {
    let cluster = Cluster::new().await;
    let (mut a, first) = cluster.leader("a").await;
    let b = cluster.start_with("b", &["fields.site=elsewhere"]).await;
    b.stood_by().await;
    for replica in [&a, &b] {
        let differs = async || {
            let row = row(replica, "b").await?;
            (row["config_mismatch"] == true && row["identity_mismatch"] == false).then_some(())
        };
        until("the difference shows", SOON, differs).await;
        assert_eq!(row(replica, "a").await.unwrap()["config_mismatch"], false);
    }
    assert_eq!(b.get("/health").await.json()["config_mismatch"], true);
    assert_eq!(b.metric("ecsbeat_ha_config_mismatch").await, Some(1.0));
    assert_eq!(a.metric("ecsbeat_ha_config_mismatch").await, Some(0.0));
    let renewals = "ecsbeat_ha_renewals_total{result=\"ok\"}";
    until("some rounds pass", SOON, async || {
        (b.metric(renewals).await >= Some(3.0)).then_some(())
    })
    .await;
    let told = b.lines("config differs from leader");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["leader"], "a");
    a.stop().await.expect(0);
    assert!(b.led().await > first);
    assert_eq!(b.metric("ecsbeat_ha_config_mismatch").await, Some(0.0));
}

/// `b` differs from `a` and `c`, and would be preferred to both.
async fn barred_while_one_of_the_old_kind_lives(cluster: &Cluster, difference: &str, reason: &str) {
    let (mut a, first) = cluster.leader("a").await;
    let b = cluster.start_with("b", &["ha.priority=9", difference]).await;
    let mut c = cluster.standby("c").await;
    until("it is told why", SOON, async || {
        assert_eq!(b.leads().await, None);
        (b.reasons("/standby").await == [reason]).then_some(())
    })
    .await;
    assert_eq!(b.codes().await, [503, 503, 200, 503, 200]);
    assert_eq!(b.lines("this instance may not lead")[0]["reason"], reason);
    a.stop().await.expect(0);
    let second = c.led().await;
    assert!(second > first);
    assert_eq!(c.last_term(second).await["from"], "a", "b has not led in between");
    c.stop().await.expect(0);
    // The last of the old kind is gone.
    assert!(b.led().await > second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_configuration_bars_where_that_is_asked_for() {
    let settings = "  config_mismatch: refuse\n".to_owned();
    let cluster = Cluster::of(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    barred_while_one_of_the_old_kind_lives(&cluster, "fields.site=elsewhere", "config_mismatch").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_identities_bar_while_one_of_the_old_kind_lives() {
    let cluster = Cluster::new().await;
    let commands = json!([{"type": "localzone", "interval": "2s"}]);
    let difference = format!("ecsbeat.commands={commands}");
    barred_while_one_of_the_old_kind_lives(&cluster, &difference, "identity_mismatch").await;
}
