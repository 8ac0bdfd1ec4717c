//! The status pages of two replicas: who leads, who stands by, a pause, and etcd that is away.

use serde_json::json;

use super::checks::{heard, look, quiet};
use crate::support::chromium::Chromium;
use crate::support::cluster::Cluster;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_of_leader_and_standby_say_who_leads_and_what_is_wrong() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let mut cluster = Cluster::new().await;
    let (a, term) = cluster.leader("a").await;
    let b = cluster.standby("b").await;
    cluster.begun().await;
    let urls = [&a, &b].map(|replica| format!("http://{}/", replica.http));
    let (leader, standby) = (chromium.tab().await, chromium.tab().await);
    leader.open(&urls[0]).await;
    standby.open(&urls[1]).await;
    for tab in [&leader, &standby] {
        tab.until(
            "it knows both",
            "document.querySelectorAll('#members ~ table tbody tr').length === 2",
        )
        .await;
        tab.shows("2 members").await;
        assert_eq!(
            tab.value("document.querySelector('h1').textContent").await,
            "a leads prod"
        );
        tab.shows("there was no leader before").await;
        let text = tab.text().await;
        assert!(
            text.contains(&term.to_string()) && text.contains("healthy"),
            "{text}"
        );
    }
    leader.shows("localzone").await;
    standby.shows("This instance polls nothing").await;
    look(&leader, "leader").await;
    look(&standby, "standby").await;
    for (tab, url) in [(&leader, &urls[0]), (&standby, &urls[1])] {
        quiet(tab, url);
    }

    // The essentials come from the server.
    let plain = chromium.tab().await;
    plain.without_scripts().await;
    plain.open(&urls[1]).await;
    let text = plain.text().await;
    for part in ["a leads prod", "stands by", "2 members", "Without JavaScript"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    heard(&plain, "without scripts").await;
    assert_eq!(
        plain
            .value("document.querySelector('meta[http-equiv=refresh]').content")
            .await,
        "10"
    );
    plain.picture("standby-without-scripts").await;

    // What an operator does is seen at once, what etcd does too.
    assert_eq!(a.order("/pause", &json!({})).await.status, 200);
    standby.shows("The cluster is paused").await;
    assert_eq!(a.order("/resume", &json!({})).await.status, 200);
    standby
        .until(
            "it is over",
            "!document.body.innerText.includes('The cluster is paused')",
        )
        .await;
    cluster.etcd.freeze(0);
    leader.shows("Nobody leads prod").await;
    for part in ["not healthy", "dcs_unreachable", "does not answer"] {
        leader.shows(part).await;
        standby.shows(part).await;
    }
    standby.shows("a led prod when etcd last answered").await;
    look(&leader, "lost").await;
    look(&standby, "etcd-away").await;
    quiet(&standby, &urls[1]);
    cluster.etcd.thaw(0);
}
