//! What members say of themselves.

use std::time::{Duration, Instant};

use ecsbeat::dcs::DcsError;
use ecsbeat::dcs::etcd::Warning;

use super::{always, ask, put, store};
use crate::support::etcd::{Builder, Etcd, every};
use crate::support::process::SOON;

const BUDGET: Duration = Duration::from_secs(5);

#[tokio::test]
async fn each_release_is_told_with_what_is_known_of_it() {
    for binary in every() {
        let etcd = Builder::new(1).binary(&binary).start().await;
        let survey = store(&etcd.config()).survey(BUDGET).await;
        let state = survey.0[0].state.as_ref().unwrap();
        let shown = std::process::Command::new(&binary)
            .arg("--version")
            .output()
            .unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        assert!(
            shown.starts_with(&format!("etcd Version: {}\n", state.version)),
            "{shown}"
        );
        assert!(state.database > 0 && state.cluster != 0 && state.raft_leader == state.member);
        assert_eq!(survey.cluster(), Some(state.cluster));
        let bugs = (survey.warnings().iter()).any(|warning| matches!(warning, Warning::LeaseBugs { .. }));
        assert_eq!(bugs, state.outdated().is_some(), "{}", state.version);
        if state.version.starts_with("3.4.") {
            assert_eq!(state.outdated(), Some("3.5.23"));
        }
    }
}

#[tokio::test]
async fn members_agree_on_their_cluster_and_a_dead_one_is_told() {
    let mut etcd = Etcd::start(3).await;
    let store = store(&etcd.config());
    let all = store.survey(BUDGET).await;
    assert!(
        all.cluster().is_some() && all.0.iter().all(|one| one.state.is_ok()),
        "{all:?}"
    );
    etcd.kill(1);
    etcd.freeze(2);
    let few = store.survey(Duration::from_millis(500)).await;
    let silent: Vec<String> = (few.warnings().into_iter())
        .filter_map(|warning| match warning {
            Warning::Silent { endpoint, reason } => Some(format!("{endpoint}: {reason}")),
            _ => None,
        })
        .collect();
    assert!(silent[silent.len() - 2].starts_with(&etcd.url(1)), "{silent:?}");
    assert_eq!(
        silent[silent.len() - 1],
        format!("{}: no answer within 500ms", etcd.url(2))
    );
}

#[tokio::test]
async fn hosts_of_two_clusters_are_told() {
    let (one, two) = (
        Builder::new(1)
            .argument("--initial-cluster-token=one")
            .start()
            .await,
        Builder::new(1)
            .argument("--initial-cluster-token=two")
            .start()
            .await,
    );
    let mut config = one.config();
    config.hosts.extend(two.config().hosts);
    let survey = store(&config).survey(BUDGET).await;
    assert_eq!(survey.cluster(), None);
    let told = survey
        .warnings()
        .iter()
        .any(|warning| matches!(warning, Warning::SeveralClusters { .. }));
    assert!(told, "{survey:?}");
}

#[tokio::test]
async fn a_database_that_fills_its_quota_is_told() {
    let etcd = Builder::new(1)
        .argument("--quota-backend-bytes=1000000")
        .start()
        .await;
    let store = store(&etcd.config());
    let block = "x".repeat(150_000);
    let mut number = 0;
    loop {
        let request = always(vec![put(&format!("checkpoint/{number}"), &block, 0)]);
        match ask(&store, request).await {
            Ok(_) => number += 1,
            Err(DcsError::Refused(_)) => break,
            Err(error) => panic!("{error}"),
        }
        assert!(number < 100, "fifteen megabytes went into one");
    }
    let alarm =
        |warning: &Warning| matches!(warning, Warning::Unwell { error, .. } if error.contains("NOSPACE"));
    // etcd refuses first, and raises the alarm then.
    let begin = Instant::now();
    loop {
        let told = store.survey(BUDGET).await.warnings();
        if told.iter().any(alarm) {
            return;
        }
        assert!(begin.elapsed() < SOON, "no alarm: {told:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
